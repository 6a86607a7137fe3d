package secret_test

import (
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// Names, denies, and several bindings at once.

func TestNamesGrantExactlyTheirTargets(t *testing.T) {
	w := bind(t, func(b *secret.Binding) {
		b.Read = nil
		b.Names = names("db_password", "pay/deploy-db/password", "pinned", "pay/cert@AB", "päß wort", "shared/x")
	})
	for name, want := range map[string]string{
		"db_password": "pay/deploy-db/password", "pinned": "pay/cert@ab", "päß wort": "shared/x",
	} {
		for _, how := range []func(*secret.Request){asking("", name), asking(name, "")} {
			d := w.allow("acme/app push main", how)
			if got := d.Grant.Ref.String(); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	}
	// The target itself is granted, without read, and nothing around it.
	w.allow("acme/app push main path=pay/deploy-db name=password")
	w.allow("acme/app push main name=pay/cert@ab")
	for _, near := range []string{"pay/deploy-db", "pay/deploy-db/user", "pay/deploy-db@1/password", "pay/cert", "pay/cert@ac", "pay/cert@ab/key", "shared/y"} {
		w.deny("read", "acme/app push main name="+near)
	}
	w.deny("name", "acme/app push main name=DB_password")
	w.deny("name", "acme/app push main name=db_passwor")
	w.deny("name", "acme/other push main name=db_password") // no binding of that repository maps it
	w.deny("name", "acme push main name=db_password")
	w.deny("uid", "acme/app push main name=db_password uid=")
	w.deny("ref", "acme/app push dev name=db_password")
	w.deny("pool", "acme/app push main name=db_password pool=prod")
	w.deny("event", "acme/app tag v1 name=db_password")
}

func TestANameIsOnlyEverLookedUpInNames(t *testing.T) {
	w := bind(t, func(b *secret.Binding) { b.Names = names("shared", "pay/other") })
	w.deny("name", "acme/app push main name=db") // shared/db is readable, but nobody said which vault
	if d := w.allow("acme/app push main name=shared"); d.Grant.Ref.Vault != "pay" {
		t.Errorf("the name shared is %s, want pay/other", d.Grant.Ref)
	}
	odd := bind(t, func(b *secret.Binding) { b.Names = map[string]secret.Ref{"shared/db/x/y": {Vault: "pay", Name: "a"}} })
	odd.deny("name", "acme/app push main name=shared/db/x/y")
}

func TestTwoBindingsThatMapOneName(t *testing.T) {
	make2 := func(first, second string, change func(*secret.Binding)) world {
		a, b := binding("a"), binding("b")
		a.Names, b.Names = names("n", first), names("n", second)
		if change != nil {
			change(&b)
		}
		return given(t, secret.Rules{Bindings: []secret.Binding{a, b}})
	}
	make2("shared/x", "shared/y", nil).deny("ambiguous", "acme/app push main name=n")
	make2("shared/x", "shared/x/k", nil).deny("ambiguous", "acme/app push main name=n")
	make2("shared/x", "shared/x@1", nil).deny("ambiguous", "acme/app push main name=n")
	make2("shared/x", "shared-too/x", nil).deny("ambiguous", "acme/app push main name=n") // another door demands other things
	make2("shared/x", "shared/X", nil).allow("acme/app push main name=n")
	make2("shared/x", "shared/x/value", nil).allow("acme/app push main name=n")
	// Only matching bindings count.
	for _, change := range []func(*secret.Binding){
		func(b *secret.Binding) { b.Repos = repos("acme/other") },
		func(b *secret.Binding) { b.Repos = repos("acme/app#7") },
		func(b *secret.Binding) { b.Pools = []string{"prod"} },
		func(b *secret.Binding) { b.When = []secret.Condition{{Event: secret.Tag, Tags: pats("*")}} },
		func(b *secret.Binding) { b.Actors = people("bob") },
	} {
		if d := make2("shared/x", "shared/y", change).allow("acme/app push main name=n"); d.Grant.Ref.Name != "x" {
			t.Errorf("n is %s, want the matching binding's shared/x", d.Grant.Ref)
		}
	}
	// A denied target is no way out of the ambiguity: a deny never grants.
	a, b := binding("a"), binding("b")
	a.Names, b.Names = names("n", "shared/x"), names("n", "shared/y")
	deny := secret.Deny{ID: "no-y", Scope: secret.Scope{Read: denyReads("*/y")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{a, b}, Denies: []secret.Deny{deny}})
	w.deny("ambiguous", "acme/app push main name=n")
}

func TestADenyWinsOverEveryBinding(t *testing.T) {
	b := binding("b")
	b.Read = reads("shared/**", "shared-too/**", "shared/root-a@*", "pay/**")
	b.Names = names("root", "shared/root-a/key", "fine", "pay/x")
	deny := secret.Deny{ID: "no-root", Reason: "root keys never reach CI", Scope: secret.Scope{Read: denyReads("shared/root-*")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}})
	for _, ref := range []string{
		"shared/root-a", "shared/ROOT-A", "shared/root-a@1", "shared/root-a@1/key", "shared/root-a/key", "shared-too/root-a", "root",
	} { // every alias of the vault, every version, every key, any case
		if d := w.deny("deny", "acme/app push main", asking("", ref)); d.DeniedBy != "no-root" || d.Ref.Name != "root-a" {
			t.Errorf("%s: denied by %q about %v, want no-root", ref, d.DeniedBy, d.Ref)
		}
	}
	w.deny("deny", "acme/app tag v1 name=shared/root-a") // before every station of a binding
	w.deny("deny", "acme/other push main name=shared/root-a")
	w.allow("acme/app push main name=pay/root-a")
	w.allow("acme/app push main name=fine")
	w.deny("name", "acme/app push main name=other/root-a")

	for _, narrow := range []string{"shared/root-a@1", "shared/root-a/key", "shared/root-a@*/k*"} { // states more, denies as much
		deny.Read = denyReads(narrow)
		given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}}).deny("deny", "acme/app push main name=shared/root-a")
	}
	for _, all := range [][]secret.ReadPattern{denyReads("**"), denyReads("*/**"), denyReads("**/*"), nil} {
		deny.Read = all
		w := given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}})
		w.deny("deny", "acme/app push main name=pay/x")
		w.deny("deny", "acme/app push main name=fine")
	}
}

