package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

// checked runs Check on one file, and writes each problem as "line:column severity rule text".
func checked(t *testing.T, yaml string) (all []string) {
	t.Helper()
	cfg, problems := config.Check(write(t, "c.yaml", yaml))
	if cfg == nil {
		t.Fatalf("%v\nfor\n%s", problems, yaml)
	}
	for _, p := range problems {
		_, place, _ := strings.Cut(p.Place(), "c.yaml:")
		all = append(all, place+" "+p.Severity()+" "+p.Rule+" "+p.Text)
	}
	return all
}

func TestCheckFinds(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"bindings:\n- id: a\n  repos: [acme/x, \"acme/*\"]\n  read: [shared/x]\n", "5:19 note open-namespace whoever may create"},
		{"bindings:\n- id: a\n  repos: [\"**\"]\n  read: [shared/x]\n", "5:11 warning readable-by-all a gives its secrets to every repository"},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  when:\n    push: {}\n    pull_request: {from: same-repo}\n  read: [shared/x]\n",
			"8:19 note pull-request-access a gives its secrets to code that nobody has reviewed"},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  when: {pull_request: {from: any}}\n  read: [shared/x]\n", "6:24 warning fork-access"},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  read: [shared/x, shared/root-x]\ndenies: [{id: no-root, read: [\"*/root-*\"]}]\n",
			"6:20 warning denied-binding a never gives shared/root-x: the deny no-root withholds it"},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  names: {x: shared/x, root: shared/root-x}\ndenies: [{id: no-root, read: [\"*/root-*\"]}]\n",
			"6:24 warning denied-binding a never gives root: the deny no-root"},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  read: [shared/x]\n- id: b\n  repos: [acme/x]\n  read: [shared/x]\n", "7:3 warning shadowed-binding b gives nothing that a at"},
		{"bindings:\n- id: a\n  repos: [acme/..]\n  read: [shared/x]\n", "4:3 warning dead-binding a can never match"},
		{"groups: {deployers: [alice]}\nbindings:\n- id: a\n  repos: [acme/x]\n  actors: [deployers, deployer]\n  read: [shared/x]\n",
			`7:23 warning near-miss-name "deployer" is taken for a login: did you mean the group "deployers"?`},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  actors: [alice]\n  when: {promote: {deploy_to: [production]}, rollback: {deploy_to: [production]}}\n  read: [shared/x]\n" +
			"expect:\n- {repo: acme/x, event: promote, deploy_to: Production, decision: deny}\n",
			`10:45 warning near-miss-name "Production" is the only deploy target of this spelling: did you mean "production", as at`},
		{"bindings:\n- id: a\n  repos: [acme/x]\n  when: {promote: {deploy_to: [p]}}\n  actors: any\n  read: [shared/x]\n", "4:3 warning person-only-event a: promote proves"},
		{"denies: [{id: d, read: [\"prod-*/x\"]}]\nbindings: [{id: a, repos: [acme/x], read: [shared/x]}]\n", "3:25 warning unreachable-alias"},
	} {
		all := checked(t, top(test.body))
		if len(all) != 1 || !strings.HasPrefix(all[0], test.want) {
			t.Errorf("want %q, got %q\nfor\n%s", test.want, all, test.body)
		}
	}
}

// Notes are bounded by themselves: they neither become a warning nor take the place of one.
func TestNotesAreBounded(t *testing.T) {
	yaml := top("bindings:\n")
	for i := range 1500 {
		yaml += fmt.Sprintf("- {id: b%d, repos: [\"acme-%d/*\"], read: [shared/x%d]}\n", i, i, i)
	}
	yaml += "- {id: twin, repos: [acme-1/x], read: [shared/x1]}\n"
	cfg, problems := config.Check(write(t, "c.yaml", yaml))
	if cfg == nil || problems.Errors() > 0 || problems.Warnings() != 1 || problems.Notes() != 201 {
		t.Errorf("%d errors, %d warnings, %d notes", problems.Errors(), problems.Warnings(), problems.Notes())
	}
}

// What is good prints nothing, and neither do numbers that are meant to differ.
func TestCheckIsQuiet(t *testing.T) {
	for _, body := range []string{
		"bindings:\n- {id: a, repos: [acme/x], read: [\"shared/*\"]}\ndenies: [{id: no-root, read: [\"*/root-*\"]}]\n",
		"groups: {team-1: [alice], team-2: [bob]}\nbindings:\n- {id: a, repos: [acme/x], actors: [team-1, team-2, team-3], read: [shared/x]}\n",
		"bindings:\n- {id: a, repos: [acme/x], actors: [al], when: {promote: {deploy_to: [stage-1, stage-2]}, rollback: {deploy_to: [stage-1]}}, read: [shared/x]}\n",
		"bindings:\n- {id: a, repos: [acme/x], read: [shared/x]}\n- {id: b, repos: [acme/x], when: {tag: {tags: [\"v*\"]}}, read: [shared/x]}\n",
	} {
		if all := checked(t, top(body)); all != nil {
			t.Errorf("%q\nfor\n%s", all, body)
		}
	}
}

