package test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// otherTenant is the second of two.
const otherTenant = "9b0f7e0c-2222-4333-8444-555566667777"

// The token is there before anybody asks, and the first who asks waits for Key Vault alone.
func TestATokenIsThereBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	f := &faulty{server: start(t, one)}
	f.fill("kv-shared/ci-token")
	eventually(t, "a token before any request", func() bool { return f.status().Identities["default"].State == "working" })
	if n := f.Emulator.TokenRequests(clientID); n != 1 {
		t.Errorf("%d exchanges at the start", n)
	}
	remove := f.Emulator.Fault(emulator.Login(), emulator.Fault{Kind: emulator.Hang})
	defer remove()
	for range 3 {
		f.good(t)
	}
	if n := f.Emulator.TokenRequests(clientID); n != 1 {
		t.Errorf("requests made %d exchanges", n-1)
	}
}

// Entra fails in whatever way while the program starts: it is live and says what is wrong, and heals without anybody's asking.
func TestEntraIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault emulator.Fault
		at    emulator.Target
		says  string
	}{
		"503":          {emulator.Fault{Status: 503}, emulator.TokenEndpoint(), "down"},
		"429":          {emulator.Fault{Status: 429, RetryAfter: time.Second}, emulator.TokenEndpoint(), "too many"},
		"refused":      {emulator.Fault{AADSTS: 700213}, emulator.TokenEndpoint(), "AADSTS700213"},
		"no such host": {emulator.Fault{Kind: emulator.UnknownHost}, emulator.Login(), "login.microsoftonline.com"},
		"impostor":     {emulator.Fault{Kind: emulator.UntrustedCertificate}, emulator.Login(), "certificate"},
		"a page":       {emulator.Fault{Kind: emulator.HTML}, emulator.TokenEndpoint(), "no token"},
		"a redirect":   {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.example/"}, emulator.TokenEndpoint(), "redirect"},
		"number":       {emulator.Fault{Kind: emulator.WrongTypes}, emulator.TokenEndpoint(), "no token"},
		"empty":        {emulator.Fault{Kind: emulator.EmptyValue}, emulator.TokenEndpoint(), "token"},
		"half":         {emulator.Fault{Kind: emulator.BrokenJSON}, emulator.TokenEndpoint(), "no token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := on(t, emulator.Options{})
			o := &setup{}
			before(o)
			evil := 0
			o.emulator.Handle("evil.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil++ }))
			remove := o.emulator.Fault(c.at, c.fault)
			f := &faulty{server: start(t, one, before)}
			f.fill("kv-shared/ci-token")
			line := f.logged("identity", "default")
			if message := fmt.Sprint(line["message"]); !strings.Contains(message, c.says) || line["level"] != "error" {
				t.Errorf("the log says %v, want %q", line, c.says)
			}
			if live, _ := get(t, f.URL+"/healthz"); live != http.StatusOK {
				t.Errorf("/healthz answers %d", live)
			}
			if e := f.nothing(t, f.next(), "shared/ci-token"); e.Outcome != "failed" {
				t.Errorf("on record is %s", e.Line)
			}
			remove()
			eventually(t, "a token that nobody asked for", func() bool { return f.status().Identities["default"].State == "working" || !f.pause() })
			f.good(t)
			if evil != 0 {
				t.Errorf("%d requests followed a redirect", evil)
			}
		})
	}
}

// Entra hangs or drips while a token is there and asks for its renewal: no request notices.
func TestEntraHangsWhileATokenIsThere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits half a minute for a token's renewal")
	}
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.Drip} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, one, on(t, emulator.Options{TokenLifetime: 4 * time.Minute}))
			f.good(t)
			f.Emulator.Forget()
			remove := f.Emulator.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: kind})
			defer remove()
			slowest := time.Duration(0)
			eventually(t, "an attempt at a renewal", func() bool {
				began := time.Now()
				f.good(t)
				slowest = max(slowest, time.Since(began))
				return f.Emulator.TokenRequests(clientID)+f.Emulator.Count("login.microsoftonline.com", "") > 0 || !f.pause()
			})
			for range 20 {
				began := time.Now()
				f.good(t)
				slowest = max(slowest, time.Since(began))
				f.pause()
			}
			if slowest > 10*time.Second { // an exchange that hangs takes 12
				t.Errorf("a request took %s", slowest)
			}
		})
	}
}

// A federated credential that was made just now is not known everywhere: the first request waits for it and gets its secret.
func TestAFederatedCredentialThatWasMadeJustNow(t *testing.T) {
	t.Parallel()
	for _, code := range []int{70021, 70025, 700211, 700213} {
		t.Run(fmt.Sprint("AADSTS", code), func(t *testing.T) {
			t.Parallel()
			i := newIssuing(t, emulator.Options{})
			i.trust(appClient, "drone:"+issuerServer+":repo:1")
			f := startFaulty(t, i.each([]string{appClient}), i.on())
			f.fill("kv-own/db")
			f.good(t)
			i.Forget()
			i.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Times: 2})
			f.expect(t, f.next(), "own0/db", gets("kv-own/db"))
			if n := i.Count("login.microsoftonline.com", "/"+tenantID+"/oauth2/"); n != 3 {
				t.Errorf("%d exchanges, want three", n)
			}
		})
	}
}

