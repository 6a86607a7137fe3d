package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// The registry of the tests, and docker's user for who logs in with a token.
const (
	acr       = "acme.azurecr.io"
	tokenUser = "00000000-0000-0000-0000-000000000000"
)

// shortLived is a door of tokens beside a vault. fork is what a pull request may have, and none of these tokens is in it.
const shortLived = `
identities: {default: {}}
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
tokens:
  arm:      {identity: default, scope: https://management.azure.com/.default, min_life: 30m}
  storage:  {identity: default, scope: https://storage.azure.com/.default}
  long:     {identity: default, scope: https://management.azure.com/.default, min_life: 2h}
  docker:   {identity: default, registry: ` + acr + `, repositories: {team/app: [pull, push], base: [pull]}, min_life: 10m}
  whole:    {identity: default, registry: ` + acr + `, repositories: any}
  toomuch:  {identity: default, registry: ` + acr + `, repositories: {base: [push]}}
  denied:   {identity: default, scope: https://management.azure.com/.default}
bindings:
  - {id: all, repos: [acme/app], read: ["shared/ci-*", "tokens/*"], names: {azure: tokens/arm, docker_user: tokens/docker/username}}
  - {id: some, repos: [acme/site], read: ["shared/ci-*", "tokens/docker/expires"]}
  - {id: pr, repos: [acme/app], when: {pull_request: {from: same-repo}}, read: ["shared/ci-*"]}
denies:
  - {id: never, read: ["tokens/denied"]}
`

// startTokens starts it with a registry in which the identity may do what the tokens "docker" and "whole" are for.
func startTokens(t *testing.T, options ...option) (*faulty, *emulator.Registry) {
	t.Helper()
	f := startFaulty(t, shortLived, options...)
	r := f.Emulator.Registry(acr, tenantID)
	r.Allow(clientID, "team/app", "pull", "push")
	r.Allow(clientID, "base", "pull")
	return f, r
}

// A token that a build gets is Entra's, for the scope that is configured and nothing else, and nobody else has it.
func TestATokenOfEntraIsOneBuildsOwn(t *testing.T) {
	t.Parallel()
	f, _ := startTokens(t)
	b, other := f.next(), f.next()
	f.good(t) // which waits for the vault's own token
	f.Emulator.Forget()
	first, e := f.minted(t, b, "tokens/arm")
	if e.How != "minted" || e.Version == "" || e.Identity != "default" || e.Expires.IsZero() || e.Binding != "all" {
		t.Errorf("on record is %s", e.Line)
	}
	again, repeat := f.minted(t, b, "tokens/arm")
	if again != first || repeat.How != "build" || !repeat.Expires.Equal(e.Expires) || repeat.Version != e.Version {
		t.Errorf("the same build's next step: %s", repeat.Line)
	}
	second, _ := f.minted(t, other, "tokens/arm")
	storage, _ := f.minted(t, b, "tokens/storage")
	if second == first || storage == first {
		t.Error("two who ask have one token")
	}
	if n := f.Emulator.TokenRequests(clientID); n != 3 {
		t.Errorf("%d exchanges for three tokens", n)
	}
	for token, audience := range map[string]string{first: "https://management.azure.com", second: "https://management.azure.com", storage: "https://storage.azure.com"} {
		if claims := f.ofEntra(t, token, audience); claims["appid"] != clientID || claims["tid"] != tenantID {
			t.Errorf("it says %v", claims)
		}
	}
	name, err := f.find(b, "azure")
	if err != nil || name != first {
		t.Errorf("by its name in the pipeline: %v", err)
	}
	expires, err := f.find(b, "tokens/arm/expires")
	if err != nil || expires != e.Expires.UTC().Format(time.RFC3339) || time.Until(e.Expires) < time.Hour-time.Minute {
		t.Errorf("expires is %q, %v; on record is %s", expires, err, e.Expires)
	}
	f.expect(t, b, "tokens/arm@1", denied("read"))
	f.expect(t, b, "tokens/arm/username", denied("key"))
	f.expect(t, b, "tokens/nosuch", denied("not-found"))
	f.good(t)
}

