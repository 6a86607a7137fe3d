package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

// issuing is a configuration with an issuer and three pools, the default one among them, of which those in stated are the
// server's ("" leaves the key out). The binding gives everything to the pool prod.
func issuing(stated, rules string) string {
	if stated != "" {
		stated = "\n  pools: " + stated
	}
	return strings.NewReplacer("vaults:\n", "vaults:\n  repo: {url: https://kv-repo.vault.azure.net, identity: repo}\n", "server: drone.acme.example", "server: drone.acme.example"+stated).Replace(issued) +
		"pools: {prod: {keys: [{id: a, env: PROD}]}, build: {keys: [{id: a, env: BUILD}]}}\n" +
		"tokens: {aws: {audience: x}, arm: {identity: repo, " + scope + "}, acr: {identity: repo, registry: acme.azurecr.io, repositories: {base: [pull]}}, other: {identity: vm, " + scope + "}}\n" +
		"bindings:\n- {id: all, repos: [acme/z], pools: [prod], read: [\"tokens/*\", repo/x, each/x, again/x, shared/x]}\n" + rules
}

// everyDoor are the ways in which a binding gives what the issuer signs, each with the words for it.
var everyDoor = map[string]string{
	"read: [shared/x, repo/x]":               `vault "repo" is opened as identity "repo", whose assertion the issuer signs for the server drone.acme.example`,
	"read: [\"each/*\"]":                     `vault "each" is opened as identity "env", whose assertion the issuer signs`,
	"read: [shared/x], names: {a: repo/x/y}": `vault "repo" is opened as identity "repo"`,
	"read: [tokens/AWS]":                     `token "aws" is one that the issuer signs for the server drone.acme.example`,
	"read: [tokens/other, tokens/arm]":       `token "arm" is asked for as identity "repo", whose assertion the issuer signs`,
	"read: [tokens/acr/username]":            `token "acr" is asked for as identity "repo"`,
	"names: {a: tokens/acr}":                 `token "acr" is asked for as identity "repo"`,
	"read: [\"tokens/*w*\"]":                 `token "aws" is one that the issuer signs`,
	"read: [\"tokens/*/username\"]":          `token "acr" is asked for as identity "repo"`,
	"read: [\"tokens/**\"]":                  `token "acr" is asked for as identity "repo"`,
}

// noDoor are those in which it gives nothing of the kind.
var noDoor = []string{"read: [shared/x, again/x, tokens/other]", "read: [\"tokens/o*\"]", "names: {a: tokens/other/expires, b: sign/x}"}

// Whose runners are of another server get nothing that the issuer signs: their repositories' ids may be those of this one's.
func TestPoolsOfAnotherServerAreRefused(t *testing.T) {
	for door, words := range everyDoor {
		for _, test := range []struct{ stated, binding, pool string }{
			{"[prod]", "§{id: a, repos: [acme/x], ", "default"},
			{"[prod]", "{id: a, repos: [acme/x], pools: [§build], ", "build"},
			{"[prod, default]", "{id: a, repos: [acme/x], pools: [prod, default, §build], ", "build"},
			{"[prod, build]", "{id: a, repos: [acme/x], pools: [build, §default, prod], ", "default"},
		} {
			refuses(t, issuing(test.stated, "- "+test.binding+door+"}\n"), words)
			refuses(t, issuing(test.stated, "- "+test.binding+door+"}\n"), fmt.Sprintf("; pool %q is not in issuer.pools: add it there if its runners are of that server; if not, take it out of this binding", test.pool))
		}
		loads(t, issuing("[default, prod, build]", "- {id: a, repos: [acme/x], "+door+"}\n- {id: b, repos: [acme/x], pools: [build, default], "+door+"}\n"))
	}
	for _, door := range noDoor {
		loads(t, issuing("[prod]", "- {id: a, repos: [acme/x], "+door+"}\n- {id: b, repos: [acme/x], pools: [build, prod], "+door+"}\n"))
	}
	// A deny is no reason to pass: it may be gone tomorrow.
	refuses(t, issuing("[prod]", "- {id: a, repos: [acme/x], pools: [§build], read: [repo/x]}\ndenies: [{id: d, pools: [build], read: [repo/x]}]\n"), `pool "build"`)
	// Each pool is one problem, and so is each binding.
	_, problems := config.Load(write(t, "c.yaml", issuing("[prod]", "- {id: a, repos: [acme/x], pools: [build, default], read: [repo/x, each/x]}\n- {id: b, repos: [acme/x], read: [repo/x]}\n")))
	if problems.Errors() != 3 {
		t.Error(problems)
	}
	// A confined file's binding is compared as well.
	paths := write(t, "main.yaml", issuing("[prod]", "files: {team.yaml: {repos: [acme/x], read: [\"repo/*\"], pools: [build, prod]}}\n"),
		"team.yaml", "version: 1\nbindings: [{id: a, repos: [acme/x], pools: [prod, build], read: [repo/x]}]\n")
	if _, problems = config.Load(paths); problems.Errors() != 1 || !strings.Contains(problems.String(), "team.yaml:2:51   error") {
		t.Error(problems)
	}
}

