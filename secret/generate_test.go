package secret_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// Random rules and requests over alphabets so small that everything collides with everything.

// pick draws one of the words; what should come often stands there often.
func pick(words ...string) *rapid.Generator[string] { return rapid.SampledFrom(words) }

// some draws a list of one to three of the words, now and then none at all.
func some(words ...string) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		if rapid.IntRange(0, 2).Draw(t, "stated") == 0 {
			return nil
		}
		return rapid.SliceOfNDistinct(pick(words...), 1, 3, rapid.ID).Draw(t, "list")
	})
}

// atLeastOne is some that always states.
func atLeastOne(words ...string) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(pick(words...), 1, 3, rapid.ID)
}

func patterns(t *rapid.T, name string, words ...string) []secret.Pattern {
	list := some(words...).Draw(t, name)
	if list == nil {
		return nil
	}
	return pats(list...)
}

var theVaults = []secret.Vault{{Alias: "v1", Host: "h1"}, {Alias: "v1b", Host: "H1"}, {Alias: "v2", Host: "h2"}}

var theGroups = map[string][]string{"ops": {"alice", "Carol"}, "bob": {"dave"}, "empty": {}}

func drawCondition(t *rapid.T) secret.Condition {
	c := secret.Condition{Event: rapid.SampledFrom(secret.BuildEvents[:]).Draw(t, "event")}
	branches := []string{"main", "rel/*", "**", "*", "m*"}
	switch c.Event {
	case secret.Tag:
		c.Tags = patterns(t, "tags", "v*", "**", "main")
	case secret.PullRequest:
		c.Into = patterns(t, "into", branches...)
		c.From = rapid.SampledFrom([]secret.From{"", secret.FromSameRepo, secret.FromSameRepo, secret.FromAny}).Draw(t, "from")
	case secret.Promote, secret.Rollback:
		c.DeployTo = patterns(t, "deploy_to", "prod", "p*", "Prod")
		c.Tags = patterns(t, "tags", "v*", "**", "main")
		c.Branches = patterns(t, "branches", branches...)
	case secret.Cron:
		c.Cron = patterns(t, "cron", "nightly", "*")
		c.Branches = patterns(t, "branches", branches...)
	default:
		c.Branches = patterns(t, "branches", branches...)
	}
	return c
}

func drawScope(t *rapid.T, slugs func(...string) *rapid.Generator[[]string]) secret.Scope {
	s := secret.Scope{Repos: repos(slugs("acme/app", "Acme/App", "acme/*", "**", "acme/**", "a*/app#1", "ACME/*p", "acme/app#2", "other/app", "*/*").Draw(t, "repos")...)}
	if rapid.IntRange(0, 2).Draw(t, "when") > 0 {
		s.When = rapid.SliceOfN(rapid.Custom(drawCondition), 1, 5).Draw(t, "conditions")
	}
	switch rapid.IntRange(0, 3).Draw(t, "actors") {
	case 0:
		s.Actors = secret.Actors{Any: true}
	case 1, 2:
		s.Actors = people(atLeastOne("alice", "BOB", "ops", "OPS", "empty", "mallory").Draw(t, "people")...)
	}
	if rapid.IntRange(0, 3).Draw(t, "pools stated") == 3 {
		s.Pools = atLeastOne("default", "prod", "edge").Draw(t, "pools")
	}
	return s
}

var drawBinding = rapid.Custom(func(t *rapid.T) secret.Binding {
	b := secret.Binding{Scope: drawScope(t, atLeastOne)}
	b.Read = reads(some("v1/db", "v1/*", "v1/db@*", "v1/DB@1", "v1/db/k", "v1b/db", "v1b/d*@*", "v2/d*", "v2/**", "v1/db/value", "v2/DB/k*", "v1/db/*").Draw(t, "read")...)
	for _, name := range rapid.SampledFrom([][]string{{"n"}, {"n", "m"}, {}}).Draw(t, "names") {
		target := pick("v1/db", "v1/db", "v1/DB/k", "v2/db@1", "v1b/db", "v2/db").Draw(t, "target")
		if b.Names == nil {
			b.Names = map[string]secret.Ref{}
		}
		b.Names[name] = must(secret.ParseRef(target))
	}
	return b
})