// ofEntra verifies an access token as the resource does: by Entra's keys, for its own name.
func (s *server) ofEntra(t *testing.T, token, audience string) (claims map[string]any) {
	t.Helper()
	transport := s.Emulator.Transport()
	defer transport.CloseIdleConnections()
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: transport})
	set := oidc.NewRemoteKeySet(ctx, "https://login.microsoftonline.com/"+tenantID+"/discovery/v2.0/keys")
	verified, err := oidc.NewVerifier("https://sts.windows.net/"+tenantID+"/", set, &oidc.Config{ClientID: audience}).Verify(ctx, token)
	if err != nil {
		t.Fatalf("Entra's token for %s: %v", audience, err)
	}
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Policy decides about tokens as about anything: no binding, no token; a deny wins; a pull request has none; and a binding of
// a part gives the part.
func TestPolicyDecidesAboutTokens(t *testing.T) {
	t.Parallel()
	f, _ := startTokens(t)
	f.good(t)
	f.Emulator.Forget()
	f.expect(t, f.next(), "tokens/denied", denied("deny"))
	f.expect(t, f.next(), "tokens/Denied", denied("deny"))
	f.expect(t, f.nextOf("acme/site"), "tokens/arm", denied("read"))
	f.expect(t, f.nextOf("acme/site"), "tokens/docker", denied("read"))
	f.expect(t, f.nextOf("acme/other"), "tokens/arm", denied("repo"))
	f.expect(t, f.next().branch("feature"), "tokens/arm", denied("ref"))
	for name, b := range map[string]build{"same": pull("acme/app"), "fork": pull("acme/app").from("evil/app"), "gone": pull("acme/app").from("")} {
		if e := f.nothing(t, b, "tokens/arm"); e.Outcome != "denied" {
			t.Errorf("a pull request (%s): %s", name, e.Line)
		}
		if e := f.nothing(t, b, "azure"); e.Outcome != "denied" {
			t.Errorf("a pull request (%s), by name: %s", name, e.Line)
		}
	}
	if n := f.Emulator.TokenRequests(clientID); n != 0 {
		t.Errorf("%d exchanges for who may have nothing", n)
	}
	if value, err := f.find(f.nextOf("acme/site"), "tokens/docker/expires"); err != nil || strings.Contains(value, "eyJ") {
		t.Errorf("the part that a binding gives: %q, %v", value, err)
	}
	f.good(t)
}

// A token that would end before the build needs it is no token, whoever is to blame.
func TestATokenThatEndsTooSoon(t *testing.T) {
	t.Parallel()
	f, _ := startTokens(t)
	f.because(t, f.next(), "tokens/long", denied("too-short"), "min_life", "2h0m0s")
	f.minted(t, f.next(), "tokens/arm")
	short, _ := startTokens(t, on(t, emulator.Options{TokenLifetime: 20 * time.Minute}))
	short.because(t, short.next(), "tokens/arm", denied("too-short"), "min_life", "30m0s")
	short.minted(t, short.next(), "tokens/storage")
	short.good(t)
}

// A registry's token logs in, may do what is configured and nothing else, and says for whom it is.
func TestATokenOfARegistry(t *testing.T) {
	t.Parallel()
	f, r := startTokens(t)
	b := f.next()
	password, e := f.minted(t, b, "tokens/docker")
	access, ok := r.Login(tokenUser, password)
	if want := "[{base [pull]} {team/app [pull push]}]"; !ok || fmt.Sprint(access) != want {
		t.Errorf("the token may %v, want %s", access, want)
	}
	if time.Until(e.Expires) < time.Hour || e.How != "minted" {
		t.Errorf("on record is %s", e.Line)
	}
	for ref, want := range map[string]string{"tokens/docker/username": tokenUser, "docker_user": tokenUser, "tokens/docker/registry": acr,
		"tokens/docker/expires": e.Expires.UTC().Format(time.RFC3339)} {
		if got, err := f.find(b, ref); err != nil || got != want {
			t.Errorf("%s is %q, %v", ref, got, err)
		}
	}
	whole, _ := f.minted(t, f.next(), "tokens/whole")
	if access, ok := r.Login(tokenUser, whole); !ok || len(access) != 2 {
		t.Errorf("all rights are %v", access)
	}
	if another, _ := f.minted(t, f.next(), "tokens/docker"); another == password {
		t.Error("two builds have one token")
	}
	f.because(t, f.next(), "tokens/toomuch", denied("vault-refused"), "push base", "AcrPush", acr)
	r.Forbid(clientID)
	f.because(t, f.next(), "tokens/docker", denied("vault-refused"), acr)
	f.good(t)
}

