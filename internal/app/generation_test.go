package app

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/drone-entra/drone-entra/secret"
)

const withIssuer = `
issuer: {url: https://oidc.acme.example, server: drone.acme.example, keys: [{key: shared/issuer@0123456789abcdef0123456789abcdef}]}
tokens:
  aws: {audience: sts.amazonaws.com, lifetime: 10m}
  arm: {identity: each, scope: https://management.azure.com/.default}
  acr: {identity: default, registry: acme.azurecr.io, repositories: {base: [pull]}, min_life: 10m}
`

// issuing puts a configuration with an issuer in force, its one binding called so, with pairs of old and new text replaced.
func (a *App) issuing(t *testing.T, file, name string, changes ...string) *generation {
	t.Helper()
	edited(t, file, name)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written := strings.Replace(string(text), "identities: {", `identities: {each: {clients: {"42": 3f2a4c55-0000-4000-8000-000000000003}, `+
		"tenant_id: 72f988bf-0000-4000-8000-000000000001, assertion: {issuer: repo}}, ", 1) + withIssuer
	changed := strings.NewReplacer(changes...).Replace(written)
	if len(changes) > 0 && changed == written {
		t.Fatalf("nothing to change: %q", changes)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if a.follow(false); a.inForce() != name {
		t.Fatalf("%s is in force: %v", a.inForce(), a.reload.problem())
	}
	return a.current.Load()
}

// What remembers tokens and values is handed on if nothing that made them changed, and is new if anything did.
func TestAReloadHandsOnWhatIsTheSame(t *testing.T) {
	const keys = "keys: [{key: shared/issuer@0123456789abcdef0123456789abcdef}"
	// What is new: r the router with all that it remembers, i the issuer, e the repositories' identity, d the other one.
	for name, c := range map[string]struct{ changes, renewed string }{
		"a binding alone":         {"", ""},
		"where it stands":         {"version: 1|# a line more\nversion: 1", ""},
		"the issuer's url":        {"https://oidc.acme.example|https://oidc.acme.example/", "rie"},
		"the issuer's server":     {"server: drone.acme.example|server: drone2.acme.example", "rie"},
		"a key's version":         {"@0123456789abcdef0123456789abcdef|@0123456789abcdef0123456789abcdee", "rie"},
		"a key more":              {keys + `|` + keys + `, {key: shared/next@0123456789abcdef0123456789abcdef, from: "2099-01-01T00:00:00Z"}`, "rie"},
		"the key's vault":         {"kv-shared|kv-other", "rie"},
		"who opens that vault":    {"3f2a4c55-0000-4000-8000-000000000002|3f2a4c55-0000-4000-8000-000000000009", "ried"},
		"its assertion":           {"{file: /nowhere}|{file: /elsewhere}", "ried"},
		"a repository's client":   {"3f2a4c55-0000-4000-8000-000000000003|3f2a4c55-0000-4000-8000-000000000004", "re"},
		"whose client that is":    {`{"42": |{"43": `, "re"},
		"the subject's form":      {"{issuer: repo}|{issuer: environment}", "re"},
		"the tenants":             {"72f988bf-0000-4000-8000-000000000001|72f988bf-0000-4000-8000-000000000009", "ried"},
		"a token's scope":         {"https://management.azure.com|https://storage.azure.com", "r"},
		"a token's audience":      {"sts.amazonaws.com|sts.example", "r"},
		"a token's lifetime":      {"lifetime: 10m|lifetime: 5m", "r"},
		"a token's subject":       {"audience: sts.amazonaws.com|subject: environment, audience: sts.amazonaws.com", "r"},
		"a token's registry":      {"acme.azurecr.io|other.azurecr.io", "r"},
		"a token's actions":       {"[pull]|[pull, push]", "r"},
		"a token's min_life":      {"min_life: 10m|min_life: 5m", "r"},
		"a token's identity":      {"arm: {identity: each|arm: {identity: default", "r"},
		"a token less":            {"  aws: {audience: sts.amazonaws.com, lifetime: 10m}\n|", "r"},
		"how long old ones serve": {"https://kv-shared.vault.azure.net}|https://kv-shared.vault.azure.net, stale: 5m}", "r"},
	} {
		t.Run(name, func(t *testing.T) {
			a, file := newApp(t, nil)
			before := a.issuing(t, file, "before")
			var changes []string
			if c.changes != "" {
				changes = strings.Split(c.changes, "|")
			}
			after := a.issuing(t, file, "after", changes...)
			wrong := ""
			for letter, same := range map[string]bool{
				"r": before.router == after.router, "i": before.issuer == after.issuer,
				"e": before.identities["each"] == after.identities["each"], "d": before.identities["default"] == after.identities["default"],
			} {
				if same == strings.Contains(c.renewed, letter) {
					wrong += letter
				}
			}
			if wrong != "" {
				t.Errorf("new must be %q of r, i, e and d, and it is otherwise for %q", c.renewed, wrong)
			}
		})
	}
}

// What a generation hands on must not hold it: it has the policy that was in force and the keys that runners had, whole.
func TestAGenerationIsForgottenThoughWhatItMadeLivesOn(t *testing.T) {
	a, file := newApp(t, nil)
	old := weak.Make(a.issuing(t, file, "second"))
	identity := a.current.Load().identities["each"]
	if a.issuing(t, file, "third").identities["each"] != identity {
		t.Fatal("the identity was not handed on")
	}
	a.reload.closeRetired()
	for deadline := time.Now().Add(5 * time.Second); old.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the generation before is still in memory")
		}
	}
	if subject := identity.Subject(secret.Request{Repo: secret.Repo{UID: "42"}}); subject != "drone:drone.acme.example:repo:42" {
		t.Errorf("the subject is %q", subject)
	}
}
