package app

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/issuer"
)

// register makes the identity known to the emulated Entra: a machine's, or an application that trusts the token's
// subject, the machine's identity, or our own issuer.
func (d *Dev) register(c *config.Config, i config.Identity) {
	tenant := tenantOf(i)
	if i.Managed {
		d.emulator.ManagedIdentity(clientOf(i), tenant)
		return
	}
	for _, client := range clientsOf(i) {
		app := emulator.App{Tenant: tenant, ClientID: client}
		switch {
		case i.AssertionManaged != "":
			app.Subject, app.Issuer = d.emulator.ManagedIdentity(i.AssertionManaged, tenant), d.emulator.ManagedIssuer(tenant)
		case i.Issuer != "":
			app.AnySubject, app.Issuer = true, c.Issuer.URL
		}
		d.emulator.Register(app)
	}
}

// tenantOf is the identity's tenant, or the one that stands for what the environment would say.
func tenantOf(i config.Identity) string {
	if i.TenantID == "" {
		return devTenant
	}
	return i.TenantID
}

// clientOf is the identity's client ID. A managed identity without one is the machine's own, and stays so.
func clientOf(i config.Identity) string {
	if i.ClientID == "" && !i.Managed {
		return devClient
	}
	return i.ClientID
}

// clientsOf are the client IDs that the identity may show: one, or one for each repository.
func clientsOf(i config.Identity) []string {
	if i.Clients == nil {
		return []string{clientOf(i)}
	}
	var clients []string
	for _, client := range i.Clients {
		clients = append(clients, client)
	}
	return clients
}

// issuer makes the keys of the configuration's issuer in the emulated vaults, and publishes its documents under its name, which
// the emulated Entra asks for them.
func (d *Dev) issuer(c *config.Config) {
	if c.Issuer == nil {
		return
	}
	for n, k := range c.Issuer.Keys {
		vault := d.vault(c, k.Vault)
		for _, client := range clientsOf(c.Identities[c.Vaults[k.Vault].Identity]) {
			vault.AllowKeys(client)
		}
		named := config.IssuerKey{Vault: k.Vault, Name: k.Name, Version: k.Version}
		d.mu.Lock()
		if d.versions[named] == "" {
			d.versions[named] = vault.SetKey(k.Name)
		}
		c.Issuer.Keys[n].Version = d.versions[named]
		d.mu.Unlock()
	}
	if u, err := url.Parse(c.Issuer.URL); err == nil {
		d.emulator.Handle(u.Host, http.HandlerFunc(d.publish))
	}
}

// publish answers for the issuer that is in force.
func (d *Dev) publish(w http.ResponseWriter, r *http.Request) {
	i := d.issuing()
	switch {
	case i != nil && strings.HasSuffix(i.DiscoveryURL(), r.Host+r.URL.Path):
		_, _ = w.Write(i.Discovery())
	case i != nil && strings.HasSuffix(i.KeySetURL(), r.Host+r.URL.Path):
		keys, err := i.KeySet(r.Context())
		if err != nil {
			http.Error(w, "the keys can't be read", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(keys)
	default:
		http.NotFound(w, r)
	}
}

// issuing is the issuer in force, if any.
func (d *Dev) issuing() *issuer.Issuer {
	if d.App == nil {
		return nil
	}
	return d.App.current.Load().issuer
}

// registries lets identities do in the emulated registries what the configuration's tokens are to give.
func (d *Dev) registries(c *config.Config) {
	for _, t := range c.Tokens {
		if t.Registry == "" {
			continue
		}
		identity := c.Identities[t.Identity]
		registry := d.emulator.Registry(t.Registry, tenantOf(identity))
		for _, client := range clientsOf(identity) {
			for _, r := range t.Repositories {
				registry.Allow(client, r.Name, r.Actions...)
			}
			if t.AnyRepository {
				registry.Allow(client, "*", "pull", "push")
			}
		}
	}
}
