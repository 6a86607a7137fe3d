package token_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/provider/token"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	tenant = "11111111-2222-4333-8444-555555555555"
	client = "3f2a4c55-1111-4222-8333-444455556666"
	arm    = "https://management.azure.com/.default"
	acr    = "acme.azurecr.io"
	user   = "00000000-0000-0000-0000-000000000000"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an emulated Entra and registry, and an identity that may push to team/app and pull base.
type world struct {
	*emulator.Emulator
	registry *emulator.Registry
	identity *entra.Identity
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	w := &world{Emulator: e, registry: e.Registry(acr, tenant)}
	w.registry.Allow(client, "team/app", "pull", "push")
	w.registry.Allow(client, "base", "pull")
	transport := e.Transport()
	w.identity, err = entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client, Transport: transport, Log: zerolog.Nop(),
		Assertion: func(context.Context, string) (string, error) { return e.Assertion(emulator.AssertionOptions{}), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.identity.Close(); transport.CloseIdleConnections() })
	return w
}

// get asks for the entry, as the only one there is, and admits what comes.
func (w *world) get(t *testing.T, e token.Entry, key string) (string, secret.Fetched, *secret.Error) {
	t.Helper()
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	e.Name, e.Identity, e.Tenant = "it", w.identity, tenant
	ref := secret.Ref{Vault: secret.TokenDoor, Name: "it", Key: key}
	fetched, err := token.New([]token.Entry{e}, transport, time.Now).Get(t.Context(), request, ref)
	if err == nil {
		fetched, err = new(secret.Policy).Admit(secret.Grant{Ref: ref}, fetched, time.Now())
	}
	if err != nil {
		failure := secret.AsError(err)
		if strings.Contains(failure.Detail, "eyJ") || !strings.Contains(failure.Detail, "tokens/it") {
			t.Errorf("the error is %q", failure.Detail)
		}
		return "", fetched, failure
	}
	return string(fetched.Value.Reveal()), fetched, nil
}

var request = secret.Request{Repo: secret.Repo{UID: "42", Slug: "acme/app"}, Build: secret.Build{Number: 7, Event: "push"}}

func TestAnAccessTokenOfEntra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := token.Entry{Scope: arm, MinLife: 50 * time.Minute}
	first, f, err := w.get(t, entry, "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "eyJ") || f.How != secret.HowMinted || f.Identity != "pay" || f.Version == "" || time.Until(f.Expires) < 50*time.Minute {
		t.Errorf("got %+v", f)
	}
	if second, _, _ := w.get(t, entry, ""); second == first {
		t.Error("somebody else's token")
	}
	expires, f, err := w.get(t, entry, "expires")
	if err != nil || expires != f.Expires.UTC().Format(time.RFC3339) {
		t.Errorf("expires is %q, %v", expires, err)
	}
	_, _, err = w.get(t, entry, "username")
	expect(t, err, secret.Denied, secret.ReasonKey)
	entry.MinLife = 3 * time.Hour
	_, _, err = w.get(t, entry, "")
	expect(t, err, secret.Denied, secret.ReasonShort, "min_life")
}

func TestATokenOfARegistryIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := token.Entry{Scope: arm, Registry: acr, Scopes: []string{"repository:team/app:pull,push", "repository:base:pull"}, MinLife: 10 * time.Minute}
	password, f, err := w.get(t, entry, "")
	if err != nil {
		t.Fatal(err)
	}
	access, ok := w.registry.Login(user, password)
	if raw, _ := json.Marshal(access); !ok || len(access) != 2 || time.Until(f.Expires) < time.Hour {
		t.Errorf("login gives %s, until %s", raw, f.Expires)
	}
	for key, want := range map[string]string{"username": user, "registry": acr} {
		if got, _, err := w.get(t, entry, key); err != nil || got != want {
			t.Errorf("%s is %q, %v", key, got, err)
		}
	}
	all, _, err := w.get(t, token.Entry{Scope: arm, Registry: acr}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := w.registry.Login(user, all); !ok || all == password {
		t.Error("all rights don't log in")
	}

	entry.Scopes = []string{"repository:base:pull,push"}
	_, _, err = w.get(t, entry, "")
	expect(t, err, secret.NotFound, secret.ReasonVaultRefused, "push base", "AcrPush")
}

func TestFaultsOfARegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := w.Vault("evil.vault.azure.net", tenant)
	for name, c := range map[string]struct {
		fault  emulator.Fault
		kind   secret.Kind
		reason secret.Reason
	}{
		"401":      {emulator.Fault{Status: 401}, secret.NotFound, secret.ReasonVaultRefused},
		"404":      {emulator.Fault{Status: 404}, secret.NotFound, secret.ReasonNotFound},
		"429":      {emulator.Fault{Status: 429}, secret.Unavailable, secret.ReasonThrottled},
		"503":      {emulator.Fault{Status: 503}, secret.Unavailable, secret.ReasonUnavailable},
		"reset":    {emulator.Fault{Kind: emulator.Reset}, secret.Unavailable, secret.ReasonNetwork},
		"no host":  {emulator.Fault{Kind: emulator.UnknownHost}, secret.Unavailable, secret.ReasonNetwork},
		"another":  {emulator.Fault{Kind: emulator.WrongCertificate}, secret.Unavailable, secret.ReasonNetwork},
		"page":     {emulator.Fault{Kind: emulator.HTML}, secret.Garbled, secret.ReasonGarbled},
		"null":     {emulator.Fault{Kind: emulator.NullValue}, secret.Garbled, secret.ReasonGarbled},
		"empty":    {emulator.Fault{Kind: emulator.EmptyValue}, secret.Garbled, secret.ReasonGarbled},
		"number":   {emulator.Fault{Kind: emulator.WrongTypes}, secret.Garbled, secret.ReasonGarbled},
		"half":     {emulator.Fault{Kind: emulator.BrokenJSON}, secret.Garbled, secret.ReasonGarbled},
		"quoted":   {emulator.Fault{Status: 200, Body: `{"refresh_token":"a\"b","access_token":"a\"b"}`}, secret.Garbled, secret.ReasonGarbled},
		"redirect": {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/"}, secret.Garbled, secret.ReasonGarbled},
	} {
		t.Run(name, func(t *testing.T) {
			remove := w.Fault(w.registry.Target(), c.fault)
			defer remove()
			_, _, err := w.get(t, token.Entry{Scope: arm, Registry: acr, Scopes: []string{"repository:base:pull"}}, "")
			expect(t, err, c.kind, c.reason, acr)
			if n := w.Count(evil.Host(), ""); n != 0 {
				t.Errorf("%d requests went elsewhere", n)
			}
		})
	}
	once := w.Fault(w.registry.Target(), emulator.Fault{Status: 503, Times: 1})
	defer once()
	if _, _, err := w.get(t, token.Entry{Scope: arm, Registry: acr}, ""); err != nil {
		t.Errorf("one failure is not passed over: %v", err)
	}
	_, _, err := w.get(t, token.Entry{Scope: "https://vault.azure.net/.default", Registry: acr}, "") // of no use to a registry
	expect(t, err, secret.NotFound, secret.ReasonVaultRefused)
}

func TestAnIDToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := time.Now().Add(5 * time.Minute)
	text, f, err := w.get(t, token.Entry{Mint: func(_ context.Context, r secret.Request) (token.Minted, error) {
		return token.Minted{Text: secret.NewValue([]byte("a.b." + r.Repo.UID)), ID: "the-jti", Expires: end}, nil
	}}, "")
	if err != nil || text != "a.b.42" || f.Version != "the-jti" || !f.Expires.Equal(end) {
		t.Errorf("got %q, %+v, %v", text, f, err)
	}
	_, _, err = w.get(t, token.Entry{Mint: func(context.Context, secret.Request) (token.Minted, error) {
		return token.Minted{}, secret.Fail(secret.Denied, secret.ReasonDeployTo, "no target")
	}}, "")
	expect(t, err, secret.Denied, secret.ReasonDeployTo, "no target")
}

func TestOnlyWhatIsConfiguredIsThere(t *testing.T) {
	t.Parallel()
	tokens := token.New([]token.Entry{{Name: "ARM"}}, nil, time.Now)
	for _, ref := range []secret.Ref{{Vault: "tokens", Name: "other"}, {Vault: "tokens", Name: "arm", Version: "1"}} {
		_, err := tokens.Get(t.Context(), request, ref)
		expect(t, secret.AsError(err), secret.NotFound, secret.ReasonNotFound)
	}
}

