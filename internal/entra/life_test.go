package entra_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// settled waits until the exchange that a caller started behind its token has been noted.
func settled(t *testing.T, i *entra.Identity, since entra.Status) entra.Status {
	t.Helper()
	for {
		s := i.Status()
		if s.LastExchange != since.LastExchange || s.LastFailure != since.LastFailure {
			return s
		}
		if t.Context().Err() != nil {
			t.Fatal("no exchange")
		}
		time.Sleep(time.Millisecond)
	}
}

// While a token is valid it is served at once, whatever is broken; the log and the status tell; after its end nothing serves.
func TestAValidTokenServesWhileItsSourceIsBroken(t *testing.T) {
	t.Parallel()
	shared := newWorld(t)
	for name, fault := range map[string]struct {
		breakIt func(w *world) (heal func())
		reason  secret.Reason
	}{
		"the file goes": {func(w *world) func() {
			if err := os.Remove(w.file); err != nil {
				w.t.Fatal(err)
			}
			return w.project
		}, secret.ReasonIdentity},
		"Entra is down": {func(w *world) func() { return w.Fault(emulator.Login(), emulator.Fault{Status: 503}) }, secret.ReasonUnavailable},
		"Entra throttles": {func(w *world) func() {
			return w.Fault(emulator.TokenEndpoint(), emulator.Fault{Status: 429, RetryAfter: time.Minute})
		}, secret.ReasonThrottled},
		"Entra refuses": {func(w *world) func() { return w.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: 700213}) }, secret.ReasonIdentity},
		"Entra is unproven": {func(w *world) func() {
			return w.Fault(emulator.Login(), emulator.Fault{Kind: emulator.WrongCertificate})
		}, secret.ReasonIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			w := shared.with(t)
			i := w.identity()
			first, err := w.token(i)
			works(t, err)
			before := i.Status()
			heal := fault.breakIt(w)

			w.advance(before.TokenExpires.Sub(w.now()) - 4*time.Minute) // it is time for a new one
			again, err := w.token(i)
			works(t, err)
			if again != first {
				t.Error("another token")
			}
			if s := settled(t, i, before); s.State != entra.Failing || s.Error == "" {
				t.Errorf("the status is %+v", s)
			}
			if _, err := w.token(i); err != nil {
				t.Error(err)
			}
			lines := w.log.lines()
			if len(lines) != 1 || !strings.Contains(lines[0], `"level":"warn"`) || !strings.Contains(lines[0], string(fault.reason)) {
				t.Errorf("the log is %q", lines)
			}

			w.advance(4 * time.Minute) // its end
			_, err = w.token(i)
			want(t, err, secret.Unavailable, fault.reason)
			if s := i.Status(); s.State != entra.Broken {
				t.Errorf("the status is %+v", s)
			}

			heal()
			w.advance(-5 * time.Minute) // the emulator's new token is of the real time's
			w.advance(-w.ahead())
			_, err = w.token(i, func(o *policy.TokenRequestOptions) { o.Claims = `{"access_token":{"nbf":{"essential":true}}}` })
			works(t, err)
			if s := i.Status(); s.State != entra.Working || s.Error != "" {
				t.Errorf("the status is %+v", s)
			}
			if !strings.Contains(w.log.String(), "works again") {
				t.Errorf("the log is %q", w.log.lines())
			}
		})
	}
}

func (w *world) ahead() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func TestATokenIsRenewedBehindItsCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	first, err := w.token(i)
	works(t, err)
	before := i.Status()
	w.advance(before.TokenExpires.Sub(w.now()) - 4*time.Minute)
	remove := w.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Hold})
	for range 10 {
		got, err := w.token(i) // nobody waits
		works(t, err)
		if got != first {
			t.Error("another token while the new one is under way")
		}
	}
	remove()
	settled(t, i, before)
	if n := w.TokenRequests(client); n != 2 {
		t.Errorf("%d tokens were asked for", n)
	}
}

// Alarms don't flood the log, however often a broken identity is asked.
func TestAlarmsAreRare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := w.token(i); err == nil {
			t.Fatal("a token without a file")
		}
	}
	if lines := w.log.lines(); len(lines) != 1 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	w.advance(5 * time.Minute)
	_, _ = w.token(i)
	lines := w.log.lines()
	var second struct {
		Level, Identity, Reason, Message string
		Failures                         int
	}
	if len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &second) != nil {
		t.Fatalf("the log is %q", lines)
	}
	if second.Level != "error" || second.Identity != "pay" || second.Reason != "identity" || second.Failures != 20 || !strings.Contains(second.Message, w.file) {
		t.Errorf("the second line is %+v", second)
	}
}

func TestClaimsAreNeverAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	first, err := w.token(i)
	works(t, err)
	second, err := w.token(i, func(o *policy.TokenRequestOptions) { o.Claims = `{"access_token":{"nbf":{"essential":true}}}` })
	works(t, err)
	third, err := w.token(i)
	works(t, err)
	if first == second || second != third {
		t.Error("the demanded token is not the one that serves from then on")
	}
}

// MSAL answers with the old token when the machine's endpoint refuses a new one, and says nothing. We do.
func TestAManagedIdentityThatIsNotRenewedIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := "aaaaaaaa-0000-4000-8000-000000000009"
	i := w.identity(func(o *entra.Options) { o.AssertionFile, o.TenantID, o.ClientID, o.Managed = "", "", id, true })
	remove := w.Fault(emulator.Metadata(), emulator.Fault{Status: 200, Body: `{"access_token":"eyJ.first","expires_in":"86400","refresh_in":"1",
		"resource":"https://vault.azure.net","token_type":"Bearer"}`})
	first, err := w.token(i)
	works(t, err)
	remove() // the identity is not assigned to this machine any more
	for i.Status().State != entra.Failing {
		if t.Context().Err() != nil {
			t.Fatalf("the status is %+v", i.Status())
		}
		w.advance(31 * time.Second)
		before := i.Status()
		again, err := w.token(i)
		works(t, err)
		if again != first {
			t.Error("another token")
		}
		settled(t, i, before)
		time.Sleep(10 * time.Millisecond) // MSAL goes by the real clock, which has a second to go
	}
	if s := i.Status(); !strings.Contains(s.Error, "assign the managed identity") {
		t.Errorf("the status is %+v", s)
	}
}
