package secret_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// canary stands for a secret's value: it must be found nowhere but in the answer.
const canary = "c4n4ry-d0-n0t-pr1nt"

// good is a secret that every vault of these tests admits.
func good(change func(*secret.Fetched)) secret.Fetched {
	f := secret.Fetched{Value: secret.NewValue([]byte(canary)), Version: "8f2c", Identity: "pay", How: secret.HowFetched, Enabled: true}
	f.Created, f.Expires = noon.Add(-time.Hour), noon.Add(time.Hour)
	if change != nil {
		change(&f)
	}
	return f
}

// doors is a policy of three vaults that demand different things.
func doors(t *testing.T) *secret.Policy {
	return given(t, secret.Rules{Vaults: []secret.Vault{
		{Alias: "plain", Host: "h"}, {Alias: "aged", Host: "h", MaxAge: 24 * time.Hour}, {Alias: "expiring", Host: "h", MustExpire: true},
	}}).p
}

func TestAdmit(t *testing.T) {
	p := doors(t)
	for _, c := range []struct {
		about, vault string
		change       func(*secret.Fetched)
		want         secret.Reason
	}{
		{"an ordinary secret", "plain", nil, ""},
		{"nothing stated", "plain", func(f *secret.Fetched) { f.Created, f.Expires = time.Time{}, time.Time{} }, ""},
		{"disabled", "plain", func(f *secret.Fetched) { f.Enabled = false }, "disabled"},
		{"disabled and expired", "plain", func(f *secret.Fetched) { f.Enabled, f.Expires = false, noon.Add(-1) }, "disabled"},
		{"valid from this moment", "plain", func(f *secret.Fetched) { f.NotBefore = noon }, ""},
		{"valid in a moment", "plain", func(f *secret.Fetched) { f.NotBefore = noon.Add(1) }, "not-yet"},
		{"valid from now, in another zone", "plain", func(f *secret.Fetched) { f.NotBefore = noon.In(time.FixedZone("east", 9*3600)) }, ""},
		{"expires in a moment", "plain", func(f *secret.Fetched) { f.Expires = noon.Add(1) }, ""},
		{"expires now", "plain", func(f *secret.Fetched) { f.Expires = noon }, "expired"},
		{"expired long ago", "plain", func(f *secret.Fetched) { f.Expires = time.Unix(1, 0) }, "expired"},
		{"expired before it began", "plain", func(f *secret.Fetched) { f.NotBefore, f.Expires = noon.Add(-1), noon.Add(-2) }, "expired"},
		{"no expiry where one must be", "expiring", func(f *secret.Fetched) { f.Expires = time.Time{} }, "no-expiry"},
		{"an expiry where one must be", "expiring", nil, ""},
		{"old, and nobody minds", "plain", func(f *secret.Fetched) { f.Created = time.Unix(1, 0) }, ""},
		{"just young enough", "aged", func(f *secret.Fetched) { f.Created = noon.Add(-24 * time.Hour) }, ""},
		{"just too old", "aged", func(f *secret.Fetched) { f.Created = noon.Add(-24*time.Hour - 1) }, "too-old"},
		{"of unknown age", "aged", func(f *secret.Fetched) { f.Created = time.Time{} }, "too-old"},
		{"empty", "plain", func(f *secret.Fetched) { f.Value = secret.NewValue([]byte{}) }, "garbled"},
		{"no value at all", "plain", func(f *secret.Fetched) { f.Value = secret.Value{} }, "garbled"},
		{"the zero Fetched", "plain", func(f *secret.Fetched) { *f = secret.Fetched{} }, "disabled"},
	} {
		for _, key := range []string{"", "k"} {
			f := good(func(f *secret.Fetched) {
				if key != "" {
					f.Value = secret.NewValue([]byte(`{"k":"` + canary + `"}`))
				}
				if c.change != nil {
					c.change(f)
				}
			})
			got, err := p.Admit(secret.Grant{Ref: secret.Ref{Vault: c.vault, Name: "db", Key: key}}, f, noon)
			checkAdmitted(t, c.about+" key "+key, got, err, canary, c.want)
		}
	}
}

// checkAdmitted expects the value where want is empty, else a refusal for it that shows no value.
func checkAdmitted(t *testing.T, about string, got secret.Fetched, err error, value string, want secret.Reason) {
	t.Helper()
	if want == "" {
		if err != nil || string(got.Value.Reveal()) != value || got.Version != "8f2c" || got.Identity != "pay" || got.How != secret.HowFetched {
			t.Errorf("%s: %+v with %q, %v; want %q", about, got, got.Value.Reveal(), err, value)
		}
		return
	}
	var refused *secret.Error
	kind := secret.Denied
	if want == secret.ReasonGarbled {
		kind = secret.Garbled
	}
	if !errors.As(err, &refused) || refused.Reason != want || refused.Kind != kind {
		t.Errorf("%s: %v, want it refused: %s", about, err, want)
		return
	}
	if got.Value.Len() != 0 || strings.Contains(err.Error(), canary) || strings.Contains(refused.Detail, canary) {
		t.Errorf("%s: the refusal carries the value: %v", about, err)
	}
}

