package entra_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

func TestOptionsThatCanNotWorkAreRefusedWithTheRemedy(t *testing.T) {
	for want, change := range map[string]func(*entra.Options){
		"AZURE_FEDERATED_TOKEN_FILE": func(o *entra.Options) { o.AssertionFile = "" },
		"once":                       func(o *entra.Options) { o.Managed = true },
		"GUID (AZURE_TENANT_ID)":     func(o *entra.Options) { o.TenantID = "contoso.onmicrosoft.com" },
		"a domain's name":            func(o *entra.Options) { o.TenantID = "" },
		"AZURE_CLIENT_ID":            func(o *entra.Options) { o.ClientID = "" },
		"a blank":                    func(o *entra.Options) { o.ClientID = "3f2a4c55 " },
		"usgovernment":               func(o *entra.Options) { o.Cloud = "germany" },
		"transport":                  func(o *entra.Options) { o.Transport = nil },
	} {
		o := entra.Options{Name: "pay", TenantID: tenant, ClientID: client, AssertionFile: "/token", Transport: http.DefaultTransport}
		if _, err := entra.New(o); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if _, err := entra.New(o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "identity pay") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAStrayCredentialIsRefused(t *testing.T) {
	for _, name := range []string{"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD",
		"AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_SDK_GO_LOGGING"} {
		err := entra.CheckEnvironment(func(asked string) string {
			if asked == name {
				return "hunter2"
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "unset it") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := entra.CheckEnvironment(func(string) string { return "set" })
	if n := strings.Count(all.Error(), "\n"); n != 7 {
		t.Errorf("not all at once: %v", all)
	}
	webhook := map[string]string{"AZURE_CLIENT_ID": client, "AZURE_TENANT_ID": tenant, "AZURE_FEDERATED_TOKEN_FILE": "/token",
		"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}
	if err := entra.CheckEnvironment(func(name string) string { return webhook[name] }); err != nil {
		t.Errorf("what the webhook sets is refused: %v", err)
	}
}

// Terraform's names are warned of, one by one, and refused by nothing.
func TestTerraformsCredentialIsWarnedOf(t *testing.T) {
	set := func(names ...string) func(string) string {
		return func(asked string) string {
			if slices.Contains(names, asked) {
				return "hunter2"
			}
			return ""
		}
	}
	for _, name := range []string{"ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE", "ARM_CLIENT_CERTIFICATE_PATH", "ARM_CLIENT_CERTIFICATE_PASSWORD"} {
		warnings := entra.Stray(set(name))
		if len(warnings) != 1 || !strings.HasPrefix(warnings[0], name+" is set") || strings.Contains(warnings[0], "hunter2") || entra.CheckEnvironment(set(name)) != nil {
			t.Errorf("%s: %q", name, warnings)
		}
	}
	if warnings := entra.Stray(set("ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_USE_OIDC", "AZURE_CLIENT_ID")); warnings != nil {
		t.Errorf("%q", warnings)
	}
}

func TestEveryCloudHasItsAuthority(t *testing.T) {
	for cloud, host := range map[string]string{"": login, "public": login, "usgovernment": "login.microsoftonline.us", "china": "login.chinacloudapi.cn"} {
		var asked string
		i, err := entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client, Cloud: cloud,
			Assertion: func(context.Context, string) (string, error) { return "a.b.c", nil },
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = r.URL.Host
				return &http.Response{StatusCode: 404, Header: http.Header{}, Request: r, Body: http.NoBody}, nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		_, failure := get(t, t.Context(), i.Credential(""))
		want(t, failure, secret.Unavailable, secret.ReasonIdentity, host)
		if asked != host {
			t.Errorf("cloud %q: asked %q", cloud, asked)
		}
	}
}

// MSAL keeps managed identities' tokens for the whole process, so each test has a client of its own.
func TestAManagedIdentity(t *testing.T) {
	t.Parallel()
	managed := func(id string) func(*entra.Options) {
		return func(o *entra.Options) { o.AssertionFile, o.TenantID, o.ClientID, o.Managed = "", "", id, true }
	}
	w := newWorld(t)
	w.ManagedIdentity("aaaaaaaa-0000-4000-8000-000000000001", tenant)
	i := w.identity(managed("aaaaaaaa-0000-4000-8000-000000000001"))
	_, err := w.token(i)
	works(t, err)
	if s := i.Status(); s.Assertion != "managed" || s.State != entra.Working {
		t.Errorf("the status is %+v", s)
	}
	_, err = w.token(w.identity(managed("aaaaaaaa-0000-4000-8000-000000000002")))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "assign the managed identity")

	for number, c := range map[string]struct {
		fault  emulator.Fault
		reason secret.Reason
	}{
		"3": {emulator.Fault{Kind: emulator.UnknownHost}, secret.ReasonNetwork},
		"4": {emulator.Fault{Kind: emulator.Reset}, secret.ReasonNetwork},
		"5": {emulator.Fault{Status: 503}, secret.ReasonUnavailable},
		"6": {emulator.Fault{Status: 429, RetryAfter: 20e9}, secret.ReasonThrottled},
	} {
		t.Run(string(c.reason)+number, func(t *testing.T) {
			w := w.with(t)
			id := "aaaaaaaa-0000-4000-8000-00000000000" + number
			w.ManagedIdentity(id, tenant)
			remove := w.Fault(emulator.Metadata(), c.fault)
			i := w.identity(managed(id))
			_, err := w.token(i)
			want(t, err, secret.Unavailable, c.reason, "identity endpoint")
			remove()
			_, err = w.token(i)
			works(t, err)
		})
	}
}

func TestNameAndSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	if i.Name() != "pay" || i.Subject(secret.Request{Repo: secret.Repo{UID: "42"}}) != "" {
		t.Errorf("got %q and %q", i.Name(), i.Subject(secret.Request{}))
	}
	_, err := i.Credential("").GetToken(t.Context(), policy.TokenRequestOptions{})
	want(t, secret.AsError(err), secret.Internal, secret.ReasonInternal)
}

// One that can't be opened says why to whoever asks, and asks nobody.
func TestABrokenIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := entra.NewBroken(entra.Options{Name: "pay", TenantID: "contoso", Log: zerolog.New(&w.log), Now: w.now}, "identity pay: no client: set one")
	defer i.Close()
	if s := i.Status(); s.State != entra.Unused || !i.Settled() || !i.Broken() {
		t.Errorf("%+v", s)
	}
	i.Keep("")
	if s := i.Status(); s.State != entra.Broken || !strings.Contains(s.Error, "set one") || s.TenantID != "contoso" || len(w.log.lines()) != 1 {
		t.Errorf("%+v, %s", s, w.log.String())
	}
	for range 2 {
		_, err := w.token(i)
		want(t, err, secret.Unavailable, secret.ReasonIdentity, "no client: set one")
		_, failure := i.Fresh(t.Context(), secret.Request{}, vaults)
		want(t, secret.AsError(failure), secret.Unavailable, secret.ReasonIdentity, "no client: set one")
	}
	if n := len(w.Requests()); n != 0 || len(w.log.lines()) != 1 {
		t.Errorf("%d requests, %s", n, w.log.String())
	}
}

// Only the roots and the proxy are the emulator's here; on a machine they are the system's and the environment's.
func TestTheTransportOfProduction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	through := func(roots bool) func(*entra.Options) {
		transport := entra.NewTransport(0)
		t.Cleanup(transport.CloseIdleConnections)
		proxy, err := url.Parse(w.ProxyURL())
		if err != nil {
			t.Fatal(err)
		}
		transport.Proxy = http.ProxyURL(proxy)
		if roots {
			transport.TLSClientConfig.RootCAs = w.CAs()
		}
		return func(o *entra.Options) { o.Transport = transport }
	}
	_, err := w.token(w.identity(through(true)))
	works(t, err)
	_, err = w.token(w.identity(through(false)))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "certificate")

	id := "aaaaaaaa-0000-4000-8000-000000000007"
	w.ManagedIdentity(id, tenant)
	_, err = w.token(w.identity(through(true), func(o *entra.Options) { o.AssertionFile, o.TenantID, o.ClientID, o.Managed = "", "", id, true }))
	works(t, err)
}
