package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// teams is a policy with one of each sort of thing.
func teams(t *testing.T, change func(*secret.Rules)) *secret.Survey {
	deploy := secret.Binding{ID: "deploy", Names: names("pw", "pay/db/password"), Scope: secret.Scope{
		Repos: []secret.RepoPattern{{Slug: repos("acme/api")[0].Slug, UID: "42"}}, Read: reads("pay/deploy-*@*", "pay/db/password"),
		When: []secret.Condition{{Event: secret.Promote, DeployTo: pats("prod"), Branches: pats("main"), Tags: pats("v*")}}, Actors: people("ops", "Zoe"), Pools: []string{"prod"},
	}}
	rules := secret.Rules{
		Vaults:   []secret.Vault{{Alias: "shared", Host: "a"}, {Alias: "shared-too", Host: "A"}, {Alias: "pay", Host: "b"}},
		Groups:   map[string][]string{"ops": {"alice", "bob"}},
		Bindings: []secret.Binding{{ID: "ci", Scope: secret.Scope{Repos: repos("acme/*"), Read: reads("shared/ci-*")}}, deploy},
	}
	if change != nil {
		change(&rules)
	}
	return secret.NewSurvey(compiled(t, rules))
}

// said is an answer in a few words: binding, secret, conditions, pool and exceptions.
func said(lines []secret.Line, err error) string {
	if err != nil {
		return err.Error()
	}
	var texts []string
	for _, l := range lines {
		words := []string{l.Binding, l.Secret.String()}
		for _, name := range l.Names() {
			words = append(words, "as "+name)
		}
		words = append(words, "| "+strings.Join(l.Conditions(), "; "))
		if l.PoolWords() != "" {
			words = append(words, "| "+l.PoolWords())
		}
		for _, e := range l.Except {
			words = append(words, "| except "+e.Rule+": "+e.Withholds())
		}
		texts = append(texts, strings.Join(words, " "))
	}
	return strings.Join(texts, "\n")
}

func deny(id string, s secret.Scope) func(*secret.Rules) {
	return func(r *secret.Rules) { r.Denies = append(r.Denies, secret.Deny{ID: id, Scope: s}) }
}

func TestAccess(t *testing.T) {
	const (
		ci     = "ci shared/ci-* | push to the default branch"
		deploy = "deploy pay/db/password as pw | promote to prod on main or tag v* by alice or bob or zoe | pool prod"
	)
	for about, c := range map[string]struct {
		change    func(*secret.Rules)
		slug, uid string
		want      string
	}{
		"a repository of a pattern":       {nil, "acme/web", "", ci},
		"case does not matter":            {nil, "ACME/Web", "", ci},
		"a stranger":                      {nil, "mallory/web", "", ""},
		"no slug":                         {nil, "acme", "", `"acme" is no repository's slug: write namespace/name`},
		"another repository of that name": {nil, "acme/api", "7", ci},
		"a deny of something else":        {deny("d", secret.Scope{Read: denyReads("pay/*")}), "acme/web", "", ci},
		"a deny of another repository":    {deny("d", secret.Scope{Repos: repos("acme/api")}), "acme/web", "", ci},
		"a deny of all of it":             {deny("d", secret.Scope{Read: denyReads("shared-too/ci*")}), "acme/web", "", ""},
		"a deny of every second of it":    {deny("d", secret.Scope{Read: denyReads("*/*-root")}), "acme/web", "", ci + " | except d: */*-root"},
		"a deny of an event":              {deny("d", secret.Scope{When: []secret.Condition{{Event: secret.Push, Branches: pats("old/**")}}}), "acme/web", "", ci + " | except d: push on old/**"},
		"a deny of a person":              {deny("d", secret.Scope{Actors: people("alice")}), "acme/web", "", ci + " | except d: by alice"},
	} {
		if got := said(teams(t, c.change).Access(c.slug, c.uid)); got != c.want {
			t.Errorf("%s: %q, want %q", about, got, c.want)
		}
	}
	for about, c := range map[string]struct {
		change func(*secret.Rules)
		want   string
	}{
		"all of it":        {nil, deploy},
		"a person left":    {deny("d", secret.Scope{Actors: people("ops")}), strings.Replace(deploy, "alice or bob or ", "", 1)},
		"a branch less":    {deny("d", secret.Scope{When: []secret.Condition{{Event: secret.Promote, Branches: pats("**")}}}), strings.Replace(deploy, "main or ", "", 1)},
		"some of the tags": {deny("d", secret.Scope{When: []secret.Condition{{Event: secret.Promote, Tags: pats("v1*")}}}), deploy + " | except d: promote on tag v1*"},
	} {
		got := said(teams(t, c.change).Access("acme/api", "42"))
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want a line %q", about, got, c.want)
		}
	}
}

