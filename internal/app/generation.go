package app

import (
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

// generation is everything that one configuration brings to life: keys, policy and sources behind one handler. It is
// built whole before it answers anything.
type generation struct {
	config     *config.Config
	handler    http.Handler
	router     *provider.Router
	identities map[string]*entra.Identity
	vaults     map[string]*keyvault.Vault
	keys       []keyName
}

// keyName names a runner's key where the key itself has no business.
type keyName struct{ Pool, ID string }

// reserve is kept back from a request's budget for the record, which may take a second.
const reserve = 1500 * time.Millisecond

// newGeneration wires the rooms. It opens no connection.
func newGeneration(c *config.Config, keys []drone.Key, record secret.Recorder, env Env, log zerolog.Logger) (*generation, error) {
	policy, err := secret.NewPolicy(c.Rules)
	if err != nil {
		return nil, err
	}
	guard, err := drone.NewGuard(drone.Options{
		Keys: keys, Skew: c.Limits.Skew, MaxBody: c.Limits.Body, Repeats: c.Limits.Repeats, Now: env.Now,
	})
	if err != nil {
		return nil, err
	}
	g := &generation{config: c, vaults: map[string]*keyvault.Vault{}}
	for _, k := range keys {
		g.keys = append(g.keys, keyName{k.Pool, k.ID})
	}
	if g.identities, err = openIdentities(c.Identities, env, env.Transport, log); err != nil {
		return nil, err
	}
	if g.router, err = g.openVaults(env); err != nil {
		return nil, err
	}
	service := &secret.Service{
		Policy: policy, Fetcher: g.router, Recorder: record, Config: c.SHA256, Now: env.Now, Reserve: reserve,
	}
	g.handler = drone.NewEndpoint(drone.EndpointOptions{
		Guard: guard, Recorder: record, Budget: c.Limits.Budget, Plain: !c.Listen.Encrypt, Config: c.SHA256,
	}, drone.Secrets(service.Find))
	return g, nil
}

func (g *generation) openVaults(env Env) (*provider.Router, error) {
	doors := make(map[string]provider.Door, len(g.config.Vaults))
	for alias, c := range g.config.Vaults {
		vault, err := keyvault.New(keyvault.Options{
			Alias: alias, URL: c.URL, Identity: g.identities[c.Identity], Transport: env.Transport,
		})
		if err != nil {
			return nil, placed(c.At, fmt.Errorf("vault %s: %w", alias, err))
		}
		g.vaults[alias] = vault
		doors[alias] = provider.Door{Source: vault, Stale: c.Stale}
	}
	limits := g.config.Limits
	return provider.NewRouter(doors, provider.Options{
		InFlight: limits.InFlight, Timeout: limits.Budget - reserve, Now: env.Now,
	}), nil
}

func (g *generation) close() {
	g.router.Close()
	for _, identity := range g.identities {
		identity.Close()
	}
}
