package test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/drone/drone-go/drone"
	"github.com/drone/drone-go/plugin/registry"
)

const (
	acrHost = "acme.azurecr.io"
	acrUser = "00000000-0000-0000-0000-000000000000"
)

// withTokens gives acme/app tokens on a push, and acme/half one that is for a registry but not for pulling.
const withTokens = `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
tokens:
  arm:  {identity: default, scope: https://management.azure.com/.default, min_life: 30m}
  base: {identity: default, registry: ` + acrHost + `, repositories: {base: [pull]}}
  more: {identity: default, registry: ` + acrHost + `, repositories: {base: [push]}}
bindings:
  - {id: app,  repos: [acme/app],  read: [tokens/base, shared/ci-token], names: {azure: tokens/arm}}
  - {id: half, repos: [acme/half], read: ["tokens/base/*"]}
  - {id: more, repos: [acme/more], read: [tokens/base, tokens/more]}
denies: [{id: shut, repos: [acme/shut], read: ["tokens/*"]}]
`

func startRegistries(t *testing.T) (*server, func(build) []*drone.Registry) {
	t.Helper()
	s := start(t, withTokens)
	r := s.Emulator.Registry(acrHost, tenantID)
	r.Allow(clientID, "base", "pull") // and not push
	return s, func(b build) []*drone.Registry {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all, err := registry.Client(s.URL, s.key, true).List(ctx, &registry.Request{Repo: b.repo, Build: b.build})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if access, ok := r.Login(one.Username, one.Password); !ok || len(access) != 1 || one.Address != acrHost || one.Username != acrUser {
				t.Errorf("%s at %s gives %v", one.Username, one.Address, access)
			}
		}
		return all
	}
}

// A runner asks once for each build, with drone-go's client, and pulls with what it is given. Each credential is on record.
func TestARunnerAsksForRegistries(t *testing.T) {
	t.Parallel()
	s, list := startRegistries(t)
	for name, c := range map[string]struct {
		b         build
		given     int
		events    string // what came on record, in any order
		forbidden string // must not be among it
	}{
		"a push":                  {push("acme/app"), 1, "tokens/base released", "tokens/more"},
		"one that it may not":     {push("acme/more"), 1, "tokens/base released, tokens/more denied vault-refused", ""},
		"a part is no credential": {push("acme/half"), 0, "denied read", "released"},
		"a pull request":          {pull("acme/app"), 0, "denied event", "released"},
		"a deny":                  {push("acme/shut"), 0, "denied deny", "released"},
		"a stranger":              {push("other/app"), 0, "denied repo", "released"},
	} {
		before := len(s.events())
		if got := list(c.b); len(got) != c.given {
			t.Errorf("%s: %d credentials, want %d", name, len(got), c.given)
		}
		var said []string
		for _, e := range s.events()[before:] {
			if e.Kind != "registry" || e.Repo.Slug != c.b.repo.Slug || e.Build.Number != c.b.build.Number {
				t.Errorf("%s: on record is %s", name, e.Line)
			}
			if e.Outcome == "released" && !strings.Contains(e.Line, `"expires":"`) {
				t.Errorf("%s: no end of it is on record: %s", name, e.Line)
			}
			said = append(said, strings.TrimSpace(e.Secret+" "+e.Outcome+" "+e.Reason))
		}
		all := strings.Join(said, ", ")
		for want := range strings.SplitSeq(c.events, ", ") {
			if !strings.Contains(all, want) || c.forbidden != "" && strings.Contains(all, c.forbidden) {
				t.Errorf("%s: on record is %q, want %q", name, all, want)
			}
		}
	}
}

// A token is the build's own: the same for its further steps, another one for every other build, and none for who may have a
// part of it only.
func TestATokenIsItsBuildsOwn(t *testing.T) {
	t.Parallel()
	s, _ := startRegistries(t)
	take := func(b build, ref string) string {
		t.Helper()
		value, err := s.find(b, ref)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	seen := map[string]string{}
	for name, b := range map[string]build{
		"push": push("acme/app"), "number": push("acme/app").number(8), "uid": push("acme/app").uid("2"), "sender": push("acme/app").by("bob"),
	} {
		for _, ref := range []string{"azure", "tokens/base"} {
			token := take(b, ref)
			if other := seen[token]; other != "" || !strings.HasPrefix(token, "eyJ") {
				t.Errorf("%s has for %s what %s has", name, ref, other)
			}
			if seen[token] = name; take(b, ref) != token {
				t.Errorf("%s has two for %s", name, ref)
			}
		}
	}
	if user := take(push("acme/half"), "tokens/base/username"); user != acrUser {
		t.Errorf("the user is %q", user)
	}
	for _, ref := range []string{"tokens/base", "tokens/base/token", "tokens/base/value", "tokens/arm", "tokens/base@1", "Tokens/base", "tokens/base/nothing"} {
		value, err := s.find(push("acme/half"), ref)
		if refusal, ok := errors.AsType[*drone.Error](err); !ok || refusal.Code != 404 {
			t.Errorf("%s: %d bytes, %v", ref, len(value), err)
		}
	}
}

// Who operates it asks as a runner does, and sees no password unless he wants to.
func TestTheRequestCommandAsksForRegistries(t *testing.T) {
	t.Parallel()
	s, _ := startRegistries(t)
	ask := func(repo string, more ...string) printed {
		args := []string{"request", s.URL, "--registries", "--repo", repo, "--uid", "1", "--event", "push", "--ref", "refs/heads/main"}
		return invoke(t, s.tmp, []string{"DRONE_SECRET_PLUGIN_TOKEN=" + runnerKey}, append(args, more...)...)
	}
	p := ask("acme/app")
	p.says(t, 0, "released", acrHost, acrUser, "a password of", "--reveal")
	if strings.Contains(p.String(), "eyJ") {
		t.Errorf("a password is printed: %s", p)
	}
	if p := ask("acme/app", "--reveal"); p.code != 0 || !strings.Contains(p.stdout, "eyJ") {
		t.Errorf("--reveal: %s", p)
	}
	ask("other/app").says(t, 1, "no credentials", "nothing is given")
	ask("acme/app", "tokens/base").says(t, 2, "names no secret")
	wrong := invoke(t, s.tmp, []string{"DRONE_SECRET_PLUGIN_TOKEN=" + strings.Repeat("x", 40)}, "request", s.URL, "--registries", "--repo", "acme/app", "--event", "push")
	wrong.says(t, 1, "no credentials", "401")
}
