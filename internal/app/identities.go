package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

// who is everything that makes an identity the one it is. Two generations that agree on it share the identity, its tokens
// and its clients.
type who struct {
	name, tenant, client, clients, cloud, file, machine string
	managed                                             bool
	issuer                                              *issuer.Issuer // whoever makes the assertions
	form                                                string         // of their subjects
	problem                                             string         // why it could not be opened; nothing else but the name then
}

// openIdentities opens each identity that the configuration names and whose assertion the issuer makes, or does not: the issuer's
// own keys are in a vault that another identity opens.
func (g *generation) openIdentities(ours bool, open func(name string) error) error {
	for _, name := range slices.Sorted(maps.Keys(g.config.Identities)) {
		if (g.config.Identities[name].Issuer != "") != ours {
			continue
		}
		if err := open(name); err != nil {
			return err
		}
	}
	return nil
}

// openOrBreak opens an identity, or puts a broken one in its place: what lacks its part of the environment takes down its own
// doors and no others.
//
// While a generation is in force, that is an error, as no bad configuration may shut a door that is open; unless the identity is
// broken in that generation, too: else nothing could be changed any more before a restart.
func (g *generation) openOrBreak(name string, before *generation, env Env, log zerolog.Logger) error {
	err := g.openIdentity(name, before, env, log)
	if err == nil {
		return nil
	}
	if before != nil && (before.identities[name] == nil || !before.identities[name].Broken()) {
		return err
	}
	c := g.config.Identities[name]
	is := who{name: name, problem: strings.TrimPrefix(err.Error(), c.At+": ")}
	g.unopened[name], g.who[name] = err, is
	if before != nil && before.who[name] == is {
		g.identities[name] = before.identities[name]
		return nil
	}
	g.identities[name] = entra.NewBroken(stated(name, c, env, log), is.problem)
	return nil
}

// stated are the options of an identity as the configuration has them, without what the environment adds.
func stated(name string, c config.Identity, env Env, log zerolog.Logger) entra.Options {
	return entra.Options{
		Name: name, TenantID: c.TenantID, ClientID: c.ClientID, Clients: c.Clients, Cloud: c.Cloud, Managed: c.Managed,
		AssertionFile: c.AssertionFile, AssertionManaged: c.AssertionManaged, Transport: env.Transport, Now: env.Now, Log: log,
	}
}

// usable is the first problem if no vault and no token has an identity that could be opened: nothing could be served then.
func (g *generation) usable() error {
	var used []string
	for _, v := range g.config.Vaults {
		used = append(used, v.Identity)
	}
	for _, t := range g.config.Tokens {
		if t.Identity != "" {
			used = append(used, t.Identity)
		}
	}
	slices.Sort(used)
	if len(used) == 0 || slices.ContainsFunc(used, func(name string) bool { return g.unopened[name] == nil }) {
		return nil
	}
	return g.unopened[used[0]]
}

// openIdentity makes an Entra identity of one of them, or takes it from the generation before if it is the same. What the files
// leave out comes from the environment, where the workload identity webhook of Kubernetes puts it.
func (g *generation) openIdentity(name string, before *generation, env Env, log zerolog.Logger) error {
	c := g.config.Identities[name]
	o := stated(name, c, env, log)
	if err := fromEnvironment(&o, c, env.Getenv); err != nil {
		return placed(c.At, fmt.Errorf("identity %s: %w", name, err))
	}
	is := who{name, o.TenantID, o.ClientID, fmt.Sprint(o.Clients), o.Cloud, o.AssertionFile, o.AssertionManaged, o.Managed, nil, c.Issuer, ""}
	if c.Issuer != "" {
		is.issuer = g.issuer
		issued(g.issuer, &o, c)
	}
	if before != nil && before.who[name] == is {
		g.identities[name], g.who[name] = before.identities[name], is
		return nil
	}
	identity, err := entra.New(o)
	if err != nil {
		return placed(c.At, err)
	}
	g.identities[name], g.who[name] = identity, is
	return nil
}

// issued lets our own issuer make the identity's assertions. It holds no generation, as the identity may outlive many.
func issued(by *issuer.Issuer, o *entra.Options, c config.Identity) {
	form := issuer.Form(c.Issuer)
	o.Subjects = func(r secret.Request) (string, error) { return by.Subject(form, r) }
	o.Assertion = assertion(by, issuer.Ask{Form: form, Audience: entra.Audience(c.Cloud), Lifetime: issuer.AssertionLifetime})
}

// fromEnvironment fills what the file leaves out. A managed identity needs nothing: an AZURE_CLIENT_ID that is meant
// for an application must not choose the machine's identity. Where the file says where the assertion comes from, no
// AZURE_FEDERATED_TOKEN_FILE is looked at.
func fromEnvironment(o *entra.Options, c config.Identity, getenv func(string) string) error {
	if c.Managed {
		return nil
	}
	for _, v := range []struct {
		value         *string
		variable, key string
		needed        bool
	}{
		{&o.TenantID, "AZURE_TENANT_ID", "tenant_id", true},
		{&o.ClientID, "AZURE_CLIENT_ID", "client_id", c.Clients == nil},
		{&o.AssertionFile, "AZURE_FEDERATED_TOKEN_FILE", "assertion: {file: …}", c.AssertionManaged == "" && c.Issuer == ""},
	} {
		if !v.needed {
			continue
		}
		if *v.value == "" {
			*v.value = strings.TrimSpace(getenv(v.variable))
		}
		if *v.value == "" {
			return fmt.Errorf("neither %s nor the variable %s says who we are: set one of them; on Kubernetes the workload identity webhook sets the variable on pods labelled azure.workload.identity/use", v.key, v.variable)
		}
	}
	return nil
}

// keepTokens has a token at hand for each vault from now on, before a build waits for one. An identity whose subject is each
// build's can't be asked ahead. One that is broken tells so, whoever uses it.
func (g *generation) keepTokens() {
	for name := range g.unopened {
		g.identities[name].Keep("")
	}
	for _, alias := range slices.Sorted(maps.Keys(g.vaults)) {
		if is := g.identities[g.config.Vaults[alias].Identity]; !is.Broken() {
			is.Keep(g.vaults[alias].Scope())
		}
	}
}

// placed puts the place in front of an error, where there is one: an identity that no file lists has none.
func placed(at string, err error) error {
	if at == "" {
		return err
	}
	return fmt.Errorf("%s: %w", at, err)
}
