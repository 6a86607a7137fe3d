package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// platform is a file that confines payments.yaml.
const platform = `version: 1
vaults: {shared: {url: https://kv-shared.vault.azure.net}, pay-prod: {url: https://kv-pay.vault.azure.net}}
pools: {prod: {keys: [{id: a, env: PROD}]}, edge: {keys: [{id: a, env: EDGE}]}}
groups: {deployers: [alice, bob]}
files:
  payments.yaml:
    repos: ["acme/payments-*", {slug: acme/ledger, uid: "7"}]
    read: ["pay-prod/*", "shared/ci-*@*", "shared/npm/token"]
    pools: [default, prod]
bindings:
- {id: all, repos: ["acme/**"], pools: [edge, prod], actors: [deployers], read: ["shared/all-*", "pay-prod/x"]}
`

func loadConfined(t *testing.T, payments string) (*config.Config, config.Problems) {
	t.Helper()
	return config.Load(write(t, "main.yaml", platform, "payments.yaml", payments))
}

func TestConfinedFileMaySayWhatIsItsOwn(t *testing.T) {
	for _, body := range []string{
		"",
		"bindings: [{id: a, repos: [acme/payments-api, \"ACME/payments-x*\"], read: [\"pay-prod/**\", shared/ci-x, \"shared/ci-*@1*\", \"pay-prod/db/key\"]}]",
		"bindings: [{id: a, repos: [{slug: acme/ledger, uid: \"7\"}], pools: [prod], actors: [deployers], read: [shared/npm/token]}]",
		"bindings: [{id: a, repos: [acme/payments-api], names: {db: pay-prod/db/password, ci: shared/ci-x@12, npm: shared/npm/token}}]",
		"denies: [{id: a, repos: [\"acme/payments-*\"], read: [\"**\"]}]",
		"expect: [{repo: other/x, event: push, read: shared/root, decision: deny}]",
	} {
		if _, problems := loadConfined(t, "version: 1\n"+body+"\n"); len(problems) > 0 {
			t.Errorf("%v for\n%s", problems, body)
		}
	}
}

func TestConfinedFileReachesOutside(t *testing.T) {
	binding := func(body string) string { return "bindings: [{id: a, " + body + "}]" }
	const ours = `repos: ["acme/payments-*"]`
	for _, test := range []struct{ body, want string }{
		{binding(`repos: [§"acme/*"], read: [pay-prod/x]`), `acme/* reaches outside what MAIN:7:5 confines this file to: its repositories are acme/payments-*, acme/ledger with uid 7`},
		{binding(`repos: [§"acme/payments-*/**"], read: [pay-prod/x]`), "reaches outside"},
		{binding(`repos: [§acme/ledger], read: [pay-prod/x]`), "reaches outside"},
		{binding(`repos: [{slug: §acme/ledger, uid: "8"}], read: [pay-prod/x]`), "reaches outside"},
		{binding(ours + `, read: [§"shared/*"]`), `shared/* reaches outside what MAIN:7:5 confines this file to: its secrets are pay-prod/*, shared/ci-*@*, shared/npm/token`},
		{binding(ours + `, read: [pay-prod/x, §"pay-prod/x@*"]`), "reaches outside"},
		{binding(ours + `, read: [§shared/npm]`), "reaches outside"},
		{binding(ours + `, names: {a: §shared/npm}`), "shared/npm reaches outside"},
		{binding(ours + `, names: {a: §pay-prod/x@1}`), "pay-prod/x@1 reaches outside"},
		{binding(ours + `, pools: §[edge], read: [pay-prod/x]`), "edge reaches outside what MAIN:7:5 confines this file to: its pools are default, prod"},
		{"denies: [§{id: a}]", `without "repos" this deny holds for every repository, and MAIN:7:5 confines this file`},
		{"denies: [{id: a, repos: [§\"**\"]}]", "** reaches outside"},
		{"groups: §{alice: [mallory]}", `this file is confined at MAIN:7:5 and holds bindings, denies and expect alone: "groups" belongs in the file that confines it`},
		{"vaults: §{evil: {url: https://kv-evil.vault.azure.net}}", `"vaults" belongs`},
		{"tokens: §{arm: {identity: default, scope: https://management.azure.com/.default}}", `"tokens" belongs`},
		{"issuer: §{url: https://oidc.acme.example, server: drone.acme.example, keys: [{key: pay-prod/k@0123456789abcdef0123456789abcdef}]}", `"issuer" belongs`},
		{"pools: §{mine: {keys: [{id: a, env: MINE}]}}", `"pools" belongs`},
		{"identities: §{mine: {client_id: 3f2a4c55-1111-4222-8333-444455556666}}", `"identities" belongs`},
		{"record: §{file: /tmp/x}", `"record" belongs`},
		{"listen: §{encrypt: false}", `"listen" belongs`},
		{"limits: §{in_flight: 1}", `"limits" belongs`},
		{"log: §{level: debug}", `"log" belongs`},
		{"bindings: [{id: §all, repos: [acme/payments-api], read: [pay-prod/x]}]", `the id "all" is at MAIN:11:8 already`},
	} {
		clean, line, column := marked(t, "version: 1\n"+test.body+"\n")
		cfg, problems := loadConfined(t, clean)
		var errors []string
		for _, p := range problems {
			if !p.Warning {
				errors = append(errors, strings.ReplaceAll(p.Text, filepath.Dir(p.File)+"/main.yaml", "MAIN"))
				if filepath.Base(p.File) != "payments.yaml" || p.Line != line || p.Column != column {
					t.Errorf("want it at %d:%d: %v", line, column, p)
				}
			}
		}
		if cfg != nil || len(errors) != 1 || !strings.Contains(errors[0], test.want) {
			t.Errorf("want %q, got %q", test.want, errors)
		}
	}
}

