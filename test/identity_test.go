package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// otherClient is the second identity's.
const otherClient = "5d1c0a77-3333-4444-8555-666677778888"

// two has an identity of its own for the second vault.
const two = `
identities:
  default: {}
  other: {tenant_id: ` + tenantID + `, client_id: ` + otherClient + `, assertion: {file: $ETC/other-token}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  lame:   {url: https://kv-lame.vault.azure.net, identity: other, stale: 10m}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*", "lame/*"]}
`

// startTwo starts it with the second application as given. Its token's file is missing: a token that is there serves, and is
// fetched before anybody asks, so what breaks an identity has to be there before its token.
func startTwo(t *testing.T, app emulator.App, options ...option) *faulty {
	t.Helper()
	f := startFaulty(t, two, options...)
	app.Tenant, app.ClientID = tenantID, otherClient
	f.Emulator.Register(app)
	f.Vault("kv-lame").Allow(otherClient)
	f.fill("kv-lame/db")
	f.good(t)
	return f
}

func (f *faulty) token() string { return filepath.Join(f.etc, "other-token") }

// mend puts the second identity's token where it belongs.
func (f *faulty) mend() {
	assertion := f.Emulator.Assertion(emulator.AssertionOptions{})
	f.world.watch(assertion)
	f.world.watch(strings.Split(assertion, ".")...)
	if err := os.RemoveAll(f.token()); err != nil {
		f.t.Fatal(err)
	}
	f.write("other-token", assertion)
}

// lame checks that the second identity does not open its vault, and all that follows.
func (f *faulty) lame(t *testing.T, says ...string) {
	t.Helper()
	f.lameAs(t, "other", says...)
}

// lameAs checks that the second identity's vault answers 503, the first one's as ever, and that log and /status say these
// texts of the second identity.
func (f *faulty) lameAs(t *testing.T, name string, says ...string) {
	t.Helper()
	f.expect(t, f.next(), "lame/db", fails(http.StatusServiceUnavailable, "identity"))
	f.good(t)
	p := f.status()
	other := p.Identities[name]
	if other.State != "broken" {
		t.Errorf("/status says %q of the identity:\n%s", other.State, p.text)
	}
	if first := p.Identities["default"]; first.State != "working" || first.Error != "" {
		t.Errorf("/status says %+v of the identity that works", first)
	}
	if ready, _ := get(t, f.URL+"/readyz"); ready != http.StatusOK {
		t.Errorf("/readyz answers %d: one identity must not take the rest out", ready)
	}
	for _, text := range says {
		if !strings.Contains(other.Error+other.Code, text) {
			t.Errorf("/status doesn't say %q: %+v", text, other)
		}
		// It tells nothing twice in ten seconds, and what came before it may be another failure.
		eventually(t, "a line of the log that says "+text+" of the identity", func() bool {
			for _, line := range f.lines("identity", name) {
				if message, _ := line["message"].(string); strings.Contains(message, text) {
					return true
				}
			}
			return !f.pause()
		})
	}
}

// The file of an identity's token is not what it should be.
func TestI1TheTokensFile(t *testing.T) {
	t.Parallel()
	const inside = "canary-content-of-the-file"
	content := func(text string) func(f *faulty) {
		return func(f *faulty) { f.write("other-token", text) }
	}
	for name, c := range map[string]struct {
		spoil func(*faulty)
		says  string
	}{
		"missing":              {func(f *faulty) {}, "does not exist"},
		"empty":                {content(""), "is empty"},
		"blanks alone":         {content(" \n\t\n"), "is empty"},
		"a directory":          {func(f *faulty) { _ = os.Mkdir(f.token(), 0o700) }, "not a regular file"},
		"a link to nowhere":    {func(f *faulty) { _ = os.Symlink("nowhere", f.token()) }, "does not exist"},
		"1 MiB":                {content(strings.Repeat(inside, 1<<20/len(inside))), "64 KiB"},
		"no JWT":               {content(inside), "JWT"},
		"two tokens":           {content("eyJhIjoxfQ.eyJhIjoxfQ.c2ln\neyJhIjoxfQ.eyJhIjoxfQ.c2ln\n"), "JWT"},
		"JSON around a token":  {content(`{"token":"` + inside + `"}`), "JWT"},
		"zeros, as a bad disk": {content(strings.Repeat("\x00", 4096)), "JWT"},
	} {
		t.Run("I1 "+name, func(t *testing.T) {
			t.Parallel()
			f := startTwo(t, emulator.App{}, canary(inside))
			c.spoil(f)
			f.lame(t, f.token(), c.says)
			f.mend()
			f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
			if state := f.status().Identities["other"].State; state != "working" {
				t.Errorf("the file is there again and /status says %s", state)
			}
			f.good(t)
		})
	}
}