func TestIssuerPoolsLoad(t *testing.T) {
	for stated, want := range map[string][]string{"": nil, "[prod]": {"prod"}, "[prod, default, prod]": {"default", "prod"}} {
		cfg, problems := loads(t, issuing(stated, ""))
		if !slices.Equal(cfg.Issuer.Pools, want) || (cfg.Issuer.Pools == nil) != (want == nil) {
			t.Errorf("%s: %q", stated, cfg.Issuer.Pools)
		}
		// To be the server's is no use of a pool.
		if !strings.Contains(problems.String(), `pool "build" is not used: no rule names it`) {
			t.Error(problems)
		}
	}
	if _, problems := loads(t, issuing("[prod, build]", "")); !strings.Contains(problems.String(), `pool "build" is not used`) {
		t.Error(problems)
	}
	for stated, want := range map[string]string{
		"§[]":                  `"pools" is an empty list`,
		"§prod":                `"pools" is a list: write [prod]`,
		"[prod, §biuld]":       `no pool is called "biuld": did you mean "build"?`,
		"[§elsewhere]":         `no pool is called "elsewhere": list it under pools`,
		"[§7]":                 "a string belongs here: quote it",
		"[prod]\n  §pool: [a]": `unknown key "pool": did you mean "pools"?`,
		"[prod]\n  §key: a":    `unknown key "key": did you mean "keys"?`,
	} {
		// With a wrong list nothing is said of bindings: there would be two problems for one mistake.
		refuses(t, issuing(stated, "- {id: a, repos: [acme/x], pools: [build], read: [repo/x]}\n"), want)
	}
	// What a file says that could not be read is not called missing.
	paths := write(t, "a.yaml", issuing("[prod, later]", "- {id: a, repos: [acme/x], pools: [later], read: [repo/x]}\n"), "b.yaml", "version: 1\npools: [\n")
	if _, problems := config.Load(paths); problems.Errors() != 1 || problems[len(problems)-1].File != paths[1] {
		t.Error(problems)
	}
}

// Where the files do not say whose the pools are, several of them are worth a question, and one is none.
func TestIssuerPoolsAreAskedFor(t *testing.T) {
	found := func(yaml string) (found []string) {
		for _, p := range checked(t, yaml) {
			if strings.Contains(p, "issuer-pools") {
				found = append(found, p)
			}
		}
		return found
	}
	for door := range everyDoor {
		yaml := issuing("", "- {id: a, repos: [acme/x], "+door+"}\n- {id: b, repos: [acme/x], pools: [prod, build], "+door+"}\n")
		want := "15:3 warning issuer-pools a subject names the server drone.acme.example alone, and more than one pool gets what the issuer signs: write pools: [build, default, prod] here, without those"
		if all := found(yaml); len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("%s: %q", door, all)
		}
		if _, problems := loads(t, yaml); problems.Warnings() == 0 || !slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Rule == "issuer-pools" }) {
			t.Errorf("who starts it is not told: %v", problems) // serve loads, and logs what it is told
		}
		if all := found(issuing("[default, build, prod]", "- {id: a, repos: [acme/x], pools: [prod, build], "+door+"}\n")); all != nil {
			t.Errorf("%s: %q", door, all)
		}
		if all := found(issuing("", "- {id: a, repos: [acme/x], pools: [prod], "+door+"}\n")); all != nil {
			t.Errorf("%s: %q", door, all)
		}
	}
	for _, door := range noDoor {
		if all := found(issuing("", "- {id: a, repos: [acme/x], pools: [prod, build, default], "+door+"}\n")); all != nil {
			t.Errorf("%s: %q", door, all)
		}
	}
}

// What could not be compared is refused where pools are stated, and not warned of where they are not.
func TestManyTokensOfTheIssuer(t *testing.T) {
	var listed, bindings strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&listed, "  t%d: {audience: x}\n", i)
		fmt.Fprintf(&bindings, "- {id: b%d, repos: [acme/x], pools: [build], read: [\"tokens/*a%d\"]}\n", i, i)
	}
	const head = "pools: {build: {keys: [{id: a, env: BUILD}]}}\nbindings:\n- {id: all, repos: [acme/z], read: [\"tokens/*\"]}\n"
	yaml := issued + "tokens:\n" + listed.String() + head + bindings.String()
	if cfg, problems := config.Load(write(t, "c.yaml", yaml)); cfg == nil || strings.Contains(problems.String(), "more than one pool") {
		t.Errorf("%d problems, as in\n%v", len(problems), problems[:min(3, len(problems))])
	}
	_, problems := config.Load(write(t, "c.yaml", strings.Replace(yaml, "server: drone.acme.example", "server: drone.acme.example\n  pools: [default]", 1)))
	if problems.Errors() == 0 || problems.Errors() > 600 || !strings.Contains(problems.String(), `"tokens/*a1199" is one pattern too many to tell whether it gives a token that the issuer signs (name tokens without a *)`) {
		t.Errorf("%d errors, as in\n%v", problems.Errors(), problems[max(0, len(problems)-3):])
	}
}
