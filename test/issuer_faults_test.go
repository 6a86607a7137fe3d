package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// Deploy targets are part of a subject to the letter, however they are written, and one is never taken for another.
func TestEachEnvironmentIsItself(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	encoded := map[string]string{"production": "production", "eu:prod": "eu%3Aprod", "100%": "100%25", "münchen": "m%C3%BCnchen", "eu/west-1": "eu/west-1"}
	vaults, reads, identities, targets := "", "", "", `"Production", "eu%3Aprod", "nobody", "`+strings.Repeat("x", 600)+`"`
	n := 0
	of := map[string]string{} // target → the alias of its vault
	for target, text := range encoded {
		n++
		client := fmt.Sprintf("bbbbbbbb-1111-4222-8333-%012d", n)
		i.trust(client, "drone:"+issuerServer+":repo:1:environment:"+text)
		i.Vault("kv-env.vault.azure.net", tenantID).Allow(client)
		of[target] = fmt.Sprintf("env%d", n)
		identities += fmt.Sprintf("  id%d: {tenant_id: %s, client_id: %s, assertion: {issuer: environment}}\n", n, tenantID, client)
		vaults += fmt.Sprintf("  env%d: {url: https://kv-env.vault.azure.net, identity: id%d}\n", n, n)
		reads += fmt.Sprintf(", env%d/*", n)
		targets += fmt.Sprintf(", %q", target)
	}
	f := startFaulty(t, i.config(`
identities:
  default: {}
`+identities+`
vaults:
  sign:   {url: https://kv-sign.vault.azure.net}
  shared: {url: https://kv-shared.vault.azure.net}
`+vaults+`
bindings:
  - {id: ci, repos: [acme/app], read: ["shared/ci-*"`+reads+`]}
  - {id: deploy, repos: [acme/app], when: {promote: {deploy_to: [`+targets+`]}}, actors: [alice], read: ["shared/ci-*"`+reads+`]}
`), i.on())
	f.fill("kv-env/db")
	to := func(target string) build { return promote("acme/app", target).number(f.next().build.Number) }
	for target, alias := range of {
		t.Run(target, func(t *testing.T) {
			f.expect(t, to(target), alias+"/db", gets("kv-env/db"))
			f.because(t, f.next(), alias+"/db", denied("deploy_to"), "promote")
			f.because(t, to(strings.Repeat("x", 600)), alias+"/db", denied("deploy_to"), "600")
		})
	}
	f.because(t, to("nobody"), of["production"]+"/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700213", "environment:nobody")
	f.because(t, to("production").uid("2"), of["production"]+"/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700213", "repo:2:")
	f.because(t, to("Production"), of["production"]+"/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS7002138", "upper and lower case")
	f.because(t, to("eu%3Aprod"), of["eu:prod"]+"/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700213", "eu%253Aprod")
	f.good(t)
}

// each makes an identity and a vault's alias for each case, so that one case's token is not another's.
func (i *issuing) each(clients []string) (config string) {
	identities, vaults, reads := "", "", ""
	for n, client := range clients {
		identities += fmt.Sprintf("  id%d: {tenant_id: %s, client_id: %s, assertion: {issuer: repo}}\n", n, tenantID, client)
		vaults += fmt.Sprintf("  own%d: {url: https://kv-own.vault.azure.net, identity: id%d}\n", n, n)
		reads += fmt.Sprintf(", own%d/*", n)
		i.Vault("kv-own.vault.azure.net", tenantID).Allow(client)
	}
	return i.config("identities:\n  default: {}\n" + identities + "vaults:\n  sign: {url: https://kv-sign.vault.azure.net}\n" +
		"  shared: {url: https://kv-shared.vault.azure.net}\n" + vaults +
		"bindings: [{id: app-ci, repos: [acme/app], read: [\"shared/ci-*\"" + reads + "]}]\n")
}

// What is wrong between the issuer and Entra shows at the door of whom it concerns: with the code, and what to do.
func TestWhatEntraFindsInAnAssertionOfOurs(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	subject := "drone:" + issuerServer + ":repo:1"
	documents := emulator.Host(issuerHost)
	nothing := func() (heal func()) { return func() {} }
	cases := []struct {
		name  string
		app   emulator.App
		spoil func() (heal func())
		says  []string
	}{
		{"a slash behind the issuer", emulator.App{Issuer: issuerURL + "/", Subject: subject}, nothing, []string{"AADSTS700211", "slash"}},
		{"another issuer", emulator.App{Subject: subject}, nothing, []string{"AADSTS700211", "iss"}},
		{"a subject in capitals", emulator.App{Issuer: issuerURL, Subject: strings.ToUpper(subject)}, nothing, []string{"AADSTS7002138", "upper and lower case"}},
		{"another repository's subject", emulator.App{Issuer: issuerURL, Subject: subject + "0"}, nothing, []string{"AADSTS700213", subject}},
		{"another audience", emulator.App{Issuer: issuerURL, Subject: subject, Audience: "api://other"}, nothing, []string{"AADSTS700212", emulator.DefaultAudience}},
		{"no federated credential", emulator.App{Unfederated: true}, nothing, []string{"AADSTS70025", "add one"}},
		{"the key is not published yet", emulator.App{Issuer: issuerURL, Subject: subject}, func() func() {
			i.publish()
			return func() { i.publish(i.version(0)) }
		}, []string{"AADSTS7000272", "publish"}},
		{"no documents", emulator.App{Issuer: issuerURL, Subject: subject}, func() func() {
			return i.Fault(documents, emulator.Fault{Status: http.StatusNotFound})
		}, []string{"AADSTS90061", "public internet"}},
		{"the issuer's host is unknown", emulator.App{Issuer: issuerURL, Subject: subject}, func() func() {
			return i.Fault(documents, emulator.Fault{Kind: emulator.UnknownHost})
		}, []string{"AADSTS90061"}},
		{"an application that is not there", emulator.App{}, nothing, []string{"AADSTS700016", "client_id"}},
	}
	var clients []string
	for n, c := range cases {
		clients = append(clients, fmt.Sprintf("cccccccc-1111-4222-8333-%012d", n))
		if c.app != (emulator.App{}) {
			c.app.Tenant, c.app.ClientID = tenantID, clients[n]
			i.Register(c.app)
		}
	}
	f := startFaulty(t, i.each(clients), i.on())
	f.fill("kv-own/db")
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ref, name := fmt.Sprintf("own%d/db", n), fmt.Sprintf("id%d", n)
			heal := c.spoil()
			f.because(t, f.next(), ref, fails(http.StatusServiceUnavailable, "identity"), append(c.says, clients[n], subject)...)
			f.good(t)
			if line := f.logged("identity", name); !strings.Contains(fmt.Sprint(line["message"]), c.says[0]) || line["code"] != c.says[0] {
				t.Errorf("the log says %v", line)
			}
			if at := f.status().Identities[name]; at.State != "broken" || at.Code != c.says[0] {
				t.Errorf("/status says %+v", at)
			}
			heal()
			i.trust(clients[n], subject)
			f.expect(t, f.next(), ref, gets("kv-own/db"))
		})
	}
}

