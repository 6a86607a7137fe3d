package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// A vault that can't answer now: 503, or the last value where that is allowed, and only there.
func TestV1AVaultThatIsDown(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		fault  emulator.Fault
		reason string
	}{
		{"429 with Retry-After: 20", emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, "throttled"},
		{"429 without", emulator.Fault{Status: 429}, "throttled"},
		{"500", emulator.Fault{Status: 500}, "unavailable"},
		{"503", emulator.Fault{Status: 503}, "unavailable"},
		{"503 with Retry-After: 20", emulator.Fault{Status: 503, RetryAfter: 20 * time.Second}, "unavailable"},
		{"504", emulator.Fault{Status: 504}, "unavailable"},
		{"reset (V3)", emulator.Fault{Kind: emulator.Reset}, "network"},
		{"no such host (V3)", emulator.Fault{Kind: emulator.UnknownHost}, "network"},
	}
	f := startFaulty(t, fleet(len(cases), ""))
	for i, c := range cases {
		t.Run("V1 "+c.name, func(t *testing.T) { f.down(t, i+1, c.fault, fails(http.StatusServiceUnavailable, c.reason)) })
	}
}

// down is what becomes of each door when vault number i can't answer.
func (f *faulty) down(t *testing.T, i int, fault emulator.Fault, want verdict) {
	t.Helper()
	vault, strict, lenient := fmt.Sprint("kv-faulty-", i), fmt.Sprintf("strict-%d/db", i), fmt.Sprintf("lenient-%d/db", i)
	at := vault + "/db"
	f.fill(at)
	f.expect(t, f.next(), strict, gets(at))
	f.expect(t, f.next(), lenient, gets(at))
	remove := f.Emulator.Fault(f.Vault(vault).Target(), fault)
	f.expect(t, f.next(), strict, want)
	if e := f.expect(t, f.next(), lenient, gets(at)); e.How != "stale" {
		t.Errorf("the last value served and the record says %q: %s", e.How, e.Line)
	}
	f.good(t)
	remove()
	f.expect(t, f.next(), strict, gets(at))
	if e := f.expect(t, f.next(), lenient, gets(at)); e.How != "fetched" {
		t.Errorf("the vault is back and the value was %s", e.How)
	}
}

// A vault that stays down is left alone in ever longer pauses; /status says so, and nobody has to do anything for it to be
// used again.
func TestV1ADeadVaultAnswersAtOnceAndHealsAlone(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	f.fill("kv-faulty/db")
	f.expect(t, f.next(), "strict/db", gets("kv-faulty/db"))
	remove := f.Emulator.Fault(f.Vault("kv-faulty").Target(), emulator.Fault{Kind: emulator.Reset})
	refused := fails(http.StatusServiceUnavailable, "network")
	eventually(t, "a pause of more than a second, and an answer in it that the vault was not asked for", func() bool {
		f.expect(t, f.next(), "strict/db", refused)
		if door := f.status().Vaults["strict"].Door; door.State != "open" || time.Until(door.Retry) < time.Second {
			return false
		}
		f.Emulator.Forget()
		f.expect(t, f.next(), "strict/db", refused)
		return f.Emulator.Count("kv-faulty.vault.azure.net", "/secrets/db") == 0 // else the pause was over before he asked
	})
	f.good(t)
	vaults := f.status().Vaults
	if door := vaults["strict"].Door; !strings.Contains(door.Problem, "connection") {
		t.Errorf("/status doesn't say what is wrong: %+v", door)
	}
	if door := vaults["shared"].Door; door.State != "closed" || door.Problem != "" {
		t.Errorf("/status says %+v of a vault that nothing is wrong with", door)
	}
	remove()
	f.heals(t, "strict/db", "kv-faulty/db")
	if state := f.status().Vaults["strict"].Door.State; state != "closed" {
		t.Errorf("the vault is back and /status says %s", state)
	}
}

// hanging is a budget for tests in which something hangs: they wait for most of it, and everything else has to fit into it.
const hanging = "limits: {budget: 8s, drain: 1s}\n"

// A vault that hangs: 504 within the budget, and others don't notice.
func TestV2AVaultThatHangs(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, fleet(3, hanging))
	for i, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Drip} {
		t.Run("V2 "+kind.String(), func(t *testing.T) {
			at, ref := fmt.Sprintf("kv-faulty-%d/db", i+1), fmt.Sprintf("strict-%d/db", i+1)
			f.fill(at)
			f.expect(t, f.next(), ref, gets(at))
			remove := f.Emulator.Fault(f.Vault(fmt.Sprint("kv-faulty-", i+1)).Secret("db"), emulator.Fault{Kind: kind})
			for range 2 { // who asks again, too
				if e := f.nothing(t, f.next(), ref); e.Outcome != "failed" || e.Reason != "timeout" && e.Reason != "late" {
					t.Errorf("on record is %s", e.Line)
				}
			}
			f.good(t)
			remove()
			f.heals(t, ref, at)
		})
	}
}

// heals waits for a vault to be used again: a read that began while it hung may still be joined for a second.
func (f *faulty) heals(t *testing.T, ref, at string) {
	t.Helper()
	eventually(t, "the value again", func() bool {
		_, err := f.find(f.next(), ref)
		return err == nil
	})
	f.expect(t, f.next(), ref, gets(at))
}