// The file goes while a token is valid: it serves on, and somebody is told. The program asks for a new token when the one
// it has comes to its end, half a minute after the last at the earliest: that is what this test waits for.
func TestI2TheFileGoesWhileATokenIsValid(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits half a minute for a token's renewal")
	}
	f := startFaulty(t, one, on(t, emulator.Options{TokenLifetime: 4 * time.Minute}))
	f.good(t)
	if err := os.Remove(f.Token); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an alarm", func() bool {
		f.expect(t, f.next(), "shared/ci-token", gets("kv-shared/ci-token"))
		return len(f.lines("identity", "default")) > 0 || !f.pause()
	})
	line := f.logged("identity", "default")
	if message, _ := line["message"].(string); !strings.Contains(message, f.Token) || line["level"] != "warn" && line["level"] != "error" {
		t.Errorf("the log doesn't name the file, or not as an alarm: %v", line)
	}
	p := f.status().Identities["default"]
	if p.State != "failing" || !strings.Contains(p.Error, f.Token) {
		t.Errorf("/status says %+v", p)
	}
	f.expect(t, f.next(), "shared/ci-token", gets("kv-shared/ci-token"))
}

// pause lets go for a moment, so that waiting costs nobody else's time. It is false once the program has ended.
func (s *server) pause() bool {
	select {
	case <-s.exited:
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}

// Entra refuses: 503, and the log says which code that is and what to do.
func TestI3EntraRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		app  emulator.App
		says []string
	}{
		{"another subject", emulator.App{Subject: "system:serviceaccount:other:other"}, []string{"AADSTS700213", "subject", "system:serviceaccount:NAMESPACE:NAME"}},
		{"another audience", emulator.App{Audience: "api://other"}, []string{"AADSTS700212", "audience", "api://AzureADTokenExchange"}},
		{"another issuer", emulator.App{Issuer: "https://oidc.other.example/"}, []string{"AADSTS700211", "issuer", "iss"}},
		{"a subject in other capitals", emulator.App{Subject: strings.ToUpper(emulator.DefaultSubject)}, []string{"AADSTS7002138", "upper and lower case"}},
	} {
		t.Run("I3 "+c.name, func(t *testing.T) {
			t.Parallel()
			f := startTwo(t, c.app)
			f.mend()
			f.lame(t, c.says...)
			f.lame(t, c.says...)
		})
	}
	for code, remedy := range map[int]string{700213: "subject", 700212: "audience", 700211: "issuer", 700016: "client_id", 700024: "clock", 90002: "tenant_id", 53003: "Conditional Access", 999999: "error?code=999999"} {
		t.Run("I3 a 400 with AADSTS", func(t *testing.T) {
			t.Parallel()
			f := startTwo(t, emulator.App{})
			remove := f.Emulator.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Status: http.StatusBadRequest})
			f.mend()
			f.lame(t, "AADSTS", remedy)
			remove()
			f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
		})
	}
}

// Entra can't answer: the token that is there serves, and a new one is asked for with the next request.
func TestI4EntraIsDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  emulator.Fault
		status int
		reason string
	}{
		"429":   {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, 503, "throttled"},
		"503":   {emulator.Fault{Status: 503}, 503, "unavailable"},
		"HTML":  {emulator.Fault{Kind: emulator.HTML}, 502, "garbled"},
		"reset": {emulator.Fault{Kind: emulator.Reset}, 503, "network"},
	} {
		t.Run("I4 "+name, func(t *testing.T) {
			t.Parallel()
			f := startTwo(t, emulator.App{})
			remove := f.Emulator.Fault(emulator.TokenEndpoint(), c.fault)
			f.mend()
			f.expect(t, f.next(), "lame/db", fails(c.status, c.reason))
			f.good(t)
			remove()
			f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
		})
	}
}

