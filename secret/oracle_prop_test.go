package secret_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

func compiled(t rapid.TB, rules secret.Rules) *secret.Policy {
	p, err := secret.NewPolicy(rules)
	if err != nil {
		t.Fatalf("the rules don't compile: %v", err)
	}
	return p
}

// agree compares one decision with the oracle's and returns it.
func agree(t rapid.TB, p *secret.Policy, rules secret.Rules, r secret.Request) secret.Decision {
	d, want := p.Decide(r), oracle(rules, r)
	got := verdict{allowed: d.Allowed(), reason: d.Reason}
	if d.Grant != nil {
		got.ref = d.Grant.Ref
	}
	if !want.allowed {
		want.ref = secret.Ref{}
	}
	if got != want {
		t.Fatalf("Decide %+v\noracle %+v\nrequest %+v\nrules %+v", got, want, r, rules)
	}
	switch {
	case d.Allowed() && (d.Ref != d.Grant.Ref || d.DeniedBy != ""):
		t.Fatalf("a grant of %v says Ref %v, DeniedBy %q", d.Grant.Ref, d.Ref, d.DeniedBy)
	case d.DeniedBy != "" && d.Reason != secret.ReasonDeny, d.Reason == secret.ReasonDeny && (d.DeniedBy == "" || d.Ref == (secret.Ref{})):
		t.Fatalf("reason %q, but DeniedBy %q", d.Reason, d.DeniedBy)
	}
	return d
}

func TestDecideEqualsTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules.Draw(t, "rules")
		p := compiled(t, rules)
		for _, r := range rapid.SliceOfN(drawRequest, 1, 20).Draw(t, "requests") {
			agree(t, p, rules, r)
			agreeChecks(t, p.Decide(r))
		}
	})
}

// The same over fixed seeds, so that every run is wide, and the proof that the generators reach every station: without it
// the properties could pass on denials alone.
func TestTheGeneratorsReachEveryStation(t *testing.T) {
	seen := map[secret.Reason]int{}
	for seed := range 1500 {
		rules := drawRules.Example(seed)
		p := compiled(t, rules)
		for i := range 12 {
			r := drawRequest.Example(seed*12 + i)
			d := agree(t, p, rules, r)
			agreeChecks(t, d)
			seen[d.Reason]++
		}
	}
	for _, reason := range stations {
		if seen[reason] < 10 {
			t.Errorf("only %d of the random requests ended at %q", seen[reason], reason)
		}
	}
	t.Log(seen)
}

func TestOrderNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules.Draw(t, "rules")
		p := compiled(t, rules)
		shuffled := shuffle(rules, rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))))
		q := compiled(t, shuffled)
		for _, r := range rapid.SliceOfN(drawRequest, 1, 12).Draw(t, "requests") {
			a, b := p.Decide(r), q.Decide(r)
			if a.Allowed() != b.Allowed() || a.Reason != b.Reason || a.DeniedBy != b.DeniedBy || a.Ref != b.Ref || a.Allowed() && *a.Grant != *b.Grant {
				t.Fatalf("%+v and, in another order, %+v\nrequest %+v", a, b, r)
			}
		}
	})
}

// shuffle reorders every list of the rules; none of them is changed in place.
func shuffle(rules secret.Rules, random *rand.Rand) secret.Rules {
	mixScope := func(s secret.Scope) secret.Scope {
		s.Repos, s.When, s.Pools, s.Read = mix(random, s.Repos), mix(random, s.When), mix(random, s.Pools), mix(random, s.Read)
		s.Actors.Names = mix(random, s.Actors.Names)
		for i := range s.When {
			c := &s.When[i]
			c.Branches, c.Tags, c.Into = mix(random, c.Branches), mix(random, c.Tags), mix(random, c.Into)
			c.DeployTo, c.Cron = mix(random, c.DeployTo), mix(random, c.Cron)
		}
		return s
	}
	rules.Vaults, rules.Bindings, rules.Denies = mix(random, rules.Vaults), mix(random, rules.Bindings), mix(random, rules.Denies)
	for i := range rules.Bindings {
		rules.Bindings[i].Scope = mixScope(rules.Bindings[i].Scope)
	}
	for i := range rules.Denies {
		rules.Denies[i].Scope = mixScope(rules.Denies[i].Scope)
	}
	return rules
}

func mix[T any](random *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func TestAddingADenyNeverGrants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules.Draw(t, "rules")
		more := rules
		deny := drawDeny.Draw(t, "deny")
		deny.ID = "added"
		more.Denies = append(slices.Clone(rules.Denies), deny)
		p, q := compiled(t, rules), compiled(t, more)
		for _, r := range rapid.SliceOfN(drawRequest, 1, 12).Draw(t, "requests") {
			before, after := p.Decide(r), q.Decide(r)
			if after.Allowed() && (!before.Allowed() || before.Grant.Ref != after.Grant.Ref) {
				t.Fatalf("the deny %+v grants %+v (before: %q)\nrequest %+v", deny, after.Grant, before.Reason, r)
			}
		}
	})
}