// A registry that fails in whatever way: its own tokens fail, Entra's and the vaults' don't, and nothing goes elsewhere.
func TestARegistryThatFails(t *testing.T) {
	t.Parallel()
	f, r := startTokens(t)
	evil := 0
	f.Emulator.Handle("evil.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil++ }))
	const inside = "canary-of-a-registrys-answer"
	f.world.watch(inside)
	lie := func(body string) emulator.Fault {
		return emulator.Fault{Status: http.StatusOK, Body: strings.ReplaceAll(body, "INSIDE", inside)}
	}
	for name, c := range map[string]struct {
		fault emulator.Fault
		want  verdict
	}{
		"500":                {emulator.Fault{Status: 500, Body: inside}, fails(503, "unavailable")},
		"503":                {emulator.Fault{Status: 503}, fails(503, "unavailable")},
		"429":                {emulator.Fault{Status: 429}, fails(503, "throttled")},
		"401":                {emulator.Fault{Status: 401, Body: inside}, denied("vault-refused")},
		"403":                {emulator.Fault{Status: 403}, denied("vault-refused")},
		"404":                {emulator.Fault{Status: 404}, denied("not-found")},
		"418":                {emulator.Fault{Status: 418}, fails(502, "garbled")},
		"reset":              {emulator.Fault{Kind: emulator.Reset}, fails(503, "network")},
		"no such host":       {emulator.Fault{Kind: emulator.UnknownHost}, fails(503, "network")},
		"redirect":           {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.example/"}, fails(502, "garbled")},
		"page":               {emulator.Fault{Kind: emulator.HTML}, fails(502, "garbled")},
		"broken":             {emulator.Fault{Kind: emulator.BrokenJSON}, fails(502, "garbled")},
		"number":             {emulator.Fault{Kind: emulator.WrongTypes}, fails(502, "garbled")},
		"null":               {emulator.Fault{Kind: emulator.NullValue}, fails(502, "garbled")},
		"empty":              {emulator.Fault{Kind: emulator.EmptyValue}, fails(502, "garbled")},
		"no token":           {lie(`{"refresh_token":"INSIDE\n","access_token":"INSIDE\n"}`), fails(502, "garbled")},
		"a quote in it":      {lie(`{"refresh_token":"INSIDE\"","access_token":"INSIDE\""}`), fails(502, "garbled")},
		"no JWT, no end":     {lie(`{"refresh_token":"INSIDE","access_token":"INSIDE"}`), fails(502, "garbled")},
		"2 MiB":              {lie(`{"refresh_token":"` + strings.Repeat("INSIDE", 80000) + `"}`), fails(502, "garbled")},
		"an expired one":     {lie(`{"refresh_token":"INSIDE","access_token":"e30.eyJleHAiOjF9.c2ln"}`), denied("expired")},
		"it gives nothing":   {lie(`{"refresh_token":"INSIDE","access_token":"e30.eyJncmFudF90eXBlIjoiYWNjZXNzX3Rva2VuIiwiZXhwIjo5OTk5OTk5OTk5fQ.c2ln"}`), denied("vault-refused")},
		"less than we asked": {lie(`{"refresh_token":"INSIDE","access_token":"e30.eyJleHAiOjk5OTk5OTk5OTksImFjY2VzcyI6W119.c2ln"}`), denied("vault-refused")},
	} {
		t.Run(name, func(t *testing.T) {
			remove := f.Emulator.Fault(r.Target(), c.fault)
			defer remove()
			if e := f.expect(t, f.next(), "tokens/docker", c.want); !strings.Contains(e.Detail, acr) && !strings.Contains(e.Detail, "tokens/docker") {
				t.Errorf("the record doesn't say where: %s", e.Line)
			}
			f.good(t)
			remove()
			f.minted(t, f.next(), "tokens/docker")
		})
	}
	if evil != 0 {
		t.Errorf("%d requests followed a redirect", evil)
	}
	f.minted(t, f.next(), "tokens/arm")
}

// A registry that hangs, or drips, keeps its own door waiting within the budget and no other door at all.
func TestARegistryThatHangs(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, shortLived+hanging)
	r := f.Emulator.Registry(acr, tenantID)
	r.Allow(clientID, "*", "pull", "push")
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Drip} {
		t.Run(kind.String(), func(t *testing.T) {
			remove := f.Emulator.Fault(r.Target(), emulator.Fault{Kind: kind})
			began := time.Now()
			if e := f.nothing(t, f.next(), "tokens/docker"); e.Outcome != "failed" || e.Reason != "timeout" && e.Reason != "late" {
				t.Errorf("on record is %s", e.Line)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("it took %s", took)
			}
			f.good(t)
			f.minted(t, f.next(), "tokens/arm")
			remove()
			f.mintsAgain(t, "tokens/docker")
		})
	}
}

// mintsAgain waits for a token to come again that a source in trouble has kept back, and checks that the next one does.
func (f *faulty) mintsAgain(t *testing.T, ref string) {
	t.Helper()
	eventually(t, "a token again", func() bool {
		value, err := f.find(f.next(), ref)
		f.world.watch(strings.Split(value, ".")...)
		return err == nil || !f.pause()
	})
	f.minted(t, f.next(), ref)
}

// A registry is dead for as long as it likes: nobody who asks for another token learns of it.
func TestADeadRegistryLeavesOtherTokensAlone(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, shortLived+hanging)
	r := f.Emulator.Registry(acr, tenantID)
	r.Allow(clientID, "*", "pull", "push")
	for name, c := range map[string]struct {
		fault emulator.Fault
		times int
	}{"503": {emulator.Fault{Status: 503}, 12}, "hangs": {emulator.Fault{Kind: emulator.Hang}, 2}} {
		remove := f.Emulator.Fault(r.Target(), c.fault)
		began := time.Now()
		for range c.times {
			f.nothing(t, f.next(), "tokens/docker")
		}
		dead := time.Since(began)
		for range 3 {
			began := time.Now()
			f.minted(t, f.next(), "tokens/arm")
			if took := time.Since(began); name == "hangs" && took > dead/2 {
				t.Errorf("a token of Entra took %s, those of the registry that hangs %s", took, dead)
			}
		}
		remove()
		f.mintsAgain(t, "tokens/docker")
	}
	f.good(t)
}
