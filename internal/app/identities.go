package app

import (
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
)

// who is everything that makes an identity the one it is. Two generations that agree on it share the identity, its tokens
// and its clients.
type who struct {
	name, tenant, client, cloud, file string
	managed                           bool
}

// openIdentities makes an Entra identity of each that the configuration names, or takes it from the generation before. What
// it leaves out comes from the environment, where the workload identity webhook of Kubernetes puts it.
func (g *generation) openIdentities(before *generation, env Env, log zerolog.Logger) error {
	for name, c := range g.config.Identities {
		o := entra.Options{
			Name: name, TenantID: c.TenantID, ClientID: c.ClientID, Cloud: c.Cloud, Managed: c.Managed,
			AssertionFile: c.AssertionFile, Transport: env.Transport, Now: env.Now, Log: log,
		}
		if err := fromEnvironment(&o, c, env.Getenv); err != nil {
			return placed(c.At, fmt.Errorf("identity %s: %w", name, err))
		}
		is := who{name, o.TenantID, o.ClientID, o.Cloud, o.AssertionFile, o.Managed}
		if before != nil && before.who[name] == is {
			g.identities[name], g.who[name] = before.identities[name], is
			continue
		}
		identity, err := entra.New(o)
		if err != nil {
			return placed(c.At, err)
		}
		g.identities[name], g.who[name] = identity, is
	}
	return nil
}

// fromEnvironment fills what the file leaves out. A managed identity needs nothing: an AZURE_CLIENT_ID that is meant
// for an application must not choose the machine's identity.
func fromEnvironment(o *entra.Options, c config.Identity, getenv func(string) string) error {
	if c.Managed {
		return nil
	}
	for _, v := range []struct {
		value         *string
		variable, key string
	}{
		{&o.TenantID, "AZURE_TENANT_ID", "tenant_id"},
		{&o.ClientID, "AZURE_CLIENT_ID", "client_id"},
		{&o.AssertionFile, "AZURE_FEDERATED_TOKEN_FILE", "assertion: {file: …}"},
	} {
		if *v.value == "" {
			*v.value = strings.TrimSpace(getenv(v.variable))
		}
		if *v.value == "" {
			return fmt.Errorf("neither %s nor the variable %s says who we are: set one of them; on Kubernetes the workload identity webhook sets the variable on pods labelled azure.workload.identity/use", v.key, v.variable)
		}
	}
	return nil
}

// placed puts the place in front of an error, where there is one: an identity that no file lists has none.
func placed(at string, err error) error {
	if at == "" {
		return err
	}
	return fmt.Errorf("%s: %w", at, err)
}
