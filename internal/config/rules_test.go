package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// top is a configuration with a hole at the top level.
func top(body string) string {
	return "version: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}\n" + body
}

const person = `a person, not a commit: name the "actors" who may (or write actors: any)`

func TestBindingsRefused(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"  repos: [§acme]\n  read: [shared/x]\n", `"acme" matches no repository`},
		{"  repos: [§\"acme/[ab]\"]\n  read: [shared/x]\n", "has no meaning in a pattern"},
		{"  repos: [acme/a]\n  read: [§shard/x]\n", `no vault is called "shard": did you mean "shared"?`},
		{"  repos: [acme/a]\n  read: [§elsewhere/x]\n", `no vault is called "elsewhere": list it under vaults`},
		{"  repos: [acme/a]\n  read: [§\"*/x\"]\n", "a binding names its vault"},
		{"  repos: [acme/a]\n  read: [§shared]\n", "names no secret"},
		{"  repos: [acme/a]\n  read: [§shared/a_b]\n", "no Key Vault secret can be called"},
		{"  repos: [acme/a]\n  names: {db: §shared}\n", "a secret is named vault/secret"},
		{"  repos: [acme/a]\n  names: {db: §pay-prd/x}\n", `did you mean "pay-prod"?`},
		{"  repos: [acme/a]\n  names: {db: §shared/x*}\n", "shared/x*"},
		{"  repos: [acme/a]\n  names: {§a/b: shared/x}\n", "with a slash in it, it would be read as vault/secret"},
		{"  repos: [acme/a]\n  names: {§a b: shared/x}\n", "a blank or a character that can't be seen"},
		{"  repos: [acme/a]\n  names: {§\"a\\u200b\": shared/x}\n", "a blank or a character that can't be seen"},
		{"  repos: [acme/a]\n  names: {§\"\": shared/x}\n", "an empty string"},
		{"  when: §{}\n" + good, `"when" is an empty mapping`},
		{"  when: §push\n" + good, `write {push: {}}`},
		{"  when: §[push, tag]\n" + good, "when is a mapping (with push, tag, cron"},
		{"  when: {§promot: {}}\n" + good, `unknown event "promot": did you mean "promote"?`},
		{"  when: {§merge: {}}\n" + good, `unknown event "merge": when has push, tag, cron, promote, rollback, custom and pull_request`},
		{"  when: {push: §}\n" + good, "nothing is written for push: write push: {}"},
		{"  when: {push: {§tags: [v1]}}\n" + good, `unknown key "tags": push has branches`},
		{"  when: {push: {branches: §[]}}\n" + good, `"branches" is an empty list`},
		{"  when: {push: {branches: §main}}\n" + good, `"branches" is a list: write [main]`},
		{"  when: {push: {branches: [§ma?n]}}\n" + good, "has no meaning in a pattern"},
		{"  when: {tag: §{}}\n" + good, `tag needs "tags", as in tag: {tags: ["v*"]}`},
		{"  when: {cron: §{branches: [main]}}\n" + good, `cron needs "cron", as in cron: {cron: [nightly]}`},
		{"  when: {promote: §{}}\n  actors: [alice]\n" + good, `promote needs "deploy_to"`},
		{"  when: {rollback: §{tags: [v1]}}\n  actors: [alice]\n" + good, `rollback needs "deploy_to"`},
		{"  when: {pull_request: §{into: [main]}}\n" + good, `pull_request needs "from", as in pull_request: {from: same-repo}`},
		{"  when: {pull_request: {from: §same_repo}}\n" + good, `unknown from "same_repo": did you mean "same-repo"?`},
		{"  when: {pull_request: {from: any, §branches: [main]}}\n" + good, `unknown key "branches": pull_request has from and into`},
		{"  actors: §alice\n" + good, `"actors" is a list: write [alice]`},
		{"  actors: [§any]\n" + good, `"any" stands alone: write actors: any`},
		{"  actors: [§\"*\"]\n" + good, "people are named one by one"},
		{"  actors: [§\"@alice\"]\n" + good, "write it without the @"},
		{"  actors: [§\"alice smith\"]\n" + good, "a blank"},
		{"  pools: [§prd]\n" + good, `no pool is called "prd": did you mean "prod"?`},
		{"  pools: §[]\n" + good, `"pools" is an empty list`},
	} {
		refuses(t, rule(test.body), test.want)
	}
}

