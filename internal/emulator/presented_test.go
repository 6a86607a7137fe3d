package emulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// What an assertion said is there to be looked at, refused or not, and is no assertion.
func TestWhatWasPresentedIsKeptWithoutItsSignature(t *testing.T) {
	e, _ := world(t)
	if _, ok := e.Presented(client); ok {
		t.Error("nobody has shown anything")
	}
	for _, subject := range []string{emulator.DefaultSubject, "somebody else"} {
		assertion := emulator.AssertionOptions{Subject: subject, Claims: map[string]any{"build_number": int64(9007199254740993)}}
		_, _ = credential(t, e, assertion).GetToken(t.Context(), vaultScope())
		seen, ok := e.Presented(strings.ToUpper(client))
		if !ok || seen.Claims["sub"] != subject || seen.Claims["iss"] != e.IssuerURL() || seen.Header["alg"] != "RS256" || seen.Header["typ"] != "JWT" {
			t.Errorf("presented was %+v", seen)
		}
		if id, _ := seen.Header["kid"].(string); id == "" || seen.Claims["build_number"] != json.Number("9007199254740993") {
			t.Errorf("presented was %+v", seen)
		}
	}
	e.Revoke(emulator.App{Tenant: tenant, ClientID: client})
	_, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), vaultScope())
	if answer := refusalOf(t, err); answer.Codes[0] != 70025 {
		t.Errorf("after the revocation Entra answers %+v", answer)
	}
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	if _, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), vaultScope()); err != nil {
		t.Error(err)
	}
}
