package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// doctor examines the installation of a running server, as whoever is in its container does.
func (f *faulty) doctor(t *testing.T, code int) map[string]step {
	t.Helper()
	return f.doctorIn(t, f.child.Env, code)
}

func (f *faulty) doctorIn(t *testing.T, environment []string, code int) map[string]step {
	t.Helper()
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

// A proxy that refuses is named by each way through it, with what to do, and without the login in its address.
func TestDoctorBehindAProxy(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, one)
	for name, c := range map[string]struct{ address, cause, remedy string }{
		"407":    {refusingProxy(t, http.StatusProxyAuthRequired), "does not take the login", "correct it there"},
		"403":    {refusingProxy(t, http.StatusForbidden), "answered 403", "allow "},
		"closed": {unused(t), "refuses connections", "look whether it runs"},
	} {
		t.Run(name, func(t *testing.T) {
			environment := append(slices.Clone(f.child.Env), "HTTPS_PROXY=http://canary-name:canary-word@"+c.address)
			steps := f.doctorIn(t, environment, 1)
			if text := fmt.Sprint(steps); strings.Contains(text, "canary-") {
				t.Errorf("the login is in %s", text)
			}
			for _, way := range []string{"entra public: way", "vault shared: way"} {
				s := steps[way]
				if s.State != "fail" || !strings.Contains(s.Faults[0].Cause, "the proxy "+c.address+" (HTTPS_PROXY) "+c.cause) || !strings.Contains(s.Faults[0].Remedy, c.remedy) {
					t.Errorf("%s: %+v", way, s)
				}
			}
		})
	}
}

// refusingProxy answers every CONNECT with a status.
func refusingProxy(t *testing.T, status int) (address string) {
	t.Helper()
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(p.Close)
	return p.Listener.Addr().String()
}

// unused is an address that nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
