package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

const (
	registryHost = "acme.azurecr.io"
	armScope     = "https://management.azure.com/.default"
	docker       = "00000000-0000-0000-0000-000000000000"
)

// registryAnswer is what both of a registry's token endpoints answer with.
type registryAnswer struct {
	status  int
	Access  *string `json:"access_token"`
	Refresh *string `json:"refresh_token"`
	Errors  []struct {
		Code, Message string
		Detail        json.RawMessage
	}
}

func (a registryAnswer) token() string {
	for _, token := range []*string{a.Access, a.Refresh} {
		if token != nil {
			return *token
		}
	}
	return ""
}

// post sends a form to a registry.
func post(t *testing.T, e *emulator.Emulator, host, path string, form url.Values) registryAnswer {
	t.Helper()
	answer, err := (&http.Client{Transport: e.Transport()}).PostForm("https://"+host+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got := registryAnswer{status: answer.StatusCode}
	body, err := io.ReadAll(answer.Body)
	if err != nil || json.Unmarshal(body, &got) != nil {
		t.Fatalf("%s%s answered %s with %s", host, path, answer.Status, body)
	}
	return got
}

func exchange(token string) url.Values {
	return url.Values{"grant_type": {"access_token"}, "service": {registryHost}, "tenant": {tenant}, "access_token": {token}}
}

func refresh(token string, scopes ...string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "service": {registryHost}, "scope": {strings.Join(scopes, " ")}, "refresh_token": {token}}
}