func TestOfSeveralDeniesTheFirstByNameIsNamed(t *testing.T) {
	a, b := secret.Deny{ID: "a"}, secret.Deny{ID: "b", Scope: secret.Scope{Repos: repos("acme/app")}}
	for _, denies := range [][]secret.Deny{{a, b}, {b, a}} {
		w := given(t, secret.Rules{Bindings: []secret.Binding{binding("c")}, Denies: denies})
		if d := w.deny("deny", "acme/app push main"); d.DeniedBy != "a" {
			t.Errorf("denied by %q, want a in whatever order", d.DeniedBy)
		}
	}
}

// denied is a policy that would allow acme/app everything, but for one deny.
func denied(t *testing.T, scope secret.Scope) world {
	b := binding("b")
	b.Repos, b.Pools, b.Actors = repos("**"), []string{"default", "prod"}, anyone
	b.When = []secret.Condition{
		{Event: secret.Push, Branches: pats("**")},
		{Event: secret.Tag, Tags: pats("**")},
		{Event: secret.Cron, Cron: pats("*"), Branches: pats("**")},
		{Event: secret.Promote, DeployTo: pats("*"), Branches: pats("**"), Tags: pats("**")},
		{Event: secret.PullRequest, From: secret.FromAny, Into: pats("**")},
	}
	deny := secret.Deny{ID: "no", Scope: scope}
	return given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}, Groups: map[string][]string{"interns": {"bob"}}})
}

func TestInADenyAbsentMeansEverything(t *testing.T) {
	for _, request := range []string{"acme/app push dev", "acme/app tag v1", "x/y cron z cron=c", "acme/app pull_request 7 from=x/y", "acme/app push main pool=prod"} {
		denied(t, secret.Scope{}).deny("deny", request)
		denied(t, secret.Scope{Read: denyReads("pay/**")}).allow(request)
	}
	denied(t, secret.Scope{}).deny("deny", "acme/app some-new-event main")

	one := denied(t, secret.Scope{Repos: repos("acme/*#42")})
	one.deny("deny", "ACME/app push main")
	one.allow("acme/app push main uid=43")
	one.allow("other/app push main")

	w := denied(t, secret.Scope{When: []secret.Condition{{Event: secret.Push}, {Event: secret.Cron}, {Event: secret.PullRequest}, {Event: secret.Promote}, {Event: secret.Tag}}})
	for _, request := range []string{
		"acme/app push any", "acme/app push any default=", "acme/app cron any cron=x", "acme/app pull_request 7 into=any from=", "acme/app tag v1",
		"acme/app promote any to=x", "acme/app promote refs/tags/v1 to=x",
	} {
		w.deny("deny", request)
	}
	w = denied(t, secret.Scope{When: []secret.Condition{
		{Event: secret.Push, Branches: pats("dev")}, {Event: secret.Promote, DeployTo: pats("production")}, {Event: secret.Cron, Cron: pats("nightly")},
		{Event: secret.PullRequest, Into: pats("main")},
	}})
	w.deny("deny", "acme/app push dev")
	w.allow("acme/app push main")
	w.deny("deny", "acme/app promote main to=production")
	w.allow("acme/app promote main to=staging")
	w.deny("deny", "acme/app cron any cron=nightly")
	w.allow("acme/app cron any cron=weekly")
	w.deny("deny", "acme/app pull_request 7 from=x/y")
	w.allow("acme/app pull_request 7 into=dev")
	w.allow("acme/app tag v1")

	pool := denied(t, secret.Scope{Pools: []string{"prod"}})
	pool.deny("deny", "acme/app push main pool=prod")
	pool.allow("acme/app push main")

	actors := denied(t, secret.Scope{Actors: people("interns", "eve")})
	actors.deny("deny", "acme/app push main sender=BOB")
	actors.deny("deny", "acme/app push main trigger=eve sender=alice")
	actors.allow("acme/app push main sender=alice")
	denied(t, secret.Scope{Actors: anyone}).deny("deny", "acme/app cron main cron=c trigger=@cron")
}

// A deny is named also where no binding would have granted the name anyhow.
func TestADeniedNameNamesItsDeny(t *testing.T) {
	b := binding("b")
	b.Names = names("n", "shared/x")
	deny := secret.Deny{ID: "no-x", Scope: secret.Scope{Read: denyReads("shared/x")}}
	w := given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}})
	d := w.deny("deny", "acme/app tag v1 name=n")
	if d.DeniedBy != "no-x" || d.Ref.Name != "x" {
		t.Errorf("denied by %q about %v, want no-x about shared/x", d.DeniedBy, d.Ref)
	}
}

// What a name stands for is on record also when the person is the wrong one.
func TestARefusedNameIsResolved(t *testing.T) {
	b := binding("b")
	b.Names, b.Actors = names("n", "shared/x"), people("alice")
	w := given(t, secret.Rules{Bindings: []secret.Binding{b}})
	if d := w.deny("actor", "acme/app push main name=n sender=mallory"); d.Ref.String() != "shared/x" {
		t.Errorf("the refused name is %q, want shared/x", d.Ref)
	}
}
