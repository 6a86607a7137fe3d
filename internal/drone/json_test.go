package drone_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// body makes an edit that replaces the body and its digest.
func body(s string) func(*message) {
	return func(m *message) { m.body = s; m.set("Digest", digestOf(s)) }
}

// with makes an edit that replaces a part of the genuine body, which must be there.
func with(old, new string) func(*message) {
	if !strings.Contains(genuineBody, old) {
		panic("the genuine body has no " + old)
	}
	return body(strings.Replace(genuineBody, old, new, 1))
}

const needed = "malformed request: repo and build are needed"

func TestWhatMeansNothingOrTwoThings(t *testing.T) {
	const repo = `"repo":{"uid":"2","slug":"mallory/app"},`
	cases := []hostile{
		{name: "J1 name twice", edit: with(`"name":`, `"name":"other","name":`)},
		{name: "J1 name twice, once escaped", edit: with(`"name":`, `"n\u0061me":"other","name":`)},
		{name: "J1 repo twice", edit: with(`"repo":`, repo+`"repo":`)},
		{name: "J1 repo twice, the second null", edit: with(`"build":`, `"repo":null,"build":`)},
		{name: "J1 build twice", edit: with(`"build":`, `"build":{},"build":`)},
		{name: "J1 uid twice", edit: with(`"uid":`, `"uid":"2","uid":`)},
		{name: "J1 slug twice", edit: with(`"slug":`, `"slug":"mallory/app","slug":`)},
		{name: "J1 an unknown field twice", edit: with(`"id":1,`, `"id":1,"id":1,`)},
		{name: "J1 an unknown field twice, far inside", edit: with(`"number":7`, `"number":7,"params":{"a":{"b":1,"b":1}}`)},
		{name: "J4 depth 100,000", edit: with(`"number":7`, `"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))},
		{name: "J4 depth 100,000, never closed", edit: body(strings.Repeat(`{"repo":`, 100_000))},
		{name: "J5 invalid UTF-8", edit: with("acme/app", "acme/\xff")},
		{name: "J5 invalid UTF-8 in a name", edit: with(`"name":`, "\"na\xffme\":1,\"name\":")},
		{name: "J5 invalid UTF-8 in what nobody reads", edit: with(repoSecret, "\xc0\xaf")},
		{name: "J5 an encoded surrogate", edit: with("acme/app", "acme/\xed\xa0\x80")},
		{name: "J5 a lone surrogate", edit: with("acme/app", `acme/\ud800`)},
		{name: "J5 a lone surrogate in a name", edit: with(`"name":`, `"\udc00":1,"name":`)},
		{name: "J6 trailing bytes", edit: body(genuineBody + "x")},
		{name: "J6 a trailing NUL", edit: body(genuineBody + "\x00")},
		{name: "J6 two documents", edit: body(genuineBody + genuineBody)},
		{name: "J6 two documents on two lines", edit: body(genuineBody + "\n{}")},
		{name: "J6 a byte order mark", edit: body("\ufeff" + genuineBody)},
		{name: "J6 nothing", edit: body("")},
		{name: "J6 a space", edit: body(" ")},
		{name: "J6 []", edit: body("[]")},
		{name: "J6 a request in a list", edit: body("[" + genuineBody + "]")},
		{name: "J6 a string", edit: body(`"x"`)},
		{name: "J6 cut off", edit: body(genuineBody[:len(genuineBody)-1])},
		{name: "a comment", edit: body("/**/" + genuineBody)},
		{name: "a comma too many", edit: with(`"sender":"alice"`, `"sender":"alice",`)},
		{name: "single quotes", edit: with(`"acme/app"`, `'acme/app'`)},
		{name: "a control character", edit: with("acme/app", "acme/\napp")},
		{name: "an escape that JSON has not", edit: with("acme/app", `acme/\x41`)},
		{name: "UTF-16", edit: body(string([]byte{'{', 0, '}', 0}))},
		{name: "J8 path", edit: with(`"path":"shared/db"`, `"path":1`)},
		{name: "J8 name", edit: with(`"name":"password"`, `"name":1`)},
		{name: "J8 uid", edit: with(`"uid":"1"`, `"uid":1`)},
		{name: "J8 slug", edit: with(`"acme/app"`, `["acme/app"]`)},
		{name: "J8 slug an object", edit: with(`"acme/app"`, `{"acme":"app"}`)},
		{name: "J8 ref true", edit: with(`"refs/heads/main"`, `true`)},
		{name: "J8 event null", edit: with(`"push"`, `null`)},
		{name: "J8 uid null", edit: with(`"uid":"1"`, `"uid":null`)},
		{name: "J8 repo a string", edit: body(`{"name":"x","repo":"acme/app","build":{}}`)},
		{name: "J8 build a list", edit: body(`{"name":"x","repo":{},"build":[]}`)},
		{name: "the number a string", edit: with(`"number":7`, `"number":"7"`)},
		{name: "the number null", edit: with(`"number":7`, `"number":null`)},
		{name: "the number a fraction", edit: with(`"number":7`, `"number":7.5`)},
		{name: "the number too large", edit: with(`"number":7`, `"number":9223372036854775808`)},
		{name: "J6 null", edit: body("null"), says: needed},
		{name: "an empty object", edit: body("{}"), says: needed},
		{name: "no repo", edit: body(`{"name":"x","build":{}}`), says: needed},
		{name: "no build", edit: body(`{"name":"x","repo":{}}`), says: needed},
		{name: "repo null", edit: body(`{"name":"x","repo":null,"build":{}}`), says: needed},
		{name: "build null", edit: body(`{"name":"x","repo":{},"build":null}`), says: needed},
		{name: "J2 repo in capitals", edit: with(`"repo":`, `"REPO":`), says: needed},
	}
	for i := range cases {
		cases[i].status, cases[i].reason = 400, secret.ReasonMalformed
	}
	meets(t, cases)
}

func TestWhatIsNotOurConcern(t *testing.T) {
	meets(t, []hostile{
		{name: "J2 twins in another case beside the field", edit: with(`"name":`, `"NAME":"other","Name":3,"name":`), status: 200},
		{name: "J3 case twins inside params", edit: with(`"number":7`, `"number":7,"params":{"a":"1","A":"2"}`), status: 200},
		{name: "J3 unknown fields", edit: with(`"path":`, `"step":{"x":[1,null,true,1e999]},"path":`), status: 200},
		{name: "white space around it", edit: body(" \r\n\t" + genuineBody + "\n"), status: 200},
		{name: "the name escaped", edit: with(`"name":"password"`, `"n\u0061me":"p\u0061ssword"`), status: 200},
	})
}

// parsed is what a small body comes out as.
func TestParseRequestTakesExactNamesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want secret.Request
	}{
		"J2 twins in another case": {`{"NAME":"n","Path":"p","repo":{"SLUG":"a/b","ſlug":"a/b","Uid":"1"},"build":{"EVENT":"push","REF":"r"}}`, secret.Request{}},
		"J2 a twin after the field": {`{"name":"n","NAME":"m","repo":{"slug":"a/b","ſlug":"c/d"},"build":{}}`,
			secret.Request{Name: "n", Repo: secret.Repo{Slug: "a/b"}}},
		"everything that policy looks at": {`{"path":"p","name":"n","repo":{"uid":"u","slug":"s","default_branch":"d"},"build":{"number":-3,"event":"e",
			"ref":"r","after":"a","source":"so","source_repo":"sr","target":"t","deploy_to":"dt","cron":"c","trigger":"tr","sender":"se","link":"l"}}`,
			secret.Request{Path: "p", Name: "n", Repo: secret.Repo{UID: "u", Slug: "s", DefaultBranch: "d"}, Build: secret.Build{
				Number: -3, Event: "e", Ref: "r", SHA: "a", Source: "so", SourceRepo: "sr", Target: "t", DeployTo: "dt", Cron: "c",
				Trigger: "tr", Sender: "se", Link: "l"}}},
		"text that means nothing to JSON": {`{"name":"\u0000\n../\ud83d\ude00\u202e","repo":{},"build":{}}`,
			secret.Request{Name: "\x00\n../\U0001f600\u202e"}},
	} {
		got, err := drone.ParseRequest([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

func TestParseErrorsQuoteNothing(t *testing.T) {
	for _, b := range []string{`{"` + repoSecret + `":1,"` + repoSecret + `":1}`, `{"name":["` + repoSecret + `"]}`, repoSecret} {
		if _, err := drone.ParseRequest([]byte(b)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", b, err)
		}
	}
}