// Whatever a token may state makes it another one; what was asked for does not.
func TestOneTokenForOneSetOfFacts(t *testing.T) {
	t.Parallel()
	tokens := token.New(nil, nil, time.Now)
	asked := request
	asked.Path, asked.Name = "tokens", "arm"
	if tokens.Subject(request) != tokens.Subject(asked) {
		t.Error("the name that was asked for makes a difference")
	}
	seen := map[string]bool{tokens.Subject(request): true}
	for _, change := range []func(*secret.Request){
		func(r *secret.Request) { r.Build.Event = "promote" }, func(r *secret.Request) { r.Build.Ref = "refs/heads/x" },
		func(r *secret.Request) { r.Build.DeployTo = "production" }, func(r *secret.Request) { r.Build.Trigger = "alice" },
		func(r *secret.Request) { r.Repo.UID = "43" }, func(r *secret.Request) { r.Pool = "prod" }, func(r *secret.Request) { r.Build.Number = 8 },
	} {
		r := request
		change(&r)
		if seen[tokens.Subject(r)] {
			t.Errorf("%+v has another's subject", r)
		}
		seen[tokens.Subject(r)] = true
	}
}

func expect(t *testing.T, err *secret.Error, kind secret.Kind, reason secret.Reason, details ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", reason)
	}
	if err.Kind != kind || err.Reason != reason {
		t.Errorf("got %s, %s; want %s, %s: %s", err.Kind, err.Reason, kind, reason, err.Detail)
	}
	for _, d := range details {
		if !strings.Contains(err.Detail, d) {
			t.Errorf("%q is not in %q", d, err.Detail)
		}
	}
}

// fixed is an identity whose token is always the same, and a registry's transport that answers with fixed tokens.
type fixed struct {
	text    string
	expires time.Time
}

func (fixed) Name() string                  { return "pay" }
func (fixed) Subject(secret.Request) string { return "" }
func (f fixed) Fresh(context.Context, secret.Request, string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: f.text, ExpiresOn: f.expires}, nil
}

