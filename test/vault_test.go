package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// doors opens one vault by two aliases, one of which lets the last value serve for a while, and a second vault beside it
// that nothing is wrong with.
const doors = `
vaults:
  shared:  {url: https://kv-shared.vault.azure.net}
  strict:  {url: https://kv-faulty.vault.azure.net}
  lenient: {url: https://kv-faulty.vault.azure.net, stale: 10m}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*", "strict/*", "strict/*@*", "lenient/*"]}
`

// fleet opens the vaults kv-faulty-1 to kv-faulty-N, each by the aliases strict-I and lenient-I: so that each fault meets
// clients that remember nothing.
func fleet(n int, more string) string {
	vaults, reads := "vaults:\n  shared: {url: https://kv-shared.vault.azure.net}\n", `"shared/ci-*"`
	for i := range n {
		i++
		vaults += fmt.Sprintf("  strict-%d: {url: https://kv-faulty-%d.vault.azure.net}\n", i, i)
		vaults += fmt.Sprintf("  lenient-%d: {url: https://kv-faulty-%d.vault.azure.net, stale: 10m}\n", i, i)
		reads += fmt.Sprintf(", strict-%d/*, lenient-%d/*", i, i)
	}
	return vaults + "bindings: [{id: app-ci, repos: [acme/app], read: [" + reads + "]}]\n" + more
}

// faulty is the server with these doors, and a count of builds: each build reads afresh.
type faulty struct {
	*server
	builds int64
}

func startFaulty(t *testing.T, config string, options ...option) *faulty {
	t.Helper()
	f := &faulty{server: start(t, config, options...)}
	f.fill("kv-shared/ci-token")
	return f
}

// next is a build that nobody has asked for before.
func (f *faulty) next() build {
	f.builds++
	return push("acme/app").number(f.builds)
}

// good checks that nothing of the fault reaches another vault.
func (f *faulty) good(t *testing.T) {
	t.Helper()
	f.serves(t, f.next(), "shared/ci-token", "kv-shared/ci-token")
}

// busy is a fault under which the last value may serve, and that nobody retries: the pause it asks for is too long.
var busy = emulator.Fault{Status: http.StatusTooManyRequests, RetryAfter: 20 * time.Second}

// before says what was read before the fault came.
type before struct {
	says string
	door string
	read bool
}

var befores = []before{
	{"cold", "strict", false}, {"after a success", "strict", true},
	{"cold, stale allowed", "lenient", false}, {"after a success, stale allowed", "lenient", true},
}

// A secret that may not be used is denied, whatever was read of it before, and what was read before never serves again:
// not the build that read it, not when the vault is then down as well.
func TestV5WhatMayNotBeUsed(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	v := f.Vault("kv-faulty")
	day := 24 * time.Hour
	for i, c := range []struct {
		name   string
		spoil  func(secret string)
		heal   func(secret string)
		reason string
	}{
		{"deleted", v.Delete, func(s string) { v.Set(s, "canary-again-"+s) }, "not-found"},
		{"disabled", func(s string) { v.Update(s, "", emulator.Disabled()) }, func(s string) { v.Update(s, "", emulator.Enabled()) }, "disabled"},
		{"a new version disabled", func(s string) { v.Set(s, "canary-new-"+s, emulator.Disabled()) }, func(s string) { v.Update(s, "", emulator.Enabled()) }, "disabled"},
		{"exp past", func(s string) { v.Update(s, "", emulator.Expires(time.Now().Add(-time.Second))) }, func(s string) { v.Update(s, "", emulator.Expires(time.Time{})) }, "expired"},
		{"exp long past", func(s string) { v.Update(s, "", emulator.Expires(time.Now().Add(-400*day))) }, func(s string) { v.Update(s, "", emulator.Expires(time.Now().Add(day))) }, "expired"},
		{"nbf ahead", func(s string) { v.Update(s, "", emulator.NotBefore(time.Now().Add(time.Hour))) }, func(s string) { v.Update(s, "", emulator.NotBefore(time.Time{})) }, "not-yet"},
		{"a new version with nbf ahead", func(s string) { v.Set(s, "canary-later-"+s, emulator.NotBefore(time.Now().Add(day))) }, func(s string) { v.Set(s, "canary-now-"+s) }, "not-yet"},
	} {
		for j, b := range befores {
			t.Run("V5 "+c.name+", "+b.says, func(t *testing.T) {
				secret := fmt.Sprintf("s%d-%d", i, j)
				at, ref := "kv-faulty/"+secret, b.door+"/"+secret
				f.fill(at)
				first := f.next()
				if b.read {
					f.expect(t, first, ref, gets(at))
				}
				c.spoil(secret)
				f.expect(t, f.next(), ref, denied(c.reason))
				f.nothing(t, first, ref)
				remove := f.Emulator.Fault(v.Secret(secret), busy)
				f.nothing(t, f.next(), ref)
				f.nothing(t, first, ref)
				remove()
				f.good(t)
				c.heal(secret)
				f.expect(t, f.next(), ref, gets(at))
			})
		}
	}
}