// What is fine in one file is not fine in another for having been read before.
func TestConfinementIsOfOneFile(t *testing.T) {
	rule := func(id string) string {
		return "version: 1\nbindings: [{id: " + id + ", repos: [acme/x], read: [shared/secret]}]\n"
	}
	paths := write(t, "a.yaml", rule("a"), "b.yaml", rule("b"), "main.yaml", `version: 1
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
files:
  a.yaml: {repos: [acme/x], read: [shared/secret]}
  b.yaml: {repos: [acme/x], read: [shared/other]}
`)
	_, problems := config.Load(paths)
	if len(problems) != 1 || problems[0].File != paths[1] {
		t.Errorf("%v", problems)
	}
}

func TestFilesListedWrongly(t *testing.T) {
	for _, test := range []struct{ files, want string }{
		{"{§paymets.yaml: {repos: [a/b], read: [shared/x]}, payments.yaml: unconfined}", `paymets.yaml is not loaded: did you mean "payments.yaml"?`},
		{"{§other/x.yaml: unconfined, payments.yaml: unconfined}", "other/x.yaml is not loaded: name it on the command line too"},
		{"{§main.yaml: unconfined, payments.yaml: unconfined}", "this is the file itself"},
		{"{payments.yaml: unconfined, §./payments.yaml: unconfined}", "is listed already"},
		{"§{main.yaml: unconfined}", "payments.yaml is loaded and not listed"},
		{"{payments.yaml: §{repos: [acme/x]}}", `a confinement needs "read"`},
		{"{payments.yaml: §{read: [shared/x]}}", `a confinement needs "repos"`},
		{"{payments.yaml: {repos: [§acme], read: [shared/x]}}", "matches no repository"},
		{"{payments.yaml: {repos: [acme/x], read: [§shard/x]}}", `no vault is called "shard"`},
		{"{payments.yaml: {repos: [acme/x], read: [§\"*/x\"]}}", "names its vault"},
		{"{payments.yaml: {repos: [acme/x], read: [shared/x], pools: [§prod]}}", `no pool is called "prod"`},
		{"{payments.yaml: §any}", "a confinement is a mapping"},
		{"{payments.yaml: §}", "a confinement is a mapping"},
		{"§{}", `"files" is an empty mapping`},
	} {
		clean, line, column := marked(t, "version: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}\nfiles: "+test.files+"\n")
		_, problems := config.Load(write(t, "main.yaml", clean, "payments.yaml", "version: 1\n"))
		found := false
		for _, p := range problems {
			found = found || !p.Warning && p.Line == line && p.Column == column && strings.Contains(p.Text, test.want)
		}
		if !found {
			t.Errorf("want %d:%d %q, got\n%v", line, column, test.want, problems)
		}
	}
	paths := write(t, "a.yaml", "version: 1\nfiles: {b.yaml: unconfined}\n", "b.yaml", "version: 1\nfiles: {a.yaml: unconfined}\n")
	if _, problems := config.Load(paths); problems.Errors() != 1 || !strings.Contains(problems.String(), "only one file has it") {
		t.Errorf("%v", problems)
	}
}

