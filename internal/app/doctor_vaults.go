package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

// absent is a name that no vault has: a 404 for it proves the right to read.
const absent = "drone-entra-doctor-no-such-secret"

// vaultScope is what a token must be for that opens the vault of that host: the host without its first label.
func vaultScope(host string) string {
	_, suffix, _ := strings.Cut(host, ".")
	return "https://" + suffix + "/.default"
}

// keyVaultScope is the scope of Key Vault in a cloud.
func keyVaultScope(cloud string) string {
	switch cloud {
	case config.CloudUSGovernment:
		return vaultScope("x.vault.usgovcloudapi.net")
	case config.CloudChina:
		return vaultScope("x.vault.azure.cn")
	}
	return vaultScope("x.vault.azure.net")
}

// planVaults plans whether each vault answers, which no token is needed for.
func (d *Doctor) planVaults() {
	for _, alias := range sorted(d.config.Vaults) {
		v := d.config.Vaults[alias]
		d.add("vault "+alias, "way", nil, func(ctx context.Context, f *Finding) { d.examineVault(ctx, v, f) })
	}
	d.planVaultClock()
}

func (d *Doctor) examineVault(ctx context.Context, c config.Vault, f *Finding) {
	f.Detail = c.Host
	// It needs no identity, and must not fail for one.
	vault, err := keyvault.New(keyvault.Options{Alias: c.Alias, URL: c.URL, Identity: stranger{c.Identity}, Transport: d.env.Transport})
	if err != nil {
		f.plain(err)
		return
	}
	before := d.now()
	challenge, err := vault.Challenge(ctx)
	if err != nil {
		f.error(err)
		return
	}
	if d.vaultClock != nil {
		d.vaultClock.compare(before, d.now(), challenge.Date)
	}
	u, err := url.Parse(challenge.Authority)
	if err != nil || challenge.Authority == "" {
		f.warn("the vault's challenge names no authority", "look for a proxy in between")
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	f.Detail += ", of the tenant " + tenant
	if is := d.identities[c.Identity]; is != nil && is.Tenant() != "" && !strings.EqualFold(is.Tenant(), tenant) {
		f.fail(fmt.Sprintf("the vault is of the tenant %.80q, and its identity %s of the tenant %s", tenant, c.Identity, is.Tenant()),
			"use an identity of the vault's tenant, or correct tenant_id; a vault that was moved keeps its old tenant until it is changed")
	}
}

// planReads plans one read of each vault.
func (d *Doctor) planReads() {
	for _, alias := range sorted(d.config.Vaults) {
		c := d.config.Vaults[alias]
		ref, known := d.readable(alias)
		if ref == (secret.Ref{}) {
			continue // it holds the issuer's keys, and no secret that anybody may read
		}
		after := []string{stepName("vault "+alias, "way"), stepName("identity "+c.Identity, exchangeStep(vaultScope(c.Host)))}
		var err error
		if d.identities[c.Identity] != nil { // else its step says why, and this one is skipped
			_, err = d.openVault(alias, nil, d.env)
		}
		d.add("vault "+alias, "read", after, func(ctx context.Context, f *Finding) {
			switch {
			case err != nil:
				f.plain(err)
			case known:
				d.examineSecret(ctx, ref, f)
			default:
				d.examineRight(ctx, ref, f)
			}
		})
	}
}

// readable is what to read of a vault: what was asked for, else the first secret that a binding names literally. known is false
// where none does; then it is a name that is not there, and that a pattern of a binding fits if one does, since the identity's
// role may have a condition on names. It is the zero one for a vault that holds keys of our issuer and nothing for a build.
func (d *Doctor) readable(alias string) (ref secret.Ref, known bool) {
	if d.patient.Secret.Vault == alias {
		return d.patient.Secret, true
	}
	for _, b := range d.config.Rules.Bindings {
		for _, p := range b.Read {
			text := strings.TrimSuffix(p.String(), "@*")
			if r, err := secret.ParseRef(text); err == nil && r.Vault == alias {
				return r, true
			}
			at, name, _ := strings.Cut(text, "/")
			fitting, err := secret.ParseRef(alias + "/" + strings.ReplaceAll(name, "*", absent))
			if (at == alias || strings.Contains(at, "*")) && err == nil && ref.Name == "" {
				ref = secret.Ref{Vault: alias, Name: fitting.Name}
			}
		}
		for _, name := range sorted(b.Names) {
			if r := b.Names[name]; r.Vault == alias {
				return r, true
			}
		}
	}
	keys := d.config.Issuer != nil && slices.ContainsFunc(d.config.Issuer.Keys, func(k config.IssuerKey) bool { return k.Vault == alias })
	if ref.Name == "" && !keys {
		ref = secret.Ref{Vault: alias, Name: absent}
	}
	return ref, false
}

// examineSecret reads one secret, judges it as for a build, and drops its value.
func (d *Doctor) examineSecret(ctx context.Context, ref secret.Ref, f *Finding) {
	f.Detail = ref.String()
	fetched, err := d.vaults[ref.Vault].Get(ctx, d.patient.Build, ref)
	if err != nil {
		f.error(err)
		if e := secret.AsError(err); e.Reason == secret.ReasonNotFound {
			f.Faults[0] = Fault{f.Faults[0].Cause + "; the identity may read there, or Key Vault would have said 403",
				fmt.Sprintf("make it, correct the binding, or recover it if it was deleted: az keyvault secret recover --vault-name %s --name %s",
					vaultName(d.config.Vaults[ref.Vault].Host), ref.Name)}
		}
		return
	}
	defer fetched.Value.Clear()
	f.Facts = []Fact{{"version", fetched.Version}, {"created", written(fetched.Created)}, {"expires", written(fetched.Expires)}}
	d.admit(ref, fetched, f)
}

// admit judges what came as for a build.
func (d *Doctor) admit(ref secret.Ref, fetched secret.Fetched, f *Finding) {
	p, err := secret.NewPolicy(d.config.Rules)
	if err != nil {
		f.plain(err)
		return
	}
	part, err := p.Admit(secret.Grant{Ref: ref}, fetched, d.now())
	if err != nil {
		f.error(err)
		return
	}
	defer part.Value.Clear()
	if left := fetched.Expires.Sub(d.now()); !fetched.Expires.IsZero() && fetched.Form != secret.FormToken && left < soon {
		f.warn(fmt.Sprintf("%s expires in %s", ref, left.Round(time.Minute)), "rotate it in time")
	}
}

// soon is when the end of a secret is worth a word: Event Grid's SecretNearExpiry comes then, too, but 30 days would be most of the
// life of one that is rotated each month.
const soon = 3 * 24 * time.Hour

// examineRight asks for what is not there.
func (d *Doctor) examineRight(ctx context.Context, ref secret.Ref, f *Finding) {
	fetched, err := d.vaults[ref.Vault].Get(ctx, d.patient.Build, ref)
	fetched.Value.Clear()
	e := &secret.Error{}
	if err != nil {
		e = secret.AsError(err)
	}
	switch {
	case err == nil || e.Reason == secret.ReasonNotFound:
		f.Detail = "the identity may read: asked for " + ref.Name + ", it answered that there is none"
	case e.Reason == secret.ReasonVaultRefused && strings.Contains(e.Detail, "ForbiddenByRbac"):
		// A condition on names refuses this name as it should, and says nothing else than no role at all.
		cause, remedy := diagnose(e)
		f.warn(cause+"; or it has one whose condition leaves out this made-up name", remedy+"; name a secret with --secret to be sure")
	default:
		f.error(err)
	}
}

func vaultName(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}
