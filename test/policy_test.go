package test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// law has a binding for each way in which a build can be meant.
const law = `
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  pay:    {url: https://kv-pay.vault.azure.net}
  closed: {url: https://kv-closed.vault.azure.net}
pools:
  default: {keys: [{id: d1, env: DRONE_SECRET}]}
  prod:    {keys: [{id: p1, env: PROD_KEY}]}
groups: {deployers: [alice, bob]}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*"]}
  - {id: main-ci, repos: [acme/strict], when: {push: {branches: [main]}}, read: ["shared/ci-*"]}
  - {id: open-pr, repos: [acme/open], when: {pull_request: {from: same-repo}}, read: ["shared/ci-*"]}
  - {id: wide-pr, repos: [acme/wide], when: {pull_request: {from: any}}, read: ["shared/ci-*"]}
  - {id: releases, repos: [acme/lib], when: {push: {branches: ["release/*"]}}, read: ["shared/ci-*"]}
  - {id: tools, repos: [acme/tool], when: {custom: {}}, actors: [alice], read: ["shared/ci-*"]}
  - {id: nightly, repos: [acme/app], when: {cron: {cron: [nightly]}}, read: ["shared/night"]}
  - id: deploy
    repos: [{slug: acme/pay, uid: "42"}]
    when: {promote: {deploy_to: [production]}, rollback: {deploy_to: [production]}}
    actors: [deployers]
    read: ["pay/deploy-*"]
  - {id: prod-only, repos: [acme/live], pools: [prod], read: ["pay/live"]}
denies:
  - {id: no-root, read: ["*/ci-root"], reason: root keys never reach CI}
`

func startLaw(t *testing.T) *server {
	t.Helper()
	s := start(t, law, env("PROD_KEY", prodKey), canary(prodKey))
	s.fill("kv-shared/ci-token", "kv-shared/ci-root", "kv-shared/night", "kv-shared/other",
		"kv-pay/deploy-db", "kv-pay/live", "kv-closed/ci-token")
	return s
}

// The look-alikes of main: none is the branch that the binding means.
var lookalikes = map[string]string{
	"MAIN": "MAIN", "Main": "Main", "a Cyrillic letter": "mаin", "a zero-width space": "main\u200b", "a joiner in it": "ma\u200din",
	"a right-to-left mark": "main\u202e", "full-width letters": "ｍａｉｎ", "a dotless i": "maın", "a blank behind": "main ",
	"a blank in front": " main", "a newline": "main\n", "a NUL": "main\x00", "a slash behind": "main/", "a part in front": "x/main",
	"the ref again": "refs/heads/main", "a pattern": "*", "nothing": "",
}

