package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/token"
	"github.com/drone-entra/drone-entra/secret"
)

// reuse is for how long a build's further requests may get the ID token of the first: for so much less than its lifetime it
// lives when it is released.
const reuse = 30 * time.Second

// openTokens makes the door of short-lived tokens, if the configuration has any.
func (g *generation) openTokens(env Env) *token.Tokens {
	if len(g.config.Tokens) == 0 {
		return nil
	}
	var entries []token.Entry
	for _, name := range slices.Sorted(maps.Keys(g.config.Tokens)) {
		entries = append(entries, g.entry(g.config.Tokens[name]))
	}
	return token.New(entries, env.Transport, env.Now)
}

func (g *generation) entry(c config.Token) token.Entry {
	e := token.Entry{Name: c.Name, Scope: c.Scope, MinLife: c.MinLife, Registry: c.Registry}
	if c.Audience != "" {
		e.Mint = mint(g.issuer, issuer.Ask{Form: issuer.Form(c.Subject), Audience: c.Audience, Lifetime: c.Lifetime})
		e.MinLife = max(c.Lifetime-reuse, c.Lifetime/2)
		return e
	}
	is := g.identities[c.Identity]
	e.Identity = is
	if c.Registry != "" {
		e.Scope, e.Tenant = entra.ResourceManager(g.config.Identities[c.Identity].Cloud), is.Tenant()
		for _, r := range c.Repositories {
			e.Scopes = append(e.Scopes, "repository:"+r.Name+":"+strings.Join(r.Actions, ","))
		}
	}
	return e
}

// calls are the extension calls that the generation answers. Without a token for a registry there is nothing to say to who
// asks for registries, and the call is refused like any other that is not served.
func (g *generation) calls(service *secret.Service) []drone.Call {
	calls := []drone.Call{drone.Secrets(service.Find)}
	var refs []secret.Ref
	for _, name := range slices.Sorted(maps.Keys(g.config.Tokens)) {
		if g.config.Tokens[name].Registry != "" {
			refs = append(refs, secret.Ref{Vault: secret.TokenDoor, Name: name})
		}
	}
	if refs == nil {
		return calls
	}
	return append(calls, drone.Registries(func(ctx context.Context, caller secret.Caller, r secret.Request) ([]drone.Credential, error) {
		items, err := service.Collect(ctx, caller, r, refs)
		var credentials []drone.Credential
		for _, item := range items {
			credentials = append(credentials, drone.Credential{
				Address: g.config.Tokens[item.Ref.Name].Registry, Username: token.RegistryUser, Password: item.Value,
			})
		}
		return credentials, err
	}))
}