// The key that signs can't be used: only what the issuer stands behind fails, the cause is told, and it heals alone.
func TestAKeyThatDoesNotSign(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	fault := func(f emulator.Fault) func() func() { return func() func() { return i.Fault(i.sign.Target(), f) } }
	cases := []struct {
		name  string
		spoil func() (heal func())
		want  verdict
		says  []string
	}{
		{"disabled", func() func() {
			i.sign.SetKeyEnabled("drone-issuer", "", false)
			return func() { i.sign.SetKeyEnabled("drone-issuer", "", true) }
		}, fails(503, "disabled"), []string{"key sign/drone-issuer@", "disabled"}},
		{"forbidden", func() func() {
			i.sign.ForbidKeys(clientID)
			return func() { i.sign.AllowKeys(clientID) }
		}, fails(503, "vault-refused"), []string{"key sign/drone-issuer@", "Key Vault Crypto User"}},
		{"the vault is down", fault(emulator.Fault{Status: 503}), fails(503, "unavailable"), []string{"key sign/drone-issuer@", "down"}},
		{"the vault is busy", fault(emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}), fails(503, "throttled"), []string{"429"}},
		{"no such vault", fault(emulator.Fault{Kind: emulator.UnknownHost}), fails(503, "network"), []string{"kv-sign"}},
		{"somebody else in its place", fault(emulator.Fault{Kind: emulator.UntrustedCertificate}), fails(503, "identity"), []string{"certificate"}},
		{"a page", fault(emulator.Fault{Kind: emulator.HTML}), fails(502, "garbled"), []string{"key sign/drone-issuer@"}},
		{"a redirect", fault(emulator.Fault{Kind: emulator.Redirect, Location: "https://kv-evil.vault.azure.net/"}), fails(502, "garbled"), []string{"key sign/drone-issuer@"}},
		{"a challenge for something else", fault(emulator.Fault{Kind: emulator.ForeignChallenge}), fails(502, "garbled"), []string{"key sign/drone-issuer@"}},
		{"a challenge that makes the SDK panic", fault(emulator.Fault{Kind: emulator.OddChallenge}), fails(502, "garbled"), []string{"key sign/drone-issuer@"}},
	}
	var clients []string
	for n := range cases {
		clients = append(clients, fmt.Sprintf("dddddddd-1111-4222-8333-%012d", n))
		i.trust(clients[n], "drone:"+issuerServer+":repo:1")
	}
	f := startFaulty(t, i.each(clients), i.on())
	f.Vault("kv-evil").Allow(clientID)
	f.fill("kv-own/db")
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ref := fmt.Sprintf("own%d/db", n)
			heal := c.spoil()
			f.because(t, f.next(), ref, c.want, c.says...)
			f.good(t)
			heal()
			f.expect(t, f.next(), ref, gets("kv-own/db"))
			f.good(t)
		})
	}
	if n := i.Count("kv-evil.vault.azure.net", ""); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// The vault of the key hangs: who needs a signature waits no longer than a request may, others notice nothing, and the log
// says where it hangs.
func TestAKeyThatHangs(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	f := startFaulty(t, i.each([]string{appClient})+hanging, i.on())
	f.fill("kv-own/db")
	remove := i.Fault(i.sign.Target(), emulator.Fault{Kind: emulator.Hang})
	for range 2 {
		began := time.Now()
		e := f.nothing(t, f.next(), "own0/db")
		if e.Outcome != "failed" || e.Reason != "timeout" && e.Reason != "late" || time.Since(began) > patience/2 {
			t.Errorf("on record is %s", e.Line)
		}
		f.good(t)
	}
	if line := f.logged("identity", "id0"); !strings.Contains(fmt.Sprint(line["message"]), "key sign/drone-issuer@") {
		t.Errorf("the log says %v", line)
	}
	remove()
	f.heals(t, "own0/db", "kv-own/db")
	f.good(t)
}

// A version that is not there is the operator's mistake, and everything else serves.
func TestAKeyThatIsNotThere(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	config := strings.ReplaceAll(i.each([]string{appClient}), i.version(0), strings.Repeat("0", 32))
	f := startFaulty(t, config, i.on())
	f.fill("kv-own/db")
	f.because(t, f.next(), "own0/db", fails(http.StatusServiceUnavailable, "not-found"), "sign/drone-issuer@0000", "404")
	f.good(t)
}
