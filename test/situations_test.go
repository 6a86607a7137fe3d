package test

import (
	"testing"
)

// The situations that teams are in, each with the configuration that it takes and what then holds.

func TestAnOrganisationsDefaultAndAStricterProduction(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  prod:   {url: https://kv-prod.vault.azure.net}
pools:
  default: {keys: [{id: d1, env: DRONE_SECRET}]}
  prod:    {keys: [{id: p1, env: PROD_KEY}]}
groups: {sre: [sam, sue]}
bindings:
  - {id: org-default, repos: ["acme/*"], read: ["shared/ci-*"]}
  - {id: org-deploy, repos: ["acme/*"], when: {promote: {deploy_to: [production]}}, actors: [sre], pools: [prod], read: ["prod/**"]}
denies:
  - {id: sandboxes, repos: ["acme/sandbox-*"], read: ["prod/**"], reason: sandboxes are open to everybody}
  - {id: sue-is-away, actors: [sue], read: ["prod/master"], reason: until she is back}
`, env("PROD_KEY", prodKey), canary(prodKey))
	s.fill("kv-shared/ci-token", "kv-prod/db", "kv-prod/master")
	s.rows(t, []row{
		{"any repository of it", push("acme/app"), "shared/ci-token", gets("kv-shared/ci-token")},
		{"one that was made yesterday", push("acme/new"), "shared/ci-token", gets("kv-shared/ci-token")},
		{"somebody else's", push("mallory/app"), "shared/ci-token", denied("repo")},
		{"one with its name in front", push("acme-evil/app"), "shared/ci-token", denied("repo")},
		{"one of a subgroup", push("acme/team/app"), "shared/ci-token", denied("repo")},
		{"production from a push", push("acme/app"), "prod/db", denied("read")},
	})
	deploy := promote("acme/app", "production")
	for _, c := range []struct {
		says string
		who  build
		ref  string
		want verdict
	}{
		{"by an SRE", deploy.by("sam"), "db", gets("kv-prod/db")},
		{"by the other, what isn't withheld", deploy.by("sue"), "db", gets("kv-prod/db")},
		{"by the other, what is", deploy.by("sue"), "master", denied("deny")},
		{"by an SRE, the same", deploy.by("sam"), "master", gets("kv-prod/master")},
		{"by a developer", deploy.by("alice"), "db", denied("actor")},
		{"to staging", promote("acme/app", "staging").by("sam"), "db", denied("deploy_to")},
		{"of a sandbox", promote("acme/sandbox-1", "production").by("sam"), "db", denied("deny")},
		{"a rollback, which nobody listed", rollback("acme/app", "production").by("sam"), "db", denied("event")},
		{"a push, on those runners", push("acme/app").by("sam"), "db", denied("event")},
	} {
		t.Run("production: "+c.says, func(t *testing.T) { s.expectOf(t, prodKey, c.who, "prod", c.ref, c.want) })
	}
}

func TestReleasesByTag(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: publish, repos: [acme/lib], when: {tag: {tags: ["v*"]}}, read: ["shared/publish"]}
  - {id: ship, repos: [acme/ship], when: {promote: {deploy_to: [live], tags: ["v*"]}}, actors: [alice], read: ["shared/publish"]}
  - {id: both, repos: [acme/both], when: {promote: {deploy_to: [live], tags: ["v*"], branches: [hotfix]}}, actors: [alice], read: ["shared/publish"]}
`)
	s.fill("kv-shared/publish")
	published := gets("kv-shared/publish")
	s.rows(t, []row{
		{"a version", tag("acme/lib", "v1.0"), "shared/publish", published},
		{"another tag", tag("acme/lib", "nightly"), "shared/publish", denied("ref")},
		{"a tag with capitals", tag("acme/lib", "V1.0"), "shared/publish", denied("ref")},
		{"a tag of two segments", tag("acme/lib", "v1/evil"), "shared/publish", denied("ref")},
		{"a push to a branch of that name", push("acme/lib").branch("v1.0"), "shared/publish", denied("event")},
		{"a tag event on a branch", tag("acme/lib", "v1.0").branch("v1.0"), "shared/publish", denied("ref")},
		{"a tag event on a pull request", tag("acme/lib", "v1.0").ref("refs/pull/7/head"), "shared/publish", denied("fork")},
		{"a tag of a fork", tag("acme/lib", "v1.0").from("mallory/lib"), "shared/publish", denied("fork")},
		{"a push that aims at the tag", push("acme/lib").into("v1.0"), "shared/publish", denied("event")},

		{"a promoted tag", promote("acme/ship", "live").ref("refs/tags/v1.0"), "shared/publish", published},
		{"a promoted branch, where tags are stated", promote("acme/ship", "live"), "shared/publish", denied("ref")},
		{"a promoted branch of the tag's name", promote("acme/ship", "live").branch("v1.0"), "shared/publish", denied("ref")},
		{"tags and branches: a tag", promote("acme/both", "live").ref("refs/tags/v2"), "shared/publish", published},
		{"tags and branches: the branch", promote("acme/both", "live").branch("hotfix"), "shared/publish", published},
		{"tags and branches: the default branch", promote("acme/both", "live"), "shared/publish", denied("ref")},
	})
}