// Entra fails while a token is there: it serves to its end, and then nothing does, until Entra is back.
func TestI4ATokenServesUntilItEnds(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]emulator.Fault{"429": {Status: 429, RetryAfter: 20 * time.Second}, "503": {Status: 503}, "hangs": {Kind: emulator.Hang}} {
		t.Run("I4 "+name, func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, one+hanging, on(t, emulator.Options{TokenLifetime: 20 * time.Second}))
			f.good(t)
			remove := f.Emulator.Fault(emulator.TokenEndpoint(), fault)
			served := 0
			eventually(t, "an end of the token", func() bool {
				if _, err := f.find(f.next(), "shared/ci-token"); err != nil {
					return true
				}
				served++
				return !f.pause()
			})
			if served == 0 {
				t.Error("the token that is there did not serve")
			}
			if e := f.nothing(t, f.next(), "shared/ci-token"); e.Outcome != "failed" {
				t.Errorf("on record is %s", e.Line)
			}
			if state := f.status().Identities["default"].State; state == "working" && name != "hangs" { // that exchange goes on
				t.Errorf("/status says %s", state)
			}
			remove()
			f.heals(t, "shared/ci-token", "kv-shared/ci-token")
		})
	}
}

// One of two identities does not exist at Entra: only its vault suffers, also for those who read from it before.
func TestI5OneOfTwoIdentities(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, two) // nobody has registered the second one
	f.mend()
	f.fill("kv-lame/db")
	f.lame(t, "AADSTS700016", "client_id")
	f.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: otherClient})
	f.expect(t, f.next(), "lame/db", denied("vault-refused")) // it exists, and has no role yet
	f.Vault("kv-lame").Allow(otherClient)
	f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
	f.good(t)
}

// half has a second identity that lacks its tenant where the environment does not say it, and a third that nobody uses.
const half = `
identities:
  default: {tenant_id: ` + tenantID + `, client_id: ` + clientID + `}
  other: {client_id: ` + otherClient + `}
  spare: {client_id: ` + otherClient + `}
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  lame:   {url: https://kv-lame.vault.azure.net, identity: other, stale: 10m}
tokens:
  arm: {identity: other, scope: https://management.azure.com/.default}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*", "lame/*", "tokens/*"]}
`

// An identity that lacks its part of the environment takes down its own vaults and tokens, and nothing else. What is changed
// meanwhile is taken over, unless it breaks an identity that works; and the change that mends it counts.
func TestI7AnIdentityWithoutItsEnvironment(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, half, env("AZURE_TENANT_ID", ""))
	f.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: otherClient})
	f.Vault("kv-lame").Allow(otherClient)
	f.fill("kv-lame/db")
	f.good(t)
	f.lame(t, "neither tenant_id nor the variable AZURE_TENANT_ID", "set one of them")
	f.expect(t, f.next(), "tokens/arm", fails(http.StatusServiceUnavailable, "identity"))
	eventually(t, "a line about the identity that nobody uses", func() bool { return len(f.lines("identity", "spare")) > 0 || !f.pause() })
	if state := f.status().Identities["spare"].State; state != "broken" {
		t.Errorf("of the identity that nobody uses /status says %q", state)
	}

	f.edit(t, "id: app-ci", "id: renamed", true) // beside a broken identity
	if e := f.configured(t, 2); e.Outcome != "accepted" {
		t.Errorf("on record is %s", e.Line)
	}
	f.lame(t, "AZURE_TENANT_ID")
	f.edit(t, "tenant_id: "+tenantID, "cloud: public", true) // takes the first identity's tenant away
	if e := f.configured(t, 3); e.Outcome != "refused" || !strings.Contains(e.Detail, "identity default: neither tenant_id") {
		t.Errorf("on record is %s", e.Line)
	}
	f.good(t)
	f.edit(t, "other: {", "other: {tenant_id: "+tenantID+", ", false)
	f.edit(t, "cloud: public", "tenant_id: "+tenantID, true)
	if e := f.configured(t, 4); e.Outcome != "accepted" {
		t.Errorf("on record is %s", e.Line)
	}
	f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
	f.good(t)
}

