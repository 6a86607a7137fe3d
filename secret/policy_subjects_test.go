package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// Whose code, of which repository, reads which secret.

func TestForks(t *testing.T) {
	same := bind(t, when(secret.Condition{Event: secret.PullRequest, From: secret.FromSameRepo, Into: pats("main")}))
	open := bind(t, when(secret.Condition{Event: secret.PullRequest, From: secret.FromAny, Into: pats("main")}))
	for _, c := range []struct{ about, facts string }{
		{"a branch of the repository itself", "acme/app pull_request 7"},
		{"the forge writes the slug in another case", "acme/app pull_request 7 from=ACME/App"},
		{"an organisation's second pull request", "acme/app pull_request 1234567890"},
	} {
		t.Log(c.about)
		same.allow(c.facts)
		open.allow(c.facts)
		same.deny("ref", c.facts+" into=dev")
		open.deny("ref", c.facts+" into=dev")
	}
	for _, c := range []struct{ about, facts string }{
		{"another repository", "acme/app pull_request 7 from=mallory/app"},
		{"a fork that is gone", "acme/app pull_request 7 from="},
		{"a look-alike of the slug", "acme/app pull_request 7 from=acme/app2"},
		{"Gitea's AGit flow", "acme/app pull_request 7 source=refs/for/main"},
		{"GitLab's merge request", "acme/app pull_request refs/merge-requests/7/head"},
		{"GitLab's merge request with the slug as display name", "acme/app pull_request refs/merge-requests/7/head from=acme/app"},
		{"not a pull request's ref", "acme/app pull_request refs/heads/main"},
		{"a merge ref", "acme/app pull_request refs/pull/7/merge"},
		{"no number", "acme/app pull_request refs/pull//head"},
		{"not a number", "acme/app pull_request refs/pull/7/x/head"},
		{"a number and more", "acme/app pull_request refs/pull/7/head/"},
		{"signed", "acme/app pull_request refs/pull/-7/head"},
		{"other digits", "acme/app pull_request refs/pull/٧/head"},
		{"no prefix", "acme/app pull_request refs/heads/refs/pull/7/head"},
	} {
		t.Log(c.about)
		same.deny("fork", c.facts)
		open.allow(c.facts)
	}
	same.deny("fork", "acme/app pull_request 7", func(r *secret.Request) { r.Build.SourceRepo = "acme/\u212aapp" })
	open.allow("acme/app pull_request refs/anything source=refs/x from=x/y")
}

func TestAForkLikeBuildOfAnyOtherEventGetsNothing(t *testing.T) {
	w := bind(t, by(anyone,
		secret.Condition{Event: secret.Push, Branches: pats("**")},
		secret.Condition{Event: secret.Tag, Tags: pats("**")},
		secret.Condition{Event: secret.Cron, Branches: pats("**"), Cron: pats("*")},
		secret.Condition{Event: secret.Promote, Branches: pats("**"), Tags: pats("**"), DeployTo: pats("*")},
		secret.Condition{Event: secret.Rollback, Branches: pats("**"), Tags: pats("**"), DeployTo: pats("*")},
		secret.Condition{Event: secret.Custom, Branches: pats("**")},
		secret.Condition{Event: secret.PullRequest, From: secret.FromAny, Into: pats("**")},
	))
	for _, event := range []string{"push", "tag", "cron", "promote", "rollback", "custom"} {
		facts := "acme/app " + event + " "
		rest := " to=production cron=nightly trigger=alice into=main"
		w.allow(facts + "main" + rest)
		w.allow(facts + "main from=ACME/app" + rest)
		w.deny("fork", facts+"main from=mallory/app"+rest)
		for _, ref := range []string{"refs/pull/7/head", "refs/merge-requests/7/head", "refs/for/main", "refs/head/main", "REFS/heads/main", "refs/heads"} {
			w.deny("fork", facts+"refs/x"+rest, func(r *secret.Request) { r.Build.Ref = ref })
		}
		w.deny("fork", facts+"main"+rest, ref(""))
		w.deny("fork", facts+"main"+rest, ref("main"))
		w.deny("ref", facts+"main"+rest, func(r *secret.Request) { r.Build.Ref = strings.TrimSuffix(r.Build.Ref, "main") })
	}
}

