package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// doctor examines the installation of a running server, as whoever is in its container does.
func (f *faulty) doctor(t *testing.T, code int) map[string]step {
	t.Helper()
	environment := f.child.Env
	p := invoke(t, f.tmp, environment, "doctor", "--json", "--config", f.ConfigAt)
	f.world.answered(p.String()) // which is scanned for secrets at the end
	p.says(t, code)
	var answer struct{ Steps []step }
	if err := json.Unmarshal([]byte(p.stdout), &answer); err != nil {
		t.Fatalf("%v: %s", err, p)
	}
	steps := map[string]step{}
	for _, s := range answer.Steps {
		steps[s.Area+": "+s.Step] = s
	}
	return steps
}

// step is one of a doctor's findings.
type step struct {
	Area, Step, State, Detail string
	Faults                    []struct{ Cause, Remedy string }
	Commands                  []string
}

// A doctor beside the running extension: it finds what the extension finds, with its environment, and neither its record nor its
// lock is touched. The end of each test verifies the record.
func TestDoctorBesideTheExtension(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, two)
	f.mend()
	f.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: otherClient})
	f.Vault("kv-lame").Allow(otherClient)
	f.fill("kv-lame/db")
	f.good(t)
	lines := len(f.events())
	for name, s := range f.doctor(t, 0) {
		if s.State != "ok" {
			t.Errorf("%s is %s: %+v", name, s.State, s)
		}
		if name == "record: place" && !strings.Contains(s.Detail, "held by a running instance") {
			t.Errorf("of the record it says %s", s.Detail)
		}
	}
	if now := len(f.events()); now != lines {
		t.Errorf("the record has %d lines more", now-lines)
	}
	f.good(t)
}

// One of two identities is broken: a doctor says so of it, and prints the federated credential that is missing.
func TestDoctorOfABrokenIdentity(t *testing.T) {
	t.Parallel()
	f := startTwo(t, emulator.App{Subject: "system:serviceaccount:other:other"})
	f.mend()
	steps := f.doctor(t, 1)
	exchange := steps["identity other: token for vault.azure.net"]
	if exchange.State != "fail" || len(exchange.Faults) != 1 || !strings.Contains(exchange.Faults[0].Cause, "AADSTS700213") ||
		!strings.Contains(strings.Join(exchange.Commands, "\n"), "--subject "+emulator.DefaultSubject) {
		t.Errorf("%+v", exchange)
	}
	for name, state := range map[string]string{"vault lame: read": "skip", "identity default: token for vault.azure.net": "ok", "vault shared: read": "ok"} {
		if steps[name].State != state {
			t.Errorf("%s: %+v", name, steps[name])
		}
	}
	f.good(t)
}
