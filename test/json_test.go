package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// plainBody asks for what the configuration gives, with no more fields than need be.
const plainBody = `{"path":"shared","name":"ci-token",` +
	`"repo":{"id":1,"uid":"1","slug":"acme/app","default_branch":"main","secret":"` + repoSecret + `"},` +
	`"build":{"number":7,"event":"push","ref":"refs/heads/main","source_repo":"","source":"main","target":"main",` +
	`"trigger":"@hook","sender":"alice","link":"https://forge.example/7"}}`

// said is a request whose body is not what drone-go would write, signed by a key's holder all the same.
func said(body string) *message { return genuine(body).sign(runnerKey, five) }

// instead returns the good body with one place changed. It panics where that is not there exactly once, so that no case
// can be about nothing.
func instead(old, with string) string {
	if strings.Count(plainBody, old) != 1 {
		panic(fmt.Sprintf("%q is %d times in %s", old, strings.Count(plainBody, old), plainBody))
	}
	return strings.Replace(plainBody, old, with, 1)
}

// besides adds members in front of what the place opens.
func besides(place, members string) string { return instead(place, place+members+",") }

const (
	top     = `{"path"`
	inRepo  = `"repo":{`
	inBuild = `"build":{`
)

// atTop adds members at the top of the document.
func atTop(members string) string { return instead(top, "{"+members+`,"path"`) }

// document is a body and what must become of it.
type document struct {
	name string
	body string
	want verdict
}

var (
	malformed = fails(http.StatusBadRequest, "malformed")
	good      = gets("kv-shared/ci-token")
)

// documents sends each to one server: what is malformed is on record as the pool's, with nothing that was claimed in it.
func documents(t *testing.T, list []document) {
	t.Helper()
	t.Parallel()
	s := startOne(t)
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			r := s.send(said(d.body))
			if d.want == good {
				s.gotOne(t, r)
				s.servesOne(t)
				return
			}
			e := s.recorded(r.refused(t, d.want.status))
			if e.Kind != "secret" || e.Outcome != d.want.outcome() || e.Reason != d.want.reason || e.Pool != "default" || e.Key != "DRONE_SECRET" {
				t.Errorf("on record is %s %s: %q, want %s: %q\n%s", e.Kind, e.Outcome, e.Reason, d.want.outcome(), d.want.reason, e.Line)
			}
			if d.want.reason == "malformed" && (e.Repo.Slug != "" || e.Asked.Name != "" || e.Build.Event != "") {
				t.Errorf("what can't be read is quoted on record: %s", e.Line)
			}
			s.servesOne(t)
		})
	}
}

func TestJ1NoNameStandsTwice(t *testing.T) {
	documents(t, []document{
		{"J1 name", atTop(`"name":"ci-other"`), malformed},
		{"J1 name, the same", atTop(`"name":"ci-token"`), malformed},
		{"J1 name, written with an escape", atTop(`"n\u0061me":"ci-other"`), malformed},
		{"J1 path", instead(`"path":"shared"`, `"path":"shared","path":"shared"`), malformed},
		{"J1 repo", atTop(`"repo":{}`), malformed},
		{"J1 build", atTop(`"build":{"event":"push"}`), malformed},
		{"J1 uid", besides(inRepo, `"uid":"2"`), malformed},
		{"J1 slug", besides(inRepo, `"slug":"acme/other"`), malformed},
		{"J1 default_branch", besides(inRepo, `"default_branch":"evil"`), malformed},
		{"J1 event", besides(inBuild, `"event":"cron"`), malformed},
		{"J1 ref", besides(inBuild, `"ref":"refs/heads/evil"`), malformed},
		{"J1 trigger", besides(inBuild, `"trigger":"alice"`), malformed},
		{"J1 a name that nobody reads", atTop(`"x":1,"x":2`), malformed},
		{"J1 inside params", besides(inBuild, `"params":{"a":"1","a":"2"}`), malformed},
		{"J1 inside a list that nobody reads", besides(inBuild, `"steps":[{"a":1,"a":2}]`), malformed},
	})
}