func TestBindingsRefusedAsAWhole(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{top("bindings:\n- §repos: [acme/a]\n  read: [shared/x]\n"), `a binding needs "id"`},
		{top("bindings:\n- §id: a\n  read: [shared/x]\n"), `a binding needs "repos"`},
		{top("bindings:\n- §id: a\n  repos: [acme/a]\n"), `a binding needs "read" or "names"`},
		{top("bindings:\n- §id: a\n  repos: [acme/a]\n  read: [shared/x]\n  when: {promote: {deploy_to: [p]}}\n"), "promote proves " + person},
		{top("bindings:\n- §id: a\n  repos: [acme/a]\n  read: [shared/x]\n  when: {custom: {}}\n"), "custom proves " + person},
		{top("bindings:\n- §id: a\n  repos: [acme/a]\n  read: [shared/x]\n  when: {custom: {}, rollback: {deploy_to: [p]}}\n"), "rollback and custom prove " + person},
		{top("bindings:\n- {id: §\"a b\", repos: [acme/a], read: [shared/x]}\n"), `"a b" can't be a binding's id`},
		{top("bindings:\n- {id: a, repos: [acme/a], read: [shared/x]}\n- {id: §a, repos: [acme/a], read: [shared/x]}\n"), `the id "a" is at`},
		{top("bindings:\n- {id: a, repos: [acme/a], read: [shared/x]}\ndenies:\n- {id: §a}\n"), `the id "a" is at`},
		{top("bindings: §{id: a}\n"), `"bindings" is a list; this is a mapping`},
		{top("bindings: [§a]\n"), "a binding is a mapping"},
		{top("denies: [§{reason: never}]\n"), `a deny needs "id"`},
		{top("denies: [{id: a, read: [§shard/x]}]\n"), `did you mean "shared"?`},
		{top("denies: [{id: a, read: [§x]}]\n"), "names no secret"},
		{top("denies: [{id: a, when: {push: {branches: §[]}}}]\n"), `"branches" is an empty list`},
		{top("denies: [{id: a, §names: {a: shared/x}}]\n"), `unknown key "names"`},
		{top("denies: [{id: a, pools: [§x]}]\n"), `no pool is called "x"`},
	} {
		refuses(t, test.yaml, test.want)
	}
}

func TestGroupsAndExpectationsRefused(t *testing.T) {
	expect := func(s string) string { return top("expect: [{" + s + "}]\n") }
	for _, test := range []struct{ yaml, want string }{
		{top("groups: {g: §[]}\n"), `"g" is an empty list`},
		{top("groups: {g: §alice}\n"), `"g" is a list: write [alice]`},
		{top("groups: {g: [§\"a*\"]}\n"), "people are named one by one"},
		{top("groups: {§any: [alice]}\n"), `"any" can't be a group's name`},
		{top("groups: {Team: [alice], §team: [bob]}\n"), "are one, as logins compare without case"},
		{top("expect: [§{event: push, decision: deny}]\n"), `an expectation is about a "repo" or about what is "read"`},
		{top("expect: [§{repo: acme/a}]\n"), `an expectation has a "decision" (allow or deny) or "only"`},
		{top("bindings: [{id: app, repos: [acme/a], read: [shared/x]}]\nexpect: [§{repo: acme/a, decision: deny, only: [app]}]\n"), `an expectation has a "decision" (allow or deny) or "only"`},
		{top("bindings: [{id: app, repos: [acme/a], read: [shared/x]}]\nexpect: [{repo: acme/a, only: [§apq]}]\n"), `no binding has the id "apq": did you mean "app"?`},
		{top("denies: [{id: none}]\nexpect: [{repo: acme/a, only: [§none]}]\n"), `no binding has the id "none"`},
		{top("expect: [{repo: acme/a, only: §[]}]\n"), `"only" is an empty list`},
		{expect("repo: §acme/*, event: push, read: shared/x, decision: deny"), "is not one repository"},
		{expect("repo: §acme, event: push, read: shared/x, decision: deny"), "is not one repository"},
		{expect("repo: acme/a, event: §pull-request, read: shared/x, decision: deny"), `did you mean "pull_request"?`},
		{expect("repo: acme/a, event: push, read: §shard/x, decision: deny"), `did you mean "shared"?`},
		{expect("repo: acme/a, event: push, read: §shared/x/y/z, decision: deny"), "a secret is named vault/secret"},
		{expect("repo: acme/a, event: push, read: §a b, decision: deny"), "a blank"},
		{expect("repo: acme/a, event: push, read: shared/x, decision: §denied"), `unknown decision "denied": it is allow or deny`},
		{expect("repo: acme/a, event: push, read: shared/x, decision: deny, ref: §main"), `write "refs/heads/main" or "refs/tags/main"`},
		{expect("repo: acme/a, event: push, read: shared/x, decision: deny, pool: §prod"), `no pool is called "prod"`},
		{expect("repo: acme/a, event: push, read: shared/x, decision: deny, uid: §42"), `quote it ("42")`},
		{expect("repo: acme/a, event: push, read: shared/x, decision: deny, §deploy-to: p"), `did you mean "deploy_to"?`},
	} {
		refuses(t, test.yaml, test.want)
	}
}