func TestLThePolicyHoldsFromOutside(t *testing.T) {
	t.Parallel()
	s := startLaw(t)
	token, deploy := gets("kv-shared/ci-token"), gets("kv-pay/deploy-db")
	pay := func(b build) build { return b.uid("42") }
	rows := []row{
		{"a push to the default branch", push("acme/app"), "shared/ci-token", token},
		{"L1 a pull request, no opt-in", pull("acme/app"), "shared/ci-token", denied("event")},
		{"L1 a fork's, no opt-in", pull("acme/app").from("mallory/app"), "shared/ci-token", denied("event")},

		{"L2 a same-repository pull request under same-repo", pull("acme/open"), "shared/ci-token", token},
		{"L2 written with other capitals", pull("acme/open").from("Acme/Open"), "shared/ci-token", token},
		{"L2 a fork's under same-repo", pull("acme/open").from("mallory/open"), "shared/ci-token", denied("fork")},
		{"L2 one whose fork is gone", pull("acme/open").from(""), "shared/ci-token", denied("fork")},
		{"L2 a stranger's by Gitea's AGit flow", pull("acme/open").source("refs/for/main"), "shared/ci-token", denied("fork")},
		{"L2 GitLab's merge request", pull("acme/open").ref("refs/merge-requests/7/head"), "shared/ci-token", denied("fork")},
		{"L2 of another number's form", pull("acme/open").ref("refs/pull/7x/head"), "shared/ci-token", denied("fork")},
		{"L2 of no number", pull("acme/open").ref("refs/pull//head"), "shared/ci-token", denied("fork")},
		{"L2 merged in advance", pull("acme/open").ref("refs/pull/7/merge"), "shared/ci-token", denied("fork")},
		{"L2 that says it is main", pull("acme/open").ref("refs/heads/main"), "shared/ci-token", denied("fork")},
		{"L2 into another branch", pull("acme/open").into("release"), "shared/ci-token", denied("ref")},
		{"L2 a fork's under any", pull("acme/wide").from("mallory/wide"), "shared/ci-token", token},
		{"L2 a push where pull requests are meant", push("acme/open"), "shared/ci-token", denied("event")},

		{"L3 a push to main", push("acme/strict"), "shared/ci-token", token},
		{"L3 a pull request into main", pull("acme/strict"), "shared/ci-token", denied("event")},
		{"L3 a fork's pull request into main", pull("acme/strict").from("mallory/strict"), "shared/ci-token", denied("event")},
		{"L3 a push to a branch, aimed at main", push("acme/strict").branch("feature").into("main"), "shared/ci-token", denied("ref")},
		{"L3 a push of a pull request's ref", push("acme/strict").ref("refs/pull/7/head"), "shared/ci-token", denied("fork")},

		{"L5 a release branch", push("acme/lib").branch("release/1.0"), "shared/ci-token", token},
		{"L5 one level deeper", push("acme/lib").branch("release/a/b"), "shared/ci-token", denied("ref")},
		{"L5 the prefix alone", push("acme/lib").branch("release"), "shared/ci-token", denied("ref")},
		{"L5 nothing behind it", push("acme/lib").branch("release/"), "shared/ci-token", denied("ref")},
		{"L5 something before it", push("acme/lib").branch("x/release/1"), "shared/ci-token", denied("ref")},
		{"L5 the default branch, which isn't listed", push("acme/lib"), "shared/ci-token", denied("ref")},
		{"L5 a tag of that name", push("acme/lib").ref("refs/tags/release/1.0"), "shared/ci-token", denied("ref")},
		{"L5 without refs/heads", push("acme/lib").ref("release/1.0"), "shared/ci-token", denied("fork")},

		{"L6 a custom build, not in when", custom("acme/app"), "shared/ci-token", denied("event")},
		{"L6 a custom build, in when, by the person named", custom("acme/tool"), "shared/ci-token", token},
		{"L6 by somebody else", custom("acme/tool").by("mallory"), "shared/ci-token", denied("actor")},
		{"L6 by nobody", custom("acme/tool").trigger("@hook").sender(""), "shared/ci-token", denied("actor")},
		{"L6 by the schedule, whose sender is a commit's author", custom("acme/tool").trigger("@cron").sender("alice"), "shared/ci-token", denied("actor")},
		{"L6 by somebody else, of what alice had pushed", custom("acme/tool").by("mallory").sender("alice"), "shared/ci-token", denied("actor")},
		{"L6 by ALICE, as forges compare", custom("acme/tool").by("ALICE"), "shared/ci-token", token},
		{"L6 by a look-alike", custom("acme/tool").by("аlice"), "shared/ci-token", denied("actor")},

		{"L7 a promotion of main by the right person", pay(promote("acme/pay", "production")), "pay/deploy-db", deploy},
		{"L7 a promotion of a pull request's ref", pay(promote("acme/pay", "production")).ref("refs/pull/7/head"), "pay/deploy-db", denied("fork")},
		{"L7 a promotion of a fork's code", pay(promote("acme/pay", "production")).from("mallory/pay"), "pay/deploy-db", denied("fork")},
		{"L7 a rollback to a pull request's ref", pay(rollback("acme/pay", "production")).ref("refs/pull/7/head"), "pay/deploy-db", denied("fork")},
		{"L7 a rollback by the other deployer", pay(rollback("acme/pay", "production")).by("bob"), "pay/deploy-db", deploy},
		{"L7 by somebody who may not", pay(promote("acme/pay", "production")).by("mallory"), "pay/deploy-db", denied("actor")},
		{"L7 of another branch", pay(promote("acme/pay", "production")).branch("feature"), "pay/deploy-db", denied("ref")},
		{"L7 by a member of no group called deployers", pay(promote("acme/pay", "production")).by("deployers"), "pay/deploy-db", denied("actor")},

		{"L8 Production", pay(promote("acme/pay", "Production")), "pay/deploy-db", denied("deploy_to")},
		{"L8 production and a blank", pay(promote("acme/pay", "production ")), "pay/deploy-db", denied("deploy_to")},
		{"L8 nowhere", pay(promote("acme/pay", "")), "pay/deploy-db", denied("deploy_to")},
		{"L8 two targets", pay(promote("acme/pay", "production,staging")), "pay/deploy-db", denied("deploy_to")},

		{"L9 the cron job", cron("acme/app", "nightly"), "shared/night", gets("kv-shared/night")},
		{"L9 on the wrong branch", cron("acme/app", "nightly").branch("evil"), "shared/night", denied("ref")},
		{"L9 another job", cron("acme/app", "hourly"), "shared/night", denied("cron")},
		{"L9 with capitals", cron("acme/app", "Nightly"), "shared/night", denied("cron")},
		{"L9 a push that names it", func() build { b := push("acme/app"); b.build.Cron = "nightly"; return b }(), "shared/night", denied("event")},

		{"L10 the right slug, another uid", promote("acme/pay", "production").uid("43"), "pay/deploy-db", denied("uid")},
		{"L10 the right slug, a longer uid", promote("acme/pay", "production").uid("042"), "pay/deploy-db", denied("uid")},
		{"L10 the right uid, another slug", promote("acme/pay2", "production").uid("42"), "pay/deploy-db", denied("repo")},
		{"L10 the slug with other capitals", promote("Acme/PAY", "production").uid("42"), "pay/deploy-db", deploy},
		{"L10 a look-alike slug", push("аcme/app"), "shared/ci-token", denied("repo")},

		{"L11 no uid", push("acme/app").uid(""), "shared/ci-token", denied("uid")},
		{"L12 the wrong pool's key", push("acme/live"), "pay/live", denied("pool")},

		{"a deny wins", push("acme/app"), "shared/ci-root", denied("deny")},
		{"a secret that no binding gives", push("acme/app"), "shared/other", denied("read")},
		{"a vault that no binding names", push("acme/app"), "closed/ci-token", denied("read")},
		{"a vault that nobody configured", push("acme/app"), "kv-shared/ci-token", denied("name")},
		{"a name that nobody maps", push("acme/app"), "ci-token", denied("name")},
	}
	for name, branch := range lookalikes {
		rows = append(rows, row{"L4 " + name, push("acme/strict").branch(branch), "shared/ci-token", denied("ref")},
			row{"L4 where the default branch is meant, " + name, push("acme/app").branch(branch), "shared/ci-token", denied("ref")})
	}
	for _, event := range []string{"merge", "deployment", "PUSH", "Push", "push ", "pull-request", "*", ""} {
		rows = append(rows, row{fmt.Sprintf("L15 the event %q", event), of(event, "acme/app"), "shared/ci-token", denied("event")})
	}
	s.rows(t, rows)
}