func TestJ2ATwinIsNeverTakenForTheField(t *testing.T) {
	documents(t, []document{
		{"J2 NAME beside name", atTop(`"NAME":"ci-other"`), good},
		{"J2 Name after name", instead(`"name":"ci-token"`, `"name":"ci-token","Name":"ci-other"`), good},
		{"J2 NAME alone", instead(`"name":"ci-token"`, `"NAME":"ci-token"`), denied("name")},
		{"J2 ſlug beside slug", besides(inRepo, `"ſlug":"acme/other"`), good},
		{"J2 ſlug alone", instead(`"slug":"acme/app"`, `"ſlug":"acme/app"`), denied("repo")},
		{"J2 SLUG alone", instead(`"slug":"acme/app"`, `"SLUG":"acme/app"`), denied("repo")},
		{"J2 UID alone", instead(`"uid":"1"`, `"UID":"1"`), denied("uid")},
		{"J2 Event alone", instead(`"event":"push"`, `"Event":"push"`), denied("event")},
		{"J2 REF beside ref", besides(inBuild, `"REF":"refs/heads/evil"`), good},
		{"J2 defaultbranch alone", instead(`"default_branch":"main"`, `"defaultBranch":"main"`), denied("ref")},
		{"J2 a blank behind a name", instead(`"event":"push"`, `"event ":"push"`), denied("event")},
		{"J2 Repo alone", instead(inRepo, `"Repo":{`), malformed},
		{"J2 BUILD beside build", atTop(`"BUILD":{"event":"cron"}`), good},
	})
}

func TestJ3WhatNobodyKnowsIsFine(t *testing.T) {
	documents(t, []document{
		{"J3 case twins in params", besides(inBuild, `"params":{"image":"a","IMAGE":"b","Image":"c"}`), good},
		{"J3 a new field at the top", atTop(`"later":{"a":[1,2,{"b":null}]}`), good},
		{"J3 a new field of the repository", besides(inRepo, `"later":true`), good},
		{"J3 a new field of the build", besides(inBuild, `"later":null`), good},
		{"J3 a number no computer holds", atTop(`"later":1e999999`), good},
		{"J3 blanks around everything", " \t\r\n" + strings.ReplaceAll(plainBody, `,"repo"`, "\n ,\t\"repo\"") + " \r\n\t", good},
		{"J3 the name written with escapes", instead(`"ci-token"`, `"\u0063i\u002dtoken"`), good},
		{"J3 steps and stages", besides(inBuild, `"stages":[{"id":1,"steps":[{"name":"x"},{"name":"x"}]}]`), good},
	})
}