// Where the last value may serve, it serves while the vault hangs: also to the first who finds it hanging, and whatever
// the budget is.
func TestV2TheLastValueWhileAVaultHangs(t *testing.T) {
	t.Parallel()
	for _, budget := range []string{"20s", "8s"} {
		t.Run("V2 stale with a budget of "+budget, func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, doors+"limits: {budget: "+budget+", drain: 1s}\n")
			f.fill("kv-faulty/db")
			f.expect(t, f.next(), "lenient/db", gets("kv-faulty/db"))
			remove := f.Emulator.Fault(f.Vault("kv-faulty").Secret("db"), emulator.Fault{Kind: emulator.Hang})
			for range 2 {
				if e := f.expect(t, f.next(), "lenient/db", gets("kv-faulty/db")); e.How != "stale" {
					t.Errorf("the last value served and the record says %q: %s", e.How, e.Line)
				}
			}
			f.good(t)
			remove()
			f.heals(t, "lenient/db", "kv-faulty/db")
		})
	}
}

// Whoever can't prove to be the vault may stand in for nothing: not even the last value serves.
func TestV3SomebodyElseInTheVaultsPlace(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, fleet(3, ""))
	for i, kind := range []emulator.Kind{emulator.ExpiredCertificate, emulator.WrongCertificate, emulator.UntrustedCertificate} {
		t.Run("V3 "+kind.String(), func(t *testing.T) {
			vault, strict, lenient := fmt.Sprint("kv-faulty-", i+1), fmt.Sprintf("strict-%d/db", i+1), fmt.Sprintf("lenient-%d/db", i+1)
			f.fill(vault + "/db")
			f.expect(t, f.next(), lenient, gets(vault+"/db"))
			remove := f.Emulator.Fault(f.Vault(vault).Target(), emulator.Fault{Kind: kind})
			f.expect(t, f.next(), strict, fails(http.StatusServiceUnavailable, "identity"))
			f.expect(t, f.next(), lenient, fails(http.StatusServiceUnavailable, "identity"))
			f.good(t)
			remove()
			f.expect(t, f.next(), lenient, gets(vault+"/db"))
		})
	}
}

// Key Vault's refusal is final: nothing that was read before serves after it.
func TestV4Refused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		refuse func(vault) (heal func())
	}{
		{"no role any more", func(v vault) func() { v.Forbid(clientID); return func() { v.Allow(clientID) } }},
		{"401", func(v vault) func() {
			return v.s.Emulator.Fault(v.Secret("db"), emulator.Fault{Status: http.StatusUnauthorized})
		}},
		{"403 without a code", func(v vault) func() {
			return v.s.Emulator.Fault(v.Secret("db"), emulator.Fault{Status: http.StatusForbidden, Body: "<html>no</html>"})
		}},
	}
	f := startFaulty(t, fleet(len(cases), ""))
	for i, c := range cases {
		t.Run("V4 "+c.name, func(t *testing.T) {
			name, doors := fmt.Sprint("kv-faulty-", i+1), []string{fmt.Sprintf("strict-%d/db", i+1), fmt.Sprintf("lenient-%d/db", i+1)}
			f.fill(name + "/db")
			first := f.next()
			for _, ref := range doors {
				f.expect(t, first, ref, gets(name+"/db"))
			}
			heal := c.refuse(f.Vault(name))
			for _, ref := range doors {
				f.expect(t, f.next(), ref, denied("vault-refused"))
				f.nothing(t, first, ref)
			}
			f.good(t)
			heal()
			remove := f.Emulator.Fault(f.Vault(name).Secret("db"), busy)
			f.expect(t, f.next(), doors[1], fails(http.StatusServiceUnavailable, "throttled"))
			remove()
			f.expect(t, f.next(), doors[1], gets(name+"/db"))
		})
	}
}

// The first of those who wait goes away; the others still get theirs. Meanwhile another vault answers as ever.
func TestV9AndV10WaitingForAVaultThatHangs(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	f.fill("kv-faulty/db")
	f.expect(t, f.next(), "strict/db", gets("kv-faulty/db"))
	f.Emulator.Forget()
	release := f.Emulator.Fault(f.Vault("kv-faulty").Target(), emulator.Fault{Kind: emulator.Hold})

	gone := f.dial()
	first := f.next()
	if _, err := gone.Write(genuine(first.body("strict", "db")).sign(runnerKey, five).bytes()); err != nil {
		t.Fatal(err)
	}
	if err := f.Emulator.Await(t.Context(), 1, "kv-faulty.vault.azure.net", "/secrets/db"); err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	var waiting sync.WaitGroup
	for range 20 {
		b := f.next()
		waiting.Go(func() {
			if value, err := f.find(b, "strict/db"); err != nil || value != f.valueAt(t, "kv-faulty/db") {
				t.Errorf("V9: one who stayed got %q, %v", value, err)
			}
		})
	}
	for range 5 {
		if value, err := f.find(f.next(), "shared/ci-token"); err != nil || value == "" {
			t.Errorf("V10: the other vault's secret: %q, %v", value, err)
		}
	}
	release()
	waiting.Wait()
	f.good(t)
	ofFirst := func() (n int) {
		for _, e := range f.events() {
			if e.Build.Number == first.build.Number {
				n++
			}
		}
		return n
	}
	eventually(t, "an event of the one who went", func() bool { return ofFirst() > 0 })
	f.stop()
	if n := ofFirst(); n != 1 {
		t.Errorf("V9: %d events are on record of the one who went", n)
	}
}