// neverMore checks that nothing is granted by the tighter rules that the wider ones refuse. A name alone may be: two
// matching bindings that map it differently refuse each other, and when one of them no longer matches, the other's grant
// stands. It must be a target that one of the wider rules' bindings gives by itself, and `ambiguous` the only way there.
func neverMore(t *rapid.T, wider, tighter secret.Rules) {
	p, q := compiled(t, wider), compiled(t, tighter)
	for _, r := range rapid.SliceOfN(drawRequest, 1, 12).Draw(t, "requests") {
		before, after := p.Decide(r), q.Decide(r)
		switch {
		case !after.Allowed() || before.Allowed() && before.Grant.Ref == after.Grant.Ref:
		case before.Reason == secret.ReasonAmbiguous && (r.Path == "" || r.Name == ""):
			alone := wider
			alone.Bindings = slices.DeleteFunc(slices.Clone(wider.Bindings), func(b secret.Binding) bool { return b.ID != after.Grant.Binding })
			if d := compiled(t, alone).Decide(r); !d.Allowed() || d.Grant.Ref != after.Grant.Ref {
				t.Fatalf("%s by %s was never that binding's to give", after.Grant.Ref, after.Grant.Binding)
			}
		default:
			t.Fatalf("granted %+v, before denied for %q\nrequest %+v\nbefore %+v\nafter %+v", after.Grant, before.Reason, r, wider.Bindings, tighter.Bindings)
		}
	}
}

func TestRemovingABindingNeverGrants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wider := drawRules.Filter(func(r secret.Rules) bool { return len(r.Bindings) > 0 }).Draw(t, "rules")
		tighter, i := wider, rapid.IntRange(0, len(wider.Bindings)-1).Draw(t, "removed")
		tighter.Bindings = slices.Delete(slices.Clone(wider.Bindings), i, i+1)
		neverMore(t, wider, tighter)
	})
}

func TestAddingAConditionNeverGrants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wider := drawRules.Filter(func(r secret.Rules) bool { return len(r.Bindings) > 0 }).Draw(t, "rules")
		tighter, i := wider, rapid.IntRange(0, len(wider.Bindings)-1).Draw(t, "tightened")
		tighter.Bindings = slices.Clone(wider.Bindings)
		tighten(t, &tighter.Bindings[i])
		neverMore(t, wider, tighter)
	})
}

// tighten adds a condition to a binding or narrows one. Actors are only added where no event needs them to be given at
// all: for those, naming the people is not a condition more but the grant itself.
func tighten(t *rapid.T, b *secret.Binding) {
	b.Repos, b.When, b.Pools, b.Read = slices.Clone(b.Repos), slices.Clone(b.When), slices.Clone(b.Pools), slices.Clone(b.Read)
	person := slices.ContainsFunc(b.When, func(c secret.Condition) bool { return c.Event.ProvesPersonOnly() })
	switch rapid.SampledFrom([]string{"repos", "uid", "when", "condition", "actors", "pools", "read"}).Draw(t, "what") {
	case "repos":
		b.Repos = fewer(t, b.Repos)
	case "uid":
		if repo := &b.Repos[0]; repo.UID == "" {
			repo.UID = "1"
		}
	case "when":
		b.When = fewer(t, b.When)
	case "condition":
		if len(b.When) > 0 {
			c := &b.When[rapid.IntRange(0, len(b.When)-1).Draw(t, "condition")]
			c.Into, c.DeployTo, c.Cron = fewer(t, c.Into), fewer(t, c.DeployTo), fewer(t, c.Cron)
			c.Branches, c.Tags = fewer(t, c.Branches), fewer(t, c.Tags)
			if c.From == secret.FromAny {
				c.From = secret.FromSameRepo
			}
		}
	case "actors":
		if b.Actors.Any || b.Actors.Names == nil && !person {
			b.Actors = people("alice", "ops")
		} else {
			b.Actors.Names = fewer(t, b.Actors.Names)
		}
	case "pools":
		b.Pools = fewer(t, b.Pools)
	case "read":
		b.Read = fewer(t, b.Read)
	}
}

// fewer takes one entry off a list of two or more: none left would be another sentence.
func fewer[T any](t *rapid.T, list []T) []T {
	if len(list) < 2 {
		return list
	}
	i := rapid.IntRange(0, len(list)-1).Draw(t, "left out")
	return slices.Delete(slices.Clone(list), i, i+1)
}