func TestJ4J5J6OneDocumentOfSaneText(t *testing.T) {
	const depth = 100_000
	documents(t, []document{
		{"J4 lists in lists", atTop(`"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth)), malformed},
		{"J4 lists that never close", atTop(`"x":` + strings.Repeat("[", depth)), malformed},
		{"J4 objects in objects", atTop(`"x":` + strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)), malformed},
		{"J4 nothing but lists", strings.Repeat("[", 1<<20), malformed},

		{"J5 a byte that is no UTF-8, in a name", instead("ci-token", "ci-\xfftoken"), malformed},
		{"J5 a character cut short", instead("ci-token", "ci-token\xe2\x82"), malformed},
		{"J5 an overlong slash", instead("acme/app", "acme\xc0\xafapp"), malformed},
		{"J5 in a field that nobody reads", atTop("\"x\":\"\xff\""), malformed},
		{"J5 in a field's name", atTop("\"\xff\":1"), malformed},
		{"J5 a lone surrogate", instead("ci-token", `ci-\ud800token`), malformed},
		{"J5 surrogates the wrong way round", instead("ci-token", `ci-\udc00\ud800`), malformed},
		{"J5 a lone surrogate that nobody reads", atTop(`"x":"\ud800"`), malformed},
		{"J5 UTF-16", "\xff\xfe{\x00}\x00", malformed},

		{"J6 a byte behind", plainBody + "x", malformed},
		{"J6 a NUL behind", plainBody + "\x00", malformed},
		{"J6 two documents", plainBody + plainBody, malformed},
		{"J6 two documents in two lines", plainBody + "\n" + plainBody, malformed},
		{"J6 a list of it", "[" + plainBody + "]", malformed},
		{"J6 a BOM", "\ufeff" + plainBody, malformed},
		{"J6 nothing", "", malformed},
		{"J6 blanks", "   ", malformed},
		{"J6 null", "null", malformed},
		{"J6 an empty list", "[]", malformed},
		{"J6 an empty object", "{}", malformed},
		{"J6 a word", `"ci-token"`, malformed},
		{"J6 true", "true", malformed},
		{"J6 a number", "42", malformed},
		{"J6 half of it", plainBody[:len(plainBody)/2], malformed},
		{"J6 all but its end", plainBody[:len(plainBody)-1], malformed},
		{"J6 no repository", instead(`,"repo":`, `,"nobody":`), malformed},
		{"J6 no build", instead(`,"build":`, `,"nothing":`), malformed},
		{"J6 a comma too many", instead(`"repo":{`, `,"repo":{`), malformed},
		{"J6 a comment", instead(top, `/* hello */ {"path"`), malformed},
		{"J6 single quotes", strings.ReplaceAll(plainBody, `"`, `'`), malformed},
		{"J6 a newline inside a string", instead("ci-token", "ci-\ntoken"), malformed},
	})
}

func TestJ8EachFieldIsOfItsType(t *testing.T) {
	list := []document{
		{"J8 a repository that is a list", instead(inRepo, `"repo":[],"x":{`), malformed},
		{"J8 a repository that is a string", instead(inRepo, `"repo":"acme/app","x":{`), malformed},
		{"J8 a repository that is null", instead(inRepo, `"repo":null,"x":{`), malformed},
		{"J8 a build that is null", instead(inBuild, `"build":null,"x":{`), malformed},
		{"J8 a build's number in quotes", instead(`"number":7`, `"number":"7"`), malformed},
		{"J8 a build's number that is none", instead(`"number":7`, `"number":7.5`), malformed},
		{"J8 a build's number beyond all bounds", instead(`"number":7`, `"number":9223372036854775808`), malformed},
		{"J8 the largest build's number", instead(`"number":7`, `"number":9223372036854775807`), good},
	}
	for field, place := range map[string]string{
		"path": `"path":"shared"`, "name": `"name":"ci-token"`, "uid": `"uid":"1"`, "slug": `"slug":"acme/app"`,
		"default_branch": `"default_branch":"main"`, "event": `"event":"push"`, "ref": `"ref":"refs/heads/main"`,
		"trigger": `"trigger":"@hook"`, "sender": `"sender":"alice"`, "source_repo": `"source_repo":""`, "source": `"source":"main"`,
		"target": `"target":"main"`, "link": `"link":"https://forge.example/7"`,
	} {
		name, _, _ := strings.Cut(place, ":")
		for _, value := range []string{"42", "true", "null", "[]", "{}"} {
			list = append(list, document{"J8 " + value + " for " + field, instead(place, name+":"+value), malformed})
		}
	}
	documents(t, list)
}

// sized pads the good body with a field that nobody reads to exactly n bytes.
func sized(n int) string {
	body := atTop(`"padding":""`)
	return strings.Replace(body, `"padding":""`, `"padding":"`+strings.Repeat("A", n-len(body))+`"`, 1)
}

func TestJ7ABodyHasABound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		bound        int
	}{
		{"1 MiB by default", one, 1 << 20},
		{"as configured", one + "limits: {body: 4KiB, drain: 1s}\n", 4 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.config)
			s.fill("kv-shared/ci-token")
			s.gotOne(t, s.send(said(sized(c.bound-1))))
			s.gotOne(t, s.send(said(sized(c.bound))))
			for _, n := range []int{c.bound + 1, c.bound + 2, 2 * c.bound, 8 * c.bound} {
				r := s.send(said(sized(n)))
				e := s.recorded(r.refused(t, http.StatusRequestEntityTooLarge))
				if e.Kind != "secret" || e.Outcome != "failed" || e.Reason != "malformed" {
					t.Errorf("%d bytes are on record as %s", n, e.Line)
				}
				s.servesOne(t)
			}
		})
	}
}