func TestAdmitTakesOneKeyOutOfAJSONObject(t *testing.T) {
	p := doors(t)
	for _, c := range []struct{ about, document, want string }{
		{"a string", `{"k":"v"}`, "v"},
		{"among others", `{"a":{"k":"no"},"k":"v","b":[{"k":"no"}]}`, "v"},
		{"with blanks", " {\n\t\"k\" : \"v\"\r\n} \n", "v"},
		{"escapes", `{"k":"\u00e4\n\"\\\/\ud83d\ude00"}`, "ä\n\"\\/😀"},
		{"an escaped key", `{"\u006b":"v"}`, "v"},
		{"a backslash before what looks like a surrogate", `{"k":"\\ud800"}`, `\ud800`},
		{"markup", `{"k":"<&>"}`, "<&>"},
		{"a NUL", `{"k":"a\u0000b"}`, "a\x00b"},
		{"U+FFFD itself", `{"k":"\ufffd�"}`, "��"},
		{"a number as written", `{"k":1.10}`, "1.10"},
		{"a number with blanks", `{"k" : 1.10 , "a":1}`, "1.10"},
		{"an exponent", `{"k":1e3}`, "1e3"},
		{"another", `{"k":-0.0E+00}`, "-0.0E+00"},
		{"a big number", `{"k":123456789012345678901234567890}`, "123456789012345678901234567890"},
		{"too large for any float", `{"k":1e999}`, "1e999"},
		{"true", `{"k":true}`, "true"},
		{"false", `{"k":false}`, "false"},
		{"another key twice", `{"a":1,"a":2,"k":"v"}`, "v"},
		{"the key in another case beside it", `{"K":"no","k":"v"}`, "v"},
	} {
		f := good(func(f *secret.Fetched) { f.Value = secret.NewValue([]byte(c.document)) })
		got, err := p.Admit(secret.Grant{Ref: secret.Ref{Vault: "plain", Name: "db", Key: "k"}}, f, noon)
		checkAdmitted(t, c.about, got, err, c.want, "")
		f.Value.Clear() // the answer is a copy of its own
		if err == nil && string(got.Value.Reveal()) != c.want {
			t.Errorf("%s: clearing the whole clears the key", c.about)
		}
	}
	deep := strings.Repeat("[", 100_000)
	for about, document := range map[string]string{
		"no such key": `{"a":"` + canary + `"}`, "only inside": `{"a":{"k":"` + canary + `"}}`, "another case": `{"K":"` + canary + `"}`, "empty object": `{}`,
		"null": `{"k":null}`, "an object": `{"k":{"a":"` + canary + `"}}`, "a list": `{"k":["` + canary + `"]}`, "an empty string": `{"k":""}`,
		"the key twice": `{"k":"` + canary + `","k":"` + canary + `"}`, "twice, once escaped": `{"k":"a","\u006b":"` + canary + `"}`, "twice, first null": `{"k":null,"k":"v"}`,
		"trailing data": `{"k":"v"} x`, "two documents": `{"k":"v"}{"k":"v"}`, "a trailing comma": `{"k":"v",}`, "a leading comma": `{,"k":"v"}`, "no colon": `{"k" "v"}`,
		"no comma": `{"a":1 "k":"v"}`, "cut": `{"k":"` + canary, "not closed": `{"k":"v"`, "closed wrongly": `{"k":"v"]`, "a BOM": "\ufeff" + `{"k":"v"}`, "single quotes": `{'k':'v'}`,
		"no quotes": `{k:"v"}`, "a comment": `{"k":"v"/* x */}`, "a list of all": `[{"k":"v"}]`, "a string of all": `"k"`, "text": canary, "a number of all": `1`, "null of all": `null`,
		"invalid UTF-8 in the value": "{\"k\":\"a\xff\"}", "invalid UTF-8 elsewhere": "{\"a\":\"\xff\",\"k\":\"v\"}", "a lone surrogate": `{"k":"\ud800"}`,
		"a lone low surrogate": `{"k":"x\uDFFFy"}`, "a raw newline": "{\"k\":\"a\nb\"}", "a leading zero": `{"k":01}`, "NaN": `{"k":NaN}`, "blank only": " ", "a plus": `{"k":+1}`,
		"deep": `{"a":` + deep + `,"k":"v"}`, "a bare fraction": `{"k":.5}`, "TRUE": `{"k":TRUE}`,
	} {
		f := good(func(f *secret.Fetched) { f.Value = secret.NewValue([]byte(document)) })
		got, err := p.Admit(secret.Grant{Ref: secret.Ref{Vault: "plain", Name: "db", Key: "k"}}, f, noon)
		checkAdmitted(t, about, got, err, "", secret.ReasonKey)
	}
}

// A vault that the policy doesn't know has no demands; Decide never grants there, and what is wrong with the secret holds still.
func TestAdmitWithoutTheVault(t *testing.T) {
	var p secret.Policy
	_, err := p.Admit(secret.Grant{Ref: secret.Ref{Vault: "gone", Name: "db"}}, good(func(f *secret.Fetched) { f.Expires = noon }), noon)
	if secret.AsError(err).Reason != secret.ReasonExpired {
		t.Errorf("%v, want expired", err)
	}
}