var drawDeny = rapid.Custom(func(t *rapid.T) secret.Deny {
	d := secret.Deny{Scope: drawScope(t, some)}
	d.Read = denyReads(some("**", "*/db", "*/**", "v1*/DB", "v1b/d*", "v2/db@1", "v2/*/k", "v2/x").Draw(t, "read")...)
	return d
})

var drawRules = rapid.Custom(func(t *rapid.T) secret.Rules {
	rules := secret.Rules{Vaults: theVaults, Groups: theGroups}
	rules.Bindings = rapid.SliceOfN(drawBinding, rapid.SampledFrom([]int{3, 5, 1, 0}).Draw(t, "at least"), 7).Draw(t, "bindings")
	if rapid.IntRange(0, 2).Draw(t, "with denies") == 2 {
		rules.Denies = rapid.SliceOfN(drawDeny, 1, 2).Draw(t, "denies")
	}
	for i := range rules.Bindings {
		rules.Bindings[i].ID = string(rune('a' + i))
	}
	for i := range rules.Denies {
		rules.Denies[i].ID = string(rune('A' + i))
	}
	return rules
})

var drawRequest = rapid.Custom(func(t *rapid.T) secret.Request {
	asked := rapid.SampledFrom([][2]string{
		{"v1", "db"}, {"v1", "db"}, {"v1", "db"}, {"", "n"}, {"n", ""}, {"", "n"}, {"", "n"}, {"v1", "DB/k"}, {"v1", "db"}, {"v2", "db"}, {"", "v1/db@1"}, {"v2/db", "k"}, {"v2", "db@1"}, {"v1b/db", "value"}, {"", "m"},
		{"v2", "x"}, {"v9", "db"}, {"..", "db"}, {"v1/db/k", "l"}, {"", "none"},
	}).Draw(t, "asked")
	r := secret.Request{Path: asked[0], Name: asked[1], Pool: pick("default", "default", "default", "default", "default", "default", "prod", "prod", "").Draw(t, "pool")}
	r.Repo = secret.Repo{
		Slug:          pick("acme/app", "acme/app", "acme/app", "acme/app", "acme/app", "acme/app", "ACME/app", "acme/lib", "other/app", "acme/sub/app", "acme").Draw(t, "slug"),
		UID:           pick("1", "1", "1", "1", "1", "1", "2", "2", "").Draw(t, "uid"),
		DefaultBranch: pick("main", "main", "main", "rel/1", "").Draw(t, "default"),
	}
	event := pick("push", "push", "push", "tag", "cron", "promote", "rollback", "custom", "pull_request", "deploy").Draw(t, "event")
	r.Build = secret.Build{
		Event:      event,
		Ref:        pick("refs/heads/main", "refs/heads/main", "refs/heads/main", "refs/heads/main", "refs/heads/rel/1", "refs/heads/MAIN", "refs/tags/main", "refs/heads/", "").Draw(t, "ref"),
		Source:     pick("x", "x", "refs/for/main", "").Draw(t, "source"),
		SourceRepo: pick("", "", "acme/app", "acme/app", "acme/app", "Acme/APP", "mallory/app").Draw(t, "from"),
		Target:     pick("main", "main", "rel/1", "x", "").Draw(t, "into"),
		DeployTo:   pick("prod", "prod", "Prod", "stage", "").Draw(t, "to"),
		Cron:       pick("nightly", "weekly", "").Draw(t, "cron"),
		Trigger:    pick("@hook", "@hook", "@cron", "alice", "Bob", "DAVE", "").Draw(t, "trigger"),
		Sender:     pick("alice", "carol", "bob", "mallory", "").Draw(t, "sender"),
	}
	special := map[string][]string{"tag": {"refs/tags/v1", "refs/tags/v1/2"}, "pull_request": {"refs/pull/7/head", "refs/merge-requests/7/head"}}[event]
	if special == nil {
		special = []string{"refs/pull/7/head", "refs/tags/v1"}
	}
	if rapid.IntRange(0, 4).Draw(t, "usual") > 0 == slices.Contains([]string{"tag", "pull_request"}, event) {
		r.Build.Ref = pick(special...).Draw(t, "special")
	}
	return r
})