// Two identities in two tenants, each with a vault of its tenant; and a third vault, of a tenant that its identity is not in.
func TestSeveralTenants(t *testing.T) {
	t.Parallel()
	const config = `
identities:
  default: {}
  other: {tenant_id: ` + otherTenant + `, client_id: ` + otherClient + `, assertion: {file: $ETC/other-token}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  far:    {url: https://kv-far.vault.azure.net, identity: other}
  astray: {url: https://kv-astray.vault.azure.net, identity: other}
bindings: [{id: app-ci, repos: [acme/app], read: ["shared/ci-*", "far/*", "astray/*"]}]
`
	o := &setup{}
	options := on(t, emulator.Options{})
	options(o)
	o.emulator.Register(emulator.App{Tenant: otherTenant, ClientID: otherClient})
	o.emulator.Vault("kv-far.vault.azure.net", otherTenant).Allow(otherClient)
	f := startFaulty(t, config, options, file("other-token", o.emulator.Assertion(emulator.AssertionOptions{})))
	f.fill("kv-far/db", "kv-astray/db")
	f.good(t)
	if e := f.expect(t, f.next(), "far/db", gets("kv-far/db")); e.Identity != "other" {
		t.Errorf("the record names %q", e.Identity)
	}
	f.because(t, f.next(), "astray/db", fails(http.StatusServiceUnavailable, "identity"), tenantID, otherTenant, "tenant_id")
	f.expect(t, f.next(), "far/db", gets("kv-far/db"))
	f.good(t)
	if line := f.logged("reason", "identity"); !strings.Contains(fmt.Sprint(line), tenantID) {
		t.Errorf("the log says %v", line)
	}
	for _, r := range f.Emulator.Requests() {
		if r.Host == "login.microsoftonline.com" && r.Client == otherClient && !strings.HasPrefix(r.Path, "/"+otherTenant+"/") {
			t.Errorf("the second identity's assertion went to %s", r.Path)
		}
	}
}

// An identity and a vault of the cloud for the US government, and one of the cloud in China: no request leaves its cloud.
func TestSovereignClouds(t *testing.T) {
	t.Parallel()
	for cloud, c := range map[string]struct{ vault, logins, registry, audience string }{
		"usgovernment": {"kv-gov.vault.usgovcloudapi.net", "login.microsoftonline.us", "acme.azurecr.us", emulator.DefaultAudience + "USGov"},
		"china":        {"kv-cn.vault.azure.cn", "login.chinacloudapi.cn login.partner.microsoftonline.cn", "acme.azurecr.cn", emulator.DefaultAudience + "China"},
	} {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			i := newIssuing(t, emulator.Options{})
			subject := "drone:" + issuerServer + ":repo:1"
			i.Register(emulator.App{Tenant: otherTenant, ClientID: otherClient, Audience: c.audience})
			i.Register(emulator.App{Tenant: otherTenant, ClientID: appClient, Issuer: issuerURL, Subject: subject, Audience: c.audience})
			i.Vault(c.vault, otherTenant).Set("db", "canary-value-of-a-sovereign-cloud")
			for _, client := range []string{otherClient, appClient} {
				i.Vault(c.vault, otherTenant).Allow(client)
			}
			i.Registry(c.registry, otherTenant).Allow(otherClient, "base", "pull")
			f := startFaulty(t, i.config(fmt.Sprintf(`
identities:
  default: {}
  far: {tenant_id: %[1]s, client_id: %[2]s, cloud: %[3]s, assertion: {file: $ETC/far-token}}
  own: {tenant_id: %[1]s, client_id: %[4]s, cloud: %[3]s, assertion: {issuer: repo}}
vaults:
  sign:   {url: https://kv-sign.vault.azure.net}
  shared: {url: https://kv-shared.vault.azure.net}
  far:    {url: "https://%[5]s", identity: far}
  own:    {url: "https://%[5]s", identity: own}
tokens: {base: {identity: far, registry: %[6]s, repositories: {base: [pull]}}}
bindings: [{id: app-ci, repos: [acme/app], read: ["shared/ci-*", "far/*", "own/*", "tokens/base"]}]
`, otherTenant, otherClient, cloud, appClient, c.vault, c.registry)), i.on(), canary("canary-value-of-a-sovereign-cloud"),
				file("far-token", i.Assertion(emulator.AssertionOptions{Audience: c.audience})))
			for _, ref := range []string{"far/db", "own/db"} {
				if value, err := f.find(f.next(), ref); err != nil || value != "canary-value-of-a-sovereign-cloud" {
					t.Errorf("%s is %q, %v", ref, value, err)
				}
			}
			token, _ := f.minted(t, f.next(), "tokens/base")
			if access, ok := i.Registry(c.registry, otherTenant).Login(tokenUser, token); !ok || len(access) != 1 {
				t.Errorf("the registry's token may %v", access)
			}
			if seen, _ := i.Presented(appClient); seen.Claims["aud"] != c.audience {
				t.Errorf("the assertion is for %v", seen.Claims["aud"])
			}
			f.good(t)
			for _, r := range i.Requests() {
				if strings.HasPrefix(r.Path, "/"+otherTenant+"/") && !strings.Contains(c.logins, r.Host) {
					t.Errorf("an exchange went to %s", r.Host)
				}
			}
		})
	}
}