func TestRepositories(t *testing.T) {
	w := bind(t, func(b *secret.Binding) { b.Repos = repos("Acme/payments-*", "acme/group/**/infra") })
	w.allow("acme/payments-api push main")
	w.allow("ACME/PAYMENTS-API push main")
	w.allow("acme/payments- push main")
	w.allow("acme/group/sub/infra push main") // GitLab's subgroups
	w.allow("acme/group/a/b/infra push main")
	for _, slug := range []string{
		"acme/payment", "acme/payments-api/sub", "x/acme/payments-api", "acme/group/infra", "acmee/payments-api", "acme/apayments-api",
	} {
		w.deny("repo", slug+" push main")
	}
	all := bind(t, func(b *secret.Binding) { b.Repos = repos("**") })
	all.allow("acme/app push main")
	all.allow("acme/group/sub/app push main")
	for _, slug := range []string{"", "acme", "/app", "acme/", "acme//app", "/", "acme/../app", "./app", "acme/..", "acme/a b", "acme/a\nb", "acme/a\x00", "acme/a\x7f"} {
		all.deny("repo", "x push main", func(r *secret.Request) { r.Repo.Slug = slug })
	}
}

func TestSlugsAndLoginsFoldASCIIOnly(t *testing.T) {
	w := bind(t, func(b *secret.Binding) { b.Repos, b.Actors = repos("acme/kiosks"), people("kes") })
	w.allow("ACME/KIOSKS push main sender=KES")
	for _, slug := range []string{"acme/\u212aiosks", "acme/kioſks", "acme/kioskſ", "аcme/kiosks", "acme/kiosks\u200b", "ａcme/kiosks"} {
		w.deny("repo", slug+" push main sender=kes")
	}
	for _, login := range []string{"\u212aes", "keſ", "kеs", "kes\u200b"} {
		w.deny("actor", "acme/kiosks push main sender="+login)
	}
	// Folding is for letters: @ and `, - and a carriage return differ in the same bit as A and a.
	bits := bind(t, func(b *secret.Binding) { b.Repos, b.Actors = repos("acme/a@b"), people("bob-x") })
	bits.allow("acme/A@B push main sender=BOB-X")
	bits.deny("repo", "acme/a`b push main sender=bob-x")
	bits.deny("actor", "acme/a@b push main", func(r *secret.Request) { r.Build.Sender = "bob\rx" })
	umlaut := bind(t, func(b *secret.Binding) { b.Repos = repos("acme/ä") })
	umlaut.allow("acme/ä push main")
	umlaut.deny("repo", "acme/Ä push main")
}

func TestUIDPins(t *testing.T) {
	w := bind(t, func(b *secret.Binding) { b.Repos = repos("acme/app#42", "acme/lib#43", "acme/free") })
	w.allow("acme/app push main uid=42")
	w.allow("acme/lib push main uid=43")
	w.allow("acme/free push main uid=99")
	w.deny("uid", "acme/app push main uid=43")
	w.deny("uid", "acme/app push main uid=042")
	w.deny("uid", "acme/app push main uid=")
	w.deny("uid", "acme/free push main uid=") // an empty uid gets nothing, pinned or not
	w.deny("repo", "acme/other push main uid=42")
	// A second pattern that names the repository as well counts by itself.
	bind(t, func(b *secret.Binding) { b.Repos = repos("acme/app#1", "acme/*#42") }).allow("acme/app push main uid=42")
	bind(t, func(b *secret.Binding) { b.Repos = repos("acme/app#1", "acme/*") }).allow("acme/app push main uid=42")
}

