package keyvault

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
)

const liftMe = "canary-lift-0123456789"

// FuzzLift compares with encoding/json, by which the SDK reads: of what is one object without a name twice and without
// broken text, the value is the same, all else stays, and nothing of the value is left.
func FuzzLift(f *testing.F) {
	for _, seed := range []string{
		`{"value":"canary-lift-0123456789","id":"x","attributes":{"enabled":true}}`, ` { "id" : "x" , "value" : "a\n\u00e9\ud83d\ude00" } `,
		`{"value":null}`, `{"value":""}`, `{"value":7,"a":[{"value":"b"}]}`, `{"value":{"value":"a"}}`, `{}`, `[]`, `null`, ``, `{"value":"a"`,
		`{"value":"a"}x`, `{"value":"a","value":"b"}`, `{"\u0076alue":"a"}`, `{"value":"\ud800"}`, "{\"value\":\"\xff\"}", `{"Value":"a"}`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		before := bytes.Clone(answer)
		rest, value, ok := lift(answer)
		if !bytes.Equal(before, answer) {
			t.Fatal("the answer was changed")
		}
		var want, got map[string]json.RawMessage
		strict := jsontext.Value(answer).IsValid() && json.Unmarshal(answer, &want) == nil && want != nil
		if ok != strict {
			t.Fatalf("%q: ok is %t, want %t", answer, ok, strict)
		}
		if !ok {
			return
		}
		if err := json.Unmarshal(rest, &got); err != nil {
			t.Fatalf("%q is left of %q: %v", rest, answer, err)
		}
		var text string
		raw, had := want["value"]
		isText := had && raw[0] == '"' && json.Unmarshal(raw, &text) == nil
		placeholder := string(got["value"])
		switch {
		case string(value) != text, isText != (placeholder == `"-"`):
			t.Fatalf("%q: got %q with %s in its place, want %q", answer, value, placeholder, text)
		case had != (placeholder != ""), had && (string(raw) == "null") != (placeholder == "null"):
			t.Fatalf("%q: %s is in place of %s", answer, placeholder, raw)
		}
		delete(want, "value")
		delete(got, "value")
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%q is left of %q", rest, answer)
		}
	})
}

// lender remembers the memory that it read into.
type lender struct {
	io.Reader
	lent [][]byte
}

func (l *lender) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.lent = append(l.lent, p[:n])
	return n, err
}

func (*lender) Close() error { return nil }

// After an answer was read, well or not, nothing of it is in any buffer of ours but the value itself.
func TestAnAnswersBuffersAreCleared(t *testing.T) {
	t.Parallel()
	long := `{"id":"` + strings.Repeat("x", 200<<10) + `","value":"` + liftMe + `"}`
	short := `{"value":"` + liftMe + `","id":"x"}`
	for name, c := range map[string]struct {
		body   io.Reader
		size   int
		broken bool
	}{
		"whole, of a known size":       {strings.NewReader(short), len(short), false},
		"whole, of no known size":      {strings.NewReader(short), -1, false},
		"dripping":                     {iotest.OneByteReader(strings.NewReader(short)), len(short), false},
		"ending with its last byte":    {iotest.DataErrReader(strings.NewReader(short)), len(short), false},
		"growing":                      {strings.NewReader(long), -1, false},
		"longer than its head says":    {strings.NewReader(long), 10, false},
		"shorter than its head says":   {strings.NewReader(short), 4096, false},
		"broken off":                   {io.MultiReader(strings.NewReader(short), iotest.ErrReader(io.ErrUnexpectedEOF)), -1, true},
		"no JSON":                      {strings.NewReader(short + "<html>"), -1, false},
		"of a size beyond every bound": {strings.NewReader(short), 1 << 40, false},
	} {
		l, answered := &lender{Reader: c.body}, &lifted{value: []byte("of a try before")}
		earlier := answered.value
		resp := &http.Response{StatusCode: http.StatusOK, Body: l, ContentLength: int64(c.size)}
		withoutValue(lifting(t.Context(), answered), resp)
		rest, err := io.ReadAll(resp.Body)
		if (err != nil) != c.broken {
			t.Errorf("%s: %v", name, err)
		}
		whole := json.Valid(rest) && !c.broken
		if value := string(answered.take()); whole != (value == liftMe) || bytes.Contains(rest, []byte(liftMe)) {
			t.Errorf("%s: got %q, and %.60q is left", name, value, rest)
		}
		if whole && slices.Max(earlier) != 0 {
			t.Errorf("%s: the value of the try before is still there", name)
		}
		for _, p := range l.lent {
			if len(p) > 0 && slices.Max(p) != 0 {
				t.Errorf("%s: %.60q was not cleared", name, p)
				break
			}
		}
		if len(l.lent) < 1 {
			t.Errorf("%s: nothing was read", name)
		}
	}
}

// A body that nobody waits for a value of, or of a refusal, is the SDK's as it is.
func TestOnlyAValueIsTakenAway(t *testing.T) {
	t.Parallel()
	const body = `{"error":{"code":"Forbidden"},"value":"a"}`
	for name, c := range map[string]struct {
		status int
		into   *lifted
	}{"nobody waits": {http.StatusOK, nil}, "a refusal": {http.StatusForbidden, &lifted{}}} {
		ctx := t.Context()
		if c.into != nil {
			ctx = lifting(ctx, c.into)
		}
		resp := &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(body))}
		withoutValue(ctx, resp)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != body {
			t.Errorf("%s: %q, %v", name, rest, err)
		}
	}
}

// What is made of a value leaves nothing of it behind in what it was made of.
func TestContentClearsWhatItReplaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value, contentType string
		kept               bool
	}{
		{"aHVudGVyMg==", "text/plain;base64", false}, {"aHVudGVyMg==", "", true}, {"***", "text/plain;base64", true}, {"***", typePKCS12, true},
	} {
		value := []byte(c.value)
		made, _, _ := content(value, c.contentType)
		if kept := string(value) == c.value; kept != c.kept || !kept && slices.Max(value) != 0 || kept && &made[0] != &value[0] {
			t.Errorf("%q of type %q is now %q, made %q", c.value, c.contentType, value, made)
		}
	}
}
