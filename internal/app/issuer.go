package app

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/token"
	"github.com/drone-entra/drone-entra/secret"
)

// openIssuer makes our own issuer, whose keys are in vaults of the configuration, or takes it from the generation before.
func (g *generation) openIssuer(before *generation, env Env) error {
	c := g.config.Issuer
	if c == nil {
		return nil
	}
	same := before != nil && before.issuer != nil && reflect.DeepEqual(unplaced(*before.config.Issuer), unplaced(*c))
	o := issuer.Options{URL: c.URL, Server: c.Server, Now: env.Now}
	for _, k := range c.Keys {
		vault, err := g.openVault(k.Vault, before, env)
		if err != nil {
			return err
		}
		same = same && before.vaults[k.Vault] == vault
		o.Keys = append(o.Keys, issuer.Key{Name: keyPath(k), From: k.From, Signer: vault.Key(k.Name, k.Version)})
	}
	if same {
		g.issuer = before.issuer
		return nil
	}
	var err error
	if g.issuer, err = issuer.New(o); err != nil {
		return placed(c.At, fmt.Errorf("issuer: %w", err))
	}
	return nil
}

// assertion mints what Entra exchanges for a token of the repository's own identity.
func assertion(i *issuer.Issuer, ask issuer.Ask) entra.Assertion {
	return func(ctx context.Context, _ string) (string, error) {
		minted, err := i.Mint(ctx, ask, secret.RequestOf(ctx))
		if err != nil {
			return "", err
		}
		defer minted.Text.Clear()
		return string(minted.Text.Reveal()), nil
	}
}

// mint makes ID tokens for builds.
func mint(i *issuer.Issuer, ask issuer.Ask) token.Mint {
	return func(ctx context.Context, r secret.Request) (token.Minted, error) {
		minted, err := i.Mint(ctx, ask, r)
		return token.Minted{Text: minted.Text, ID: minted.ID, Expires: minted.Expires}, err
	}
}

// keyPath names a key as the configuration does.
func keyPath(k config.IssuerKey) string { return k.Vault + "/" + k.Name + "@" + k.Version }

// unplaced is the issuer without where it was written and which pools may have what it signs: neither is in an assertion.
func unplaced(c config.Issuer) config.Issuer {
	c.At, c.Pools = "", nil
	c.Keys = slices.Clone(c.Keys)
	for i := range c.Keys {
		c.Keys[i].At = ""
	}
	return c
}