func TestReaders(t *testing.T) {
	const who = " | promote to prod on main or tag v* by alice or bob or zoe | pool prod"
	for asked, want := range map[string]string{
		"shared/ci-x":     "ci shared/ci-x | push to the default branch",
		"shared-too/CI-x": "ci shared/ci-x | push to the default branch", // another alias of the vault
		"shared/ci-x/key": "ci shared/ci-x | push to the default branch", // who can read the whole
		"shared/ci-x@1":   "",                                            // no pinned versions there
		"shared/other":    "",
		"pay/deploy-x":    "deploy pay/deploy-x@*" + who,
		"pay/deploy-x@7":  "deploy pay/deploy-x@7" + who,
		"pay/db":          "deploy pay/db/password" + who + "\ndeploy pay/db/password as pw" + who, // a key of it
		"pay/db/user":     "",
		"pw":              "deploy pay/db/password as pw" + who,
		"PW":              "",
		"nope/db":         `no vault has the alias "nope"; the configuration knows pay, shared, shared-too`,
		"pay/a/b/c":       `"pay/a/b/c": a secret is named vault/secret[@version][/key]`,
		"":                `"": a secret is named vault/secret[@version][/key]`,
	} {
		if got := said(teams(t, nil).Readers(asked)); got != want {
			t.Errorf("readers of %q: %q, want %q", asked, got, want)
		}
	}
}

func TestConditionsReadAsConfigured(t *testing.T) {
	for want, c := range map[string]secret.Condition{
		"push to the default branch":                               {Event: secret.Push},
		"push to main or release/*":                                {Event: secret.Push, Branches: pats("main", "release/*")},
		"tag v*":                                                   {Event: secret.Tag, Tags: pats("v*")},
		"cron nightly on the default branch":                       {Event: secret.Cron, Cron: pats("nightly")},
		"custom on hotfix/**":                                      {Event: secret.Custom, Branches: pats("hotfix/**")},
		"promote to prod on main or tag v*":                        {Event: secret.Promote, DeployTo: pats("prod"), Branches: pats("main"), Tags: pats("v*")},
		"rollback to prod on tag v*":                               {Event: secret.Rollback, DeployTo: pats("prod"), Tags: pats("v*")},
		"pull_request from the same repository into main":          {Event: secret.PullRequest, From: secret.FromSameRepo, Into: pats("main")},
		"pull_request from any repository into the default branch": {Event: secret.PullRequest, From: secret.FromAny},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What a diff says, where it is more than a line that came or went.
func TestDiffSaysWhy(t *testing.T) {
	base := func() secret.Rules {
		return secret.Rules{Vaults: theVaults, Bindings: []secret.Binding{{ID: "ci", Scope: secret.Scope{Repos: repos("acme/*"), Read: reads("v1/ci-*")}}}}
	}
	for about, c := range map[string]struct {
		change func(*secret.Rules)
		want   string
	}{
		"nothing":                   {func(*secret.Rules) {}, ""},
		"a new deny":                {deny("d", secret.Scope{Read: denyReads("*/*-root")}), "- acme/* v1/ci-*-root [withheld by d]\n- acme/* v1/ci-root [withheld by d]"},
		"a wider repo":              {func(r *secret.Rules) { r.Bindings[0].Repos = repos("acme/**") }, "+ acme/** v1/ci-* [] partly ci"},
		"a pattern more":            {func(r *secret.Rules) { r.Bindings[0].Read = reads("v1/ci-*", "v1/ci-x", "v2/x") }, "+ acme/* v2/x []"},
		"a pinned id":               {func(r *secret.Rules) { r.Bindings[0].Repos[0].UID = "7" }, "- acme/* v1/ci-* [] partly ci"},
		"another id of the binding": {func(r *secret.Rules) { r.Bindings[0].ID = "renamed" }, ""},
	} {
		rules := base()
		p := compiled(t, base())
		c.change(&rules)
		var texts []string
		for _, change := range secret.Diff(p, compiled(t, rules)) {
			sign := "- "
			if change.Gained {
				sign = "+ "
			}
			text := sign + change.Repos[0].Slug.String() + " " + change.Secret.String() + " [" + change.Because + "]"
			if len(change.Partly) > 0 {
				text += " partly " + strings.Join(change.Partly, " ")
			}
			texts = append(texts, text)
		}
		if got := strings.Join(texts, "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", about, got, c.want)
		}
	}
}
