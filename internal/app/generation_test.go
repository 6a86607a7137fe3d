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
tokens: {aws: {audience: sts.amazonaws.com}, arm: {identity: each, scope: https://management.azure.com/.default}}
`

// What a generation hands on must not hold it: it has the policy that was in force and the keys that runners had, whole.
func TestAGenerationIsForgottenThoughWhatItMadeLivesOn(t *testing.T) {
	a, file := newApp(t, nil)
	change := func(name, more string) {
		t.Helper()
		edited(t, file, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), "identities: {", "identities: {each: {client_id: 3f2a4c55-0000-4000-8000-000000000003, "+
			"tenant_id: 72f988bf-0000-4000-8000-000000000001, assertion: {issuer: repo}}, ", 1) + more
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if a.follow(false); a.inForce() != name {
			t.Fatalf("%s is in force: %v", a.inForce(), a.reload.problem())
		}
	}
	change("second", withIssuer)
	old := weak.Make(a.current.Load())
	identity := a.current.Load().identities["each"]
	change("third", withIssuer)
	if a.current.Load().identities["each"] != identity {
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