// Every problem names a rule that is described, and the reference lists each.
func TestEveryRuleIsDescribed(t *testing.T) {
	var ids []string
	for _, rule := range config.Checks() {
		if rule.Text == "" || slices.Contains(ids, rule.ID) {
			t.Errorf("%+v", rule)
		}
		ids = append(ids, rule.ID)
		if rule.Severity != "error" && !strings.Contains(readReference(t), "| `"+rule.ID+"` | "+rule.Severity+" |") {
			t.Errorf("%s is not in %s as a %s", rule.ID, reference, rule.Severity)
		}
	}
	_, mistakes := config.Check([]string{"testdata/mistakes.yaml"})
	_, sample := config.Check([]string{"testdata/sample.yaml"})
	for _, p := range append(mistakes, sample...) {
		if !slices.Contains(ids, p.Rule) {
			t.Errorf("no rule %q, of %v", p.Rule, p)
		}
	}
}

const expecting = `version: 1
vaults: {shared: {url: https://kv-shared.vault.azure.net}, prod: {url: https://kv-prod.vault.azure.net}}
pools: {prod: {keys: [{id: a, env: PROD}]}}
groups: {deployers: [alice, bob]}
bindings:
- {id: ci, repos: [acme/app, acme/lib], read: ["shared/ci-*"]}
- id: deploy
  repos: [{slug: acme/app, uid: "42"}]
  when: {promote: {deploy_to: ["prod-*"], branches: [main, "rel/*"]}, tag: {tags: ["v*"]}}
  actors: [deployers]
  pools: [prod]
  names: {db: prod/db/password}
- {id: lib, repos: [acme/lib], read: [prod/lib], when: {pull_request: {from: same-repo}}}
denies:
- {id: no-bob, actors: [bob], repos: [acme/app]}
expect:
`

func TestExpectationsHold(t *testing.T) {
	yaml := expecting
	for _, e := range []string{
		"repo: acme/app, event: pull_request, read: prod/db, decision: deny",
		"repo: acme/app, event: push, ref: refs/heads/main, read: shared/ci-x, decision: allow",
		"repo: acme/app, event: push, ref: refs/heads/x, read: shared/ci-x, decision: deny",
		"repo: acme/app, event: push, ref: refs/heads/x, default_branch: x, read: shared/ci-x, decision: allow",
		"repo: acme/app, event: push, decision: allow",
		"repo: acme/app, event: push, pool: prod, decision: deny",
		"repo: acme/app, event: promote, trigger: mallory, decision: deny",
		"repo: acme/app, trigger: bob, decision: deny",
		"repo: acme/app, event: promote, sender: bob, read: db, decision: allow", // alice pressed the button
		"repo: acme/app, uid: \"43\", read: db, decision: deny",
		"read: prod/db, decision: deny", // the key alone is given
		"read: prod/db/password, decision: allow",
		"read: prod/db/password, only: [deploy]",
		"read: db, only: [deploy]",
		"repo: acme/app, only: [ci, deploy]",
		"repo: acme/app, event: tag, only: [deploy]",
		"repo: acme/lib, event: pull_request, only: [lib]",
		"repo: acme/lib, event: pull_request, source_repo: mallory/lib, decision: deny",
	} {
		yaml += "- {" + e + "}\n"
	}
	if all := slices.DeleteFunc(checked(t, yaml), func(s string) bool { return !strings.Contains(s, " error ") }); len(all) > 0 {
		t.Errorf("%s", strings.Join(all, "\n"))
	}
}

func TestExpectationsDisappoint(t *testing.T) {
	for _, test := range []struct{ expect, want string }{
		{"repo: acme/app, read: shared/ci-x, decision: deny", "expected deny, and ci allows shared/ci-x to acme/app, push refs/heads/main"},
		{"repo: acme/app, event: tag, decision: deny", `expected deny, and deploy allows db to acme/app with uid 42, tag refs/tags/v? by alice, pool prod (? stands for anything)`},
		{"read: db, event: promote, decision: deny", `allows db to acme/app with uid 42, promote to prod-? refs/heads/main by alice, pool prod`},
		{"repo: acme/lib, event: pull_request, decision: deny", "allows prod/lib to acme/lib, pull_request refs/pull/1/head from acme/lib into main"},
		{"repo: acme/app, event: promote, trigger: mallory, read: db, decision: allow", "expected allow, and db to acme/app with uid 42, promote to prod-? refs/heads/main by mallory, pool prod (? stands for anything) is denied: actor (deploy at FILE:7: actor: wants alice or bob, got mallory)"},
		{"repo: acme/app, trigger: bob, read: db, decision: allow", "is denied: deny (no-bob at FILE:15: deny matches)"},
		{"repo: acme/app, event: push, pool: prod, read: shared/ci-x, decision: allow", "pool (ci at FILE:6: pool: wants default, got prod)"},
		{"repo: acme/app, read: prod/other, decision: allow", "no binding of the repository gives it to any build"},
		{"repo: acme/app, event: cron, read: shared/ci-x, decision: allow", "event (ci at FILE:6: event: wants push, got cron)"},
		{"read: shared/ci-x, only: [deploy]", "expected only deploy to give it, and ci allows shared/ci-x to acme/app, push refs/heads/main\n" +
			"expected deploy to give it, and it does so to no build that fits"},
	} {
		var texts []string
		yaml := expecting + "- {" + test.expect + "}\n"
		_, problems := config.Check(write(t, "c.yaml", yaml))
		for _, p := range problems {
			if p.Rule == "expectation" {
				texts = append(texts, strings.ReplaceAll(p.Text, p.File, "FILE"))
				if p.Line != 17 || p.Column != 3 || p.Warning {
					t.Errorf("at the wrong place: %v", p)
				}
			}
		}
		if got := strings.Join(texts, "\n"); !strings.Contains(got, test.want) {
			t.Errorf("%s\nwant %s\ngot  %s", test.expect, test.want, got)
		}
	}
}