func TestReads(t *testing.T) {
	w := bind(t, func(b *secret.Binding) {
		b.Read = reads("shared/ci-*", "shared/pinned@*", "shared/one@abc", "shared/json/user*", "shared/keys/*", "pay/**")
	})
	for _, ref := range []string{
		"shared/ci-token", "shared/CI-TOKEN", "shared/ci-", "shared/ci-token/key", "shared/ci-token/value",
		"shared/pinned", "shared/pinned@0a", "shared/PINNED@FF/key", "shared/one@ABC", "shared/json/user", "shared/json/username", "shared/keys/any",
		"pay/anything", "pay/anything/key",
	} {
		w.allow("acme/app push main", asking("", ref))
	}
	for _, ref := range []string{
		"shared/token", "shared/xci-token", "shared/ci-token@1", // current only, unless @ is stated
		"shared/one", "shared/one@abd", "shared/one@abcd",
		"shared/json", "shared/keys", "shared/keys/value", "shared/keys@1/any", "shared/json/value", "shared/json/User", "shared/json/pass", "pay/anything@1", "shared-too/ci-token",
	} {
		w.deny("read", "acme/app push main", asking("", ref))
	}
	for _, ref := range []string{"Shared/ci-token", "SHARED/ci-token", "other/ci-token", "kv-shared.vault.azure.net/ci-token", "*/ci-token"} {
		w.deny("name", "acme/app push main", asking("", ref)) // no such alias: it compares exactly, and a host is none
	}
}

func TestNamingASecret(t *testing.T) {
	w := bind(t, func(b *secret.Binding) { b.Read = reads("shared/**", "shared/db@*") })
	for _, c := range []struct{ path, name, want string }{
		{"shared/db", "password", "shared/db/password"},
		{"shared", "db", "shared/db"},
		{"", "shared/db", "shared/db"},
		{"shared/db", "", "shared/db"},
		{"shared", "db/password", "shared/db/password"},
		{"shared/db", "value", "shared/db"},
		{"shared/db/value", "", "shared/db"},
		{"shared", "db@1F", "shared/db@1f"},
		{"shared/DB@0a", "Key.1", "shared/db@0a/Key.1"},
		{"shared/db", "VALUE", "shared/db/VALUE"},
	} {
		d := w.allow("acme/app push main", asking(c.path, c.name))
		if got := d.Grant.Ref.String(); got != c.want || d.Ref != d.Grant.Ref || d.Grant.Binding != "b" {
			t.Errorf("path %q, name %q is %s by %q, want %s by b", c.path, c.name, got, d.Grant.Binding, c.want)
		}
	}
	for _, c := range [][2]string{
		{"", ""}, {"", "db"}, {"shared", ""}, {"shared/db/key", "more"}, {"shared/db/value", "key"}, {"shared/", "db"}, {"/shared", "db"},
		{"shared", "/db"}, {"shared", "db/"}, {"shared", "db@"}, {"shared", "db@1@2"}, {"shared", "@1"}, {"shared@1", "db"}, {"shared", "db_x"},
		{"shared", "d.b"}, {" shared", "db"}, {"shared", "db "}, {"shared/db", ".."}, {"shared/db", "."}, {"shared/db", "a@b"},
	} {
		w.deny("name", "acme/app push main", asking(c[0], c[1]))
	}
}

// Two groups whose names differ in case only would be one to `actors`, and chance would say which.
func TestGroupsThatDifferInCaseAreRefused(t *testing.T) {
	b := binding("b")
	b.Actors = people("ops")
	rules := secret.Rules{
		Vaults:   []secret.Vault{{Alias: "shared", Host: "h"}},
		Groups:   map[string][]string{"ops": {"alice"}, "OPS": {"bob"}},
		Bindings: []secret.Binding{b},
	}
	allowed := 0
	for range 64 {
		p, err := secret.NewPolicy(rules)
		if err != nil {
			return // refused: as good
		}
		if d := p.Decide(ask(t, "acme/app push main sender=alice")); d.Allowed() {
			allowed++
		}
	}
	if allowed != 0 && allowed != 64 {
		t.Errorf("the same rules allowed alice in %d of 64 compilations", allowed)
	}
}
