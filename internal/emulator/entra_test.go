package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

func vaultScope() policy.TokenRequestOptions {
	return policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}
}

// stsAnswer is the body of Entra's errors.
type stsAnswer struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	Timestamp   string `json:"timestamp"`
	Trace       string `json:"trace_id"`
	Correlation string `json:"correlation_id"`
	URI         string `json:"error_uri"`
}

// refusalOf is what the real client got from Entra.
func refusalOf(t *testing.T, err error) stsAnswer {
	t.Helper()
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) || failed.RawResponse == nil {
		t.Fatalf("want an answer from Entra, got %v", err)
	}
	body, err := runtime.Payload(failed.RawResponse)
	if err != nil {
		t.Fatal(err)
	}
	var answer stsAnswer
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Codes) != 1 {
		t.Fatalf("not a body of Entra's: %s", body)
	}
	return answer
}

func TestAnAssertionIsRefusedAsEntraRefusesIt(t *testing.T) {
	long := 25*time.Hour + time.Minute
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	e, _ := world(t)
	for name, c := range map[string]struct {
		assertion emulator.AssertionOptions
		code      int
	}{
		"another issuer":            {emulator.AssertionOptions{Issuer: "https://oidc.other.example"}, 700211},
		"a slash after the issuer":  {emulator.AssertionOptions{Issuer: "https://oidc.cluster.example/"}, 700211},
		"another subject":           {emulator.AssertionOptions{Subject: "system:serviceaccount:drone:runner"}, 700213},
		"the subject in capitals":   {emulator.AssertionOptions{Subject: strings.ToUpper(emulator.DefaultSubject)}, 7002138},
		"another audience":          {emulator.AssertionOptions{Audience: "https://vault.azure.net"}, 700212},
		"the audience in capitals":  {emulator.AssertionOptions{Audience: "API://AZUREADTOKENEXCHANGE"}, 700212},
		"expired":                   {emulator.AssertionOptions{IssuedAt: ago(2 * time.Hour), Lifetime: time.Hour}, 700024},
		"not yet valid":             {emulator.AssertionOptions{NotBefore: ago(-30 * time.Minute)}, 700024},
		"issued in the future":      {emulator.AssertionOptions{IssuedAt: ago(-30 * time.Minute)}, 700024},
		"too long-lived":            {emulator.AssertionOptions{Lifetime: long}, 70023},
		"a key that is unknown":     {emulator.AssertionOptions{KeyID: "nobody"}, 7000272},
		"no key named":              {emulator.AssertionOptions{NoKeyID: true}, 7000272},
		"a wrong signature":         {emulator.AssertionOptions{WrongKey: true}, 700027},
		"a stronger algorithm":      {emulator.AssertionOptions{Algorithm: "PS256"}, 700027},
		"no signature":              {emulator.AssertionOptions{Algorithm: "none"}, 50027},
		"no expiry":                 {emulator.AssertionOptions{Claims: map[string]any{"exp": nil}}, 50027},
		"claims of the wrong types": {emulator.AssertionOptions{Claims: map[string]any{"sub": 7}}, 50027},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := credential(t, e, c.assertion).GetToken(t.Context(), vaultScope())
			answer := refusalOf(t, err)
			if answer.Codes[0] != c.code {
				t.Errorf("got AADSTS%d, want %d: %s", answer.Codes[0], c.code, answer.Description)
			}
		})
	}
}

func TestARefusalLooksLikeEntras(t *testing.T) {
	e, _ := world(t)
	_, err := credential(t, e, emulator.AssertionOptions{Subject: "somebody"}).GetToken(t.Context(), vaultScope())
	a := refusalOf(t, err)
	for _, part := range []string{"AADSTS700213: ", "'somebody'", "Trace ID: " + a.Trace, "Correlation ID: " + a.Correlation, "Timestamp: " + a.Timestamp} {
		if !strings.Contains(a.Description, part) {
			t.Errorf("the description lacks %q: %s", part, a.Description)
		}
	}
	if a.Error != "invalid_client" || a.URI == "" || a.Trace == "" {
		t.Errorf("incomplete: %+v", a)
	}
}

