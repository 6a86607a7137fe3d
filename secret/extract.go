package secret

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// extract takes what a reference's key names out of a fetched secret; without a key, all of it. A nil value means the
// fetched one itself. The problem says why there is none, the note what to know of the value; neither quotes the secret.
//
// A PKCS#12 that could not be opened has a flaw, and yet its file itself, which is asked for by the key pfx.
func extract(f *Fetched, key string) (value []byte, note, problem string) {
	switch {
	case f.Flaw != "" && (f.Form != FormPKCS12 || key != partPFX):
		return nil, "", f.Flaw
	case f.Form == FormToken:
		value, problem = keyOf(f.Value.Reveal(), cmp.Or(key, "token"))
	case f.Form == FormPKCS12, f.Form == FormPEM && key != "":
		return certificatePart(f.Value.Reveal(), key, f.Form)
	case key != "":
		value, problem = keyOf(f.Value.Reveal(), key)
	}
	return value, "", problem
}

// The JSON package's own errors may quote the document, so none of them is passed on.
const notJSON = "the secret is not one JSON object, so it has no keys"

// keyOf takes one key's value out of a JSON object: a string, or a number or boolean as written. The key is a name as it
// stands, or names of objects inside objects with dots between them. A document that could mean two things (a name twice,
// both readings of a dot, trailing data, invalid UTF-8) has no value; problem then says why, without quoting it.
//
// Examples, for the key db.password:
//
//	{"db.password":"a"}                         →  a
//	{"db":{"password":5e3}}                     →  5e3, as written
//	{"db.password":"a","db":{"password":"b"}}   →  ambiguous
//	{"db.password":"a","db.password":"a"}       →  2 times
//
// A lenient decoder takes the last of two equal names, another one the first: whoever reviewed the secret may have
// seen the other value.
func keyOf(document []byte, key string) (value []byte, problem string) {
	// The decoder would replace bad bytes by U+FFFD and hand out a value that nobody stored.
	if !utf8.Valid(document) {
		return nil, notJSON
	}
	literal, ok := member(document, key)
	if !ok {
		return nil, notJSON
	}
	path := walk(document, key)
	switch {
	case literal.times > 1 || path.times > 1:
		return nil, "the secret's JSON has the key, or a name on its path, " + strconv.Itoa(max(literal.times, path.times)) + " times"
	case literal.times == 0 && path.times == 0:
		return nil, "the secret's JSON has no such key"
	case literal.times == 0:
		return scalar(path.raw)
	}
	value, problem = scalar(literal.raw)
	if path.times == 1 && problem == "" {
		if other, wrong := scalar(path.raw); wrong == "" && !bytes.Equal(other, value) {
			return nil, "ambiguous: the secret's JSON has the key both as one name and as a path through its objects, with different values"
		}
	}
	return value, problem
}

// found is a member of a JSON object: the last of that name, and how many there are.
type found struct {
	raw   json.RawMessage
	times int
}

// walk follows a key's names from object to object. Nothing is found where a name is missing or has no object.
func walk(object []byte, key string) (at found) {
	if !strings.Contains(key, ".") {
		return found{}
	}
	at = found{object, 1}
	for name := range strings.SplitSeq(key, ".") {
		next, ok := member(at.raw, name)
		if !ok || name == "" || next.times == 0 {
			return found{}
		}
		if at = next; at.times > 1 {
			return at
		}
	}
	return at
}

// member finds a name in a document that is one JSON object and nothing else; not ok if it isn't.
//
// It walks tokens because Unmarshal into a map or struct would drop repeated names silently, and into a struct match
// them without case. m.raw is a copy; the values of other names are read and dropped.
func member(document []byte, name string) (m found, ok bool) {
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

// scalar returns the bytes of a JSON string, number or boolean.
func scalar(raw json.RawMessage) (value []byte, problem string) {
	switch raw[0] {
	case '{', '[', 'n':
		return nil, "the key's value is an object, a list or null: name a key that holds a string, a number or a boolean"
	case '"':
		var s string
		// The decoder turns a lone surrogate into U+FFFD: a value that nobody stored.
		if json.Unmarshal(raw, &s) != nil ||
			strings.ContainsRune(s, utf8.RuneError) && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
			return nil, "the key's value is no valid JSON string"
		}
		if s == "" {
			return nil, "the key's value is empty" // a runner would take it for "no such secret"
		}
		return []byte(s), ""
	}
	return raw, ""
}