// Whatever a confined file says and Load accepts: no build outside the confinement gets anything by it, nobody gets a secret
// outside, and nobody outside loses anything.
func TestConfinementHolds(t *testing.T) {
	const main = `version: 1
vaults: {v: {url: https://kv-vvv.vault.azure.net}, w: {url: https://kv-www.vault.azure.net}}
bindings: [{id: others, repos: ["b/**", "a/*"], read: ["v/**", "w/*@*"]}]
`
	const files = "files: {team.yaml: {repos: [\"a/x*\", \"a/y/**\"], read: [\"v/c*\", \"w/d@*\", \"w/e/k\"]}}\n"
	repos := rapid.SampledFrom([]string{"a/x", "a/x*", "a/xx", "a/x*y", "a/y/**", "a/y/*", "a/y/*/z", "A/X1", "a/*", "a/**", "b/x", "**", "a/x/**", "*/x", "a/y"})
	reads := rapid.SampledFrom([]string{"v/c", "v/c*", "v/cd", "v/c/k", "v/c@1", "v/*", "v/**", "w/d", "w/d@*", "w/d@1*", "w/d/k", "w/e", "w/e/k", "w/e/*", "w/e@1/k", "w/*", "V/c"})
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	alone, _ := config.Load([]string{put("alone.yaml", main)})
	before, err := secret.NewPolicy(alone.Rules)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	rapid.Check(t, func(rt *rapid.T) {
		team := fmt.Sprintf("version: 1\nbindings: [{id: team, repos: [%q], read: [%q]}]\n", repos.Draw(rt, "repos"), reads.Draw(rt, "reads"))
		if rapid.Bool().Draw(rt, "with a deny") {
			team += fmt.Sprintf("denies: [{id: no, repos: [%q]}]\n", repos.Draw(rt, "denied"))
		}
		cfg, _ := config.Load([]string{put("main.yaml", main+files), put("team.yaml", team)})
		if cfg == nil {
			return
		}
		accepted++
		policy, err := secret.NewPolicy(cfg.Rules)
		if err != nil {
			rt.Fatal(err)
		}
		for _, slug := range []string{"a/x", "a/xx", "a/y", "a/y/z", "a/y/q/z", "a/z", "b/x", "a/x/z", "q/x"} {
			for _, name := range []string{"v/c", "v/cd", "v/d", "v/c/k", "v/c@1", "w/d", "w/d@1", "w/e", "w/e/k", "w/e/l", "w/e@1/k"} {
				r := secret.Request{Name: name, Pool: "default", Repo: secret.Repo{Slug: slug, UID: "1", DefaultBranch: "main"},
					Build: secret.Build{Event: "push", Ref: "refs/heads/main"}}
				was, is := before.Decide(r), policy.Decide(r)
				own := strings.HasPrefix(slug, "a/x") && strings.Count(slug, "/") == 1 || strings.HasPrefix(slug, "a/y/")
				ours := strings.HasPrefix(name, "v/c") && !strings.Contains(name, "@") || strings.HasPrefix(name, "w/d") || name == "w/e/k"
				if was.Allowed() && !is.Allowed() && !own || is.Allowed() && !was.Allowed() && !(own && ours) {
					rt.Fatalf("%s: %s to %s was %v and is %v", team, name, slug, was.Allowed(), is.Allowed())
				}
			}
		}
	})
	if accepted == 0 {
		t.Error("nothing was ever accepted")
	}
}