// With no identity left that opens anything there is nothing to serve, and the start fails as it does for a single one.
func TestI7NoIdentityThatOpensAnything(t *testing.T) {
	t.Parallel()
	code, out := refuses(t, strings.Replace(half, "tenant_id: "+tenantID+", ", "", 1), env("AZURE_TENANT_ID", ""))
	if code != 1 || !strings.Contains(out, "identity default: neither tenant_id nor the variable AZURE_TENANT_ID says who we are") {
		t.Errorf("it ends with %d and says %s", code, out)
	}
	const stray = "canary-stray-credential"
	if code, out := refuses(t, half, env("AZURE_TENANT_ID", ""), env("AZURE_CLIENT_SECRET", stray), canary(stray)); code != 1 || !strings.Contains(out, "AZURE_CLIENT_SECRET is set") {
		t.Errorf("it ends with %d and says %s", code, out)
	}
}

// A machine's own identity opens a vault without any file.
func TestAManagedIdentity(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, `
identities: {default: {}, vm: {managed: {client_id: `+otherClient+`}}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  lame:   {url: https://kv-lame.vault.azure.net, identity: vm}
bindings: [{id: app-ci, repos: [acme/app], read: ["shared/ci-*", "lame/*"]}]
`)
	f.fill("kv-lame/db")
	f.lameAs(t, "vm", "managed identity", "client_id")
	f.Emulator.ManagedIdentity(otherClient, tenantID)
	f.Vault("kv-lame").Allow(otherClient)
	if e := f.expect(t, f.next(), "lame/db", gets("kv-lame/db")); e.Identity != "vm" {
		t.Errorf("the record names the identity %q", e.Identity)
	}
	f.good(t)
}

// A long-lived credential, or what leads the SDK away, in the environment: it doesn't start, and says what to do.
func TestI6ALongLivedCredential(t *testing.T) {
	t.Parallel()
	const stray = "canary-stray-credential"
	for name, remedy := range map[string]string{
		"AZURE_CLIENT_SECRET": "federated credential", "AZURE_CLIENT_CERTIFICATE_PATH": "federated credential",
		"AZURE_CLIENT_CERTIFICATE_PASSWORD": "federated credential", "AZURE_USERNAME": "unset it", "AZURE_PASSWORD": "unset it",
		"AZURE_REGIONAL_AUTHORITY_NAME": "unset it",
	} {
		t.Run("I6 "+name, func(t *testing.T) {
			code, out := refuses(t, one, env(name, stray), canary(stray))
			if code != 1 || !strings.Contains(out, name+" is set") || !strings.Contains(out, remedy) {
				t.Errorf("it ends with %d and says %s", code, out)
			}
		})
	}
	t.Run("I6 several at once", func(t *testing.T) {
		code, out := refuses(t, one, env("AZURE_USERNAME", stray), env("AZURE_PASSWORD", stray), env("AZURE_CLIENT_SECRET", stray), canary(stray))
		for _, name := range []string{"AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_CLIENT_SECRET"} {
			if code != 1 || !strings.Contains(out, name+" is set") {
				t.Errorf("it ends with %d and doesn't name %s: %s", code, name, out)
			}
		}
	})
	t.Run("I6 under Terraform's name", func(t *testing.T) {
		f := startFaulty(t, one, env("ARM_CLIENT_SECRET", stray), canary(stray))
		f.good(t)
		if out := f.out.String(); !strings.Contains(out, "ARM_CLIENT_SECRET is set but not used") {
			t.Errorf("it does not warn: %s", out)
		}
	})
	for name, left := range map[string]string{"AZURE_TENANT_ID": "tenant_id", "AZURE_CLIENT_ID": "client_id", "AZURE_FEDERATED_TOKEN_FILE": "assertion"} {
		t.Run("I6 without "+name, func(t *testing.T) {
			code, out := refuses(t, one, env(name, ""))
			if code != 1 || !strings.Contains(out, name) || !strings.Contains(out, left) {
				t.Errorf("it ends with %d and says %s", code, out)
			}
		})
	}
}
