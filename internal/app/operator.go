package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/keyvault"
)

// Bounds of what an operator waits for: all of it, and the one document that is fetched.
const (
	operatorLimit = time.Minute
	fetchLimit    = 10 * time.Second
	maxFetched    = 1 << 20 // bytes; far more than the hundred keys that Entra keeps
)

// ErrNoIssuer says that a configuration has no issuer of our own.
var ErrNoIssuer = errors.New(`the configuration has no issuer: say its url, server and keys under "issuer", as docs/identities.md shows`)

// Issuer is our own issuer at its operator's hands: who publishes its documents and rotates its key, beside a running
// extension or before the first one. It serves nothing, records nothing and binds no address.
type Issuer struct {
	generation *generation
	env        Env
	own        *entra.Transport // made here; nil: the caller's is used
}

// OpenIssuer makes the configuration's issuer with the identities that open its keys' vaults; others may be broken, or
// lack their part of the environment. It asks nobody for anything yet. The error is ErrNoIssuer, or says what to change: a
// stray credential in the environment is refused as New refuses it. Of env, Getenv, Now and Transport count.
func OpenIssuer(c *config.Config, env Env) (*Issuer, error) {
	if c.Issuer == nil {
		return nil, ErrNoIssuer
	}
	if err := entra.CheckEnvironment(env.Getenv); err != nil {
		return nil, err
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	i := &Issuer{env: env}
	if env.Transport == nil {
		i.own = entra.NewTransport(0)
		i.env.Transport = i.own
	}
	signing := *c
	signing.Identities = map[string]config.Identity{}
	for _, k := range c.Issuer.Keys {
		name := c.Vaults[k.Vault].Identity
		signing.Identities[name] = c.Identities[name]
	}
	i.generation = &generation{config: &signing, identities: map[string]*entra.Identity{}, who: map[string]who{}, vaults: map[string]*keyvault.Vault{}}
	err := i.generation.openIdentities(false, func(name string) error {
		return i.generation.openIdentity(name, nil, i.env, zerolog.Nop()) // what it would log comes back as an error
	})
	if err == nil {
		err = i.generation.openIssuer(nil, i.env)
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Close ends what OpenIssuer began.
func (i *Issuer) Close() {
	i.generation.close(nil)
	if i.own != nil {
		i.own.CloseIdleConnections()
	}
}

// Publication is what was written for static hosting.
type Publication struct {
	Issuer string
	Signs  string          // the name of the key that signs now
	Keys   []issuer.Listed // all that are published, in their order
	Files  []PublishedFile // in the order in which they must be uploaded
}

// PublishedFile is a document, and the address at which its readers look for it.
type PublishedFile struct{ Name, URL string }

// Publish writes discovery document and key set below dir, as issuer.Publish does, and refuses what it refuses. Key Vault is
// asked for public keys alone. With an error about the second file, the first is in the Publication.
func (i *Issuer) Publish(ctx context.Context, dir string, drop ...string) (Publication, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorLimit)
	defer cancel()
	is := i.generation.issuer
	p := Publication{Issuer: i.generation.config.Issuer.URL, Signs: is.Signing().Name}
	var err error
	if p.Keys, err = is.Listed(ctx); err != nil {
		return p, err
	}
	names, err := is.Publish(ctx, dir, drop...)
	for n, url := range []string{is.KeySetURL(), is.DiscoveryURL()} {
		if n < len(names) {
			p.Files = append(p.Files, PublishedFile{names[n], url})
		}
	}
	return p, err
}

// Rotation is where a rotation of the signing key stands.
type Rotation struct {
	issuer.Situation
	KeySetURL string
	Signs     string // the name of the key that signs now
	Steps     []issuer.Step

	// Why there is nothing published, and no versions; nil where that is known. Texts of servers may be in them.
	PublishedProblem, VersionsProblem error
}

// Rotation looks at configuration, key vault and what is published, and plans. It changes nothing. That the key set can't be
// fetched, or versions can't be listed, is part of the answer; that a listed key can't be read is the error, as nothing can
// be said without its id.
func (i *Issuer) Rotation(ctx context.Context) (Rotation, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorLimit)
	defer cancel()
	is, c := i.generation.issuer, i.generation.config
	r := Rotation{KeySetURL: is.KeySetURL(), Signs: is.Signing().Name}
	r.Now, r.URL, r.TokenLife = i.env.Now(), c.Issuer.URL, longestToken(c)
	var err error
	if r.Listed, err = is.Listed(ctx); err != nil {
		return r, err
	}
	signing := c.Issuer.Keys[0]
	for _, k := range c.Issuer.Keys {
		if keyPath(k) == r.Signs {
			signing = k
		}
	}
	r.Vault, _, _ = strings.Cut(c.Vaults[signing.Vault].Host, ".")
	r.Key = signing.Name
	r.Versions, r.VersionsProblem = i.versions(ctx, signing)
	r.Published.KIDs, r.PublishedProblem = i.published(ctx)
	r.Published.Known = r.PublishedProblem == nil
	r.Steps = issuer.Plan(r.Situation)
	return r, nil
}

// longestToken is the longest lifetime of an ID token that the configuration gives. No token means zero: assertions have their
// own, which Plan knows.
func longestToken(c *config.Config) (longest time.Duration) {
	for _, t := range c.Tokens {
		longest = max(longest, t.Lifetime)
	}
	return longest
}

// versions lists the versions of a key by the names that the configuration gives them, or would. Two aliases may lead to the
// vault: a version that is listed under the other one is named so.
func (i *Issuer) versions(ctx context.Context, key config.IssuerKey) (list []issuer.Version, err error) {
	all, err := i.generation.vaults[key.Vault].KeyVersions(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	c := i.generation.config
	for _, v := range all {
		named := config.IssuerKey{Vault: key.Vault, Name: key.Name, Version: v.Version}
		for _, k := range c.Issuer.Keys {
			if k.Name == key.Name && k.Version == v.Version && c.Vaults[k.Vault].Host == c.Vaults[key.Vault].Host {
				named.Vault = k.Vault
			}
		}
		list = append(list, issuer.Version{Name: keyPath(named), Created: v.Created, Enabled: v.Enabled})
	}
	return list, nil
}

// published fetches the ids of the keys that relying parties find. The document is looked at as they do: over TLS, at the
// very address, and without a credential.
func (i *Issuer) published(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.generation.issuer.KeySetURL(), nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: i.env.Transport,
		// Whether Entra follows one is documented nowhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode/100 == 3:
		return nil, fmt.Errorf("it answers %d and leads elsewhere: serve the document at the address itself", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxFetched+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer breaks off: %w", err)
	case len(b) > maxFetched:
		return nil, errors.New("its answer is larger than a key set can be")
	}
	return issuer.ParseKeySet(b)
}
