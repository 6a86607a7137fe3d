package emulator_test

import (
	"context"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

const (
	tenant   = "11111111-2222-4333-8444-555555555555"
	client   = "3f2a4c55-1111-4222-8333-444455556666"
	stranger = "99999999-1111-4222-8333-444455556666"
	host     = "kv-pay-prod.vault.azure.net"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(program(url))
	}
	goleak.VerifyTestMain(m)
}

// shared spares the many worlds of this package the making of RSA keys.
var shared = sync.OnceValue(func() *emulator.Keys { return new(emulator.Keys) })

// world is an emulator with one application and one vault that it may read.
func world(t *testing.T) (*emulator.Emulator, *emulator.Vault) {
	t.Helper()
	return worldWith(t, emulator.Options{})
}

func worldWith(t *testing.T, options emulator.Options) (*emulator.Emulator, *emulator.Vault) {
	t.Helper()
	options.Keys = shared()
	e, err := emulator.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	v := e.Vault(host, tenant)
	v.Allow(client)
	return e, v
}

// clientOptions lead an SDK's client to the emulator; retries are off, so that each fault shows.
func clientOptions(e *emulator.Emulator) azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: &http.Client{Transport: e.Transport()},
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

// credential presents the assertion that the options describe.
func credential(t testing.TB, e *emulator.Emulator, o emulator.AssertionOptions) azcore.TokenCredential {
	t.Helper()
	c, err := azidentity.NewClientAssertionCredential(tenant, client, assertionsLike(e, o),
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: clientOptions(e)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func assertions(e *emulator.Emulator) func(context.Context) (string, error) {
	return assertionsLike(e, emulator.AssertionOptions{})
}

func assertionsLike(e *emulator.Emulator, o emulator.AssertionOptions) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return e.Assertion(o), nil }
}

// secrets is the real client of a vault.
func secrets(t testing.TB, e *emulator.Emulator, v *emulator.Vault, c azcore.TokenCredential) *azsecrets.Client {
	t.Helper()
	s, err := azsecrets.NewClient(v.URL(), c, &azsecrets.ClientOptions{ClientOptions: clientOptions(e)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASecretIsReadThroughTheRealClients(t *testing.T) {
	e, v := world(t)
	version := v.Set("deploy-db", "hunter2")
	got, err := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{})).GetSecret(t.Context(), "deploy-db", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Value != "hunter2" || got.ID.Version() != version || got.ID.Name() != "deploy-db" {
		t.Errorf("got %q, version %q of %q; want hunter2, version %q", *got.Value, got.ID.Version(), got.ID.Name(), version)
	}
}

func TestEachEmulatorHasKeysOfItsOwn(t *testing.T) {
	one, v := world(t)
	v.Set("db", "hunter2")
	other, err := emulator.Start(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Register(emulator.App{Tenant: tenant, ClientID: client})
	if status, _, _ := bare(t, one, v, tokenFor(t, other, "https://vault.azure.net/.default")); status != http.StatusUnauthorized {
		t.Errorf("the token of another emulator: got %d", status)
	}
	if answer, err := other.Transport().RoundTrip(get(t, v.URL())); err == nil {
		_ = answer.Body.Close()
		t.Error("a vault of one emulator is known to another")
	}
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestCloseMayBeCalledAgain(t *testing.T) {
	e, _ := world(t)
	e.Close()
	e.Close()
	if answer, err := e.Transport().RoundTrip(get(t, e.IssuerURL())); err == nil {
		_ = answer.Body.Close()
		t.Error("a closed emulator answers")
	}
}