// A version that is pinned is judged like the current one.
func TestV5APinnedVersion(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	v := f.Vault("kv-faulty")
	old := v.Set("pinned", "canary-pinned-old")
	f.expect(t, f.next(), "strict/pinned@"+old, gets("kv-faulty/pinned"))
	v.Set("pinned", "canary-pinned-new")
	v.Update("pinned", old, emulator.Expires(time.Now().Add(-time.Minute)))
	f.expect(t, f.next(), "strict/pinned@"+old, denied("expired"))
	v.Update("pinned", old, emulator.Disabled())
	f.expect(t, f.next(), "strict/pinned@"+old, denied("disabled"))
	f.expect(t, f.next(), "strict/pinned@"+strings.Repeat("0", 32), denied("not-found"))
	f.expect(t, f.next(), "strict/pinned", gets("kv-faulty/pinned"))
	f.good(t)
}

// bodies are answers with status 200 that are no secret.
var bodies = map[string]string{
	"an empty body": "", "null": "null", "a list": "[]", "a string": `"canary-body-0001"`, "a number": "1", "an empty object": "{}",
	"a value alone":        `{"value":"canary-body-0002"}`,
	"an object as value":   `{"value":{"a":"canary-body-0003"},"id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}`,
	"a list as value":      `{"value":["canary-body-0004"],"id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}`,
	"a boolean as value":   `{"value":true,"id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}`,
	"attributes of text":   `{"value":"canary-body-0005","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":"x"}`,
	"no attributes":        `{"value":"canary-body-0006","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1"}`,
	"enabled of text":      `{"value":"canary-body-0007","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":"yes"}}`,
	"enabled null":         `{"value":"canary-body-0008","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":null}}`,
	"exp of text":          `{"value":"canary-body-0009","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true,"exp":"tomorrow"}}`,
	"another secret":       `{"value":"canary-body-0010","id":"https://kv-faulty.vault.azure.net/secrets/other/1","attributes":{"enabled":true}}`,
	"another vault":        `{"value":"canary-body-0011","id":"https://kv-evil.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}`,
	"no id":                `{"value":"canary-body-0012","attributes":{"enabled":true}}`,
	"trailing garbage":     `{"value":"canary-body-0013","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}<html>`,
	"an answer of 2 MiB":   `{"value":"` + strings.Repeat("canary-body-0014", 1<<17) + `","id":"https://kv-faulty.vault.azure.net/secrets/NAME/1","attributes":{"enabled":true}}`,
	"an error with status": `{"error":{"code":"canary-body-0015","message":"canary-body-0016"}}`,
}

// Nonsense is an error of the source's and never a value: not an empty one, and not the last one.
func TestV6Nonsense(t *testing.T) {
	t.Parallel()
	faults := map[string]emulator.Fault{
		"broken JSON": {Kind: emulator.BrokenJSON}, "HTML": {Kind: emulator.HTML}, "wrong types": {Kind: emulator.WrongTypes},
		"a null value": {Kind: emulator.NullValue}, "an empty value": {Kind: emulator.EmptyValue},
		"status 204": {Status: http.StatusNoContent}, "status 418": {Status: http.StatusTeapot}, "status 400": {Status: http.StatusBadRequest},
		"status 304": {Status: http.StatusNotModified},
	}
	for name, body := range bodies {
		faults[name] = emulator.Fault{Status: http.StatusOK, Body: body}
	}
	f := startFaulty(t, doors)
	for i := range 16 {
		f.world.watch(fmt.Sprintf("canary-body-%04d", i+1))
	}
	v, n := f.Vault("kv-faulty"), 0
	for name, fault := range faults {
		for _, b := range []before{befores[0], befores[3]} { // the others differ from these in nothing
			if fault.Kind == emulator.Answer && fault.Body == "" && fault.Status == http.StatusOK {
				fault.Body = " " // an empty one would be the service's own
			}
			n++
			t.Run("V6 "+name+", "+b.says, func(t *testing.T) {
				secret := fmt.Sprintf("s%d", n)
				at, ref := "kv-faulty/"+secret, b.door+"/"+secret
				f.fill(at)
				first := f.next()
				if b.read {
					f.expect(t, first, ref, gets(at))
				}
				fault.Body = strings.ReplaceAll(fault.Body, "NAME", secret)
				remove := f.Emulator.Fault(v.Secret(secret), fault)
				f.expect(t, f.next(), ref, fails(http.StatusBadGateway, "garbled"))
				f.good(t)
				remove()
				f.expect(t, f.next(), ref, gets(at))
			})
		}
	}
}

