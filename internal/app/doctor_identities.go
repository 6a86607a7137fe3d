package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// whose is what to do where a subject is a build's and no build was described.
const whose = "its subject is a build's: describe one with --repo, --uid and --event"

// planIdentities plans the steps of each identity whose assertion our own issuer makes, or does not make. They are opened here,
// which asks nobody for anything.
func (d *Doctor) planIdentities(issued bool) {
	for _, name := range sorted(d.config.Identities) {
		if c := d.config.Identities[name]; (c.Issuer != "") == issued {
			d.planIdentity(name, c)
		}
	}
}

func (d *Doctor) planIdentity(name string, c config.Identity) {
	area, cloud := "identity "+name, "entra "+cloudName(c)
	settings := stepName(area, "settings")
	var err error
	if c.Issuer == "" || d.issuer != nil {
		err = d.openIdentity(name, nil, d.env, d.log())
	}
	if d.ids[name] == nil {
		d.ids[name] = &examined{}
	}
	e := d.ids[name]
	e.is = d.identities[name]
	d.add(area, "settings", issuerSteps(c, "settings"), func(_ context.Context, f *Finding) {
		if err != nil {
			f.plain(err)
			return
		}
		f.Detail = strings.TrimPrefix(e.is.String(), area+" ")
	})
	after := []string{settings}
	if !c.Managed {
		d.add(area, "assertion", append(issuerSteps(c, "keys"), settings), func(ctx context.Context, f *Finding) { d.examineAssertion(ctx, e, c, f) },
			stepName(cloud, "way"))
		if c.Issuer == "" { // of our own the issuer's steps tell
			d.add(area, "issuer", []string{stepName(area, "assertion")}, func(ctx context.Context, f *Finding) { d.examinePublished(ctx, e, f) })
		}
		after = []string{stepName(area, "assertion"), stepName(cloud, "way")}
	}
	d.planExchanges(name, c, e, after)
}

// planExchanges plans one for each scope. Where the first is refused for who we are, the others would be too, and are skipped.
func (d *Doctor) planExchanges(name string, c config.Identity, e *examined, after []string) {
	area, scopes := "identity "+name, d.scopes(name)
	first := stepName(area, exchangeStep(scopes[0]))
	for _, scope := range scopes {
		d.add(area, exchangeStep(scope), after, func(ctx context.Context, f *Finding) {
			if e.failed.Load() {
				f.skipAfter(first)
				return
			}
			d.examineExchange(ctx, e, c, scope, f)
			if f.Verdict == VerdictFail && scope == scopes[0] && !entra.OfScope(entra.Code(f.Faults[0].Cause)) {
				e.failed.Store(true)
			}
		}, first)
	}
}

// issuerSteps are the steps of our own issuer that an identity rests on, if it does.
func issuerSteps(c config.Identity, steps ...string) (names []string) {
	for _, step := range steps {
		if c.Issuer != "" {
			names = append(names, stepName("issuer", step))
		}
	}
	return names
}

func exchangeStep(scope string) string {
	return "token for " + strings.TrimPrefix(strings.TrimSuffix(scope, "/.default"), "https://")
}

