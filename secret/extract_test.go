package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// takes admits a secret and returns what the key names in it, and what is noted of that.
func takes(t testing.TB, f secret.Fetched, key string) (value, note string, err *secret.Error) {
	t.Helper()
	p, failed := secret.NewPolicy(secret.Rules{Vaults: []secret.Vault{{Alias: "v", Host: "h"}}})
	if failed != nil {
		t.Fatal(failed)
	}
	stored := bytes.Clone(f.Value.Reveal())
	got, failed := p.Admit(secret.Grant{Ref: secret.Ref{Vault: "v", Name: "n", Key: key}}, f, noon)
	if !bytes.Equal(stored, f.Value.Reveal()) {
		t.Errorf("key %q: admitting changes what was fetched", key)
	}
	if failed == nil {
		if got.Value.Len() == 0 {
			t.Errorf("key %q: admitted without a value", key)
		}
		return string(got.Value.Reveal()), got.Note, nil
	}
	e := secret.AsError(failed)
	if e.Kind != secret.Denied && e.Kind != secret.Garbled || got.Value.Len() != 0 || strings.Contains(e.Detail, canary) {
		t.Errorf("key %q: %v with %d bytes", key, e, got.Value.Len())
	}
	return "", "", e
}

// holding is a good secret with that text in it.
func holding(text string) secret.Fetched {
	return good(func(f *secret.Fetched) { f.Value = secret.NewValue([]byte(text)) })
}

func TestADotInAKeyIsAPathThroughObjects(t *testing.T) {
	for _, c := range []struct{ about, document, key, want string }{
		{"one level", `{"db":{"password":"v"}}`, "db.password", "v"},
		{"three levels", `{"a":{"b":{"c":"v"}}}`, "a.b.c", "v"},
		{"a number as written", `{"a":{"b":1.10}}`, "a.b", "1.10"},
		{"a boolean", `{"a":{"b":true}}`, "a.b", "true"},
		{"the name itself", `{"db.password":"v"}`, "db.password", "v"},
		{"the name itself, with dots where no path can be", `{".a":"1","b..c":"2","d.":"3"}`, "b..c", "2"},
		{"the name itself, the path leads to nothing", `{"a.b":"v","a":{"c":"x"}}`, "a.b", "v"},
		{"the name itself, the path ends early", `{"a.b":"v","a":"x"}`, "a.b", "v"},
		{"the name itself, the path leads to an object", `{"a.b":"v","a":{"b":{"c":"x"}}}`, "a.b", "v"},
		{"both, and the same", `{"a.b":"v","a":{"b":"v"}}`, "a.b", "v"},
		{"both, and the same but for escapes", `{"a.b":"v","a":{"b":"\u0076"}}`, "a.b", "v"},
		{"another name twice", `{"a":{"x":1,"x":2,"b":"v"},"y":1,"y":2}`, "a.b", "v"},
		{"the same name on another level", `{"a":{"a":{"a":"v"}}}`, "a.a.a", "v"},
	} {
		if got, _, err := takes(t, holding(c.document), c.key); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.about, got, err, c.want)
		}
	}
	for _, c := range []struct{ about, document, key, because string }{
		{"both, and different", `{"a.b":"v","a":{"b":"w"}}`, "a.b", "ambiguous"},
		{"both, and different numbers", `{"a.b":1,"a":{"b":2}}`, "a.b", "ambiguous"},
		{"both, the name itself an object", `{"a.b":{"x":1},"a":{"b":"w"}}`, "a.b", "an object, a list or null"},
		{"a name on the path twice", `{"a":{"b":"v"},"a":{"b":"v"}}`, "a.b", "2 times"},
		{"the last name twice", `{"a":{"b":"v","b":"v"}}`, "a.b", "2 times"},
		{"the name itself once, its path twice", `{"a.b":"v","a":{"b":"w"},"a":{}}`, "a.b", "2 times"},
		{"a name of two parts inside", `{"a":{"b.c":"v"}}`, "a.b.c", "no such key"},
		{"a name of two parts outside", `{"a.b":{"c":"v"}}`, "a.b.c", "no such key"},
		{"an index", `{"a":["v"]}`, "a.0", "no such key"},
		{"through a string of JSON", `{"a":"{\"b\":\"v\"}"}`, "a.b", "no such key"},
		{"an empty name", `{"":{"b":"v"}}`, ".b", "no such key"},
		{"an empty name at the end", `{"a":{"":"v"}}`, "a.", "no such key"},
		{"an empty name between", `{"a":{"":{"b":"v"}}}`, "a..b", "no such key"},
		{"half of the way", `{"a":{"b":{"c":"v"}}}`, "a.b", "an object, a list or null"},
		{"too far", `{"a":{"b":"v"}}`, "a.b.c", "no such key"},
		{"another case", `{"A":{"b":"v"}}`, "a.b", "no such key"},
		{"null", `{"a":{"b":null}}`, "a.b", "null"},
		{"an empty string", `{"a":{"b":""}}`, "a.b", "empty"},
		{"no JSON", canary, "a.b", "not one JSON object"},
	} {
		if got, _, err := takes(t, holding(c.document), c.key); err == nil || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, c.because) {
			t.Errorf("%s: %q, %v; want it denied: %s", c.about, got, err, c.because)
		}
	}
	deep := strings.Repeat(`{"a":`, 9_000) + `"v"` + strings.Repeat("}", 9_000)
	if got, _, err := takes(t, holding(deep), strings.Repeat("a.", 63)+"a"); err == nil || err.Reason != secret.ReasonKey {
		t.Errorf("a deep document: %.40q, %v", got, err)
	}
}

