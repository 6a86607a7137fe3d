package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/token"
	"github.com/drone-entra/drone-entra/secret"
)

func issuerForm(c config.Identity) issuer.Form { return issuer.Form(c.Issuer) }

// planIssuer plans the steps of our own issuer: its keys in Key Vault, and what it has published.
func (d *Doctor) planIssuer() {
	c := d.config.Issuer
	if c == nil {
		return
	}
	var settings, keys []string
	open := true
	for _, k := range c.Keys {
		v := d.config.Vaults[k.Vault]
		settings = append(settings, stepName("identity "+v.Identity, "settings"))
		keys = append(keys, stepName("vault "+k.Vault, "way"), stepName("identity "+v.Identity, exchangeStep(vaultScope(v.Host))))
		open = open && d.identities[v.Identity] != nil
	}
	var err error
	if open {
		err = d.openIssuer(nil, d.env)
	}
	d.add("issuer", "settings", settings, func(_ context.Context, f *Finding) {
		if err != nil {
			f.plain(err)
			return
		}
		f.Detail = fmt.Sprintf("%s, for the Drone server %s", c.URL, c.Server)
	})
	var listed []issuer.Listed
	d.add("issuer", "keys", append(keys, stepName("issuer", "settings")), func(ctx context.Context, f *Finding) {
		var err error
		if listed, err = d.issuer.Listed(ctx); err != nil {
			f.error(err)
			return
		}
		for _, l := range listed {
			f.Facts = append(f.Facts, Fact{"kid", l.KID + " of " + l.Name})
		}
		f.Detail = fmt.Sprintf("%s read; %s signs now", counted(len(listed), "key"), d.issuer.Signing().Name)
	})
	d.add("issuer", "documents", []string{stepName("issuer", "keys")}, func(ctx context.Context, f *Finding) { d.examineDocuments(ctx, listed, f) })
}

// examineDocuments compares what is published with what the configuration lists.
func (d *Doctor) examineDocuments(ctx context.Context, listed []issuer.Listed, f *Finding) {
	f.Detail = "as this machine sees it; Entra fetches them from the internet"
	p, flaw := entra.Published(ctx, d.env.Transport, d.config.Issuer.URL)
	if flaw != nil {
		f.flaws(*flaw)
		f.Faults[0].Remedy += "; `drone-entra issuer publish DIR` makes the documents"
		return
	}
	f.Detail = counted(len(p.KIDs), "key") + " published, " + f.Detail
	f.Facts = []Fact{{"keys", p.KeySet}}
	for _, l := range listed {
		switch {
		case slices.Contains(p.KIDs, l.KID):
		case l.Name == d.issuer.Signing().Name:
			f.fail(fmt.Sprintf("the key that signs now, %s (kid %s), is not among those published at %s: nobody can verify its tokens (AADSTS7000272)", l.Name, l.KID, p.KeySet),
				"publish the key set with this key in it")
		default:
			f.warn(fmt.Sprintf("the key %s (kid %s), which is listed and does not sign now, is not among those published at %s", l.Name, l.KID, p.KeySet),
				"publish the key set a day before the key begins to sign")
		}
	}
}

// planTokens plans that each token is made once, and dropped.
func (d *Doctor) planTokens() {
	var entries []token.Entry
	for _, name := range sorted(d.config.Tokens) {
		if c := d.config.Tokens[name]; d.identities[c.Identity] != nil || c.Audience != "" && d.issuer != nil {
			entries = append(entries, d.entry(c))
		}
	}
	tokens := token.New(entries, d.env.Transport, d.now)
	for _, name := range sorted(d.config.Tokens) {
		c := d.config.Tokens[name]
		var after []string
		switch {
		case c.Audience != "":
			after = []string{stepName("issuer", "keys")}
		case c.Registry != "":
			after = []string{stepName("identity "+c.Identity, exchangeStep(entra.ResourceManager(d.config.Identities[c.Identity].Cloud)))}
		default:
			after = []string{stepName("identity "+c.Identity, exchangeStep(c.Scope))}
		}
		d.add("token "+name, "made", after, func(ctx context.Context, f *Finding) { d.examineToken(ctx, tokens, c, f) })
	}
}

func (d *Doctor) examineToken(ctx context.Context, tokens *token.Tokens, c config.Token, f *Finding) {
	f.Detail = "for " + strings.Join(nonEmpty(c.Scope, c.Registry, c.Audience), "")
	if c.Audience != "" && !d.subjectKnown(config.Identity{Issuer: c.Subject}, f) {
		return
	}
	ref := secret.Ref{Vault: secret.TokenDoor, Name: c.Name}
	fetched, err := tokens.Get(ctx, d.patient.Build, ref)
	if err != nil {
		f.error(err)
		return
	}
	defer fetched.Value.Clear()
	f.Facts = []Fact{{"expires", written(fetched.Expires)}}
	d.admit(ref, fetched, f)
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// stranger stands for an identity where no token is asked for.
type stranger struct{ name string }

// Name is the identity's, for errors.
func (s stranger) Name() string { return s.name }

// Subject is nobody's.
func (stranger) Subject(secret.Request) string { return "" }

// Credential is none: the step that has a stranger asks without a token.
func (stranger) Credential(string) azcore.TokenCredential { return nil }

// Refused is never called.
func (stranger) Refused(string, string) {}
