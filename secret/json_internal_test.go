package secret

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// decodedMember is member by encoding/json's own decoder, which copies.
func decodedMember(document []byte, name string) (m found, ok bool) {
	d := json.NewDecoder(bytes.NewReader(document))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return found{}, false
	}
	for d.More() {
		at, err := d.Token()
		if err != nil {
			return found{}, false
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return found{}, false
		}
		if at == name {
			m.raw = raw
			m.times++
		}
	}
	if _, err := d.Token(); err != nil {
		return found{}, false
	}
	_, err := d.Token()
	return m, err == io.EOF
}

// decodedText is unquote by encoding/json. Of a text with U+FFFD and half a pair in it, nobody can tell which was which.
func decodedText(raw []byte) (text string, ok, unsure bool) {
	ok = json.Unmarshal(raw, &text) == nil
	if strings.ContainsRune(text, utf8.RuneError) && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
		return "", false, bytes.ContainsRune(raw, utf8.RuneError) || bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`))
	}
	return text, ok, false
}

// FuzzJSON compares our way through a document with that of encoding/json: the same names, as often, with the same values.
func FuzzJSON(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":"v"}`, "a"}, {` {"a" : [1, {"b":"]"}] , "b":{"a":"}"}, "a":1e3 } `, "a"}, {`{"a":"\"\\\/\b\f\n\r\té😀"}`, "a"},
		{`{"a":"\ud800"}`, "a"}, {`{"a":"\ud83dA"}`, "a"}, {`{"a":"\udc00\ud800"}`, "a"}, {`{"a":"�\ud83d\uDE00"}`, "a"},
		{`{"a":-0.5E+7,"":null,"x":true}`, ""}, {`{"a":1}`, "a"}, {`{"a":{"a":{}},"b":[]}`, "b"}, {`{"a":"\u00e9\\"}`, "a"},
		{`{"a":1,}`, "a"}, {`{"a" 1}`, "a"}, {`[{"a":1}]`, "a"}, {`"a"`, "a"}, {`{"a":1}{}`, "a"}, {`{}`, "a"}, {``, "a"}, {`{"a":"`, "a"}, {"{\"a\":\"\xff\"}", "a"},
		{`{"\uD83D\uDE00":1}`, "😀"}, {`{"�":1,"\ud800":2}`, "�"},
	} {
		f.Add([]byte(seed[0]), seed[1])
	}
	f.Fuzz(func(t *testing.T, document []byte, name string) {
		before := bytes.Clone(document)
		want, ok := decodedMember(document, name)
		if !utf8.Valid(document) || !json.Valid(document) {
			if ok && utf8.Valid(document) {
				t.Fatalf("%q is JSON to the decoder alone", document)
			}
			if _, problem := keyOf(document, name); problem != notJSON {
				t.Fatalf("%q: %s", document, problem)
			}
			return
		}
		got, found := member(document, name)
		if found != ok || ok && (got.times != want.times || !bytes.Equal(got.raw, want.raw)) {
			t.Fatalf("%q, %q: got %q, %d times, %t; want %q, %d times, %t", document, name, got.raw, got.times, found, want.raw, want.times, ok)
		}
		if got.times == 0 {
			return
		}
		value, problem := scalar(got.raw)
		switch {
		case got.raw[0] == '"':
			text, ok, unsure := decodedText(got.raw)
			if !unsure && (string(value) != text || (problem == "") != (ok && text != "")) {
				t.Fatalf("%q: got %q, %q; want %q", got.raw, value, problem, text)
			}
		case strings.ContainsRune("{[n", rune(got.raw[0])) != (problem != ""), problem == "" && !bytes.Equal(value, got.raw):
			t.Fatalf("%q: got %q, %q", got.raw, value, problem)
		}
		clear(value)
		if !bytes.Equal(before, document) {
			t.Fatalf("the value is a part of the document: %q", document)
		}
	})
}

// Halves of pairs are told from U+FFFD as somebody wrote it, which encoding/json can't.
func TestAReplacementCharacterThatSomebodyWroteIsAValue(t *testing.T) {
	for document, want := range map[string]string{
		`{"a":"�"}`: "�", `{"a":"\ufffd"}`: "�", `{"a":"�\ud83d\ude00"}`: "�😀", `{"a":"�\ud83d"}`: "", `{"a":"\ufffd\udc00"}`: "",
	} {
		if value, problem := keyOf([]byte(document), "a"); string(value) != want || (problem == "") != (want != "") {
			t.Errorf("%s: got %q, %q", document, value, problem)
		}
	}
}

// A document that goes deep is as quick to read as any, and costs no stack.
func TestADeepDocumentIsRead(t *testing.T) {
	const depth = 9_000 // encoding/json reads 10,000
	document := []byte(`{"x":` + strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth) + `,"a":"v"}`)
	if value, problem := keyOf(document, "a"); string(value) != "v" {
		t.Errorf("got %q, %q", value, problem)
	}
	if _, problem := keyOf(slices.Concat([]byte(`{"a":`), bytes.Repeat([]byte(`[`), 100_000)), "a"); problem != notJSON {
		t.Error(problem)
	}
}
