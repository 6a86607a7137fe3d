package issuer_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

type object = map[string]any

// facts are the claims of a build without what every token has.
func facts(t *testing.T, r secret.Request) object {
	t.Helper()
	claims := payload(t, mint(t, newIssuer(t), ask(), r))
	for name, want := range (object{"iss": here, "aud": audience, "server": "drone.acme.example", "repository": "acme/app", "repository_uid": "42",
		"default_branch": "main", "pool": "default", "build_number": 7.0, "event": r.Build.Event}) {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
		delete(claims, name)
	}
	for _, name := range []string{"sub", "iat", "nbf", "exp", "jti"} {
		if claims[name] == nil {
			t.Errorf("there is no %s", name)
		}
		delete(claims, name)
	}
	return claims
}

func event(e, ref string, change ...func(*secret.Request)) secret.Request {
	return push(append([]func(*secret.Request){func(r *secret.Request) { r.Build.Event, r.Build.Ref = e, ref }}, change...)...)
}

func from(source, repo string) func(*secret.Request) {
	return func(r *secret.Request) { r.Build.Source, r.Build.SourceRepo = source, repo }
}

const link = "https://forge.example/acme/app/compare/1...2"

// What is proven stands at the top, what is not in its own place, event by event.
func TestFacts(t *testing.T) {
	// text is what is never proven; ref and target are added where they are not either.
	text := func(more object) object {
		all := object{"sha": "5d959da0", "source": "main", "sender": "alice", "link": link}
		maps.Copy(all, more)
		return all
	}
	by := func(more object) object {
		all := object{"trigger": "@hook", "actor": "alice"}
		maps.Copy(all, more)
		return all
	}
	cron := func(r *secret.Request) { r.Build.Trigger, r.Build.Cron, r.Build.Sender = "@cron", "nightly", "forged" }
	restarted := func(r *secret.Request) { r.Build.Trigger = "carol" }
	for name, c := range map[string]struct {
		request secret.Request
		want    object
	}{
		"push":      {push(), by(object{"ref": "refs/heads/main", "ref_type": "branch", "unproven": text(object{"target": "main"})})},
		"restarted": {push(restarted), object{"trigger": "carol", "actor": "carol", "ref": "refs/heads/main", "ref_type": "branch", "unproven": text(object{"target": "main"})}},
		"push with a fork's code": {push(from("main", "mallory/app")),
			by(object{"unproven": text(object{"target": "main", "ref": "refs/heads/main", "source_repo": "mallory/app"})})},
		"push of no branch": {event("push", "refs/tags/v1"), by(object{"unproven": text(object{"target": "main", "ref": "refs/tags/v1"})})},
		"tag":               {event("tag", "refs/tags/v1"), by(object{"ref": "refs/tags/v1", "ref_type": "tag", "unproven": text(object{"target": "main"})})},
		"tag with a fork's code": {event("tag", "refs/tags/v1", from("main", "mallory/app")),
			by(object{"unproven": text(object{"target": "main", "ref": "refs/tags/v1", "source_repo": "mallory/app"})})},
		"tag of a branch": {event("tag", "refs/heads/main"), by(object{"unproven": text(object{"target": "main", "ref": "refs/heads/main"})})},
		"cron": {event("cron", "refs/heads/main", cron), object{"trigger": "@cron", "cron": "nightly", "ref": "refs/heads/main", "ref_type": "branch",
			"unproven": text(object{"target": "main", "sender": "forged"})}},
		"pull_request": {event("pull_request", "refs/pull/3/head", from("feature", "acme/app")),
			by(object{"ref": "refs/pull/3/head", "ref_type": "pull_request", "target": "main", "fork": false, "unproven": text(object{"source": "feature", "source_repo": "acme/app"})})},
		"pull_request of a fork": {event("pull_request", "refs/pull/3/head", from("main", "mallory/app")),
			by(object{"ref": "refs/pull/3/head", "ref_type": "pull_request", "target": "main", "fork": true, "unproven": text(object{"source_repo": "mallory/app"})})},
		"pull_request by AGit": {event("pull_request", "refs/pull/3/head", from("refs/for/main", "acme/app")),
			by(object{"ref": "refs/pull/3/head", "ref_type": "pull_request", "target": "main", "fork": true, "unproven": text(object{"source": "refs/for/main", "source_repo": "acme/app"})})},
		"pull_request that looks like a branch": {event("pull_request", "refs/heads/main", from("main", "mallory/app")),
			by(object{"target": "main", "fork": true, "unproven": text(object{"ref": "refs/heads/main", "source_repo": "mallory/app"})})},
		"promote": {push(promoted("production")), object{"trigger": "bob", "actor": "bob", "deploy_to": "production",
			"unproven": text(object{"ref": "refs/heads/main", "target": "main"})}},
		"rollback": {event("rollback", "refs/pull/3/head", promoted("production"), func(r *secret.Request) { r.Build.Event = "rollback" }),
			object{"trigger": "bob", "actor": "bob", "deploy_to": "production", "unproven": text(object{"ref": "refs/pull/3/head", "target": "main"})}},
		"custom": {event("custom", "refs/heads/main", restarted), object{"trigger": "carol", "actor": "carol", "unproven": text(object{"ref": "refs/heads/main", "target": "main"})}},
		"an event of tomorrow": {event("release", "refs/heads/main"),
			by(object{"unproven": text(object{"ref": "refs/heads/main", "target": "main"})})},
		"nothing unproven": {event("tag", "refs/tags/v1", func(r *secret.Request) {
			b := &r.Build
			b.SHA, b.Source, b.Target, b.Sender, b.Link, b.Trigger = "", "", "", "", "", "dave"
		}), object{"trigger": "dave", "actor": "dave", "ref": "refs/tags/v1", "ref_type": "tag"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, facts(t, c.request)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The description has every claim that a token can have, no other, and each once.
func TestClaimsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range []secret.Request{
		event("pull_request", "refs/pull/3/head", from("feature", "mallory/app")),
		push(promoted("production"), func(r *secret.Request) { r.Build.Cron = "nightly" }),
	} {
		for name, value := range payload(t, mint(t, newIssuer(t), ask(), r)) {
			seen[name] = true
			inner, _ := value.(object)
			for name := range inner {
				seen["unproven."+name] = true
			}
		}
	}
	var described []string
	for _, c := range issuer.Claims() {
		if c.Proves == "" {
			t.Errorf("it is not said what %s proves", c.Name)
		}
		described = append(described, c.Name)
	}
	slices.Sort(described)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(seen)), described); diff != "" {
		t.Errorf("(-tokens +described)\n%s", diff)
	}
}

func TestTextThatIsLeftOut(t *testing.T) {
	fill := func(s string) secret.Request {
		return push(func(r *secret.Request) {
			r.Repo.DefaultBranch, r.Build.Ref, r.Build.SHA, r.Build.Cron, r.Build.Sender = s, "refs/heads/"+s, s, s, s
			r.Build.SourceRepo = ""
		})
	}
	i := newIssuer(t)
	for name, s := range map[string]string{"too long": strings.Repeat("x", 1025), "no text": "ma\xffin"} {
		claims := payload(t, mint(t, i, ask(), fill(s)))
		for _, left := range []string{"default_branch", "ref", "ref_type", "cron", "actor"} {
			if claims[left] != nil {
				t.Errorf("%s: %s is %.20q", name, left, claims[left])
			}
		}
		if inner, _ := claims["unproven"].(object); inner == nil || inner["sha"] != nil || inner["sender"] != nil || inner["ref"] != nil {
			t.Errorf("%s: unproven is %v", name, inner)
		}
	}
	if claims := payload(t, mint(t, i, ask(), fill(strings.Repeat("x", 1013)))); claims["ref"] == nil || claims["ref_type"] != "branch" {
		t.Error("1,024 bytes are left out")
	}
	// As much of everything as goes in.
	huge := strings.Repeat("\x01", 1<<20)
	if n := mint(t, i, ask(), push(func(r *secret.Request) {
		r.Build.Ref, r.Build.Source, r.Build.SourceRepo, r.Build.Link = huge, huge, huge, huge
	})).Text.Len(); n > 4096 {
		t.Errorf("the token has %d bytes", n)
	}
}

// No text of a request becomes more than the text of its own claim, and none of it the subject.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{"main", `","sub":"drone:s:repo:1","x":"`, "\u2028</script>&", "\xff\xfe", "a\x00b", "\"\\", "\ud7ff\ufffd", strings.Repeat("é", 600)} {
		f.Add(s, s, s)
	}
	i, err := issuer.New(issuer.Options{URL: here, Server: "s", Keys: []issuer.Key{key(0, time.Time{})}, Now: at(start)})
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range issuer.Claims() {
		known[c.Name] = true
	}
	f.Fuzz(func(t *testing.T, ref, to, text string) {
		r := push(func(r *secret.Request) {
			r.Repo.DefaultBranch, r.Pool, r.Build.Event = text, text, "tag"
			r.Build.Ref, r.Build.Cron, r.Build.DeployTo, r.Build.SHA, r.Build.Trigger = "refs/tags/"+ref, text, to, text, "@hook"
		})
		token, err := i.Mint(t.Context(), ask(), r)
		if err != nil {
			t.Fatal(err)
		}
		claims := payload(t, token)
		inner, _ := claims["unproven"].(object)
		same := func(what string, got any, want string) {
			if want == "" || len(want) > 1024 || !utf8.ValidString(want) {
				if got != nil {
					t.Fatalf("%s is %q, want none", what, got)
				}
			} else if got != want {
				t.Fatalf("%s is %q, want %q", what, got, want)
			}
		}
		same("ref", claims["ref"], "refs/tags/"+ref)
		same("deploy_to", claims["deploy_to"], to)
		same("cron", claims["cron"], text)
		same("pool", claims["pool"], text)
		same("default_branch", claims["default_branch"], text)
		same("sha", inner["sha"], text)
		if claims["sub"] != "drone:s:repo:42" || claims["iss"] != here || claims["aud"] != audience {
			t.Fatalf("%v", claims)
		}
		for name := range claims {
			if !known[name] {
				t.Fatalf("a claim %q", name)
			}
		}
		for name := range inner {
			if !known["unproven."+name] {
				t.Fatalf("a claim unproven.%q", name)
			}
		}
	})
}