// What a deny leaves out means everything: it must stay nil, not become a default.
func TestDenyLeavesOut(t *testing.T) {
	cfg, _ := loads(t, top("denies:\n- {id: all}\n- {id: some, when: {promote: {}}, read: [\"**\"], actors: [\"renovate[bot]\"]}\n"))
	all := cfg.Rules.Denies[0]
	if all.Repos != nil || all.When != nil || all.Pools != nil || all.Read != nil || all.Actors.Any || all.Actors.Names != nil {
		t.Errorf("%+v", all)
	}
	promote := cfg.Rules.Denies[1].When[0]
	if promote.DeployTo != nil || promote.Branches != nil || promote.Event != secret.Promote {
		t.Errorf("%+v", promote)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{top("bindings:\n- §id: deploy\n  repos: [acme/a]\n  read: [shared/x]\n  when: {promote: {deploy_to: [p]}}\n  actors: any\n"),
			`deploy: promote proves a person, not a commit; "actors: any" lets every writer deploy`},
		{rule("  when: {push: {branches: [§refs/heads/main]}}\n" + good), `did you mean "main"?`},
		{rule("  when: {tag: {tags: [§refs/tags/v1]}}\n" + good), `did you mean "v1"?`},
		{rule("  when: {pull_request: {from: any, into: [§refs/heads/main]}}\n" + good), `did you mean "main"?`},
		{top("denies: [{id: a, read: [§shared/x@*]}]\n"), "a deny holds for every version and every key"},
		{top("denies: [{id: a, read: [§shared/x/key]}]\n"), "a deny holds for every version and every key"},
		{top("denies: [{id: a, read: [§prod-*/x]}]\n"), `no vault's alias matches "prod-*"`},
		{top("groups: {team: [§ALICE], alice: [bob]}\n"), `"ALICE" is a login here and a group at`},
		{"version: 1\nvaults: {§shared: {url: https://kv-shared.vault.azure.net}}\n", `vault "shared" is not used: no binding reads from it`},
		{top("identities: {§pay: {client_id: 3f2a4c55-1111-4222-8333-444455556666}}\n"), `identity "pay" is not used`},
		{top("pools: {§prod: {keys: [{id: a, env: A}]}}\n"), `pool "prod" is not used`},
		{top("groups: {§team: [alice]}\n"), `group "team" is not used`},
		{top("listen: {tls: {cert: /c, key: /k}, plain_http: §true}\n"), "plain_http means nothing beside tls"},
		{top("bindings:\n- {id: a, repos: [acme/*], names: {db: shared/x}}\n- {id: b, repos: [Acme/app], names: {§db: shared/y}}\n"),
			`"db" is shared/y here and shared/x in a at`},
	} {
		clean, line, column := marked(t, test.yaml)
		_, problems := loads(t, clean)
		if !slices.ContainsFunc(problems, func(p config.Problem) bool {
			return p.Warning && p.Line == line && p.Column == column && strings.Contains(p.Text, test.want)
		}) {
			t.Errorf("want %d:%d %q, got\n%vfor\n%s", line, column, test.want, problems, clean)
		}
	}
}

func TestNoWarnings(t *testing.T) {
	used := "- {id: z, repos: [acme/z], read: [shared/x], actors: [TEAM, alice]}\n"
	for _, body := range []string{
		"groups: {team: [alice]}\nbindings:\n" + used,
		"groups: {team: [alice]}\npools: {default: {keys: [{id: a, env: A}]}}\nbindings:\n" + used,
		"groups: {team: [alice]}\nbindings:\n" + used + "- {id: a, repos: [acme/*], names: {db: shared/x}}\n- {id: b, repos: [acme/app], names: {db: shared/x}}\n",
		"groups: {team: [alice]}\nbindings:\n" + used + "- {id: a, repos: [acme/x], names: {db: shared/x}}\n- {id: b, repos: [acme/y], names: {db: shared/y}}\n",
		"groups: {team: [alice]}\nbindings:\n" + used + "- {id: a, repos: [acme/x], names: {db: shared/x}}\n" +
			"- {id: b, repos: [acme/x], when: {tag: {tags: [\"v*\"]}}, names: {db: shared/y}}\n",
		"groups: {team: [alice]}\ndenies: [{id: d, read: [\"**\", \"sh*/x\"]}]\nbindings:\n" + used,
	} {
		if _, problems := loads(t, top(body)); len(problems) > 0 {
			t.Errorf("%v for\n%s", problems, body)
		}
	}
}

// The order of rules in a file decides nothing but their order.
func TestOrderOfRules(t *testing.T) {
	rules := []string{
		"- {id: r0, repos: [acme/a], read: [shared/x]}\n", "- {id: r1, repos: [acme/*], names: {db: shared/db}}\n",
		"- {id: r2, repos: [\"**\"], when: {tag: {tags: [\"v*\"]}}, read: [shared/y]}\n",
		"- {id: r3, repos: [acme/b], when: {custom: {}}, actors: any, pools: [default], read: [shared/z]}\n",
	}
	head := "version: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}\nbindings:\n"
	byID := func(yaml string) map[string]secret.Binding {
		cfg, _ := loads(t, yaml)
		all := map[string]secret.Binding{}
		for _, b := range cfg.Rules.Bindings {
			b.At = ""
			all[b.ID] = b
		}
		return all
	}
	want := byID(head + strings.Join(rules, ""))
	rapid.Check(t, func(rt *rapid.T) {
		shuffled := rapid.Permutation(rules).Draw(rt, "rules")
		got := byID(head + strings.Join(shuffled, ""))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(secret.Pattern{}, secret.ReadPattern{})); diff != "" {
			rt.Fatal(diff)
		}
	})
}
