package secret_test

import (
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// No change to a binding helps against a deny, so none is named.
func TestNoRemedyAgainstADeny(t *testing.T) {
	b := binding("b")
	b.Names, b.Actors = names("n", "shared/x"), people("bob")
	deny := secret.Deny{ID: "no-x", Scope: secret.Scope{Read: denyReads("shared/x")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}})
	d := w.deny("deny", "acme/app push main name=n sender=alice")
	if remedy := d.Remedy(); remedy.Text != "" {
		t.Errorf("%+v is named as a remedy against a deny", remedy)
	}
}

// Remedies are named only where one change would do, and as it is written in a configuration.
func TestRemedy(t *testing.T) {
	promote := []secret.Condition{{Event: secret.Promote, DeployTo: pats("production")}}
	for name, c := range map[string]struct {
		change   func(*secret.Binding)
		sentence string
		want     string
	}{
		"another event":     {nil, "acme/app tag v1", `when: {push: {}, tag: {tags: [v1]}}`},
		"another branch":    {nil, "acme/app push dev", `when: {push: {branches: [main, dev]}}`},
		"a branch like 1.1": {nil, "acme/app push 1.1", `when: {push: {branches: [main, "1.1"]}}`},
		"another pool":      {nil, "acme/app push main pool=prod", `pools: [default, prod]`},
		"another person": {func(b *secret.Binding) { b.Actors = people("bob") },
			"acme/app push main sender=alice", `actors: [bob, alice]`},
		"two things at once": {func(b *secret.Binding) { b.When, b.Actors = promote, people("bob") },
			"acme/app push main sender=alice", ``},
		"another repository": {nil, "other/app push main", ``},
	} {
		w := bind(t, c.change)
		d := w.p.Decide(ask(t, c.sentence))
		if d.Allowed() || d.Remedy().Text != c.want {
			t.Errorf("%s: remedy %q, want %q (%s)", name, d.Remedy().Text, c.want, d.Reason)
		}
	}
}
