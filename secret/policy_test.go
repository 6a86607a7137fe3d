package secret_test

import (
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// What is left out never gives access.

func TestNothingIsAllowedByNothing(t *testing.T) {
	var zero secret.Decision
	if zero.Allowed() {
		t.Error("the zero Decision allows")
	}
	var policy secret.Policy
	for _, request := range []secret.Request{{}, ask(t, "acme/app push main"), ask(t, "acme/app push main name=lone")} {
		if d := policy.Decide(request); d.Allowed() || d.Reason != secret.ReasonName {
			t.Errorf("the zero Policy: allowed %v, reason %q, want denied for name: it knows no vault", d.Allowed(), d.Reason)
		}
	}
	given(t, secret.Rules{}).deny("repo", "acme/app push main")
	given(t, secret.Rules{}).deny("name", "acme/app push main name=lone")

	empty := given(t, secret.Rules{Bindings: []secret.Binding{{ID: "nothing-said"}}})
	empty.deny("repo", "acme/app push main")
	bind(t, func(b *secret.Binding) { b.Read = nil }).deny("read", "acme/app push main")
	if d := bind(t, nil).p.Decide(secret.Request{}); d.Allowed() {
		t.Error("an empty request is allowed")
	}
}

func TestWithoutWhenItIsPushesToTheDefaultBranch(t *testing.T) {
	w := bind(t, nil)
	w.allow("acme/app push main")
	w.allow("acme/app push trunk default=trunk")
	w.deny("ref", "acme/app push dev")
	w.deny("ref", "acme/app push main default=trunk")
	for _, event := range []string{"tag", "cron", "promote", "rollback", "custom", "pull_request"} {
		w.deny("event", "acme/app "+event+" main")
	}
}

func TestAnAbsentBranchListIsTheDefaultBranch(t *testing.T) {
	all := bind(t, by(anyone,
		secret.Condition{Event: secret.Push},
		secret.Condition{Event: secret.Cron, Cron: pats("nightly")},
		secret.Condition{Event: secret.Promote, DeployTo: pats("production")},
		secret.Condition{Event: secret.Rollback, DeployTo: pats("production")},
		secret.Condition{Event: secret.Custom},
		secret.Condition{Event: secret.PullRequest, From: secret.FromSameRepo},
	))
	for _, facts := range []string{"push", "cron", "promote", "rollback", "custom"} {
		rest := " to=production cron=nightly trigger=alice"
		all.allow("acme/app " + facts + " main" + rest)
		all.deny("ref", "acme/app "+facts+" dev"+rest)
		all.deny("ref", "acme/app "+facts+" refs/tags/main"+rest)
		// The default branch is a name, never a pattern; an empty one is no branch at all.
		all.deny("ref", "acme/app "+facts+" main default=*"+rest)
		all.deny("ref", "acme/app "+facts+" main default="+rest)
		all.deny("ref", "acme/app "+facts+" refs/heads/ default="+rest)
		all.deny("ref", "acme/app "+facts+" main default=refs/heads/main"+rest)
	}
	all.allow("acme/app pull_request 7 into=main")
	all.deny("ref", "acme/app pull_request 7 into=dev")
	all.deny("ref", "acme/app pull_request 7 into= default=")
	all.deny("ref", "acme/app pull_request 7 into=refs/heads/main")
}

func TestWhatMustBeStatedGivesNothingWhenLeftOut(t *testing.T) {
	bind(t, when(secret.Condition{Event: secret.Tag})).deny("ref", "acme/app tag v1")
	bind(t, when(secret.Condition{Event: secret.Tag, Branches: pats("main")})).deny("ref", "acme/app tag main")
	bind(t, when(secret.Condition{Event: secret.Cron})).deny("cron", "acme/app cron main cron=nightly")
	bind(t, when(secret.Condition{Event: secret.Cron})).deny("cron", "acme/app cron main cron=")
	for _, e := range []secret.BuildEvent{secret.Promote, secret.Rollback} {
		w := bind(t, by(anyone, secret.Condition{Event: e}))
		w.deny("deploy_to", "acme/app "+string(e)+" main to=production")
		w.deny("deploy_to", "acme/app "+string(e)+" main to=")
	}
	w := bind(t, when(secret.Condition{Event: secret.PullRequest, Into: pats("main")}))
	w.deny("fork", "acme/app pull_request 7 into=main")
	// A typo that reached the domain gives nothing either.
	odd := bind(t, when(secret.Condition{Event: secret.PullRequest, From: "everybody"}))
	odd.deny("fork", "acme/app pull_request 7 into=main")
}

func TestOrBetweenEventsAndInsideOne(t *testing.T) {
	w := bind(t, by(people("alice"),
		secret.Condition{Event: secret.Promote, DeployTo: pats("production"), Branches: pats("main")},
		secret.Condition{Event: secret.Push, Branches: pats("release/*")},
	))
	w.allow("acme/app promote main to=production trigger=alice")
	w.allow("acme/app push release/1")
	w.deny("ref", "acme/app push main")
	w.deny("ref", "acme/app promote release/1 to=production trigger=alice")
	w.deny("deploy_to", "acme/app promote main to=staging trigger=alice")
	w.deny("actor", "acme/app promote main to=production trigger=bob")
	w.deny("event", "acme/app rollback main to=production trigger=alice")
}

func TestTagsStatedWithoutBranchesMeanTagsOnly(t *testing.T) {
	for _, e := range []secret.BuildEvent{secret.Promote, secret.Rollback} {
		facts, rest := "acme/app "+string(e)+" ", " to=production trigger=alice"
		tags := bind(t, by(anyone, secret.Condition{Event: e, DeployTo: pats("production"), Tags: pats("v*")}))
		tags.allow(facts + "refs/tags/v1" + rest)
		tags.deny("ref", facts+"main"+rest)
		tags.deny("ref", facts+"v1"+rest)

		branches := bind(t, by(anyone, secret.Condition{Event: e, DeployTo: pats("production"), Branches: pats("main")}))
		branches.allow(facts + "main" + rest)
		branches.deny("ref", facts+"refs/tags/main"+rest)

		both := bind(t, by(anyone, secret.Condition{Event: e, DeployTo: pats("production"), Branches: pats("rel"), Tags: pats("v*")}))
		both.allow(facts + "rel" + rest)
		both.allow(facts + "refs/tags/v1" + rest)
		both.deny("ref", facts+"main"+rest)
	}
}

func TestAnUnknownEventMatchesNothing(t *testing.T) {
	everything := bind(t, by(anyone, secret.Condition{Event: secret.Push, Branches: pats("**")}))
	for _, event := range []string{"deploy", "PUSH", "push ", "", "Push", "pullrequest", "release"} {
		everything.deny("event", "acme/app x main", func(r *secret.Request) { r.Build.Event = event })
	}
}

func TestAPersonMustBeNamedWhereTheEventProvesOnlyAPerson(t *testing.T) {
	for _, e := range []secret.BuildEvent{secret.Promote, secret.Rollback, secret.Custom} {
		condition := secret.Condition{Event: e, Branches: pats("main")}
		if e != secret.Custom {
			condition.DeployTo = pats("production")
		}
		facts := "acme/app " + string(e) + " main to=production trigger="
		bind(t, when(condition)).deny("actor", facts+"alice")
		bind(t, by(people("alice"), condition)).allow(facts + "alice")
		bind(t, by(people("alice"), condition)).deny("actor", facts+"mallory")
		bind(t, by(anyone, condition)).allow(facts + "mallory")
		bind(t, by(anyone, condition)).allow(facts + "@cron sender=")
		if !e.ProvesPersonOnly() {
			t.Errorf("%s is said to prove more than a person", e)
		}
	}
	for _, e := range []secret.BuildEvent{secret.Push, secret.Tag, secret.Cron, secret.PullRequest} {
		if e.ProvesPersonOnly() {
			t.Errorf("%s is said to prove a person only", e)
		}
	}
}

func TestTheActorIsDerived(t *testing.T) {
	w := bind(t, by(people("alice"),
		secret.Condition{Event: secret.Push},
		secret.Condition{Event: secret.Cron, Cron: pats("nightly")},
		secret.Condition{Event: secret.Promote, DeployTo: pats("production")},
	))
	w.allow("acme/app push main trigger=@hook sender=alice")
	w.deny("actor", "acme/app push main trigger=@hook sender=mallory")
	// A restart keeps the old build's sender; the person is in the trigger.
	w.allow("acme/app push main trigger=alice sender=mallory")
	w.deny("actor", "acme/app push main trigger=mallory sender=alice")
	// For cron the sender is the commit's author, which anybody writes: nobody stands behind it.
	w.deny("actor", "acme/app cron main cron=nightly trigger=@cron sender=alice")
	w.allow("acme/app cron main cron=nightly trigger=alice sender=x")
	// A deployment made on GitHub arrives as a promotion with the hook as its trigger.
	w.allow("acme/app promote main to=production trigger=@hook sender=alice")
	w.deny("actor", "acme/app promote main to=production trigger=@hook sender=mallory")
	// Nobody.
	w.deny("actor", "acme/app push main trigger= sender=alice")
	w.deny("actor", "acme/app push main trigger=@hook sender=")
	w.deny("actor", "acme/app push main trigger=@HOOK sender=alice")
	w.deny("actor", "acme/app push main trigger=@alice sender=alice")
	// A marker of Drone's is no login, whoever writes it among the actors.
	markers := bind(t, func(b *secret.Binding) { b.Actors = people("@cron", "@hook", "@") })
	for _, trigger := range []string{"@cron", "@hook", "@"} {
		markers.deny("actor", "acme/app push main sender=alice trigger="+trigger)
	}
}

func TestActorsAreLoginsOrGroups(t *testing.T) {
	b := binding("b")
	b.Actors = people("deployers", "Carol", "eve")
	groups := map[string][]string{"deployers": {"Alice", "bob"}, "eve": {"frank"}, "void": {""}, "other": {"dave"}}
	w := given(t, secret.Rules{Groups: groups, Bindings: []secret.Binding{b}})
	for _, login := range []string{"alice", "ALICE", "bob", "carol", "CAROL", "frank"} {
		w.allow("acme/app push main sender=" + login)
	}
	for _, login := range []string{"dave", "deployers", "alicE\u0000", "eve", "caroſl", "bob "} { // a group wins over a login of its name
		w.deny("actor", "acme/app push main", func(r *secret.Request) { r.Build.Sender = login })
	}
	b.Actors = people("void", "")
	void := given(t, secret.Rules{Groups: groups, Bindings: []secret.Binding{b}})
	void.deny("actor", "acme/app push main sender=")
	void.deny("actor", "acme/app cron main trigger=@cron", func(r *secret.Request) { r.Build.Event = "push" })
}

func TestPools(t *testing.T) {
	plain := bind(t, nil)
	plain.allow("acme/app push main pool=default")
	plain.deny("pool", "acme/app push main pool=prod")
	plain.deny("pool", "acme/app push main pool=")
	plain.deny("pool", "acme/app push main pool=Default")
	prod := bind(t, func(b *secret.Binding) { b.Pools = []string{"prod", "edge"} })
	prod.allow("acme/app push main pool=prod")
	prod.allow("acme/app push main pool=edge")
	prod.deny("pool", "acme/app push main pool=default")
	prod.deny("pool", "acme/app push main pool=")
}

// An empty list is neither "not stated" nor "nothing": read as the one it would open a deny, as the other close a binding.
func TestEmptyListsAreRefused(t *testing.T) {
	for name, scope := range map[string]secret.Scope{
		"repos":     {Repos: []secret.RepoPattern{}},
		"when":      {When: []secret.Condition{}},
		"pools":     {Pools: []string{}},
		"read":      {Read: []secret.ReadPattern{}},
		"actors":    {Actors: secret.Actors{Names: []string{}}},
		"branches":  {When: []secret.Condition{{Event: secret.Push, Branches: []secret.Pattern{}}}},
		"deploy_to": {When: []secret.Condition{{Event: secret.Promote, DeployTo: []secret.Pattern{}}}},
	} {
		if _, err := secret.NewPolicy(secret.Rules{Bindings: []secret.Binding{{ID: "b", Scope: scope}}}); err == nil {
			t.Errorf("a binding with an empty %s is taken", name)
		}
		if _, err := secret.NewPolicy(secret.Rules{Denies: []secret.Deny{{ID: "d", Scope: scope}}}); err == nil {
			t.Errorf("a deny with an empty %s is taken", name)
		}
	}
}

// "An event that Drone adds one day matches nothing", not even where a rule was made that names it.
func TestNoRuleKnowsAnUnknownEvent(t *testing.T) {
	// Not even where a rule was made that names it.
	rules := secret.Rules{Vaults: []secret.Vault{{Alias: "shared", Host: "h"}}, Bindings: []secret.Binding{binding("b")}}
	rules.Bindings[0].When = []secret.Condition{{Event: "deploy", Branches: pats("**")}}
	if p, err := secret.NewPolicy(rules); err == nil {
		world{t, p}.deny("event", "acme/app deploy main")
	}
}