func TestARegistryGivesWhatIsAskedAndAllowed(t *testing.T) {
	clock := time.Now()
	e, _ := worldWith(t, emulator.Options{Now: func() time.Time { return clock }})
	r := e.Registry(registryHost, tenant)
	r.Allow(client, "team/*", "pull", "push")
	r.Allow(strings.ToUpper(client), "base", "pull")
	first := post(t, e, registryHost, "/oauth2/exchange", exchange(tokenFor(t, e, armScope)))
	if first.status != 200 || first.Refresh == nil {
		t.Fatalf("got %+v", first)
	}
	all := []emulator.Access{{Repository: "team/*", Actions: []string{"pull", "push"}}, {Repository: "base", Actions: []string{"pull"}}}
	if got, ok := r.Login(docker, first.token()); !ok || cmp.Diff(all, got) != "" {
		t.Errorf("with the refresh token: %v, %v", got, ok)
	}
	var access string
	for name, c := range map[string]struct {
		scopes []string
		want   []emulator.Access
	}{
		"one":             {[]string{"repository:team/app:pull"}, []emulator.Access{{Repository: "team/app", Actions: []string{"pull"}}}},
		"a level deeper":  {[]string{"repository:team/app/sub:push"}, []emulator.Access{{Repository: "team/app/sub", Actions: []string{"push"}}}},
		"more than given": {[]string{"repository:base:pull,push,delete"}, []emulator.Access{{Repository: "base", Actions: []string{"pull"}}}},
		"two": {[]string{"repository:team/app:pull,push", "repository:base:pull"},
			[]emulator.Access{{Repository: "team/app", Actions: []string{"pull", "push"}}, {Repository: "base", Actions: []string{"pull"}}}},
		"nothing of it":       {[]string{"repository:other:pull"}, nil},
		"a name like another": {[]string{"repository:teams/app:pull", "repository:base2:pull", "repository:TEAM/app:pull"}, nil},
	} {
		got := post(t, e, registryHost, "/oauth2/token", refresh(first.token(), c.scopes...))
		if got.status != 200 || got.Access == nil {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		access = got.token()
		if in, ok := r.Login(docker, access); !ok || cmp.Diff(c.want, in) != "" || cmp.Diff(c.want, accessIn(t, access)) != "" {
			t.Errorf("%s: %v, %v; the token has %v", name, in, ok, accessIn(t, access))
		}
	}
	for _, bad := range [][2]string{{"somebody", access}, {"", access}, {docker, ""}, {docker, access + "x"}, {docker, tokenFor(t, e, armScope)}} {
		if _, ok := r.Login(bad[0], bad[1]); ok {
			t.Errorf("%.8s logged in with %.8s", bad[0], bad[1])
		}
	}
	if _, ok := e.Registry("other.azurecr.io", tenant).Login(docker, access); ok {
		t.Error("the token of one registry is good at another")
	}
	login := func(token string) bool { _, ok := r.Login(docker, token); return ok }
	clock = clock.Add(75*time.Minute - time.Second)
	if !login(access) {
		t.Error("an access token does not last for 75 minutes")
	}
	clock = clock.Add(time.Second)
	if login(access) || !login(first.token()) {
		t.Error("75 minutes later the access token is good, or the refresh token is not")
	}
	clock = clock.Add(105 * time.Minute)
	if login(first.token()) || post(t, e, registryHost, "/oauth2/token", refresh(first.token(), "repository:base:pull")).status != 401 {
		t.Error("a refresh token outlives three hours")
	}
}

// accessIn is the claim of that name, read as anybody can who holds the token.
func accessIn(t *testing.T, token string) (access []emulator.Access) {
	t.Helper()
	var claims struct {
		Access []struct {
			Type, Name string
			Actions    []string
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		t.Fatalf("no JWT: %v", err)
	}
	for _, a := range claims.Access {
		if a.Type != "repository" {
			t.Errorf("a type of %q", a.Type)
		}
		access = append(access, emulator.Access{Repository: a.Name, Actions: a.Actions})
	}
	return access
}

func TestARegistryRefuses(t *testing.T) {
	clock := time.Now()
	const foreign = "22222222-2222-4333-8444-555555555555"
	e, _ := worldWith(t, emulator.Options{Now: func() time.Time { return clock }, TokenLifetime: time.Hour})
	r := e.Registry(registryHost, tenant)
	r.Allow(client, "*", "pull")
	e.Registry("foreign.azurecr.io", foreign).Allow(client, "*", "pull")
	good := tokenFor(t, e, armScope)
	set := func(form url.Values, name, value string) url.Values { form.Set(name, value); return form }
	without := func(form url.Values, name string) url.Values { form.Del(name); return form }
	kept := post(t, e, registryHost, "/oauth2/exchange", exchange(good)).token()
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		status int
	}{
		"good":                     {"/oauth2/exchange", exchange(good), 200},
		"the registries' audience": {"/oauth2/exchange", exchange(tokenFor(t, e, "https://containerregistry.azure.net/.default")), 200},
		"no tenant":                {"/oauth2/exchange", without(exchange(good), "tenant"), 200},
		"another tenant":           {"/oauth2/exchange", set(exchange(good), "tenant", foreign), 401},
		"a token for a vault":      {"/oauth2/exchange", exchange(tokenFor(t, e, "https://vault.azure.net/.default")), 401},
		"no token":                 {"/oauth2/exchange", without(exchange(good), "access_token"), 401},
		"an assertion":             {"/oauth2/exchange", exchange(e.Assertion(emulator.AssertionOptions{})), 401},
		"another registry":         {"/oauth2/exchange", set(exchange(good), "service", "other.azurecr.io"), 400},
		"another grant":            {"/oauth2/exchange", set(exchange(good), "grant_type", "password"), 400},
		"good in the end":          {"/oauth2/token", refresh(kept, "repository:a:pull"), 200},
		"Entra's token":            {"/oauth2/token", refresh(good, "repository:a:pull"), 401},
		"an access token":          {"/oauth2/token", refresh(post(t, e, registryHost, "/oauth2/token", refresh(kept, "repository:a:pull")).token(), "repository:a:pull"), 401},
		"no scope":                 {"/oauth2/token", refresh(kept), 400},
		"a scope of no type":       {"/oauth2/token", refresh(kept, "a:pull"), 400},
		"a scope without actions":  {"/oauth2/token", refresh(kept, "repository:a:"), 400},
		"a scope without a name":   {"/oauth2/token", refresh(kept, "repository::pull"), 400},
		"two parameters":           {"/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "service": {registryHost}, "scope": {"repository:a:pull", "repository:a:pull"}, "refresh_token": {kept}}, 400},
		"an empty action":          {"/oauth2/token", refresh(kept, "repository:a:pull,"), 400},
		"something else":           {"/acr/v1/_catalog", refresh(kept), 404},
	} {
		got := post(t, e, registryHost, c.path, c.form)
		if got.status != c.status || (got.token() != "") != (c.status == 200) {
			t.Errorf("%s: got %d, want %d", name, got.status, c.status)
		}
		if c.status != 200 && (len(got.Errors) != 1 || got.Errors[0].Code == "" || got.Errors[0].Message == "" || string(got.Errors[0].Detail) != "null") {
			t.Errorf("%s: not an error of a registry's: %+v", name, got.Errors)
		}
	}
	if got := post(t, e, "foreign.azurecr.io", "/oauth2/exchange", set(set(exchange(good), "service", "foreign.azurecr.io"), "tenant", foreign)); got.status != 401 {
		t.Errorf("a token of one tenant opened a registry of another: %d", got.status)
	}
	r.Forbid(client)
	if got := post(t, e, registryHost, "/oauth2/exchange", exchange(good)); got.status != 401 {
		t.Errorf("a client without rights: %d", got.status)
	}
	r.Allow(client, "*", "pull")
	clock = clock.Add(time.Hour)
	if got := post(t, e, registryHost, "/oauth2/exchange", exchange(good)); got.status != 401 || got.Errors[0].Code != "UNAUTHORIZED" {
		t.Errorf("an expired token: %+v", got)
	}
}

func TestARegistryChallenges(t *testing.T) {
	e, _ := world(t)
	e.Registry(registryHost, tenant).Allow(client, "*", "pull")
	kept := post(t, e, registryHost, "/oauth2/exchange", exchange(tokenFor(t, e, armScope))).token()
	access := post(t, e, registryHost, "/oauth2/token", refresh(kept, "repository:a:pull")).token()
	for name, c := range map[string]struct {
		authorization string
		status        int
	}{
		"nothing":       {"", 401},
		"nonsense":      {"Bearer x", 401},
		"no user":       {"Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+kept)), 401},
		"an access":     {"Bearer " + access, 200},
		"docker login":  {"Basic " + base64.StdEncoding.EncodeToString([]byte(docker+":"+kept)), 200},
		"docker access": {"Basic " + base64.StdEncoding.EncodeToString([]byte(docker+":"+access)), 200},
	} {
		request := get(t, "https://"+registryHost+"/v2/")
		if c.authorization != "" {
			request.Header.Set("Authorization", c.authorization)
		}
		answer, err := e.Transport().RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		want := ""
		if c.status == 401 {
			want = `Bearer realm="https://acme.azurecr.io/oauth2/token",service="acme.azurecr.io"`
		}
		if answer.StatusCode != c.status || answer.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: got %s with %q", name, answer.Status, answer.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestFaultsHitARegistry(t *testing.T) {
	e, _ := world(t)
	r := e.Registry(registryHost, tenant)
	r.Allow(client, "*", "pull")
	token := tokenFor(t, e, armScope)
	kept := post(t, e, registryHost, "/oauth2/exchange", exchange(token)).token()
	for status, code := range map[int]string{401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS", 503: "UNKNOWN"} {
		remove := e.Fault(r.Target(), emulator.Fault{Status: status})
		got := post(t, e, registryHost, "/oauth2/exchange", exchange(token))
		remove()
		if got.status != status || len(got.Errors) != 1 || got.Errors[0].Code != code {
			t.Errorf("%d: got %+v, want %s", status, got, code)
		}
	}
	for kind, want := range map[emulator.Kind]string{emulator.WrongTypes: "42", emulator.NullValue: "null", emulator.EmptyValue: `""`} {
		remove := e.Fault(r.Target(), emulator.Fault{Kind: kind})
		for path, form := range map[string]url.Values{"/oauth2/exchange": exchange(token), "/oauth2/token": refresh(kept, "repository:a:pull")} {
			answer, err := (&http.Client{Transport: e.Transport()}).PostForm("https://"+registryHost+path, form)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if !strings.HasSuffix(string(body), `_token":`+want+`}`) {
				t.Errorf("%v at %s: %s", kind, path, body)
			}
		}
		remove()
	}
}

func TestOnlyARegistrysHostCanBeARegistry(t *testing.T) {
	e, _ := world(t)
	for _, host := range []string{"acme.example", "azurecr.io", ".azurecr.io", "a.b.azurecr.io", "acme.azurecr.io.example", "kv.vault.azure.net"} {
		if !panics(func() { e.Registry(host, tenant) }) {
			t.Errorf("%q was taken for a registry's host", host)
		}
	}
	if r := e.Registry("ACME.azurecr.io", tenant); r != e.Registry(registryHost, tenant) || r.Host() != registryHost {
		t.Error("the same host in another case is another registry")
	}
}

// A registry of each cloud takes the tokens of that cloud's resource manager.
func TestEveryCloudHasItsOwnRegistries(t *testing.T) {
	e, _ := world(t)
	for name, c := range map[string]struct {
		cloud         cloud.Configuration
		host, manager string
	}{
		"public":     {cloud.AzurePublic, "acme.azurecr.io", "https://management.azure.com"},
		"government": {cloud.AzureGovernment, "acme.azurecr.us", "https://management.usgovcloudapi.net"},
		"china":      {cloud.AzureChina, "acme.azurecr.cn", "https://management.chinacloudapi.cn"},
	} {
		t.Run(name, func(t *testing.T) {
			e.Registry(c.host, tenant).Allow(client, "*", "pull")
			options := clientOptions(e)
			options.Cloud = c.cloud
			source, err := azidentity.NewClientAssertionCredential(tenant, client, assertions(e), &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
			if err != nil {
				t.Fatal(err)
			}
			token, err := source.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.manager + "/.default"}})
			if err != nil {
				t.Fatal(err)
			}
			form := exchange(token.Token)
			form.Set("service", c.host)
			if got := post(t, e, c.host, "/oauth2/exchange", form); got.status != 200 {
				t.Errorf("got %+v", got)
			}
			if name != "public" {
				form.Set("access_token", tokenFor(t, e, armScope))
				if got := post(t, e, c.host, "/oauth2/exchange", form); got.status != 401 {
					t.Errorf("the token of another cloud's resource manager: %d", got.status)
				}
			}
		})
	}
}
