package app

import (
	"cmp"
	"context"
	"crypto/rsa"
	"fmt"
	"maps"
	"slices"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

// SubjectsOf says whose subjects are wanted.
type SubjectsOf struct {
	Slug, UID string   // one repository; both empty: all whose id the configuration knows
	DeployTo  []string // instead of the targets that bindings name
}

// Subjects is what has to be entered where our issuer is to be trusted.
type Subjects struct {
	Issuer       string        `json:"issuer"`
	Applications []Application `json:"applications"`
	Tokens       []TokenTrust  `json:"tokens"`
}

// Application is an application or a user-assigned identity in Entra, and the federated credentials that it needs.
type Application struct {
	Identity string   `json:"identity"`            // its name in the configuration
	TenantID string   `json:"tenant_id,omitempty"` // empty: AZURE_TENANT_ID says
	ClientID string   `json:"client_id,omitempty"` // empty: AZURE_CLIENT_ID says
	Trusts   []Trust  `json:"subjects"`
	Prepare  []string `json:"prepare,omitempty"` // commands that find the managed identity which Trust.Managed speaks of
	Bicep    string   `json:"bicep,omitempty"`   // of all its credentials, for a user-assigned identity
	Notes    []string `json:"notes,omitempty"`   // what is not in the list, and why
}

// TokenTrust is an ID token for an audience: what whoever is the audience has to trust.
type TokenTrust struct {
	Token  string   `json:"token"` // its name in the configuration
	Trusts []Trust  `json:"subjects"`
	Notes  []string `json:"notes,omitempty"`
}

// Trust is what must be equal to the letter: an issuer, a subject and an audience, with the repository that they mean.
type Trust struct {
	UID      string   `json:"uid"`
	Slugs    []string `json:"repos,omitempty"` // as bindings or the question name it; for people
	DeployTo string   `json:"deploy_to,omitempty"`
	Issuer   string   `json:"issuer"`
	Subject  string   `json:"subject"`
	Audience string   `json:"audience"`

	Credential string `json:"credential,omitempty"`       // a name for the federated credential: the same each time, and no other's
	Managed    string `json:"managed_identity,omitempty"` // the command that makes it for a user-assigned identity
	App        string `json:"app_registration,omitempty"` // and for an application
}

// FindSubjects lists what is to be entered, from the configuration alone: no environment, no key vault, no network. The
// error is ErrNoIssuer, or about the question.
func FindSubjects(c *config.Config, of SubjectsOf) (Subjects, error) {
	if c.Issuer == nil {
		return Subjects{}, ErrNoIssuer
	}
	is, err := issuer.New(issuer.Options{URL: c.Issuer.URL, Server: c.Issuer.Server, Keys: []issuer.Key{{Signer: nobody{}}}})
	if err != nil {
		return Subjects{}, placed(c.Issuer.At, err)
	}
	f := finder{c, of, is}
	if of.Slug != "" && of.UID == "" && len(f.pinned()) == 0 {
		return Subjects{}, fmt.Errorf("no binding pins the uid of %q: name it with --uid; the Drone server has it at /api/repos/%s", of.Slug, of.Slug)
	}
	if of.UID != "" {
		if _, err := is.Subject(issuer.Repo, secret.Request{Repo: secret.Repo{UID: of.UID, Slug: cmp.Or(of.Slug, "--uid")}}); err != nil {
			return Subjects{}, err
		}
	}
	all := Subjects{Issuer: c.Issuer.URL, Applications: []Application{}, Tokens: []TokenTrust{}}
	for _, name := range slices.Sorted(maps.Keys(c.Identities)) {
		if c.Identities[name].Issuer != "" {
			all.Applications = append(all.Applications, f.applications(c.Identities[name])...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tokens)) {
		if t := c.Tokens[name]; t.Audience != "" {
			trusts, notes := f.trusts(issuer.Form(t.Subject), t.Audience, f.reposOf(f.givesToken(t), nil))
			all.Tokens = append(all.Tokens, TokenTrust{name, trusts, notes})
		}
	}
	return all, nil
}

// nobody signs nothing: subjects need no key.
type nobody struct{}

// Public has no key to show.
func (nobody) Public(context.Context) (*rsa.PublicKey, error) {
	return nil, secret.Fail(secret.Internal, secret.ReasonInternal, "there is no key here")
}

// Sign refuses.
func (nobody) Sign(context.Context, []byte) ([]byte, error) {
	return nil, secret.Fail(secret.Internal, secret.ReasonInternal, "there is no key here")
}