func TestNightlyBuilds(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: nightly, repos: [acme/app], when: {cron: {cron: [nightly, "weekly-*"], branches: [main, "release/*"]}}, read: ["shared/scan"]}
  - {id: by-alice, repos: [acme/own], when: {cron: {cron: [nightly]}}, actors: [alice], read: ["shared/scan"]}
`)
	s.fill("kv-shared/scan")
	scan := gets("kv-shared/scan")
	s.rows(t, []row{
		{"on main", cron("acme/app", "nightly"), "shared/scan", scan},
		{"on a release", cron("acme/app", "nightly").branch("release/1"), "shared/scan", scan},
		{"one of the weekly ones", cron("acme/app", "weekly-de"), "shared/scan", scan},
		{"on another branch", cron("acme/app", "nightly").branch("feature"), "shared/scan", denied("ref")},
		{"a job that a writer added", cron("acme/app", "mine"), "shared/scan", denied("cron")},
		{"a job without a name", cron("acme/app", ""), "shared/scan", denied("cron")},
		{"started by hand", custom("acme/app"), "shared/scan", denied("event")},
		{"the schedule is nobody, whoever wrote the commit", cron("acme/own", "nightly").sender("alice"), "shared/scan", denied("actor")},
		{"the schedule, started again by alice", cron("acme/own", "nightly").trigger("alice"), "shared/scan", scan},
	})
}

func TestPullRequestsGetWhatIsCheap(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {low: {url: https://kv-low.vault.azure.net}, high: {url: https://kv-high.vault.azure.net}}
bindings:
  - {id: prs, repos: ["acme/*"], when: {pull_request: {from: same-repo, into: [main, "release/*"]}}, read: ["low/*"]}
  - {id: main, repos: ["acme/*"], read: ["low/*", "high/*"]}
  - {id: docs, repos: [acme/docs], when: {pull_request: {from: any}}, read: ["low/preview"]}
denies:
  - {id: no-pull-request, when: {pull_request: {}}, read: ["high/**"], reason: nobody reviewed it}
`)
	s.fill("kv-low/preview", "kv-low/cache", "kv-high/deploy")
	s.rows(t, []row{
		{"a pull request", pull("acme/app"), "low/cache", gets("kv-low/cache")},
		{"into a release", pull("acme/app").into("release/1"), "low/cache", gets("kv-low/cache")},
		{"into somebody's branch", pull("acme/app").into("feature"), "low/cache", denied("ref")},
		{"a fork's", pull("acme/app").from("mallory/app"), "low/cache", denied("fork")},
		{"of something dear", pull("acme/app"), "high/deploy", denied("deny")},
		{"a fork's, of something dear", pull("acme/app").from("mallory/app"), "high/deploy", denied("deny")},
		{"merged", push("acme/app"), "high/deploy", gets("kv-high/deploy")},
		{"a fork's, where forks are meant", pull("acme/docs").from("mallory/docs"), "low/preview", gets("kv-low/preview")},
		{"a merge request of GitLab, where forks are meant", pull("acme/docs").ref("refs/merge-requests/7/head"), "low/preview", gets("kv-low/preview")},
		{"a fork's, beyond what is meant", pull("acme/docs").from("mallory/docs"), "low/cache", denied("fork")},
		{"a fork's pull request that was promoted", promote("acme/docs", "x").ref("refs/pull/7/head"), "low/preview", denied("event")},
	})
}

func TestSubgroupsOfGitLab(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: flat, repos: ["corp/*"], read: ["shared/flat"]}
  - {id: deep, repos: ["corp/**"], read: ["shared/deep"]}
  - {id: team, repos: ["corp/pay/*/api"], read: ["shared/team"]}