// scopes are those that an identity's vaults and tokens need; for one that nobody uses Key Vault's, so that it is tried.
func (d *Doctor) scopes(name string) (scopes []string) {
	cloud := d.config.Identities[name].Cloud
	for _, alias := range sorted(d.config.Vaults) {
		if v := d.config.Vaults[alias]; v.Identity == name {
			scopes = append(scopes, vaultScope(v.Host))
		}
	}
	for _, t := range sorted(d.config.Tokens) {
		switch token := d.config.Tokens[t]; {
		case token.Identity != name:
		case token.Registry != "":
			scopes = append(scopes, entra.ResourceManager(cloud))
		case token.Scope != "":
			scopes = append(scopes, token.Scope)
		}
	}
	if scopes == nil {
		scopes = append(scopes, keyVaultScope(cloud))
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(scopes, func(s string) bool {
		known := seen[s]
		seen[s] = true
		return known
	})
}

// examineAssertion decodes what an exchange would show. It is judged by Entra's clock where that is known: a machine whose own
// is wrong would else blame the assertion.
func (d *Doctor) examineAssertion(ctx context.Context, e *examined, c config.Identity, f *Finding) {
	if c.Issuer != "" && !d.subjectKnown(c, f) {
		return
	}
	claims, err := e.is.Examine(ctx, d.patient.Build)
	if err != nil {
		f.error(err, e.is.String())
		return
	}
	e.claims = claims
	f.Facts = []Fact{
		{"issuer", claims.Issuer}, {"subject", claims.Subject}, {"audience", strings.Join(claims.Audience, " ")},
		{"kid", claims.KeyID}, {"alg", claims.Algorithm}, {"issued", written(claims.Issued)}, {"expires", written(claims.Expires)},
	}
	f.Commands = claims.Federate(e.is.Client(d.patient.Build), c.Cloud) // what has to stand in Entra, also where it does already
	ahead, _ := e.clock.ahead()
	now := d.now().Add(-ahead)
	if f.flaws(claims.Flaws(c.Cloud, now)...); f.Verdict == VerdictOK {
		f.Detail = "good for " + strings.TrimSuffix(claims.Expires.Sub(now).Round(time.Minute).String(), "0s")
	}
}

// subjectKnown tells whether the build that was described has a subject, and skips the step if it has none.
func (d *Doctor) subjectKnown(c config.Identity, f *Finding) bool {
	if !d.buildKnown() {
		f.skip(whose)
		return false
	}
	_, err := d.issuer.Subject(issuerForm(c), d.patient.Build)
	if err == nil {
		return true
	}
	switch e := secret.AsError(err); e.Reason {
	case secret.ReasonDeployTo:
		f.skip("its subject names a deploy target: describe a promote with --deploy-to")
	case secret.ReasonUID:
		f.skip("its subject names the repository by its id at the forge: add --uid")
	default:
		f.error(e)
	}
	return false
}

func written(t time.Time) string {
	if t.IsZero() {
		return "not said"
	}
	return t.UTC().Format(time.RFC3339)
}

// examinePublished fetches what the assertion's issuer has published. What Entra made itself it needs not fetch, so that a fault
// there is a mild one.
func (d *Doctor) examinePublished(ctx context.Context, e *examined, f *Finding) {
	f.Detail = "as this machine sees it; Entra fetches it from the internet"
	p, flaw := entra.Published(ctx, d.env.Transport, e.claims.Issuer)
	if flaw == nil {
		flaw = p.Proves(e.claims)
	}
	if flaw != nil {
		flaw.Mild = flaw.Mild || e.claims.FromEntra()
		f.flaws(*flaw)
		return
	}
	f.Detail = "its key is published, " + f.Detail
	f.Facts = []Fact{{"keys", p.KeySet}}
}

// examineExchange gets a token and drops it.
func (d *Doctor) examineExchange(ctx context.Context, e *examined, c config.Identity, scope string, f *Finding) {
	ctx = secret.WithRequest(ctx, d.patient.Build)
	token, err := e.is.Credential(e.is.Subject(d.patient.Build)).GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err == nil {
		f.Detail = "valid until " + written(token.ExpiresOn)
		return
	}
	if secret.AsError(err).Kind == secret.Late { // the exchange goes on for longer than a step, and says no more until it ends
		f.fail(fmt.Sprintf("%s gave no token within %s", e.is.Authority(), stepLimit), "look at egress rules, at the proxy, and at Azure's status page")
		return
	}
	f.error(err, e.is.String())
	if !c.Managed && entra.Unfederated(entra.Code(f.Faults[0].Cause)) {
		f.Facts = []Fact{{"issuer", e.claims.Issuer}, {"subject", e.claims.Subject}, {"audience", strings.Join(e.claims.Audience, " ")}}
		f.Commands = e.claims.Federate(e.is.Client(d.patient.Build), c.Cloud)
	}
}
