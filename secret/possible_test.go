package secret_test

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// questionAbout states some of what a request says, and leaves the rest open.
func questionAbout(t *rapid.T, r secret.Request) secret.Question {
	q := secret.Question{DefaultBranch: r.Repo.DefaultBranch}
	may := func(name string, into *string, value string) {
		if rapid.Bool().Draw(t, "state "+name) {
			*into = value
		}
	}
	asked := r.Name
	if r.Path != "" {
		asked = r.Path
		if r.Name != "" {
			asked += "/" + r.Name
		}
	}
	may("secret", &q.Secret, asked)
	may("repo", &q.Repo, r.Repo.Slug)
	may("uid", &q.UID, r.Repo.UID)
	may("pool", &q.Pool, r.Pool)
	b, from := &q.Build, r.Build
	may("event", &b.Event, from.Event)
	may("ref", &b.Ref, from.Ref)
	may("source", &b.Source, from.Source)
	may("source repo", &b.SourceRepo, from.SourceRepo)
	may("target", &b.Target, from.Target)
	may("deploy to", &b.DeployTo, from.DeployTo)
	may("cron", &b.Cron, from.Cron)
	may("trigger", &b.Trigger, from.Trigger)
	may("sender", &b.Sender, from.Sender)
	return q
}

func givers(policy *secret.Policy, q secret.Question) (ids []string, all []secret.Giver) {
	if !policy.Givers(q, func(g secret.Giver) bool {
		ids, all = append(ids, g.Binding), append(all, g)
		return true
	}) {
		panic("given up")
	}
	return ids, all
}

// A binding that gave something to some build is found by every question about that build.
func TestGiversMissNothing(t *testing.T) {
	allowed := 0
	rapid.Check(t, func(rt *rapid.T) {
		rules := drawRules.Draw(rt, "rules")
		policy := must(secret.NewPolicy(rules))
		for _, r := range rapid.SliceOfN(drawRequest, 20, 40).Draw(rt, "requests") { // few are allowed
			d := policy.Decide(r)
			if !d.Allowed() || r.Repo.DefaultBranch == "" {
				continue
			}
			allowed++
			q := questionAbout(rt, r)
			if ids, _ := givers(policy, q); !slices.Contains(ids, d.Grant.Binding) {
				rt.Fatalf("%s gives, and the question %+v finds %q", d.Grant.Binding, q, ids)
			}
		}
	})
	if allowed == 0 {
		t.Error("nothing was ever allowed")
	}
}

// What a giver is said to give is given, to a build that the question is about.
func TestGiversGive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules, r := drawRules.Draw(rt, "rules"), drawRequest.Draw(rt, "request")
		policy := must(secret.NewPolicy(rules))
		q := questionAbout(rt, r)
		_, all := givers(policy, q)
		for _, g := range all {
			d := policy.Decide(g.Request)
			if !d.Allowed() || d.Grant.Ref != g.Ref {
				rt.Fatalf("%s does not give %v to %+v: %s", g.Binding, g.Ref, g.Request, d.Reason)
			}
			b, want := g.Request.Build, q.Build
			for _, fact := range [][2]string{
				{q.Repo, g.Request.Repo.Slug}, {q.UID, g.Request.Repo.UID}, {q.Secret, g.Request.Name}, {q.Pool, g.Request.Pool},
				{want.Event, b.Event}, {want.Ref, b.Ref}, {want.Source, b.Source}, {want.SourceRepo, b.SourceRepo}, {want.Target, b.Target},
				{want.DeployTo, b.DeployTo}, {want.Cron, b.Cron}, {want.Trigger, b.Trigger}, {want.Sender, b.Sender},
			} {
				if fact[0] != "" && fact[0] != fact[1] {
					rt.Fatalf("asked about %q, answered about %q", fact[0], fact[1])
				}
			}
		}
	})
}

func TestGiversStop(t *testing.T) {
	rules := secret.Rules{Vaults: theVaults}
	for _, id := range []string{"a", "b"} {
		b := secret.Binding{ID: id}
		b.Repos, b.Read = repos("acme/app"), reads("v1/db")
		rules.Bindings = append(rules.Bindings, b)
	}
	n := 0
	if !must(secret.NewPolicy(rules)).Givers(secret.Question{}, func(secret.Giver) bool { n++; return false }) || n != 1 {
		t.Errorf("%d givers after the first was enough", n)
	}
}

// A name that two bindings map differently is ambiguous for whoever both name, and not for a repository that is deeper than one
// of them goes.
func TestANameIsGivenWhereItIsNotAmbiguous(t *testing.T) {
	rules := secret.Rules{Vaults: theVaults}
	for _, c := range []struct {
		id, repos string
		ref       secret.Ref
	}{{"all", "**", secret.Ref{Vault: "v1", Name: "db"}}, {"flat", "*/*/*", secret.Ref{Vault: "v1", Name: "db", Key: "k"}}, {"two", "*/*", secret.Ref{Vault: "v2", Name: "db"}}} {
		b := secret.Binding{ID: c.id, Names: map[string]secret.Ref{"n": c.ref}}
		b.Repos = repos(c.repos)
		rules.Bindings = append(rules.Bindings, b)
	}
	policy := must(secret.NewPolicy(rules))
	if ids, _ := givers(policy, secret.Question{Secret: "n"}); !slices.Equal(ids, []string{"all"}) {
		t.Errorf("given by %q", ids)
	}
	policy.Lint(func(f secret.Finding) {
		if f.Binding == "all" && f.Lint == secret.LintAmbiguous {
			t.Errorf("of the binding that gives it is said: %s", f.Text)
		}
	})
}

// A question that would take for ever is given up, and says so.
func TestGiversGiveUp(t *testing.T) {
	many := func(prefix string) (all []string) {
		for i := range 1000 {
			all = append(all, prefix+strconv.Itoa(i))
		}
		return all
	}
	b := secret.Binding{ID: "a"}
	b.Repos, b.Read, b.Pools = repos(many("acme/")...), reads("v1/db"), many("pool")
	d := secret.Deny{ID: "never"}
	policy := must(secret.NewPolicy(secret.Rules{Vaults: theVaults, Bindings: []secret.Binding{b}, Denies: []secret.Deny{d}}))
	if policy.Givers(secret.Question{}, func(secret.Giver) bool { return true }) {
		t.Error("a million builds were tried")
	}
}