`)
	s.fill("kv-shared/flat", "kv-shared/deep", "kv-shared/team")
	s.rows(t, []row{
		{"flat of one level", push("corp/app"), "shared/flat", gets("kv-shared/flat")},
		{"flat of two", push("corp/pay/app"), "shared/flat", denied("read")},
		{"deep of one level", push("corp/app"), "shared/deep", gets("kv-shared/deep")},
		{"deep of three", push("corp/pay/eu/api"), "shared/deep", gets("kv-shared/deep")},
		{"deep of another group", push("corporate/app"), "shared/deep", denied("repo")},
		{"the group itself", push("corp"), "shared/deep", denied("repo")},
		{"inside another's group", push("evil/corp/app"), "shared/deep", denied("repo")},
		{"a star in the middle", push("corp/pay/eu/api"), "shared/team", gets("kv-shared/team")},
		{"a star is one level", push("corp/pay/eu/x/api"), "shared/team", denied("read")},
		{"a star is not none", push("corp/pay/api"), "shared/team", denied("read")},
		{"with other capitals", push("Corp/Pay/EU/API"), "shared/team", gets("kv-shared/team")},
	})
}

// A uid pin outlives a rename, and dies with the repository.
func TestARepositoryIsRenamedOrMadeAgain(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: pinned, repos: [{slug: acme/shop, uid: "77"}], read: ["shared/a"]}
  - {id: moving, repos: [{slug: team/old, uid: "78"}, {slug: team/new, uid: "78"}], read: ["shared/a"]}
  - {id: anywhere, repos: [{slug: "corp/*", uid: "79"}], read: ["shared/a"]}
`)
	s.fill("kv-shared/a")
	a := gets("kv-shared/a")
	s.rows(t, []row{
		{"as it was", push("acme/shop").uid("77"), "shared/a", a},
		{"renamed", push("acme/store").uid("77"), "shared/a", denied("repo")},
		{"made again under its name", push("acme/shop").uid("901"), "shared/a", denied("uid")},
		{"taken over by a fork's name", push("acme/shop").uid(""), "shared/a", denied("uid")},
		{"another form of the id", push("acme/shop").uid("77 "), "shared/a", denied("uid")},
		{"while it moves: before", push("team/old").uid("78"), "shared/a", a},
		{"while it moves: after", push("team/new").uid("78"), "shared/a", a},
		{"while it moves: a squatter on the old name", push("team/old").uid("902"), "shared/a", denied("uid")},
		{"wherever it is", push("corp/anything").uid("79"), "shared/a", a},
		{"wherever it is, but not elsewhere", push("evil/anything").uid("79"), "shared/a", denied("repo")},
		{"another of that group", push("corp/other").uid("80"), "shared/a", denied("uid")},
	})
}

