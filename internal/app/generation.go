package app

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

// generation is everything that one configuration brings to life: keys, policy and sources behind one handler. It is
// built whole before it answers anything, and takes over from the one before whatever is unchanged.
//
// Nothing in it changes once it is in force. What it shares with the generation before, it must not close while that
// one still answers: close takes the other for that reason.
type generation struct {
	number  int
	since   time.Time
	config  *config.Config
	handler http.Handler
	keys    []keyName

	identities map[string]*entra.Identity // by name
	who        map[string]who
	unopened   map[string]error           // why those are broken that could not be opened
	issuer     *issuer.Issuer             // nil: none is configured
	vaults     map[string]*keyvault.Vault // by alias
	doors      map[string]door
	router     *provider.Router
	limits     provider.Options
}

// keyName names a runner's key where the key itself has no business.
type keyName struct{ Pool, ID string }

// door is everything that makes a vault's alias the way to it that it is.
type door struct {
	vault *keyvault.Vault
	url   string
	is    *entra.Identity
	stale time.Duration
}

// reserve is kept back from a request's budget for the record, which may take a second; of a small budget a quarter.
func reserve(budget time.Duration) time.Duration { return min(1500*time.Millisecond, budget/4) }

// newGeneration wires the rooms. It opens no connection. before is the generation that it follows, if any.
//
// On an error it has closed what it made and left alone what it took over.
func newGeneration(c *config.Config, keys []drone.Key, before *generation, memory *drone.Memory, record secret.Recorder, env Env, log zerolog.Logger) (*generation, error) {
	policy, err := secret.NewPolicy(c.Rules)
	if err != nil {
		return nil, err
	}
	guard, err := drone.NewGuard(drone.Options{
		Keys: keys, Skew: c.Limits.Skew, MaxBody: c.Limits.Body, Repeats: c.Limits.Repeats, Now: env.Now, Memory: memory,
	})
	if err != nil {
		return nil, err
	}
	g := &generation{
		number: 1, since: env.Now(), config: c,
		identities: map[string]*entra.Identity{}, who: map[string]who{}, unopened: map[string]error{},
		vaults: map[string]*keyvault.Vault{}, doors: map[string]door{},
		limits: provider.Options{InFlight: c.Limits.InFlight, Reads: env.reads, Timeout: c.Limits.Budget - reserve(c.Limits.Budget)},
	}
	if before != nil {
		g.number = before.number + 1
	}
	for _, k := range keys {
		g.keys = append(g.keys, keyName{k.Pool, k.ID})
	}
	open := func(name string) error { return g.openOrBreak(name, before, env, log) }
	for _, step := range []func() error{
		func() error { return g.openIdentities(false, open) },
		func() error { return g.openIssuer(before, env) },
		func() error { return g.openIdentities(true, open) },
		g.usable,
		func() error { return g.openVaults(before, env) },
	} {
		if err := step(); err != nil {
			g.close(before)
			return nil, err
		}
	}
	service := &secret.Service{
		Policy: policy, Fetcher: g.router, Recorder: record, Config: c.SHA256, Now: env.Now, Reserve: reserve(c.Limits.Budget),
	}
	g.handler = drone.NewEndpoint(drone.EndpointOptions{
		Guard: guard, Recorder: record, Budget: c.Limits.Budget, Plain: !c.Listen.Encrypt, Config: c.SHA256,
	}, g.calls(service)...)
	return g, nil
}

// openVaults makes the doors and the router that leads to them. With the same doors and limits it takes the whole router of
// the generation before, and what it remembers: a change of bindings alone costs no build a second read.
//
// A router is taken only if its doors are the very same, since a value in it was read through one: another identity may
// not have had it. The door of tokens keeps values for a build only, and is the same if nothing that makes them changed.
func (g *generation) openVaults(before *generation, env Env) error {
	doors := make(map[string]provider.Door, len(g.config.Vaults)+1)
	for alias, c := range g.config.Vaults {
		vault, err := g.openVault(alias, before, env)
		if err != nil {
			return err
		}
		g.doors[alias] = door{vault: vault, url: c.URL, is: g.identities[c.Identity], stale: c.Stale}
		doors[alias] = provider.Door{Source: vault, Stale: c.Stale, Host: c.Host}
	}
	if tokens := g.openTokens(env); tokens != nil {
		doors[secret.TokenDoor] = provider.Door{Source: tokens, PerBuild: true} // for names that there are none of
		for name := range g.config.Tokens {
			alone := secret.TokenDoor + "/" + name
			doors[alone] = provider.Door{Source: tokens, PerBuild: true, Host: alone}
		}
	}
	if before != nil && maps.Equal(before.doors, g.doors) && g.sameTokens(before) &&
		before.limits.InFlight == g.limits.InFlight && before.limits.Timeout == g.limits.Timeout {
		g.router = before.router
		return nil
	}
	limits := g.limits
	limits.Now = env.Now
	g.router = provider.NewRouter(doors, limits)
	return nil
}

// openVault makes a client of the vault, or takes it from the generation before. Asked again it gives the same.
func (g *generation) openVault(alias string, before *generation, env Env) (*keyvault.Vault, error) {
	if known := g.vaults[alias]; known != nil {
		return known, nil
	}
	c := g.config.Vaults[alias]
	is := g.identities[c.Identity]
	vault := (*keyvault.Vault)(nil)
	if old, ok := before.door(alias); ok && old.url == c.URL && old.is == is {
		vault = old.vault
	} else {
		var err error
		if vault, err = keyvault.New(keyvault.Options{Alias: alias, URL: c.URL, Identity: is, Transport: env.Transport}); err != nil {
			return nil, placed(c.At, fmt.Errorf("vault %s: %w", alias, err))
		}
	}
	g.vaults[alias] = vault
	return vault, nil
}

// sameTokens tells whether tokens are made as in the generation before: of the same words, by the same identities and issuer.
func (g *generation) sameTokens(before *generation) bool {
	return g.issuer == before.issuer && maps.Equal(g.identities, before.identities) && maps.EqualFunc(g.config.Tokens, before.config.Tokens,
		func(a, b config.Token) bool { a.At, b.At = "", ""; return reflect.DeepEqual(a, b) })
}

// door is the generation's door of that alias. There may be no generation before the first.
func (g *generation) door(alias string) (door, bool) {
	if g == nil {
		return door{}, false
	}
	d, ok := g.doors[alias]
	return d, ok
}

// close ends what the other generation does not use; nil: everything.
func (g *generation) close(other *generation) {
	if g.router != nil && (other == nil || g.router != other.router) {
		g.router.Close()
	}
	for name, identity := range g.identities {
		if other == nil || other.identities[name] != identity {
			identity.Close()
		}
	}
}