// ask posts a form to a tenant's token endpoint and returns the AADSTS code, 0 for a token.
func ask(t *testing.T, e *emulator.Emulator, tenant string, change func(url.Values)) int {
	t.Helper()
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {client},
		"scope":                 {"https://vault.azure.net/.default openid"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {e.Assertion(emulator.AssertionOptions{})},
	}
	change(form)
	answer, err := (&http.Client{Transport: e.Transport()}).PostForm("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body stsAnswer
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode == http.StatusOK {
		return 0
	}
	return body.Codes[0]
}

func TestATokenRequestIsRefusedAsEntraRefusesIt(t *testing.T) {
	e, _ := world(t)
	e.Register(emulator.App{Tenant: tenant, ClientID: stranger, Unfederated: true})
	set := func(name, value string) func(url.Values) { return func(f url.Values) { f.Set(name, value) } }
	remove := func(name string) func(url.Values) { return func(f url.Values) { f.Del(name) } }
	for name, c := range map[string]struct {
		tenant string
		change func(url.Values)
		code   int
	}{
		"good":                        {tenant, func(url.Values) {}, 0},
		"unknown tenant":              {"contoso.example", func(url.Values) {}, 90002},
		"unknown client":              {tenant, set("client_id", "88888888-0000-4000-8000-000000000000"), 700016},
		"a client without federation": {tenant, set("client_id", stranger), 70025},
		"a client secret":             {tenant, set("client_secret", "hunter2"), 7000215},
		"no proof at all":             {tenant, remove("client_assertion"), 7000218},
		"another assertion type":      {tenant, set("client_assertion_type", "saml2-bearer"), 7000218},
		"another grant":               {tenant, set("grant_type", "password"), 70003},
		"no scope":                    {tenant, remove("scope"), 70011},
		"a delegated scope":           {tenant, set("scope", "https://vault.azure.net/user_impersonation"), 1002012},
		"another cloud's vaults":      {tenant, set("scope", "https://vault.azure.cn/.default"), 500011},
		"no JWT":                      {tenant, set("client_assertion", "hunter2"), 50027},
		"a JWT and a newline":         {tenant, func(f url.Values) { f.Set("client_assertion", f.Get("client_assertion")+"\n.") }, 50027},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(t, e, c.tenant, c.change); got != c.code {
				t.Errorf("got AADSTS%d, want %d", got, c.code)
			}
		})
	}
}

func TestAnIssuerThatCannotBeReachedIs90061(t *testing.T) {
	e, _ := world(t)
	e.Register(emulator.App{Tenant: tenant, ClientID: client, Issuer: "https://oidc.nowhere.example"})
	bad := e.Assertion(emulator.AssertionOptions{Issuer: "https://oidc.nowhere.example"})
	if got := ask(t, e, tenant, func(f url.Values) { f.Set("client_assertion", bad) }); got != 90061 {
		t.Errorf("no such host: got AADSTS%d, want 90061", got)
	}
	remove := e.Fault(emulator.Host("oidc.cluster.example"), emulator.Fault{Status: http.StatusNotFound})
	if got := ask(t, e, tenant, func(url.Values) {}); got != 90061 {
		t.Errorf("no documents: got AADSTS%d, want 90061", got)
	}
	remove()
	if got := ask(t, e, tenant, func(url.Values) {}); got != 0 {
		t.Errorf("afterwards: got AADSTS%d, want a token", got)
	}
}

func TestADocumentThatNamesAnotherIssuerIsNotBelieved(t *testing.T) {
	e, _ := world(t)
	const other = "https://oidc.other.example"
	e.Register(emulator.App{Tenant: tenant, ClientID: client, Issuer: other})
	e.Handle("oidc.other.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": e.IssuerURL(), "jwks_uri": e.IssuerURL() + "/openid/v1/jwks"})
	}))
	bad := e.Assertion(emulator.AssertionOptions{Issuer: other})
	if got := ask(t, e, tenant, func(f url.Values) { f.Set("client_assertion", bad) }); got != 90061 {
		t.Errorf("got AADSTS%d, want 90061", got)
	}
}