// Whatever the document, a key never gives one of two values.
func TestADocumentNeverMeansTwoThings(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "a", "b", "a.b", "b.a", "a.b.a", "", "a."})
	var object func(*rapid.T, int) string
	object = func(t *rapid.T, depth int) string {
		var members []string
		for range rapid.IntRange(1, 4).Draw(t, "members") {
			value := rapid.SampledFrom([]string{`"x"`, `"y"`, `1`, `"1"`, `true`, `"x"`, `"y"`, `null`, `[{"a":1}]`}).Draw(t, "value")
			if depth > 0 && rapid.Bool().Draw(t, "nested") {
				value = object(t, depth-1)
			}
			members = append(members, fmt.Sprintf("%q:%s", names.Draw(t, "name"), value))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	allowed := 0
	rapid.Check(t, func(r *rapid.T) {
		document, key := object(r, 3), rapid.SampledFrom([]string{"a", "b", "a.b", "b.a", "a.b.a", "a."}).Draw(r, "key")
		got, _, err := takes(t, holding(document), key)
		if err == nil {
			allowed++
			if problem := meansOnly(document, key, got); problem != "" {
				r.Fatalf("%q of %s is %q: %s", key, document, got, problem)
			}
		}
	})
	if allowed == 0 {
		t.Error("no document gave anything: the property says nothing")
	}
}

// meansOnly checks by the standard library's own reading of the whole that the key means the value and nothing else.
func meansOnly(document, key, value string) (problem string) {
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return "the document is none"
	}
	path := any(all)
	for name := range strings.SplitSeq(key, ".") {
		inner, _ := path.(map[string]any)
		if path = inner[name]; name == "" {
			path = nil
		}
	}
	literal, exists := shown(all[key])
	walked, leads := shown(path)
	switch {
	case !exists && !leads:
		return "it leads nowhere"
	case exists && literal != value || leads && walked != value:
		return fmt.Sprintf("it also means %q or %q", literal, walked)
	}
	return ""
}

