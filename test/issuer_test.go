package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// own gives two repositories one vault by one alias, in which each of them is itself, and has a vault beside it that needs
// no issuer.
const own = `
identities:
  default: {}
  repo: {tenant_id: ` + tenantID + `, clients: {"1": ` + appClient + `, "2": ` + siteClient + `}, assertion: {issuer: repo}}
vaults:
  sign:   {url: https://kv-sign.vault.azure.net}
  shared: {url: https://kv-shared.vault.azure.net}
  own:    {url: https://kv-own.vault.azure.net, identity: repo}
bindings:
  - {id: all, repos: [acme/app, acme/site, acme/none, acme/odd], read: ["shared/ci-*", "own/*"]}
`

// startOwn starts it where Key Vault gives each repository what is its own, and both what they share.
func startOwn(t *testing.T, options emulator.Options) (*issuing, *faulty) {
	t.Helper()
	i := newIssuing(t, options)
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	i.trust(siteClient, "drone:"+issuerServer+":repo:2")
	f := startFaulty(t, i.config(own), i.on())
	f.Vault("kv-own").Allow(appClient, "app-*", "both")
	f.Vault("kv-own").Allow(siteClient, "site-*", "both")
	f.fill("kv-own/app-db", "kv-own/site-db", "kv-own/both")
	return i, f
}

func (f *faulty) app() build  { return f.next() }
func (f *faulty) site() build { return f.nextOf("acme/site").uid("2") }

func (f *faulty) nextOf(slug string) build {
	b := f.next()
	return push(slug).number(b.build.Number)
}

// clients are those who read a secret of the vault, in the order of their first reading.
func (i *issuing) clients(host, secret string) (list []string) {
	for _, r := range i.Requests() {
		if r.Host == host && strings.HasPrefix(r.Path, "/secrets/"+secret+"/") && r.Client != "" && !strings.Contains(strings.Join(list, " "), r.Client) {
			list = append(list, r.Client)
		}
	}
	return list
}

// Two repositories share an alias, a vault and a secret's name, and neither ever reads by the other's token: Key Vault itself
// tells them apart.
func TestEachRepositoryIsItselfAtKeyVault(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{})
	for range 2 {
		for ref, c := range map[string]struct {
			who  build
			want verdict
		}{
			"own/app-db": {f.app(), gets("kv-own/app-db")}, "own/site-db": {f.site(), gets("kv-own/site-db")},
		} {
			if e := f.expect(t, c.who, ref, c.want); e.Identity != "repo" {
				t.Errorf("the record names the identity %q", e.Identity)
			}
		}
		f.expect(t, f.site(), "own/app-db", denied("vault-refused"))
		f.expect(t, f.app(), "own/site-db", denied("vault-refused"))
	}
	f.expect(t, f.app(), "own/both", gets("kv-own/both"))
	f.expect(t, f.site(), "own/both", gets("kv-own/both"))
	if who := i.clients("kv-own.vault.azure.net", "both"); fmt.Sprint(who) != fmt.Sprint([]string{appClient, siteClient}) {
		t.Errorf("Key Vault's log has %v as readers of what both may", who)
	}
	for _, client := range []string{appClient, siteClient} {
		if n := i.TokenRequests(client); n != 1 {
			t.Errorf("%d exchanges for %s", n, client)
		}
	}
	f.good(t)
	if at := f.status().Identities["repo"].State; at != "working" {
		t.Errorf("/status says %s", at)
	}
}

// Many builds of both ask at once, cold: no answer, no token and no reading crosses over.
func TestRepositoriesThatAskAtOnceStayThemselves(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{})
	type answer struct{ ref, value string }
	answers := make(chan answer)
	const each = 25
	for n := range each {
		for ref, b := range map[string]build{"own/app-db": push("acme/app").number(int64(1000 + n)), "own/site-db": push("acme/site").uid("2").number(int64(1000 + n))} {
			go func() {
				value, err := f.find(b, ref)
				answers <- answer{ref, fmt.Sprint(value, err)}
			}()
		}
	}
	for range 2 * each {
		if a := <-answers; a.value != f.valueAt(t, "kv-"+a.ref)+"<nil>" {
			t.Errorf("%s is %s", a.ref, a.value)
		}
	}
	for secret, client := range map[string]string{"app-db": appClient, "site-db": siteClient} {
		if who := i.clients("kv-own.vault.azure.net", secret); len(who) != 1 || who[0] != client {
			t.Errorf("%s was read by %v", secret, who)
		}
	}
}

