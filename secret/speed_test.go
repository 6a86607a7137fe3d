package secret_test

import (
	"fmt"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// crowd is an installation of 200 organisations and n bindings: two thirds for one repository each, a third for patterns of
// an organisation's repositories, a few for everybody, and some denies.
func crowd(t testing.TB, n int) *secret.Policy {
	rules := secret.Rules{Groups: map[string][]string{}}
	for i := range 20 {
		rules.Vaults = append(rules.Vaults, secret.Vault{Alias: fmt.Sprintf("v%d", i), Host: fmt.Sprintf("kv-%d", i/2)})
		rules.Groups[fmt.Sprintf("team%d", i)] = []string{"alice", fmt.Sprintf("dev%d", i)}
	}
	for i := range n {
		org, b := i%200, secret.Binding{ID: fmt.Sprintf("b%d", i)}
		switch {
		case i%1000 == 999:
			b.Repos = repos("**")
		case i%3 == 0:
			b.Repos = repos(fmt.Sprintf("org%d/team%d-*", org, i%7))
		default:
			b.Repos = repos(fmt.Sprintf("org%d/repo%d", org, i/200))
		}
		b.Read = reads(fmt.Sprintf("v%d/ci-*", i%20), fmt.Sprintf("v%d/app-%d", i%20, i))
		b.Names = names("token", fmt.Sprintf("v%d/ci-token", i%20))
		if i%4 == 0 {
			b.Actors = people(fmt.Sprintf("team%d", i%20))
			b.When = []secret.Condition{{Event: secret.Push}, {Event: secret.Promote, DeployTo: pats("production"), Branches: pats("main", "release/*")}}
		}
		rules.Bindings = append(rules.Bindings, b)
	}
	for i := range 20 {
		rules.Denies = append(rules.Denies, secret.Deny{ID: fmt.Sprintf("d%d", i), Scope: secret.Scope{Read: denyReads(fmt.Sprintf("*/root-%d*", i))}})
	}
	p, err := secret.NewPolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A stranger who asks and asks makes no garbage: a denial allocates nothing, for a reference and for a name alone.
func TestADenialDoesNotAllocate(t *testing.T) {
	p := crowd(t, 1000)
	for reason, requests := range map[secret.Reason][]string{
		"name":  {"org1/repo2 push main name=nothing", "org1/repo2 push main name=nowhere/db", "org1/repo2 push main path=../x name=y", "mallory/app push main name=nothing"},
		"deny":  {"org1/repo2 push main name=v1/root-1"},
		"uid":   {"org1/repo2 push main name=v1/ci-x uid=", "org1/repo2 push main name=token uid="},
		"pool":  {"org1/repo2 push main name=v1/ci-x pool=prod", "org1/repo2 push main name=token pool=prod"},
		"read":  {"org1/repo2 push main name=v1/other", "org1/repo2 push main path=v1/ci-x@1 name=key"},
		"event": {"org1/repo2 tag v1 name=v1/ci-x", "org1/repo2 pull_request 7 name=token from=mallory/x"},
		"fork":  {"org1/repo2 push main name=v1/ci-x from=mallory/x", "org1/repo2 push main name=token from=mallory/x"},
		"ref":   {"org1/repo2 push dev name=v1/ci-x", "org1/repo2 push dev name=token"},
	} {
		for _, sentence := range requests {
			r := ask(t, sentence)
			if d := p.Decide(r); d.Allowed() || d.Reason != reason {
				t.Errorf("%s: allowed %v, reason %q, want %q", sentence, d.Allowed(), d.Reason, reason)
			}
			if n := testing.AllocsPerRun(200, func() { p.Decide(r) }); n != 0 {
				t.Errorf("%s: a denial allocates %v times", sentence, n)
			}
		}
	}
	person := secret.Binding{ID: "b", Scope: secret.Scope{Repos: repos("acme/app"), Read: reads("v/**"), Actors: people("ops", "bob")}}
	q := given(t, secret.Rules{Vaults: []secret.Vault{{Alias: "v", Host: "h"}}, Groups: map[string][]string{"ops": {"alice"}}, Bindings: []secret.Binding{person}}).p
	r := ask(t, "acme/app push main name=v/db sender=mallory")
	if n := testing.AllocsPerRun(200, func() { q.Decide(r) }); n != 0 {
		t.Errorf("a denial for the actor allocates %v times", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := crowd(b, 10_000)
	for _, c := range []struct {
		about, sentence string
		want            secret.Reason
	}{
		{"granted", "org3/repo11 push main name=v3/ci-token", ""},
		{"granted a literal", "org3/repo11 push main name=v3/app-2203", ""},
		{"granted by a glob", "org3/team3-x push main name=v3/ci-token", ""},
		{"wrong branch", "org3/repo11 push dev name=v3/ci-token", "ref"},
		{"wrong secret", "org3/repo11 push main name=v4/ci-token", "read"},
		{"unknown organisation", "mallory/app push main name=v3/ci-token", "read"}, // only the bindings of everybody know it
		{"unknown name", "org3/repo11 push main name=unheard-of", "name"},
	} {
		b.Run(c.about, func(b *testing.B) {
			r := ask(b, c.sentence)
			if d := p.Decide(r); d.Reason != c.want || d.Allowed() != (c.want == "") {
				b.Fatalf("allowed %v, reason %q, want %q", d.Allowed(), d.Reason, c.want)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(r)
			}
		})
	}
}