func (b build) slug(slug string) build { b.repo.Slug = slug; return b }

// The default branch is what Drone says it is: nobody has to configure it, and an empty one matches nothing.
func TestLTheDefaultBranchIsTheRepositorys(t *testing.T) {
	t.Parallel()
	s := startLaw(t)
	s.rows(t, []row{
		{"trunk", push("acme/app").defaultBranch("trunk").branch("trunk"), "shared/ci-token", gets("kv-shared/ci-token")},
		{"main, where trunk is the default", push("acme/app").defaultBranch("trunk"), "shared/ci-token", denied("ref")},
		{"none", push("acme/app").defaultBranch("").branch(""), "shared/ci-token", denied("ref")},
		{"none, and no branch", push("acme/app").defaultBranch("").ref("refs/heads"), "shared/ci-token", denied("fork")},
	})
}

// What names no repository gets nothing, not even what every repository may have.
func TestL11ARepositoryHasANamespaceANameAndAnID(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings: [{id: everybody, repos: ["**"], read: ["shared/motd"]}]
`)
	s.fill("kv-shared/motd")
	s.rows(t, []row{
		{"what everybody may have", push("any/body"), "shared/motd", gets("kv-shared/motd")},
		{"L11 no namespace", push("app"), "shared/motd", denied("repo")},
		{"L11 no name", push("acme/"), "shared/motd", denied("repo")},
		{"L11 nothing before the slash", push("/app"), "shared/motd", denied("repo")},
		{"L11 a slash alone", push("/"), "shared/motd", denied("repo")},
		{"L11 two slashes", push("acme//app"), "shared/motd", denied("repo")},
		{"L11 a way up", push("acme/../app"), "shared/motd", denied("repo")},
		{"L11 a dot", push("acme/."), "shared/motd", denied("repo")},
		{"L11 a blank", push("acme/a app"), "shared/motd", denied("repo")},
		{"L11 a newline", push("acme/app\n"), "shared/motd", denied("repo")},
		{"L11 no slug", push("/").slug(""), "shared/motd", denied("repo")},
		{"L11 no uid where everybody may", push("any/body").uid(""), "shared/motd", denied("uid")},
	})
}

func TestL12APoolIsItsKey(t *testing.T) {
	t.Parallel()
	s := startLaw(t)
	ask := func(key, slug, path, name string, want verdict) event {
		t.Helper()
		return s.expectOf(t, key, push(slug), path, name, want)
	}
	if e := ask(prodKey, "acme/live", "pay", "live", gets("kv-pay/live")); e.Pool != "prod" || e.Key != "p1" {
		t.Errorf("on record is %s", e.Line)
	}
	ask(runnerKey, "acme/live", "pay", "live", denied("pool"))
	ask(prodKey, "acme/app", "shared", "ci-token", denied("pool"))
	if e := ask(runnerKey, "acme/app", "shared", "ci-token", gets("kv-shared/ci-token")); e.Pool != "default" || e.Key != "d1" {
		t.Errorf("on record is %s", e.Line)
	}
}

// tricks are what a pipeline can write that is no secret's name. Each must end before anything goes upstream.
var tricks = map[string][2]string{
	"L13 a way up as path":             {"..", "ci-token"},
	"L13 a way up as name":             {"shared", ".."},
	"L13 a way up in the middle":       {"shared/../closed", "ci-token"},
	"L13 a way up in the name":         {"shared", "../closed/ci-token"},
	"L13 a dot as path":                {".", "ci-token"},
	"L13 a dot as name":                {"shared", "."},
	"L13 a query":                      {"shared", "ci-token?api-version=1"},
	"L13 a query in the path":          {"shared?x", "ci-token"},
	"L13 a question mark":              {"shared", "a?x"},
	"L13 a fragment":                   {"shared", "ci-token#x"},
	"L13 escaped dots":                 {"%2e%2e", "ci-token"},
	"L13 escaped dots as name":         {"shared", "%2e%2e"},
	"L13 an escaped slash":             {"shared%2fci-token", ""},
	"L13 NUL":                          {"shared", "ci-token\x00"},
	"L13 NUL in the path":              {"shared\x00", "ci-token"},
	"L13 a newline":                    {"shared", "ci-token\n"},
	"L13 CRLF and a header":            {"shared", "ci-token\r\nX-Evil: 1"},
	"L13 1 MB as name":                 {"shared", strings.Repeat("a", 1_000_000)},
	"L13 1 MB as path":                 {strings.Repeat("a", 1_000_000), "ci-token"},
	"L13 1 MB of slashes":              {strings.Repeat("/", 1_000_000), "ci-token"},
	"L13 a host as vault":              {"evil.example", "ci-token"},
	"L13 a host and a slash":           {"evil.example/x", "ci-token"},
	"L13 a URL":                        {"https://evil.example", "ci-token"},
	"L13 the vault's real host":        {"kv-shared.vault.azure.net", "ci-token"},
	"L13 a user in front":              {"shared@evil.example", "ci-token"},
	"L13 backslashes":                  {`shared\..\closed`, "ci-token"},
	"L13 an empty part":                {"shared//ci-token", ""},
	"L13 a slash in front":             {"/shared", "ci-token"},
	"L13 a slash behind":               {"shared/ci-token/", ""},
	"L13 four parts":                   {"shared/ci-token/a", "b"},
	"L13 a star":                       {"shared", "ci-*"},
	"L13 two stars":                    {"shared", "**"},
	"L13 an empty version":             {"shared", "ci-token@"},
	"L13 a version that is no version": {"shared", "ci-token@../x"},
	"L13 two versions":                 {"shared", "ci-token@a@b"},
	"L13 a blank":                      {"shared", "ci token"},
	"L13 a zero-width space":           {"shared", "ci-token\u200b"},
	"L13 a Cyrillic letter":            {"shared", "сi-token"},
	"L13 a Kelvin sign":                {"shared", "ci-to\u212aen"},
	"L13 an underscore":                {"shared", "ci_token"},
	"L13 a template":                   {"shared", "${DRONE_BRANCH}"},
	"L13 nothing":                      {"", ""},
	"L13 blanks":                       {" ", " "},
	"L13 too long a name":              {"shared", strings.Repeat("a", 128)},
	"L13 a key of dots":                {"shared/ci-token", ".."},
	"L13 the alias with capitals":      {"SHARED", "ci-token"},
}

func TestL13NoTrickGetsUpstream(t *testing.T) {
	t.Parallel()
	s := startLaw(t)
	s.serves(t, push("acme/app"), "shared/ci-token", "kv-shared/ci-token") // a token is there: what goes out now, goes to a vault
	for _, name := range slices.Sorted(maps.Keys(tricks)) {
		t.Run(name, func(t *testing.T) {
			path, asked := tricks[name][0], tricks[name][1]
			s.Emulator.Forget()
			e := s.expectOf(t, runnerKey, push("acme/app"), path, asked, denied("name"))
			for _, seen := range s.Emulator.Requests() {
				if seen.Token || seen.Path != "/secrets" { // the probe of each vault, which bears nothing, may fall between
					t.Errorf("%s %s%s was asked for", seen.Method, seen.Host, seen.Path)
				}
			}
			if len(e.Asked.Path) > 256 || len(e.Asked.Name) > 256 || e.Secret != "" {
				t.Errorf("on record is %.600s", e.Line)
			}
			s.serves(t, push("acme/app"), "shared/ci-token", "kv-shared/ci-token")
		})
	}
}

// Whatever is withheld, and whyever, looks like what isn't there: the same status, the same bytes but for the request's
// id, the same headers.
func TestL14WhatIsDeniedLooksLikeWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := startLaw(t)
	s.Vault("kv-shared").Set("ci-off", "canary-value-that-is-disabled", emulator.Disabled())
	s.Emulator.Vault("kv-pay.vault.azure.net", tenantID).Forbid(clientID)
	answer := func(b build, path, name string) (string, string) {
		t.Helper()
		r := s.send(genuine(b.body(path, name)).sign(runnerKey, five))
		id := r.refused(t, http.StatusNotFound)
		r.Header.Del("Date")
		text := fmt.Sprintf("%s\n%v\n%s", r.Line, r.Header, r.Body)
		return strings.ReplaceAll(text, id, "ID"), s.recorded(id).Reason
	}
	want, reason := answer(push("acme/app"), "nowhere", "ci-token")
	if reason != "name" {
		t.Fatalf("an alias that doesn't exist is denied: %s", reason)
	}
	for _, c := range []struct {
		name, reason string
		who          build
		path, asked  string
	}{
		{"an alias that exists", "read", push("acme/app"), "closed", "ci-token"},
		{"a deny", "deny", push("acme/app"), "shared", "ci-root"},
		{"another event", "event", pull("acme/app"), "shared", "ci-token"},
		{"another branch", "ref", push("acme/app").branch("x"), "shared", "ci-token"},
		{"another repository", "repo", push("acme/nobody"), "shared", "ci-token"},
		{"another pool", "pool", push("acme/live"), "pay", "live"},
		{"another uid", "uid", promote("acme/pay", "production"), "pay", "deploy-db"},
		{"another person", "actor", custom("acme/tool").by("mallory"), "shared", "ci-token"},
		{"granted, and not in the vault", "not-found", push("acme/app"), "shared", "ci-none"},
		{"granted, and a key that isn't there", "key", push("acme/app"), "shared/ci-token", "none"},
		{"granted, and disabled", "disabled", push("acme/app"), "shared", "ci-off"},
		{"granted, and the vault refuses", "vault-refused", promote("acme/pay", "production").uid("42"), "pay", "deploy-db"},
		{"a name alone", "name", push("acme/app"), "", "ci-token"},
		{"no name", "name", push("acme/app"), "..", ""},
	} {
		t.Run("L14 "+c.name, func(t *testing.T) {
			got, reason := answer(c.who, c.path, c.asked)
			if got != want {
				t.Errorf("it is answered\n%s\nand what doesn't exist\n%s", got, want)
			}
			if reason != c.reason {
				t.Errorf("on record is %q, want %q", reason, c.reason)
			}
		})
	}
	s.serves(t, push("acme/app"), "shared/ci-token", "kv-shared/ci-token")
}
