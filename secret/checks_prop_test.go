package secret_test

import (
	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// agreeChecks compares the explanation with the decision: what people are told is what was decided.
func agreeChecks(t rapid.TB, d secret.Decision) {
	var order []string
	byRule := map[string][]secret.Check{}
	for c := range d.Checks() {
		if c.Deny {
			if d.Reason != secret.ReasonDeny || c.Rule != d.DeniedBy {
				t.Fatalf("a check of the deny %q, but %q by %q decided", c.Rule, d.Reason, d.DeniedBy)
			}
			continue
		}
		if byRule[c.Rule] == nil {
			order = append(order, c.Rule)
		}
		byRule[c.Rule] = append(byRule[c.Rule], c)
	}
	passed := map[string]bool{}
	for rule, checks := range byRule {
		passed[rule] = true
		for i, c := range checks {
			if !c.OK && i != len(checks)-1 {
				t.Fatalf("%s goes on after it stopped at %q: %+v", rule, c.Station, checks)
			}
			passed[rule] = passed[rule] && c.OK
		}
	}
	switch d.Reason {
	case "":
		if len(order) == 0 || !passed[d.Grant.Binding] || !passed[order[0]] {
			t.Fatalf("allowed by %q, but the checks are %+v", d.Grant.Binding, byRule)
		}
		return
	case secret.ReasonName, secret.ReasonAmbiguous, secret.ReasonDeny, secret.ReasonRepo:
		return
	}
	if len(order) == 0 {
		t.Fatalf("denied for %q without a check", d.Reason)
	}
	first := byRule[order[0]]
	if last := first[len(first)-1]; last.OK || last.Station != d.Reason {
		t.Fatalf("denied for %q, but the first binding is %+v", d.Reason, first)
	} else if why := order[0] + ": " + last.String(); d.Why() != why {
		t.Fatalf("the log says %q, the explanation %q", d.Why(), why)
	}
	for rule, ok := range passed {
		if ok {
			t.Fatalf("denied for %q, but %s passes everything: %+v", d.Reason, rule, byRule[rule])
		}
	}
}
