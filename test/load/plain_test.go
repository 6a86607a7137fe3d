package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/drone/drone-go/drone"
	plugin "github.com/drone/drone-go/plugin/secret"
)

// bare is what an extension can't do without: one client of Microsoft's SDK for each vault, with its own defaults, and a
// credential that exchanges the projected token.
type bare map[string]*azsecrets.Client // by alias

func newBare(w *world) (bare, error) {
	credential, err := azidentity.NewClientAssertionCredential(tenantID, clientID, func(context.Context) (string, error) {
		token, err := os.ReadFile(w.environment["AZURE_FEDERATED_TOKEN_FILE"])
		return string(token), err
	}, &azidentity.ClientAssertionCredentialOptions{DisableInstanceDiscovery: true})
	if err != nil {
		return nil, err
	}
	all := bare{}
	for _, alias := range aliases() {
		if all[alias], err = azsecrets.NewClient("https://kv-"+alias+".vault.azure.net", credential, nil); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// read asks for what a request of that build and for that secret asks for.
func (b bare) read(ctx context.Context, alias, name string) (string, error) {
	client := b[alias]
	if client == nil {
		return "", fmt.Errorf("there is no %s", alias)
	}
	answer, err := client.GetSecret(ctx, name, "", nil)
	if err != nil {
		return "", err
	}
	return *answer.Value, nil
}

// Find makes an extension of it: one read for each request, nothing remembered, nothing decided and nothing on record. So
// do the extensions of Drone's own, for other stores.
func (b bare) Find(ctx context.Context, r *plugin.Request) (*drone.Secret, error) {
	text, err := b.read(ctx, r.Path, r.Name)
	if err != nil {
		return nil, err
	}
	return &drone.Secret{Name: r.Name, Data: text, Pull: true}, nil
}

// plain serves such an extension behind drone-go's own handler, and returns its address.
func plain(b testing.TB, sdk bare) string {
	return listen(b, plugin.Handler(sharedKey, sdk, nil))
}

// listen serves a handler for as long as the benchmark takes.
func listen(b testing.TB, handler http.Handler) (address string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}
