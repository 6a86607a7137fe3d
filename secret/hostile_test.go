package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// hostileWorld is the policy of a careful operator, with everything that strangers try to get round.
func hostileWorld(t *testing.T) world {
	ci, release, deploy, pulls, nightly, custom := binding("ci"), binding("release"), binding("deploy"), binding("pulls"), binding("nightly"), binding("custom")
	ci.Read = reads("shared/ci-*")
	ci.When = []secret.Condition{{Event: secret.Push, Branches: pats("main")}}
	release.Read = reads("shared/release")
	release.When = []secret.Condition{{Event: secret.Push, Branches: pats("release/*")}}
	deploy.Repos, deploy.Pools, deploy.Actors = repos("acme/app#42"), []string{"prod"}, people("alice")
	deploy.Read = reads("pay/deploy-*")
	deploy.Names = names("db_password", "pay/deploy-db/password")
	deploy.When = []secret.Condition{{Event: secret.Promote, DeployTo: pats("production"), Branches: pats("main")}}
	pulls.Read = reads("shared/pr")
	pulls.When = []secret.Condition{{Event: secret.PullRequest, From: secret.FromSameRepo}}
	nightly.Read = reads("shared/night")
	nightly.When = []secret.Condition{{Event: secret.Cron, Cron: pats("nightly"), Branches: pats("main")}}
	custom.Read, custom.Actors = reads("shared/custom"), people("alice")
	custom.When = []secret.Condition{{Event: secret.Custom, Branches: pats("main")}}
	return given(t, secret.Rules{Bindings: []secret.Binding{ci, release, deploy, pulls, nightly, custom}})
}

func TestHostileBuilds(t *testing.T) {
	w := hostileWorld(t)
	t.Run("a pull request without opt-in", func(t *testing.T) {
		w.deny("event", "acme/app pull_request 7 name=shared/ci-token")
		w.deny("event", "acme/app pull_request refs/heads/main name=shared/ci-token into=main")
	})
	t.Run("a fork under same-repo", func(t *testing.T) {
		w.deny("fork", "acme/app pull_request 7 name=shared/pr from=mallory/app")
		w.deny("fork", "acme/app pull_request 7 name=shared/pr from=")
		w.allow("acme/app pull_request 7 name=shared/pr")
	})
	t.Run("a branch that looks like main", func(t *testing.T) {
		w.allow("acme/app push main name=shared/ci-token")
		for _, branch := range []string{
			"MAIN", "Main", "mаin", "ma\u200bin", "main\u200b", "\u202emain", "main ", " main", "main/", "main\n", "main\x00", "mainx", "xmain", "x/main",
			"refs/heads/main", "main,dev", "$(main)", "*", "**", strings.Repeat("main", 1000),
		} {
			w.deny("ref", "acme/app push x name=shared/ci-token", ref("refs/heads/"+branch))
		}
	})
	t.Run("one star is one segment", func(t *testing.T) {
		w.allow("acme/app push release/a name=shared/release")
		for _, branch := range []string{"release/a/b", "release", "release/", "x/release/a", "release//a", "RELEASE/a"} {
			w.deny("ref", "acme/app push x name=shared/release", ref("refs/heads/"+branch))
		}
	})
	t.Run("custom", func(t *testing.T) {
		w.deny("event", "acme/app custom main name=shared/ci-token trigger=alice")
		w.deny("actor", "acme/app custom main name=shared/custom trigger=mallory sender=alice")
		w.allow("acme/app custom main name=shared/custom trigger=alice")
	})
	deploy := "acme/app promote main path=pay/deploy-db pool=prod to=production trigger=alice name=password"
	t.Run("promote", func(t *testing.T) {
		w.allow(deploy)
		w.allow(deploy + " path= name=db_password")
		w.deny("fork", deploy, ref("refs/pull/7/head"))
		w.deny("fork", deploy+" from=mallory/app")
		w.deny("fork", deploy, ref("refs/merge-requests/7/head"))
		for _, target := range []string{"Production", "production ", " production", "production\n", "prоduction", "", "production/eu", "*"} {
			w.deny("deploy_to", deploy, func(r *secret.Request) { r.Build.DeployTo = target })
		}
	})
	t.Run("cron", func(t *testing.T) {
		w.allow("acme/app cron main name=shared/night cron=nightly trigger=@cron")
		w.deny("ref", "acme/app cron dev name=shared/night cron=nightly trigger=@cron")
		w.deny("cron", "acme/app cron main name=shared/night cron=Nightly trigger=@cron")
		w.deny("cron", "acme/app cron main name=shared/night cron=hourly trigger=@cron")
	})
	t.Run("another repository under the name, another name for the repository", func(t *testing.T) {
		// Other bindings of the slug come further, to the pool: the furthest explains. By itself this one stops at the uid.
		w.deny("pool", deploy+" uid=43")
		w.deny("uid", deploy+" uid=")
		alone := bind(t, func(b *secret.Binding) { b.Repos = repos("acme/app#42") })
		alone.deny("uid", "acme/app push main uid=43")
		alone.deny("repo", "acme/other push main uid=42")
		w.deny("repo", "acme/other"+strings.TrimPrefix(deploy, "acme/app"))
		w.deny("repo", deploy, func(r *secret.Request) { r.Repo.Slug = "" })
		w.deny("repo", deploy, func(r *secret.Request) { r.Repo.Slug = "app" })
	})
	t.Run("another pool", func(t *testing.T) {
		w.deny("pool", deploy+" pool=")
		w.deny("read", deploy+" pool=default") // other bindings are for this pool and give something else
		alone := bind(t, func(b *secret.Binding) { b.Pools = []string{"b"} })
		alone.deny("pool", "acme/app push main pool=a")
		alone.deny("pool", "acme/app push main pool=default")
		bind(t, nil).deny("pool", "acme/app push main pool=a")
	})
	t.Run("an event that Drone never had", func(t *testing.T) {
		w.deny("event", "acme/app release main name=shared/ci-token")
	})
}