func shown(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case json.Number, bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

func TestWhatLogsDoNotMaskIsNoted(t *testing.T) {
	const whole, short = "whole JSON document", "one character"
	for _, c := range []struct{ about, value, note string }{
		{"a password", canary, ""},
		{"with a newline at its end, which stays", canary + "\n", ""},
		{"several lines", "first\nsecond\r\n\n  third  \n", ""},
		{"two characters", "ab", ""},
		{"one letter of two bytes", "ä", ""},
		{"an object", `{"a":"` + canary + `"}`, whole},
		{"an object with blanks around", "\n {\"a\": 1}\r\n", whole},
		{"an object, line by line", "{\n  \"a\": \"" + canary + "\"\n}\n", whole},
		{"a password that begins like one", "{" + canary, ""},
		{"only a brace", "{", short},
		{"a list", `["` + canary + `"]`, ""},
		{"one character", "x", short},
		{"one character and a newline", "x\n", short},
		{"a short line first", "x\n" + canary, short},
		{"a short line between", canary + "\nx\n" + canary, short},
		{"a short line last, with blanks", canary + "\n \tx\t \r", short},
		{"a short line far behind blanks", canary + "\n" + strings.Repeat(" ", 100) + "x\n" + canary, short},
	} {
		got, note, err := takes(t, holding(c.value), "")
		if err != nil || got != c.value || (note == "") != (c.note == "") || !strings.Contains(note, c.note) {
			t.Errorf("%s: %q noted %q, %v; want %q", c.about, got, note, err, c.note)
		}
	}
	for document, want := range map[string]string{`{"k":"{\"inner\":\"` + canary + `\"}"}`: whole, `{"k":"a\nb"}`: short, `{"k":7}`: short, `{"k":"` + canary + `"}`: ""} {
		if _, note, err := takes(t, holding(document), "k"); err != nil || (note == "") != (want == "") || !strings.Contains(note, want) {
			t.Errorf("the key of %s is noted %q, %v; want %q", document, note, err, want)
		}
	}
}

func TestAnOrdinaryReleaseDoesNotAllocate(t *testing.T) {
	p := doors(t)
	for _, value := range []string{canary, "{" + canary, strings.Repeat("a line of many\n", 1000), `{"a":"b"}`} {
		g, f := secret.Grant{Ref: secret.Ref{Vault: "plain", Name: "db"}}, holding(value)
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Admit(g, f, noon) }); n != 0 {
			t.Errorf("admitting %.20q allocates %v times", value, n)
		}
	}
}

func TestTheNoteGoesOnRecord(t *testing.T) {
	d := newDesk(t)
	d.source.Value = secret.NewValue([]byte(`{"a":"` + canary + `"}`))
	if _, err := d.find(t, ask(t, "acme/app push main")); err != nil || !strings.Contains(d.events[0].Detail, "ask for a key") {
		t.Errorf("%v, on record is %q", err, d.events[0].Detail)
	}
	d = newDesk(t)
	if _, err := d.find(t, ask(t, "acme/app push main")); err != nil || d.events[0].Detail != "" {
		t.Errorf("%v, on record of an ordinary one is %q", err, d.events[0].Detail)
	}
}

func BenchmarkAdmit(b *testing.B) {
	p, err := secret.NewPolicy(secret.Rules{Vaults: []secret.Vault{{Alias: "v", Host: "h"}}})
	if err != nil {
		b.Fatal(err)
	}
	for about, value := range map[string]string{"password": canary, "25 KiB of lines": strings.Repeat("a line of many\n", 25<<10/15)} {
		b.Run(about, func(b *testing.B) {
			g, f := secret.Grant{Ref: secret.Ref{Vault: "v", Name: "n"}}, holding(value)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Admit(g, f, noon)
			}
		})
	}
}

// A pattern with a key in it, such as tokens/acr/*, does not give the whole: nor then the token, by the name that it has in
// our own document.
func TestATokenItselfHasNoKey(t *testing.T) {
	f := holding(`{"token":"a.b.c","username":"u"}`)
	f.Form = secret.FormToken
	for key, want := range map[string]string{"": "a.b.c", "username": "u"} {
		if value, _, err := takes(t, f, key); err != nil || value != want {
			t.Errorf("the key %q gives %q, %v", key, value, err)
		}
	}
	if value, _, err := takes(t, f, "token"); err == nil || err.Reason != secret.ReasonKey {
		t.Errorf("the key \"token\" gives %q, %v", value, err)
	}
}