// The machine's managed identity proves an application; where it is not what the application trusts, the log says so.
func TestAManagedIdentityAsAnApplicationsCredential(t *testing.T) {
	t.Parallel()
	const machine = "eeeeeeee-1111-4222-8333-000000000001"
	f := startFaulty(t, `
identities: {default: {}, vmapp: {tenant_id: `+tenantID+`, client_id: `+otherClient+`, assertion: {managed: {client_id: `+machine+`}}}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  lame:   {url: https://kv-lame.vault.azure.net, identity: vmapp}
bindings: [{id: app-ci, repos: [acme/app], read: ["shared/ci-*", "lame/*"]}]
`)
	f.fill("kv-lame/db")
	f.Vault("kv-lame").Allow(otherClient)
	f.lameAs(t, "vmapp", "managed identity") // the machine has none
	principal := f.Emulator.ManagedIdentity(machine, tenantID)
	f.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: otherClient})
	f.because(t, f.next(), "lame/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700211")
	f.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: otherClient, Issuer: f.Emulator.ManagedIssuer(tenantID), Subject: principal})
	if e := f.expect(t, f.next(), "lame/db", gets("kv-lame/db")); e.Identity != "vmapp" {
		t.Errorf("the record names %q", e.Identity)
	}
	f.good(t)
}

// Clocks that differ by an hour: what fails says that it is the clock, and nothing else fails.
func TestClocksThatAreOffByAnHour(t *testing.T) {
	t.Parallel()
	for name, shift := range map[string]time.Duration{"Entra is ahead": time.Hour + time.Minute, "Entra is behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuing(t, emulator.Options{Now: func() time.Time { return time.Now().Add(shift) }})
			i.trust(appClient, "drone:"+issuerServer+":repo:1")
			f := &faulty{server: start(t, i.each([]string{appClient}), i.on())}
			f.fill("kv-shared/ci-token", "kv-own/db")
			f.good(t) // whose file is by Entra's own clock
			f.because(t, f.next(), "own0/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700024", "clock")
			if line := f.logged("identity", "id0"); !strings.Contains(fmt.Sprint(line["message"]), "clock") {
				t.Errorf("the log says %v", line)
			}
			f.good(t)
		})
	}
}

// More of what a token's file can be: what a broken disk, an editor or a half-finished copy leaves.
func TestI1MoreOfTheTokensFile(t *testing.T) {
	t.Parallel()
	good := func(f *faulty) string { return f.Emulator.Assertion(emulator.AssertionOptions{}) }
	f := startTwo(t, emulator.App{})
	for _, c := range []struct {
		name, says string
		content    func() string
	}{
		{"binary", "JWT", func() string { return "\x7fELF\x02\x01\x01\x00canary-of-a-binary" + strings.Repeat("\xff\x00", 900) }},
		{"1 MiB", "64 KiB", func() string { return good(f) + strings.Repeat(" ", 1<<20) }},
		{"half a token, two parts", "JWT", func() string { return good(f)[:strings.LastIndexByte(good(f), '.')] }},
		{"half a token, cut in its claims", "JWT", func() string { return good(f)[:200] }},
		{"a byte order mark in front", "JWT", func() string { return "\ufeff" + good(f) }},
		{"UTF-16, as PowerShell writes", "JWT", func() string { return "\xff\xfe" + strings.Join(strings.Split(good(f), ""), "\x00") + "\x00" }},
		{"quotes around it", "JWT", func() string { return `"` + good(f) + `"` }},
		{"Bearer in front", "JWT", func() string { return "Bearer " + good(f) }},
		{"a signature cut short", "AADSTS700027", func() string { return good(f)[:len(good(f))-40] }},
	} {
		t.Run("I1 "+c.name, func(t *testing.T) {
			f.write("other-token", c.content())
			e := f.nothing(t, f.next(), "lame/db")
			if e.Reason != "identity" || !strings.Contains(e.Detail, c.says) {
				t.Errorf("on record is %s, want %q", e.Line, c.says)
			}
			f.good(t)
		})
	}
	for name, content := range map[string]string{"CRLF at its end": good(f) + "\r\n", "blanks around it": "\r\n\t " + good(f) + " \n\n"} {
		t.Run("I1 "+name, func(t *testing.T) {
			f := startTwo(t, emulator.App{})
			f.world.watch(strings.Split(strings.TrimSpace(content), ".")...)
			f.write("other-token", content)
			f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
			if err := os.Remove(f.token()); err != nil {
				t.Fatal(err)
			}
			f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
		})
	}
}
