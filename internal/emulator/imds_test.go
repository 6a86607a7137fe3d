package emulator_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// machine is a credential of the machine's own identity. MSAL keeps its tokens in a cache of the whole process, so each
// test has an identity of its own.
func machine(t *testing.T, e *emulator.Emulator, clientID string) *azidentity.ManagedIdentityCredential {
	t.Helper()
	c, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
		ClientOptions: clientOptions(e), ID: azidentity.ClientID(clientID),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAManagedIdentityReadsASecret(t *testing.T) {
	const identity = "77777777-0001-4222-8333-444455556666"
	e, v := world(t)
	e.ManagedIdentity(identity, tenant)
	v.Allow(identity)
	v.Set("db", "hunter2")
	got, err := secrets(t, e, v, machine(t, e, identity)).GetSecret(t.Context(), "db", "", nil)
	if err != nil || *got.Value != "hunter2" {
		t.Fatalf("got %v", err)
	}
}

func TestAManagedIdentityStandsForAnApplication(t *testing.T) {
	const identity = "77777777-0002-4222-8333-444455556666"
	e, _ := world(t)
	principal := e.ManagedIdentity(identity, tenant)
	if again := e.ManagedIdentity(identity, tenant); again != principal {
		t.Errorf("the same identity has the principals %s and %s", principal, again)
	}
	token, err := machine(t, e, identity).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{emulator.DefaultAudience + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	present := func(f map[string][]string) { f["client_assertion"] = []string{token.Token} }
	if got := ask(t, e, tenant, func(f url.Values) { present(f) }); got != 700211 {
		t.Errorf("before a credential is registered: got AADSTS%d, want 700211", got)
	}
	e.Register(emulator.App{Tenant: tenant, ClientID: client, Issuer: e.ManagedIssuer(tenant), Subject: principal})
	if got := ask(t, e, tenant, func(f url.Values) { present(f) }); got != 0 {
		t.Errorf("with one: got AADSTS%d, want a token", got)
	}
}

func TestTheMetadataServiceIsParticular(t *testing.T) {
	const path = "http://169.254.169.254/metadata/identity/oauth2/token?"
	const good = "api-version=2018-02-01&resource=https://vault.azure.net"
	e, _ := world(t)
	get := func(query string, header ...string) (int, map[string]string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Metadata", strings.Join(header, ""))
		answer, err := viaProxy(t, e).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var body map[string]string
		if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, body
	}
	refused := func(text, query string, header ...string) {
		t.Helper()
		if status, body := get(query, header...); status != 400 || !strings.Contains(body["error_description"], text) {
			t.Errorf("got %d %v, want 400 %q", status, body, text)
		}
	}
	refused("metadata header", good)
	refused("Identity not found", good, "true")
	e.ManagedIdentity("77777777-0003-4222-8333-444455556666", tenant)
	refused("'resource' is missing", "api-version=2018-02-01", "true")
	refused("'api-version' is missing", "resource=https://vault.azure.net", "true")
	refused("Identity not found", good+"&client_id="+stranger, "true")
	status, body := get(good, "true")
	if status != 200 || body["expires_in"] != "86400" || body["token_type"] != "Bearer" || body["resource"] != "https://vault.azure.net" {
		t.Errorf("the only identity: got %d with %s s, %s", status, body["expires_in"], body["resource"])
	}
	e.ManagedIdentity("77777777-0004-4222-8333-444455556666", tenant)
	refused("Multiple user assigned identities", good, "true")
}
