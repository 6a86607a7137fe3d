package entra_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// What azidentity and MSAL do by themselves, and what must not come of it here. docs/architecture.md lists these traps with
// the tests that show them closed; those that have no other place are here.

// An exchange is two requests of the authority. The SDK's third, which asks login.microsoftonline.com whether the authority is
// one of Microsoft's, would leave a sovereign cloud.
func TestNobodyAsksWhetherTheAuthorityIsMicrosofts(t *testing.T) {
	t.Parallel()
	for cloud, audience := range map[string]string{"public": emulator.DefaultAudience, "usgovernment": emulator.DefaultAudience + "USGov", "china": emulator.DefaultAudience + "China"} {
		t.Run(cloud, func(t *testing.T) {
			w := newWorld(t)
			w.Register(emulator.App{Tenant: tenant, ClientID: client, Audience: audience})
			i := w.identity(func(o *entra.Options) {
				o.Cloud, o.AssertionFile = cloud, ""
				o.Assertion = func(context.Context, string) (string, error) {
					return w.Assertion(emulator.AssertionOptions{Audience: audience}), nil
				}
			})
			_, err := w.token(i, func(o *policy.TokenRequestOptions) { o.Scopes = []string{"https://storage.azure.com/.default"} })
			works(t, err)
			var asked []string
			for _, r := range w.Requests() {
				if strings.HasPrefix(r.Host, "login.") {
					asked = append(asked, r.Method+" "+r.Path)
				}
				if cloud != "public" && r.Host == login {
					t.Errorf("the public cloud was asked for %s", r.Path)
				}
			}
			if want := "GET /" + tenant + "/v2.0/.well-known/openid-configuration POST /" + tenant + "/oauth2/v2.0/token"; strings.Join(asked, " ") != want {
				t.Errorf("asked were %q, want %q", asked, want)
			}
		})
	}
}

// The SDK has one mutex for a credential: behind it a token that is there waits for another scope's exchange that hangs, and
// whoever waits can't leave. Here neither does.
func TestAHungExchangeHoldsUpNoOtherScopeAndNobodyWhoLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	_, err := w.token(i)
	works(t, err)
	defer w.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Hang})()
	before := w.Count(login, "/"+tenant+"/oauth2/")
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for range 10 {
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := get(t, ctx, i.Credential(""), func(o *policy.TokenRequestOptions) { o.Scopes = []string{elsewhere} })
			if err == nil || err.Kind != secret.Late || time.Since(began) > 10*time.Second { // the exchange has 12
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	}
	if err := w.Await(t.Context(), before+1, login, "/"+tenant+"/oauth2/"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := get(t, ctx, i.Credential(""))
		cancel()
		works(t, err)
	}
}

// MSAL keeps the tokens of managed identities in a variable of its package, for all clients of the process. Identities of
// different client IDs, and one that stands for an application, still never meet each other's.
func TestManagedIdentitiesOfOneProcessStayApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const first, second, app = "aaaaaaaa-0000-4000-8000-0000000000f1", "aaaaaaaa-0000-4000-8000-0000000000f2", "bbbbbbbb-0000-4000-8000-0000000000f3"
	principal := w.ManagedIdentity(first, tenant)
	w.ManagedIdentity(second, tenant)
	w.Register(emulator.App{Tenant: tenant, ClientID: app, Issuer: w.ManagedIssuer(tenant), Subject: principal})
	for range 2 {
		for client, change := range map[string]func(*entra.Options){
			first:  func(o *entra.Options) { o.AssertionFile, o.ClientID, o.Managed = "", first, true },
			second: func(o *entra.Options) { o.AssertionFile, o.ClientID, o.Managed = "", second, true },
			app:    func(o *entra.Options) { o.AssertionFile, o.ClientID, o.AssertionManaged = "", app, first },
		} {
			token, err := w.token(w.identity(change))
			works(t, err)
			if claims := payload(t, token); claims["appid"] != client || claims["aud"] != "https://vault.azure.net" {
				t.Errorf("the identity of %s got the token of %v for %v", client, claims["appid"], claims["aud"])
			}
		}
	}
	if seen, _ := w.Presented(app); seen.Claims["azp"] != first || seen.Claims["aud"] != emulator.DefaultAudience {
		t.Errorf("the assertion was %v", seen.Claims)
	}
}

// payload is what a token says.
func payload(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		t.Fatalf("no JWT: %v", err)
	}
	return claims
}

// WorkloadIdentityCredential reads its file every ten minutes at most and would send a bad token for as long. Here the file
// counts as it is, at each exchange, until Entra accepts what is in it.
func TestABadTokenIsNotPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	for _, c := range []struct {
		spoil func() error
		says  string
	}{
		{func() error { return emulator.Project(w.file, "") }, "is empty"},
		{func() error { return w.ProjectToken(w.file, "somebody else") }, "AADSTS700213"},
		{func() error {
			return emulator.Project(w.file, w.Assertion(emulator.AssertionOptions{Lifetime: -time.Hour}))
		}, "AADSTS700024"},
		{func() error { return emulator.Project(w.file, w.Assertion(emulator.AssertionOptions{WrongKey: true})) }, "AADSTS700027"},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		_, err := w.token(i)
		want(t, err, secret.Unavailable, secret.ReasonIdentity, c.says)
	}
	w.project()
	_, err := w.token(i)
	works(t, err)
}

// The SDK would ask a machine's metadata service seven times, for over a minute: longer than a runner waits. In fake time.
func TestAMetadataServiceIsGivenUpInSeconds(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"hangs": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"404": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Request: r, Body: http.NoBody}, nil
		},
		"410": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusGone, Header: http.Header{}, Request: r, Body: http.NoBody}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, err := entra.New(entra.Options{Name: "vm", Managed: true, ClientID: "aaaaaaaa-0000-4000-8000-0000000000f9", Transport: roundTripper(answer)})
				if err != nil {
					t.Fatal(err)
				}
				defer i.Close()
				began := time.Now()
				_, failure := get(t, t.Context(), i.Credential(""))
				if failure == nil || failure.Kind != secret.Unavailable || !strings.Contains(failure.Detail, "identity endpoint") {
					t.Errorf("it is %v", failure)
				}
				if took := time.Since(began); took > 9*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