// A vault that sends us elsewhere gets nothing for it: neither our token nor our assertion goes to anybody else.
func TestV7NothingGoesElsewhere(t *testing.T) {
	t.Parallel()
	const other = "9b0f7e0c-2222-4333-8444-555566667777"
	challenge := func(text string) emulator.Fault {
		return emulator.Fault{Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {text}}}
	}
	bearer := func(authorization, resource string) emulator.Fault {
		return challenge(fmt.Sprintf("Bearer authorization=%q, resource=%q", authorization, resource))
	}
	const ours, vaults = "https://login.microsoftonline.com/" + tenantID, "https://vault.azure.net"
	redirect := func(to string) emulator.Fault { return emulator.Fault{Kind: emulator.Redirect, Location: to} }
	moved := redirect("https://kv-evil.vault.azure.net/secrets/db/")
	garbled := []string{"502 garbled"}
	either := []string{"502 garbled", "503 identity", "404 vault-refused"} // who a challenge blames is not the point here
	cases := map[string]struct {
		fault emulator.Fault
		want  []string
	}{
		"a redirect to another vault":           {moved, garbled},
		"a redirect to a stranger":              {redirect("https://evil.example/secrets/db/"), garbled},
		"a redirect to plain http":              {redirect("http://kv-faulty.vault.azure.net/secrets/db/"), garbled},
		"a redirect to itself":                  {redirect("/secrets/db/"), garbled},
		"a permanent redirect":                  {emulator.Fault{Status: http.StatusPermanentRedirect, Header: http.Header{"Location": {"https://evil.example/"}}}, garbled},
		"see other":                             {emulator.Fault{Status: http.StatusSeeOther, Header: http.Header{"Location": {"https://evil.example/"}}}, garbled},
		"a challenge for another resource":      {emulator.Fault{Kind: emulator.ForeignChallenge}, garbled},
		"a challenge of odd shape":              {emulator.Fault{Kind: emulator.OddChallenge}, garbled},
		"a challenge by another authority":      {bearer("https://evil.example/"+tenantID, vaults), either},
		"a challenge of another tenant":         {bearer("https://login.microsoftonline.com/"+other, vaults), either},
		"a challenge for a look-alike":          {bearer(ours, "https://vault.azure.net.evil.example"), garbled},
		"a challenge for Graph":                 {bearer(ours, "https://graph.microsoft.com"), garbled},
		"a challenge for management":            {challenge(`Bearer authorization="` + ours + `", scope="https://management.azure.com/.default"`), garbled},
		"a challenge with nothing in it":        {challenge("Bearer"), either},
		"a challenge with an empty authority":   {bearer("", vaults), either},
		"a challenge with a broken authority":   {bearer("https://[::", vaults), either},
		"a challenge with an empty resource":    {bearer(ours, ""), either},
		"a challenge of another kind":           {challenge(`Basic realm="vault"`), either},
		"a challenge that demands other claims": {challenge(`Bearer authorization="` + ours + `", resource="` + vaults + `", error="insufficient_claims", claims="e30="`), either},
	}
	f, n := startFaulty(t, fleet(len(cases)*len(befores), "")), 0
	f.Vault("kv-evil").Allow(clientID)
	f.fill("kv-evil/db")
	f.Emulator.Handle("evil.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"value":"canary-of-evil","id":"https://kv-faulty.vault.azure.net/secrets/db/1","attributes":{"enabled":true}}`))
	}))
	for name, c := range cases {
		for _, b := range befores {
			n++
			t.Run("V7 "+name+", "+b.says, func(t *testing.T) {
				at, ref := fmt.Sprintf("kv-faulty-%d/db", n), fmt.Sprintf("%s-%d/db", b.door, n)
				f.fill(at)
				if b.read {
					f.expect(t, f.next(), ref, gets(at))
				}
				c.fault.Location = strings.ReplaceAll(c.fault.Location, "kv-faulty", fmt.Sprint("kv-faulty-", n))
				remove := f.Emulator.Fault(f.Vault(fmt.Sprint("kv-faulty-", n)).Secret("db"), c.fault)
				e := f.nothing(t, f.next(), ref)
				status := map[string]int{"garbled": 502, "identity": 503, "vault-refused": 404}[e.Reason]
				if got := fmt.Sprint(status, " ", e.Reason); !strings.Contains(strings.Join(c.want, "|"), got) {
					t.Errorf("on record is %s, want one of %s: %s", got, c.want, e.Line)
				}
				f.good(t)
				remove()
				f.expect(t, f.next(), ref, gets(at))
				f.strayed(t)
			})
		}
	}
}

// strayed looks at every request that the program ever made.
func (s *server) strayed(t *testing.T) {
	t.Helper()
	for _, r := range s.Emulator.Requests() {
		switch {
		case strings.HasPrefix(r.Host, "kv-shared"), strings.HasPrefix(r.Host, "kv-faulty"):
		case r.Host == "login.microsoftonline.com" && strings.HasPrefix(r.Path, "/"+tenantID+"/"):
		case r.Host == "oidc.cluster.example" && !r.Token: // Entra itself asks the issuer for its keys
		default:
			t.Errorf("%s %s%s was asked (a token with it: %t)", r.Method, r.Host, r.Path, r.Token)
		}
	}
}
