package secret_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/secret"
)

// explained is what `explain` shows: each rule's id with the words of its checks.
func explained(d secret.Decision) []string {
	var lines []string
	last := ""
	for c := range d.Checks() {
		if c.Rule != last {
			lines = append(lines, c.Rule)
			last = c.Rule
		}
		lines[len(lines)-1] += " · " + c.String()
	}
	return lines
}

func TestADecisionExplainsItself(t *testing.T) {
	ci, deploy := binding("ci"), binding("deploy")
	ci.Repos, ci.Read = repos("acme/*"), reads("shared/ci-*")
	deploy.Read, deploy.Actors = reads("shared/deploy-*"), people("alice", "bob")
	deploy.When = []secret.Condition{{Event: secret.Promote, DeployTo: pats("production"), Branches: pats("main")}}
	other := binding("other")
	other.Repos = repos("acme/other")
	deny := secret.Deny{ID: "no-root", Reason: "root keys never reach CI", Scope: secret.Scope{Read: denyReads("*/root-*")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{ci, deploy, other}, Denies: []secret.Deny{deny}})

	d := w.deny("event", "acme/app pull_request 7 name=shared/deploy-db")
	got := explained(d)
	if len(got) < 2 || !strings.HasPrefix(got[0], "deploy · ") || !strings.HasSuffix(got[0], " · event: wants promote, got pull_request") {
		t.Errorf("the furthest binding is not explained first: %q", got)
	}
	if len(got) > 1 && !strings.HasSuffix(got[1], " · read: wants shared/ci-*, got shared/deploy-db") {
		t.Errorf("the next is %q", got[1])
	}
	d = w.deny("actor", "acme/app promote main name=shared/deploy-db to=production trigger=mallory")
	if got := explained(d); !strings.HasSuffix(got[0], " · actor: wants alice or bob, got mallory") {
		t.Errorf("got %q", got)
	}
	d = w.deny("actor", "acme/app promote main name=shared/deploy-db to=production trigger=@cron")
	if got := explained(d); !strings.HasSuffix(got[0], ", got nobody") {
		t.Errorf("got %q", got)
	}
	d = w.deny("deny", "acme/app push main name=shared/root-x")
	if got := explained(d); got[0] != "no-root · deny: root keys never reach CI" {
		t.Errorf("got %q", got)
	}
	d = w.allow("acme/app push main name=shared/ci-x")
	if got := explained(d); !strings.HasPrefix(got[0], "ci · repo ok") || strings.Contains(got[0], "wants") {
		t.Errorf("got %q", got)
	}
	for range d.Checks() {
		break // and may be left at any time
	}
	if got := explained(w.deny("name", "acme/app push main name=nowhere/db")); got != nil {
		t.Errorf("an unknown alias is explained by %q", got)
	}
	var zero secret.Decision
	if got := explained(zero); got != nil || zero.Allowed() {
		t.Errorf("the zero Decision explains %q", got)
	}
}

// What a stranger wrote stands in an explanation as one line of ASCII.
func TestAnExplanationIsHarmlessText(t *testing.T) {
	w := bind(t, nil)
	for _, branch := range []string{"a\nb", "\x1b[31m", "m\u202eain", "mаin", "\xff", "a\x00"} {
		for _, line := range explained(w.deny("ref", "acme/app push x", ref("refs/heads/"+branch))) {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > 0x7e && r != '·' }) {
				t.Errorf("the branch %q is shown as %q", branch, line)
			}
		}
	}
}

func TestTheVocabularyIsClosed(t *testing.T) {
	kinds := map[secret.Kind]string{
		secret.Internal: "internal", secret.Invalid: "invalid", secret.Unproven: "unproven", secret.Denied: "denied", secret.NotFound: "not found",
		secret.Busy: "busy", secret.Garbled: "garbled", secret.Unavailable: "unavailable", secret.Late: "late", 200: "internal",
	}
	got := map[secret.Kind]string{}
	for kind := range kinds {
		got[kind] = kind.String()
	}
	if diff := cmp.Diff(kinds, got); diff != "" {
		t.Error(diff)
	}
	var zero secret.Error
	if zero.Kind != secret.Internal || zero.Error() == "" {
		t.Errorf("the zero Error is %q", zero.Error())
	}
}

// For a name alone each binding has a target of its own, and a deny of it comes before its conditions.
func TestChecksOfANameKnowTheDeny(t *testing.T) {
	a, b := binding("a"), binding("b")
	a.Names, a.Actors = names("n", "shared/x"), people("bob") // the target is denied, else it would stop at actor
	b.Names, b.When = names("n", "shared/y"), []secret.Condition{{Event: secret.Tag, Tags: pats("*")}}
	deny := secret.Deny{ID: "no-x", Scope: secret.Scope{Read: denyReads("shared/x")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{a, b}, Denies: []secret.Deny{deny}})
	d := w.deny("event", "acme/app push main name=n sender=alice")
	first, last := "", secret.Reason("")
	for c := range d.Checks() {
		if first == "" {
			first = c.Rule
		}
		if c.Rule == first {
			last = c.Station
		}
	}
	if last != d.Reason {
		t.Errorf("reason %q, but the first rule of the explanation, %q, ends at %q", d.Reason, first, last)
	}
}