// What the YAML of an attacker's branch may ask for. There is no grant, so nothing is fetched.
func TestHostileNames(t *testing.T) {
	b := binding("b")
	b.Names = names("known", "shared/x")
	w := given(t, secret.Rules{Bindings: []secret.Binding{b}})
	megabyte := strings.Repeat("a", 1<<20)
	tricks := []string{
		"..", ".", "a?x", "a#x", "%2e%2e", "%2fsecrets", "a\x00", "a\n", "\n", "a b", "a\\b", "a:b", "a&b=c", "~", "ſ", "\u212a", "á", "a\u202eb", "a\xff",
		"${DRONE_BRANCH}", "*", "**", "db*", megabyte, strings.Repeat("a", 128), strings.Repeat("a/", 1<<19), strings.Repeat("/", 1<<20), "@", "a@", "a@b@c",
		"a@" + strings.Repeat("1", 65), "https://evil.example/x", "evil.example", "a;b", "<a>", "..;", "‥", "．．",
	}
	for _, trick := range tricks {
		for _, c := range [][2]string{{trick, ""}, {"", trick}, {"shared", trick}, {trick, "db"}, {"", "shared/" + trick}, {"shared/" + trick, "k"}, {"../" + trick, "db"}} {
			d := w.deny("name", "acme/app push main", asking(c[0], c[1]))
			if d.Ref != (secret.Ref{}) {
				t.Errorf("%.40q is resolved to %.40q", c, d.Ref)
			}
		}
	}
	for _, trick := range []string{"..", ".", "...", "a?x", "%2e", "\x00", "\n", "a b", megabyte, strings.Repeat("k", 128), "a/b", "", "*", "ключ"} {
		if trick != "" {
			w.deny("name", "acme/app push main", asking("shared/db", trick))
		}
	}
}

// An alias that exists but is denied and one that doesn't are told apart by nothing but the record: both are denials, and
// the unknown one resolves to nothing.
func TestAnUnknownAliasIsNoDifferentOutside(t *testing.T) {
	w := hostileWorld(t)
	known := w.deny("read", "acme/app push main name=pay/other")
	unknown := w.deny("name", "acme/app push main name=nowhere/other")
	if known.Grant != nil || unknown.Grant != nil || unknown.Ref != (secret.Ref{}) {
		t.Errorf("known %+v, unknown %+v", known.Ref, unknown.Ref)
	}
}

// Every predicate that only attacker's text could satisfy is looked at nowhere.
func TestForgeableFieldsGiveNothing(t *testing.T) {
	w := hostileWorld(t)
	w.deny("ref", "acme/app push dev name=shared/ci-token into=main source=main")
	w.deny("event", "acme/app tag main name=shared/ci-token into=main")
	w.deny("ref", "acme/app promote dev name=db_password pool=prod to=production trigger=alice into=main source=main")
	w.deny("actor", "acme/app promote main name=db_password pool=prod to=production trigger=@cron sender=alice")
}

func TestSeveralBindingsGiveTheSameAndTheFurthestExplains(t *testing.T) {
	near, far := binding("z-near"), binding("a-far")
	near.Actors = people("bob")
	far.When = []secret.Condition{{Event: secret.Tag, Tags: pats("v*")}}
	for _, list := range [][]secret.Binding{{near, far}, {far, near}} {
		w := given(t, secret.Rules{Bindings: list})
		w.deny("actor", "acme/app push main")
		w.deny("ref", "acme/app push dev")
		w.deny("ref", "acme/app tag x")
	}
	twin := binding("a-twin")
	for _, list := range [][]secret.Binding{{binding("m"), twin, near}, {near, twin, binding("m")}} {
		if d := given(t, secret.Rules{Bindings: list}).allow("acme/app push main"); d.Grant.Binding != "a-twin" {
			t.Errorf("granted by %q, want the first by name, a-twin", d.Grant.Binding)
		}
	}
}

func TestRulesThatMeanSomethingElseAreRefused(t *testing.T) {
	vaults := []secret.Vault{{Alias: "shared", Host: "h"}}
	elsewhere, wild, mapped, anonymous := binding("b"), binding("b"), binding("b"), binding("")
	elsewhere.Read = reads("nowhere/db")
	wild.Read = denyReads("*/db")
	mapped.Names = names("n", "nowhere/db")
	for about, rules := range map[string]secret.Rules{
		"a vault twice":                   {Vaults: append(vaults, vaults...)},
		"a binding of an unknown vault":   {Vaults: vaults, Bindings: []secret.Binding{elsewhere}},
		"a binding of every vault":        {Vaults: vaults, Bindings: []secret.Binding{wild}},
		"a name in an unknown vault":      {Vaults: vaults, Bindings: []secret.Binding{mapped}},
		"a binding without id":            {Vaults: vaults, Bindings: []secret.Binding{anonymous}},
		"an id twice":                     {Vaults: vaults, Bindings: []secret.Binding{binding("b"), binding("b")}},
		"a deny with the id of a binding": {Vaults: vaults, Bindings: []secret.Binding{binding("b")}, Denies: []secret.Deny{{ID: "b"}}},
	} {
		if _, err := secret.NewPolicy(rules); err == nil {
			t.Errorf("%s: compiled", about)
		}
	}
}
