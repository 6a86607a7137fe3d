package keyvault_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	tenant  = "11111111-2222-4333-8444-555555555555"
	foreign = "99999999-2222-4333-8444-555555555555"
	client  = "3f2a4c55-1111-4222-8333-444455556666"
	host    = "kv-pay-prod.vault.azure.net"
	login   = "login.microsoftonline.com"
	value   = "hunter2-canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an emulated Azure: one application, one vault that it may read, one secret in it.
type world struct {
	*emulator.Emulator
	t         *testing.T
	kv        *emulator.Vault
	evil      *emulator.Vault
	version   string
	transport *http.Transport
	file      string
}

// shared spares the many worlds of this package the making of RSA keys.
var shared = sync.OnceValue(func() *emulator.Keys { return new(emulator.Keys) })

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, emulator.Options{})
}

func newWorldWith(t *testing.T, options emulator.Options) *world {
	t.Helper()
	options.Keys = shared()
	e, err := emulator.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	w := &world{Emulator: e, t: t, kv: e.Vault(host, tenant), evil: e.Vault("evil.vault.azure.net", tenant),
		transport: e.Transport(), file: filepath.Join(t.TempDir(), "tokens", "token")}
	t.Cleanup(w.transport.CloseIdleConnections)
	w.kv.Allow(client)
	w.version = w.kv.Set("deploy-db", value)
	if err := e.ProjectToken(w.file, ""); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) identity(t *testing.T) *entra.Identity {
	t.Helper()
	i, err := entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client, AssertionFile: w.file,
		Transport: w.transport, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// vault makes the vault under test, with an identity of its own.
func (w *world) vault(t *testing.T) *keyvault.Vault {
	t.Helper()
	return open(t, w.identity(t), w.transport)
}

func open(t *testing.T, i keyvault.Identity, transport http.RoundTripper) *keyvault.Vault {
	t.Helper()
	return openAt(t, "https://"+host, i, transport)
}

func openAt(t *testing.T, url string, i keyvault.Identity, transport http.RoundTripper) *keyvault.Vault {
	t.Helper()
	v, err := keyvault.New(keyvault.Options{Alias: "pay-prod", URL: url, Identity: i, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ref(s string) secret.Ref {
	r, err := secret.ParseRef("pay-prod/" + s)
	if err != nil {
		panic(err)
	}
	return r
}

// read reads and checks what must hold of every answer: a value or an *secret.Error, which tells no secret.
func read(t *testing.T, ctx context.Context, v *keyvault.Vault, name string) (secret.Fetched, *secret.Error) {
	t.Helper()
	f, err := v.Get(ctx, secret.Request{}, ref(name))
	if err == nil {
		if f.Value.Len() == 0 || f.Version == "" || f.Identity != "pay" || f.How != secret.HowFetched {
			t.Errorf("fetched %+v", f)
		}
		return f, nil
	}
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		t.Fatalf("%T is no *secret.Error", err)
	}
	for _, s := range []string{value, "eyJ", "Sign in to the network", "appid="} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("%q is in %q", s, err)
		}
	}
	if f.Value.Len() != 0 {
		t.Error("a value beside an error")
	}
	return f, e
}

func reads(t *testing.T, v *keyvault.Vault, name, want string) {
	t.Helper()
	f, err := read(t, t.Context(), v, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Value.Reveal()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func want(t *testing.T, err *secret.Error, kind secret.Kind, reason secret.Reason, detail string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", reason)
	}
	if err.Kind != kind || err.Reason != reason || !strings.Contains(err.Detail, detail) {
		t.Errorf("got %s, %s: %s; want %s, %s: %s", err.Kind, err.Reason, err.Detail, kind, reason, detail)
	}
}

// roundTripper makes a function a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
