package provider_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/provider/keyvault"
)

const (
	tenant = "11111111-2222-4333-8444-555555555555"
	client = "3f2a4c55-1111-4222-8333-444455556666"
)

// azure is the Router over real clients of two emulated vaults, "shared" and "pay".
type azure struct {
	*emulator.Emulator
	shared, pay *emulator.Vault
	router      *provider.Router
}

func newAzure(t *testing.T, stale time.Duration) *azure {
	t.Helper()
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	file := filepath.Join(t.TempDir(), "tokens", "token")
	if err := e.ProjectToken(file, ""); err != nil {
		t.Fatal(err)
	}
	transport := e.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	identity, err := entra.New(entra.Options{Name: "default", TenantID: tenant, ClientID: client, AssertionFile: file,
		Transport: transport, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(identity.Close)
	a := &azure{Emulator: e, shared: e.Vault("kv-shared.vault.azure.net", tenant), pay: e.Vault("kv-pay.vault.azure.net", tenant)}
	a.router = provider.NewRouter(map[string]provider.Door{
		"shared": {Source: door(t, a.shared, identity, transport), Stale: stale},
		"pay":    {Source: door(t, a.pay, identity, transport), Stale: stale},
	}, provider.Options{})
	t.Cleanup(a.router.Close)
	return a
}

func door(t *testing.T, v *emulator.Vault, i *entra.Identity, transport *http.Transport) provider.Source {
	t.Helper()
	v.Allow(client)
	source, err := keyvault.New(keyvault.Options{Alias: "door", URL: v.URL(), Identity: i, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestAColdCrowdMakesOneReadAndOneToken(t *testing.T) {
	t.Parallel()
	a := newAzure(t, 0)
	a.shared.Set("ci-token", "v1")
	release := a.Fault(a.shared.Secret("ci-token"), emulator.Fault{Kind: emulator.Hold})
	var wg, asked sync.WaitGroup
	start := time.Now()
	for range 2000 {
		asked.Add(1)
		wg.Go(func() {
			asked.Done()
			if got := ask(a.router, of(1), "shared/ci-token"); !strings.HasSuffix(got, " v1") {
				t.Error(got)
			}
		})
	}
	asked.Wait()
	release()
	wg.Wait()
	// Each second that this machine needed may have made one more read, and the first needs a challenge.
	if n, most := a.Count(a.shared.Host(), "/secrets/"), 3+int(time.Since(start)/time.Second); n > most {
		t.Errorf("%d requests to the vault, at most %d", n, most)
	}
	if n := a.TokenRequests(""); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

func TestTheNextBuildSeesARotationAndARevocation(t *testing.T) {
	t.Parallel()
	a := newAzure(t, time.Hour)
	a.shared.Set("ci-token", "v1")
	want(t, ask(a.router, of(1), "shared/ci-token"), "fetched v1")
	a.shared.Set("ci-token", "v2")
	want(t, ask(a.router, of(1), "shared/ci-token"), "build v1")
	want(t, ask(a.router, of(2), "shared/ci-token"), "fetched v2")
	a.shared.Forbid(client)
	want(t, ask(a.router, of(3), "shared/ci-token"), "not found vault-refused")
	defer a.Fault(a.shared.Target(), emulator.Fault{Kind: emulator.Reset})()
	want(t, ask(a.router, of(4), "shared/ci-token"), "unavailable network")
}

func TestAnOutageServesTheLastValueAndAnImpostorDoesNot(t *testing.T) {
	t.Parallel()
	a := newAzure(t, time.Hour)
	a.shared.Set("ci-token", "v1")
	want(t, ask(a.router, of(1), "shared/ci-token"), "fetched v1")
	for _, fault := range []emulator.Fault{{Status: 429, RetryAfter: 20 * time.Second}, {Status: 503}, {Kind: emulator.UnknownHost}} {
		remove := a.Fault(a.shared.Target(), fault)
		want(t, ask(a.router, of(2), "shared/ci-token"), "stale v1")
		remove()
	}
	remove := a.Fault(a.shared.Target(), emulator.Fault{Kind: emulator.WrongCertificate})
	want(t, ask(a.router, of(2), "shared/ci-token"), "unavailable identity")
	remove()
	want(t, ask(a.router, of(2), "shared/ci-token"), "fetched v1")
}

func TestAHangingVaultLeavesTheOtherAlone(t *testing.T) {
	t.Parallel()
	a := newAzure(t, 0)
	a.shared.Set("ci-token", "v1")
	a.pay.Set("deploy", "v1")
	remove := a.Fault(a.shared.Target(), emulator.Fault{Kind: emulator.Hold})
	hung := make(chan string)
	go func() { hung <- ask(a.router, of(1), "shared/ci-token") }()
	if err := a.Await(t.Context(), 1, a.shared.Host(), ""); err != nil {
		t.Fatal(err)
	}
	want(t, ask(a.router, of(1), "pay/deploy"), "fetched v1")
	remove()
	want(t, <-hung, "fetched v1")
}

// Whatever the vault does, the answer is there within the time that a request has for it: 20 s less what is kept back for
// the record. Pauses that the vault asks for are kept where they fit.
func TestTriesAndPausesFitIntoTheBudget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault       emulator.Fault
		want        string
		least, most time.Duration
	}{
		"429, 2 s, once": {emulator.Fault{Status: 429, RetryAfter: 2 * time.Second, Times: 1}, "fetched v1", 2 * time.Second, 6 * time.Second},
		"429, 2 s":       {emulator.Fault{Status: 429, RetryAfter: 2 * time.Second}, "unavailable throttled", 4 * time.Second, 10 * time.Second},
		"429, 20 s":      {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, "unavailable throttled", 0, 3 * time.Second},
		"503":            {emulator.Fault{Status: 503}, "unavailable unavailable", 0, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t, 0)
			a.shared.Set("ci-token", "v1")
			defer a.Fault(a.shared.Secret("ci-token"), c.fault)()
			took := timed(func() { want(t, ask(a.router, of(1), "shared/ci-token"), c.want) })
			if took < c.least || took > c.most {
				t.Errorf("took %s, not from %s to %s", took, c.least, c.most)
			}
		})
	}
}

// The breaker knows the pause that Key Vault asks for.
func TestAVaultThatAsksForAPauseGetsIt(t *testing.T) {
	t.Parallel()
	a := newAzure(t, 0)
	a.shared.Set("ci-token", "v1")
	defer a.Fault(a.shared.Target(), emulator.Fault{Status: 429, RetryAfter: 20 * time.Second})()
	for range 5 {
		want(t, ask(a.router, of(1), "shared/ci-token"), "unavailable throttled")
	}
	door := a.router.Doors()["shared"]
	if pause := time.Until(door.Retry); door.State != provider.Open || pause < 15*time.Second || pause > 20*time.Second {
		t.Errorf("%+v", door)
	}
	a.Forget()
	want(t, ask(a.router, of(1), "shared/ci-token"), "unavailable throttled")
	if n := a.Count(a.shared.Host(), ""); n != 0 {
		t.Errorf("%d requests to a vault that asked for a pause", n)
	}
}