// What Entra, or who answers in its place, calls a token stands in a document of ours, whose keys it must not write.
func TestATokenWritesNoKeysOfOurs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`a","expires":"2099-01-01T00:00:00Z","x":"`, `a\`, "a\r\nX-Header: b", "a b", "é", ""} {
		tokens := token.New([]token.Entry{{Name: "it", Identity: fixed{text, time.Now().Add(time.Hour)}}}, nil, time.Now)
		_, err := tokens.Get(t.Context(), request, secret.Ref{Vault: secret.TokenDoor, Name: "it"})
		expect(t, secret.AsError(err), secret.Garbled, secret.ReasonGarbled, "tokens/it", "pay")
	}
}

// registryOf answers each question of a registry with a token that has the claims.
func registryOf(claims string) (transport http.RoundTripper, forms *[]url.Values) {
	jwt := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	forms = new([]url.Values)
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		_ = r.ParseForm()
		*forms = append(*forms, r.PostForm)
		body := `{"refresh_token":"` + jwt + `","access_token":"` + jwt + `"}`
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}), forms
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWhatARegistrysTokenSays(t *testing.T) {
	t.Parallel()
	scoped := []string{"repository:base:pull"}
	soon := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	for name, c := range map[string]struct {
		claims string
		scopes []string
		reason secret.Reason // of the refusal; empty: it is given
	}{
		"all":          {`{"exp":` + soon + `,"access":[{"type":"repository","name":"base","actions":["pull"]}]}`, scoped, ""},
		"more":         {`{"exp":` + soon + `,"access":[{"type":"repository","name":"base","actions":["*"]}]}`, scoped, ""},
		"nothing":      {`{"exp":` + soon + `,"access":[]}`, scoped, secret.ReasonVaultRefused},
		"null":         {`{"grant_type":"access_token","exp":` + soon + `,"access":null}`, scoped, secret.ReasonVaultRefused},
		"no word":      {`{"grant_type":"access_token","exp":` + soon + `}`, scoped, secret.ReasonVaultRefused}, // which is how a registry says nothing
		"another kind": {`{"exp":` + soon + `,"access":[{"type":"registry","name":"base","actions":["*"]}]}`, scoped, secret.ReasonVaultRefused},
		"unreadable":   {`x`, scoped, secret.ReasonGarbled},                 // nobody knows what it gives, but it has no end
		"year 10000":   {`{"exp":253402300800}`, nil, secret.ReasonGarbled}, // which RFC 3339 can't write
		"for ever":     {`{"exp":9223372036854775807}`, nil, secret.ReasonGarbled},
		"no end":       {`{}`, nil, secret.ReasonGarbled},
	} {
		t.Run(name, func(t *testing.T) {
			transport, _ := registryOf(c.claims)
			tokens := token.New([]token.Entry{{Name: "it", Identity: fixed{text: "a.b.c"}, Registry: acr, Scopes: c.scopes, MinLife: time.Minute}}, transport, time.Now)
			_, err := tokens.Get(t.Context(), request, secret.Ref{Vault: secret.TokenDoor, Name: "it"})
			if c.reason == "" && err != nil || c.reason != "" && (err == nil || secret.AsError(err).Reason != c.reason) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A managed identity of the machine has no tenant that anybody wrote down, and an empty one would be a wrong one.
func TestARegistryIsToldTheTenantIfThereIsOne(t *testing.T) {
	t.Parallel()
	for _, known := range []string{tenant, ""} {
		transport, forms := registryOf(`{"exp":4102444800}`)
		tokens := token.New([]token.Entry{{Name: "it", Identity: fixed{text: "a.b.c"}, Registry: acr, Tenant: known}}, transport, time.Now)
		if _, err := tokens.Get(t.Context(), request, secret.Ref{Vault: secret.TokenDoor, Name: "it"}); err != nil {
			t.Fatal(err)
		}
		if got := (*forms)[0]; got.Get("tenant") != known || got.Has("tenant") != (known != "") {
			t.Errorf("with the tenant %q it was sent %v", known, got)
		}
	}
}

// Without min_life a token serves until it ends, and what has ended is made anew.
func TestATokenThatEndedIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mint := func(context.Context, secret.Request) (token.Minted, error) {
			return token.Minted{Text: secret.NewValue([]byte("a.b.c")), ID: rand.Text(), Expires: time.Now().Add(20 * time.Second)}, nil
		}
		r := provider.NewRouter(map[string]provider.Door{secret.TokenDoor: {Source: token.New([]token.Entry{{Name: "it", Mint: mint}}, nil, time.Now), PerBuild: true}}, provider.Options{})
		defer r.Close()
		grant := secret.Grant{Ref: secret.Ref{Vault: secret.TokenDoor, Name: "it"}}
		seen := map[string]bool{}
		for range 3 {
			f, err := r.Fetch(t.Context(), request, grant)
			if err == nil {
				_, err = new(secret.Policy).Admit(grant, f, time.Now())
			}
			if err != nil {
				t.Fatal(err)
			}
			seen[f.Version] = true
			time.Sleep(10 * time.Second)
		}
		if len(seen) != 2 {
			t.Errorf("%d tokens, want one for each 20 seconds", len(seen))
		}
	})
}

// A fault of the proxy's is not the registry's.
func TestAProxyBeforeTheRegistry(t *testing.T) {
	fault := &secret.ProxyError{Reason: secret.ReasonNetwork, Cause: "the proxy p:3128 (HTTPS_PROXY) is out", Remedy: "look at it"}
	tokens := token.New([]token.Entry{{Name: "it", Identity: fixed{text: "a.b.c"}, Registry: acr}},
		roundTripper(func(*http.Request) (*http.Response, error) { return nil, fault }), time.Now)
	_, err := tokens.Get(t.Context(), request, secret.Ref{Vault: secret.TokenDoor, Name: "it"})
	e := secret.AsError(err)
	if expect(t, e, secret.Unavailable, secret.ReasonNetwork); !strings.Contains(e.Detail, "registry "+acr+": the proxy p:3128 (HTTPS_PROXY) is out: look at it") {
		t.Error(e.Detail)
	}
}

// A registry that asks to be left alone is: within the request, and by the door behind it.
func TestThePauseThatARegistryAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.Fault(w.registry.Target(), emulator.Fault{Status: 429, RetryAfter: 20 * time.Second})()
	_, _, err := w.get(t, token.Entry{Scope: arm, Registry: acr}, "")
	expect(t, err, secret.Unavailable, secret.ReasonThrottled)
	if n := w.Count(acr, "/oauth2/exchange"); n != 1 || err.Pause < 19*time.Second || err.Pause > 20*time.Second {
		t.Errorf("asked %d times, a pause of %s", n, err.Pause)
	}
}