func TestAnApplicationCanHaveSeveralCredentials(t *testing.T) {
	e, _ := world(t)
	e.Register(emulator.App{Tenant: tenant, ClientID: client, Subject: "drone:repo:42"})
	for _, subject := range []string{emulator.DefaultSubject, "drone:repo:42"} {
		if _, err := credential(t, e, emulator.AssertionOptions{Subject: subject}).GetToken(t.Context(), vaultScope()); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
}

func TestATokenLastsAsLongAsEntrasDo(t *testing.T) {
	e, _ := world(t)
	before := time.Now()
	token, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), vaultScope())
	if err != nil {
		t.Fatal(err)
	}
	if at := token.ExpiresOn; at.Before(before.Add(time.Hour-time.Second)) || at.After(time.Now().Add(90*time.Minute)) {
		t.Errorf("it expires %v after it was asked for, want 60 to 90 minutes", at.Sub(before))
	}
	fixed, _ := worldWith(t, emulator.Options{TokenLifetime: 7 * time.Minute})
	token, err = credential(t, fixed, emulator.AssertionOptions{}).GetToken(t.Context(), vaultScope())
	if err != nil || token.ExpiresOn.After(time.Now().Add(7*time.Minute)) {
		t.Errorf("a fixed lifetime of 7 minutes gave %v, %v", token.ExpiresOn, err)
	}
}

// Tokens are to be had for whatever a build may need, not for vaults alone.
func TestATokenIsForTheScopeAskedFor(t *testing.T) {
	e, _ := world(t)
	for scope, audience := range map[string]string{
		"https://vault.azure.net/.default":                    "https://vault.azure.net",
		"https://management.azure.com/.default":               "https://management.azure.com",
		"https://management.azure.com//.default":              "https://management.azure.com/",
		"https://storage.azure.com/.default":                  "https://storage.azure.com",
		"https://ossrdbms-aad.database.windows.net/.default":  "https://ossrdbms-aad.database.windows.net",
		"https://containerregistry.azure.net/.default":        "https://containerregistry.azure.net",
		"499b84ac-1321-427f-aa17-267ca6975798/.default":       "499b84ac-1321-427f-aa17-267ca6975798", // Azure DevOps
		"6dae42f8-4368-4678-94ff-3960e28e3630/.default":       "6dae42f8-4368-4678-94ff-3960e28e3630", // AKS
		"api://AzureADTokenExchange/.default":                 "api://AzureADTokenExchange",
		"api://3f2a4c55-1111-4222-8333-444455556666/.default": "api://3f2a4c55-1111-4222-8333-444455556666",
	} {
		var claims struct {
			Audience string `json:"aud"`
			Tenant   string `json:"tid"`
			Expires  int64  `json:"exp"`
		}
		token, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		if err != nil {
			t.Errorf("%s: %v", scope, err)
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Token, ".")[1])
		if err != nil || json.Unmarshal(raw, &claims) != nil {
			t.Fatalf("%s: no JWT: %v", scope, err)
		}
		if claims.Audience != audience || claims.Tenant != tenant || time.Unix(claims.Expires, 0).Sub(token.ExpiresOn).Abs() > 5*time.Second {
			t.Errorf("%s gave a token for %s in %s that expires at %d, the client says %v", scope, claims.Audience, claims.Tenant, claims.Expires, token.ExpiresOn)
		}
	}
}

func TestACredentialCanTakeAnySubjectOfItsIssuer(t *testing.T) {
	e, _ := world(t)
	e.Register(emulator.App{Tenant: tenant, ClientID: stranger, AnySubject: true, Subject: "drone:acme:repo:1"})
	code := func(o emulator.AssertionOptions) int {
		return ask(t, e, tenant, func(f url.Values) {
			f.Set("client_id", stranger)
			f.Set("client_assertion", e.Assertion(o))
		})
	}
	for _, subject := range []string{"drone:acme:repo:1", "drone:acme:repo:2", "DRONE:ACME:REPO:1"} {
		if got := code(emulator.AssertionOptions{Subject: subject}); got != 0 {
			t.Errorf("%s: AADSTS%d", subject, got)
		}
	}
	for name, c := range map[string]struct {
		o    emulator.AssertionOptions
		code int
	}{
		"another issuer":    {emulator.AssertionOptions{Issuer: "https://oidc.other.example"}, 700211},
		"another audience":  {emulator.AssertionOptions{Audience: "api://x"}, 700212},
		"a wrong signature": {emulator.AssertionOptions{WrongKey: true}, 700027},
	} {
		if got := code(c.o); got != c.code {
			t.Errorf("%s: got AADSTS%d, want %d", name, got, c.code)
		}
	}
}
