package secret_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// edited changes one to three things of the rules, as a commit does.
func edited(t *rapid.T, rules secret.Rules) secret.Rules {
	rules.Bindings, rules.Denies = slices.Clone(rules.Bindings), slices.Clone(rules.Denies)
	for i := range rapid.IntRange(0, 3).Draw(t, "edits") {
		n, m := len(rules.Bindings), len(rules.Denies)
		switch rapid.SampledFrom([]string{"binding", "replace", "remove", "tighten", "deny", "undeny", "group"}).Draw(t, "edit") {
		case "binding":
			b := drawBinding.Draw(t, "added")
			b.ID = "new" + string(rune('a'+i))
			rules.Bindings = append(rules.Bindings, b)
		case "replace":
			if n > 0 {
				b := drawBinding.Draw(t, "replaced")
				b.ID = rules.Bindings[n-1].ID
				rules.Bindings[n-1] = b
			}
		case "remove":
			if n > 0 {
				rules.Bindings = rules.Bindings[1:]
			}
		case "tighten":
			if n > 0 {
				tighten(t, &rules.Bindings[n-1])
			}
		case "deny":
			d := drawDeny.Draw(t, "denied")
			d.ID = "deny" + string(rune('a'+i))
			rules.Denies = append(rules.Denies, d)
		case "undeny":
			if m > 0 {
				rules.Denies = rules.Denies[1:]
			}
		case "group":
			rules.Groups = map[string][]string{"ops": {"alice", "mallory"}, "bob": {"dave", "bob"}}
		}
	}
	return rules
}

// diffAgrees checks a diff against the decisions of both sides, request by request.
func diffAgrees(t rapid.TB, before, after secret.Rules, requests []secret.Request) []secret.Change {
	p, q := compiled(t, before), compiled(t, after)
	changes := secret.Diff(p, q)
	for _, c := range changes {
		gives, not := q.Decide(c.Witness), p.Decide(c.Witness)
		rules := after
		if !c.Gained {
			gives, not, rules = not, gives, before
		}
		if !gives.Allowed() || not.Allowed() && not.Grant.Ref == gives.Grant.Ref {
			t.Fatalf("gained %v: %s\nhas no witness: %q and %q\nrequest %+v\nbefore %+v\nafter %+v", c.Gained, show(c.Line), gives.Reason, not.Reason, c.Witness, before, after)
		}
		if in, out := covers(rules, c.Line, c.Witness); !in || out {
			t.Fatalf("%s\ndoes not cover its witness %+v (%v %v)", show(c.Line), c.Witness, in, out)
		}
	}
	for _, r := range requests {
		d, e := p.Decide(r), q.Decide(r)
		same := d.Allowed() && e.Allowed() && d.Grant.Ref == e.Grant.Ref
		if d.Allowed() && !same && !told(before, changes, false, r) {
			t.Fatalf("what %s gave is lost, and diff does not say so\nrequest %+v\nbefore %+v\nafter %+v", d.Grant.Binding, r, before, after)
		}
		if e.Allowed() && !same && !told(after, changes, true, r) {
			t.Fatalf("what %s gives is new, and diff does not say so\nrequest %+v\nbefore %+v\nafter %+v", e.Grant.Binding, r, before, after)
		}
		for _, c := range changes { // a change that says nothing of "partly" is one for all that it covers
			rules, other := after, d
			if !c.Gained {
				rules, other = before, e
			}
			if in, out := covers(rules, c.Line, r); in && !out && len(c.Partly) == 0 && other.Allowed() && strong(c, r, other) {
				t.Fatalf("gained %v: %s\nis not all of it a change, and does not say so: %s gives it\nrequest %+v\nbefore %+v\nafter %+v", c.Gained, show(c.Line), other.Grant.Binding, r, before, after)
			}
		}
	}
	return changes
}

// strong tells whether the other side grants the very thing that the change is about.
func strong(c secret.Change, r secret.Request, other secret.Decision) bool {
	return oracleReads(c.Secret.String(), other.Grant.Ref) && (!c.Exact || other.Grant.Ref.Key == "")
}

func told(rules secret.Rules, changes []secret.Change, gained bool, r secret.Request) bool {
	return slices.ContainsFunc(changes, func(c secret.Change) bool {
		in, out := covers(rules, c.Line, r)
		return c.Gained == gained && in && !out
	})
}

func TestDiffAgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := drawRules.Draw(t, "before")
		after := edited(t, before)
		diffAgrees(t, before, after, rapid.SliceOfN(drawRequest, 1, 20).Draw(t, "requests"))
		if same := diffAgrees(t, before, before, nil); len(same) > 0 {
			t.Fatalf("rules differ from themselves: %s", show(same[0].Line))
		}
	})
}

// The same between rules that have nothing to do with each other, over fixed seeds, and the proof that something differed.
func TestDiffAgreesOnManyRules(t *testing.T) {
	changes := map[bool]int{}
	for seed := range 150 {
		var requests []secret.Request
		for i := range 20 {
			requests = append(requests, drawRequest.Example(seed*20+i))
		}
		for _, c := range diffAgrees(t, drawRules.Example(2*seed), drawRules.Example(2*seed+1), requests) {
			changes[c.Gained]++
		}
	}
	if changes[true] < 300 || changes[false] < 300 {
		t.Errorf("only %v changes", changes)
	}
	t.Log(changes)
}