// What reaches Entra is what its documentation wants, and beside it says which build asks.
func TestTheAssertionThatReachesEntra(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{})
	b := f.app()
	f.expect(t, b, "own/app-db", gets("kv-own/app-db"))
	seen, ok := i.Presented(appClient)
	if !ok {
		t.Fatal("Entra was shown nothing")
	}
	if want := i.public(i.version(0)).KeyID; seen.Header["alg"] != "RS256" || seen.Header["kid"] != want || seen.Header["typ"] != "JWT" {
		t.Errorf("the header is %v, want kid %s", seen.Header, want)
	}
	for name, want := range map[string]any{
		"iss": issuerURL, "sub": "drone:" + issuerServer + ":repo:1", "aud": emulator.DefaultAudience,
		"server": issuerServer, "repository": "acme/app", "repository_uid": "1", "event": "push", "ref": "refs/heads/main", "ref_type": "branch",
		"build_number": json.Number(fmt.Sprint(b.build.Number)), "actor": "alice", "trigger": "@hook", "pool": "default", "default_branch": "main",
	} {
		if seen.Claims[name] != want {
			t.Errorf("%s is %v, want %v", name, seen.Claims[name], want)
		}
	}
	at := func(name string) time.Time {
		seconds, _ := seen.Claims[name].(json.Number)
		unix, _ := seconds.Int64()
		return time.Unix(unix, 0)
	}
	if life := at("exp").Sub(at("iat")); life != 5*time.Minute || !at("nbf").Equal(at("iat")) || time.Since(at("iat")).Abs() > time.Minute {
		t.Errorf("it lives for %s: %v", life, seen.Claims)
	}
	first := seen.Claims["jti"]
	f.expect(t, f.site(), "own/site-db", gets("kv-own/site-db"))
	if seen, _ = i.Presented(siteClient); first == "" || seen.Claims["jti"] == first || seen.Claims["sub"] != "drone:"+issuerServer+":repo:2" {
		t.Errorf("the other repository's is %v", seen.Claims)
	}
	if _, leaked := seen.Claims["secret"]; leaked || strings.Contains(fmt.Sprint(seen.Claims), repoSecret) {
		t.Error("it tells the repository's secret")
	}
}

// Whoever deletes a repository's federated credential in Entra stops that repository once its token has ended, and no other.
func TestARevokedRepositoryStopsAlone(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{TokenLifetime: 12 * time.Second})
	f.expect(t, f.app(), "own/app-db", gets("kv-own/app-db"))
	f.expect(t, f.site(), "own/site-db", gets("kv-own/site-db"))
	app := emulator.App{Tenant: tenantID, ClientID: appClient, Issuer: issuerURL, Subject: "drone:" + issuerServer + ":repo:1"}
	i.Revoke(app)
	eventually(t, "an end of what the revoked one gets", func() bool {
		_, err := f.find(f.app(), "own/app-db")
		return err != nil || !f.pause()
	})
	f.because(t, f.app(), "own/app-db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS70025", "repo:1", "federated credential")
	if at := f.status().Identities["repo"]; at.State == "working" || !strings.Contains(at.Error, "repo:1") {
		t.Errorf("/status says %+v", at)
	}
	f.expect(t, f.site(), "own/site-db", gets("kv-own/site-db"))
	f.good(t)
	i.Register(app)
	f.expect(t, f.app(), "own/app-db", gets("kv-own/app-db"))
}

// An issuer's URL counts to the letter: with a slash at its end it is another one, and works as well as the one without.
func TestAnIssuerWithASlashAtItsEnd(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.url += "/"
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	i.Register(emulator.App{Tenant: tenantID, ClientID: siteClient, Issuer: issuerURL, Subject: "drone:" + issuerServer + ":repo:1"})
	f := startFaulty(t, i.each([]string{appClient, siteClient}), i.on())
	f.fill("kv-own/db")
	f.expect(t, f.next(), "own0/db", gets("kv-own/db"))
	f.because(t, f.next(), "own1/db", fails(http.StatusServiceUnavailable, "identity"), "AADSTS700211", "slash")
	if seen, _ := i.Presented(appClient); seen.Claims["iss"] != issuerURL+"/" {
		t.Errorf("the assertion is by %v", seen.Claims["iss"])
	}
	f.good(t)
}

// Who can't be named can't be anybody at Entra, whatever a binding says.
func TestWhoHasNoSubject(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{})
	i.Forget()
	f.because(t, f.nextOf("acme/none").uid("3"), "own/both", fails(http.StatusServiceUnavailable, "identity"), `"3"`, "clients", "acme/none")
	for _, uid := range []string{"1:environment:production", "1 ", "ü", "1/2", "1\n", strings.Repeat("1", 129), "*"} {
		f.because(t, f.nextOf("acme/odd").uid(uid), "own/both", denied("uid"), "subject")
	}
	f.expect(t, f.nextOf("acme/odd").uid(""), "own/both", denied("uid"))
	for _, r := range i.Requests() { // the vault is asked without a token, for its challenge
		if r.Client == appClient || r.Client == siteClient || r.Host == "kv-own.vault.azure.net" && r.Token {
			t.Errorf("%s %s%s was asked for them", r.Method, r.Host, r.Path)
		}
	}
	f.expect(t, f.app(), "own/both", gets("kv-own/both"))
	f.good(t)
}