// The habit of drone-vault's users: path is the secret, name the key in it.
func TestKeysOfASecret(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {pay: {url: https://kv-pay.vault.azure.net}}
bindings:
  - {id: whole, repos: [acme/app], read: ["pay/db"]}
  - {id: part, repos: [acme/web], read: ["pay/db/user"]}
  - {id: text, repos: [acme/app], read: ["pay/text"]}
`)
	s.Vault("kv-pay").Set("db", `{"user":"canary-user-of-db","password":"canary-password-of-db","port":5432,"ratio":1.50,"tls":true,`+
		`"nested":{"a":"canary-nested-value"},"list":["canary-listed-value"],"none":null,"empty":"","a.b-c_d":"canary-dotted-value"}`)
	s.fill("kv-pay/text")
	s.rows(t, []row{
		{"a key", push("acme/app"), "pay/db/password", gets("kv-pay/db/password")},
		{"a key with dots, dashes and underscores", push("acme/app"), "pay/db/a.b-c_d", gets("kv-pay/db/a.b-c_d")},
		{"a number as it is written", push("acme/app"), "pay/db/port", gets("kv-pay/db/port")},
		{"true", push("acme/app"), "pay/db/tls", gets("kv-pay/db/tls")},
		{"an object", push("acme/app"), "pay/db/nested", denied("key")},
		{"a list", push("acme/app"), "pay/db/list", denied("key")},
		{"null", push("acme/app"), "pay/db/none", denied("key")},
		{"a key that isn't there", push("acme/app"), "pay/db/host", denied("key")},
		{"a key with other capitals", push("acme/app"), "pay/db/Password", denied("key")},
		{"a key of plain text", push("acme/app"), "pay/text/password", denied("key")},
		{"all of it", push("acme/app"), "pay/db", gets("kv-pay/db")},
		{"all of it, as value", push("acme/app"), "pay/text/value", gets("kv-pay/text")},
		{"the name with other capitals", push("acme/app"), "pay/DB/password", gets("kv-pay/db/password")},
		{"the one key that is given", push("acme/web"), "pay/db/user", gets("kv-pay/db/user")},
		{"another key", push("acme/web"), "pay/db/password", denied("read")},
		{"all of it, where one key is given", push("acme/web"), "pay/db", denied("read")},
		{"all of it by value, where one key is given", push("acme/web"), "pay/db/value", denied("read")},
	})
	value, err := s.find(push("acme/app"), "pay/db/ratio")
	if err != nil || value != "1.50" {
		t.Errorf("a number as it was written: got %q, %v", value, err)
	}
	for _, c := range []struct{ path, name string }{{"pay", "text"}, {"pay/text", ""}, {"", "pay/text"}, {"pay/text", "value"}, {"", "pay/text/value"}, {"pay", "text/value"}} {
		s.expectOf(t, runnerKey, push("acme/app"), c.path, c.name, gets("kv-pay/text"))
	}
}

func TestNamesOfAPipelinesOwn(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {pay: {url: https://kv-pay.vault.azure.net}}
bindings:
  - {id: app, repos: [acme/app], names: {db_password: pay/db/password, API-key: pay/api}}
  - {id: same, repos: [acme/app], when: {tag: {tags: ["v*"]}}, names: {db_password: pay/db/password}}
  - {id: left, repos: [acme/two], names: {token: pay/left}}
  - {id: right, repos: [acme/two], names: {token: pay/right}}
  - {id: by-push, repos: [acme/env], names: {token: pay/left}}
  - {id: by-tag, repos: [acme/env], when: {tag: {tags: ["*"]}}, names: {token: pay/right}}
  - {id: denied, repos: [acme/no], names: {token: pay/right}}
denies:
  - {id: right-not, repos: [acme/no], read: [pay/right], reason: not for them}
`)
	s.Vault("kv-pay").Set("db", `{"user":"canary-user-of-db","password":"canary-password-of-db"}`)
	s.fill("kv-pay/api", "kv-pay/left", "kv-pay/right")
	s.rows(t, []row{
		{"a name", push("acme/app"), "db_password", gets("kv-pay/db/password")},
		{"the same by another binding", tag("acme/app", "v1"), "db_password", gets("kv-pay/db/password")},
		{"a name's capitals count", push("acme/app"), "api-key", denied("name")},
		{"with them", push("acme/app"), "API-key", gets("kv-pay/api")},
		{"where it leads, by its place", push("acme/app"), "pay/db/password", gets("kv-pay/db/password")},
		{"beside where it leads", push("acme/app"), "pay/db/user", denied("read")},
		{"above where it leads", push("acme/app"), "pay/db", denied("read")},
		{"where it leads, of an older version", push("acme/app"), "pay/api@0123456789abcdef0123456789abcdef", denied("read")},
		{"another repository's name", push("acme/two"), "db_password", denied("name")},
		{"on another event", pull("acme/app"), "db_password", denied("event")},
		{"two bindings that disagree", push("acme/two"), "token", denied("ambiguous")},
		{"two that never hold at once: the one", push("acme/env"), "token", gets("kv-pay/left")},
		{"two that never hold at once: the other", tag("acme/env", "v1"), "token", gets("kv-pay/right")},
		{"a name that leads to what is denied", push("acme/no"), "token", denied("deny")},
	})
}

func TestPinnedVersions(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {pay: {url: https://kv-pay.vault.azure.net}}
bindings:
  - {id: current, repos: [acme/app], read: [pay/db]}
  - {id: pinned, repos: [acme/old], read: ["pay/db@*"]}
`)
	first := s.Vault("kv-pay").Set("db", "canary-first-value-of-db")
	second := s.Vault("kv-pay").Set("db", "canary-second-value-of-db")
	s.rows(t, []row{
		{"the current one", push("acme/app"), "pay/db", gets("kv-pay/db")},
		{"the current one by its version", push("acme/app"), "pay/db@" + second, denied("read")},
		{"an older one", push("acme/app"), "pay/db@" + first, denied("read")},
		{"the current one, pinned, where that is given", push("acme/old"), "pay/db@" + second, gets("kv-pay/db")},
		{"a version that never was", push("acme/old"), "pay/db@0123456789abcdef0123456789abcdef", denied("not-found")},
	})
	e := s.events()
	before := len(e)
	value, err := s.find(push("acme/old"), "pay/db@"+first)
	if err != nil || value != "canary-first-value-of-db" {
		t.Errorf("the older version: got %q, %v", value, err)
	}
	if e := s.latest(t, before); e.Version != first || e.Secret != "pay/db@"+first {
		t.Errorf("on record is %s", e.Line)
	}

	third := s.Vault("kv-pay").Set("db", "canary-third-value-of-db")
	if e := s.expect(t, push("acme/app").number(8), "pay/db", gets("kv-pay/db")); e.Version != third {
		t.Errorf("the next build after a rotation is on record with %s", e.Line)
	}
}

// Two aliases of one vault are one vault to a deny.
func TestADenyHoldsForEveryAliasOfAVault(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults:
  strict: {url: https://kv-pay.vault.azure.net, max_age: 90d}
  lax:    {url: https://KV-Pay.vault.azure.net}
  other:  {url: https://kv-other.vault.azure.net}
bindings:
  - {id: all, repos: [acme/app], read: ["strict/**", "lax/**", "other/**", "lax/root@*"]}
denies:
  - {id: root, read: [strict/root], reason: never}
  - {id: keys, read: ["lax/tls/private"], reason: the key stays in the vault}
  - {id: nobody, repos: [acme/closed], reason: closed for the winter}
  - {id: mallory, actors: [mallory], reason: left us}
  - {id: tags, when: {tag: {}}, read: [other/x], reason: not from tags}
  - {id: feature, when: {push: {branches: ["feature/*"]}}, read: ["**"], reason: not from features}
`)
	s.fill("kv-pay/db", "kv-pay/root", "kv-other/root", "kv-other/x")
	s.Vault("kv-pay").Set("tls", `{"private":"canary-private-key","public":"canary-public-key"}`)
	s.rows(t, []row{
		{"what is not denied", push("acme/app"), "lax/db", gets("kv-pay/db")},
		{"by the other alias", push("acme/app"), "strict/db", gets("kv-pay/db")},
		{"the denied one", push("acme/app"), "strict/root", denied("deny")},
		{"the denied one by the other alias", push("acme/app"), "lax/root", denied("deny")},
		{"with other capitals", push("acme/app"), "lax/ROOT", denied("deny")},
		{"a version of it", push("acme/app"), "lax/root@0123456789abcdef0123456789abcdef", denied("deny")},
		{"a key of it", push("acme/app"), "lax/root/value", denied("deny")},
		{"a deny of one key is a deny of all", push("acme/app"), "lax/tls/public", denied("deny")},
		{"the same name in another vault", push("acme/app"), "other/root", gets("kv-other/root")},
		{"a person", push("acme/app").by("mallory"), "lax/db", denied("deny")},
		{"a person, with other capitals", push("acme/app").by("Mallory"), "lax/db", denied("deny")},
		{"a repository", push("acme/closed"), "lax/db", denied("deny")},
		{"an event", tag("acme/app", "v1"), "other/x", denied("deny")},
		{"another event", push("acme/app"), "other/x", gets("kv-other/x")},
		{"branches, of every secret", push("acme/app").branch("feature/x"), "lax/db", denied("deny")},
	})
}

func TestWhoIsMeant(t *testing.T) {
	t.Parallel()
	s := start(t, `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
groups: {ops: [olga, Otto], alice: [bob]}
bindings:
  - {id: pushes, repos: [acme/app], actors: [ops], read: [shared/a]}
  - {id: shadowed, repos: [acme/shadow], actors: [alice], read: [shared/a]}
  - {id: anybody, repos: [acme/any], when: {promote: {deploy_to: [staging]}}, actors: any, read: [shared/a]}
`)
	s.fill("kv-shared/a")
	a := gets("kv-shared/a")
	s.rows(t, []row{
		{"one of the group", push("acme/app").by("olga"), "shared/a", a},
		{"the other, with other capitals", push("acme/app").by("otto"), "shared/a", a},
		{"somebody else", push("acme/app").by("alice"), "shared/a", denied("actor")},
		{"nobody", push("acme/app").by(""), "shared/a", denied("actor")},
		{"somebody else's push, started again by olga", push("acme/app").trigger("olga").sender("alice"), "shared/a", a},
		{"olga's push, started again by somebody else", push("acme/app").trigger("alice").sender("olga"), "shared/a", denied("actor")},
		{"olga's push, started again by the schedule", push("acme/app").trigger("@cron").sender("olga"), "shared/a", denied("actor")},
		{"the hook is no login", push("acme/app").trigger("@HOOK").sender("olga"), "shared/a", denied("actor")},
		{"a group wins over a login: the login", push("acme/shadow").by("alice"), "shared/a", denied("actor")},
		{"a group wins over a login: its member", push("acme/shadow").by("bob"), "shared/a", a},
		{"anybody", promote("acme/any", "staging").by("mallory"), "shared/a", a},
		{"anybody at all", promote("acme/any", "staging").trigger("@hook").sender(""), "shared/a", a},
	})
}
