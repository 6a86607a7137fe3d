package entra_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	tenant    = "11111111-2222-4333-8444-555555555555"
	client    = "3f2a4c55-1111-4222-8333-444455556666"
	vaults    = "https://vault.azure.net/.default"
	elsewhere = "https://management.azure.com/.default"
	login     = "login.microsoftonline.com"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an emulated Entra that knows one application, and that application's token in a file.
type world struct {
	*emulator.Emulator
	t    *testing.T
	file string
	log  buffer
	mu   sync.Mutex
	at   time.Duration // how far the identity's clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	return (&world{Emulator: e}).with(t)
}

// with gives a subtest the same Entra, with a file, a log and a clock of its own; making an Entra means making its keys.
func (w *world) with(t *testing.T) *world {
	t.Helper()
	w = &world{Emulator: w.Emulator, t: t, file: filepath.Join(t.TempDir(), "tokens", "azure-identity-token")}
	w.project()
	return w
}

func (w *world) project() {
	w.t.Helper()
	if err := w.ProjectToken(w.file, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.at)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at += d
}

// identity makes the identity "pay" of the application, changed as the test wants it.
func (w *world) identity(changes ...func(*entra.Options)) *entra.Identity {
	w.t.Helper()
	transport := w.Transport()
	o := entra.Options{
		Name: "pay", TenantID: tenant, ClientID: client, AssertionFile: w.file,
		Transport: transport, Log: zerolog.New(&w.log), Now: w.now,
	}
	for _, change := range changes {
		change(&o)
	}
	i, err := entra.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		i.Close()
		transport.CloseIdleConnections()
		canary(w.t, w.log.String())
	})
	return i
}

// token asks as Key Vault's client does, and checks what must hold of every answer.
func (w *world) token(i *entra.Identity, changes ...func(*policy.TokenRequestOptions)) (string, *secret.Error) {
	w.t.Helper()
	return get(w.t, w.t.Context(), i.Credential(""), changes...)
}

func get(t *testing.T, ctx context.Context, c azcore.TokenCredential, changes ...func(*policy.TokenRequestOptions)) (string, *secret.Error) {
	t.Helper()
	o := policy.TokenRequestOptions{Scopes: []string{vaults}, TenantID: tenant, EnableCAE: true}
	for _, change := range changes {
		change(&o)
	}
	token, err := c.GetToken(ctx, o)
	if err == nil {
		if !strings.HasPrefix(token.Token, "eyJ") {
			t.Errorf("the token is %q", token.Token)
		}
		return token.Token, nil
	}
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		t.Fatalf("%T is no *secret.Error", err)
	}
	canary(t, err.Error())
	return "", e
}

// canary fails on anything that looks like a JWT, or is from an answer's body.
func canary(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"eyJ", "Sign in to the network", "Trace ID", "access_token"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %q", secret, text)
		}
	}
}

func want(t *testing.T, err *secret.Error, kind secret.Kind, reason secret.Reason, details ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", reason)
	}
	if err.Kind != kind || err.Reason != reason {
		t.Errorf("got %s, %s; want %s, %s: %s", err.Kind, err.Reason, kind, reason, err.Detail)
	}
	for _, d := range append(details, "pay") {
		if !strings.Contains(err.Detail, d) {
			t.Errorf("%q is not in %q", d, err.Detail)
		}
	}
}

func works(t *testing.T, err *secret.Error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// buffer is a bytes.Buffer for a logger.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) lines() []string {
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// roundTripper makes a function a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
