package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// clouds maps where a Key Vault can be to the cloud whose identities open it. A vault's host comes from here and from
// nowhere else, so that no token ever goes to another host. The suffixes are those that Microsoft documents for Key
// Vault; each call returns a map of its own, so that nothing can add to it.
func clouds() map[string]string {
	return map[string]string{
		"vault.azure.net":         CloudPublic,
		"vault.azure.cn":          CloudChina,
		"vault.usgovcloudapi.net": CloudUSGovernment,
	}
}

// buildVaults compiles the vaults by alias. The URL is made anew of the host that was checked: nothing else of what was
// written ever reaches a client.
func (b *builder) buildVaults() map[string]Vault {
	all := map[string]Vault{}
	for alias, e := range b.vaults {
		d := &e.value
		v := Vault{
			Alias: alias, Identity: defaultIdentity, MaxAge: d.maxAge.value, Stale: d.stale.value,
			MustExpire: d.mustExpire.value, At: b.line(e.name.place),
		}
		switch {
		case alias == secret.TokenDoor:
			b.errorf(e.name.place, "%q can't be a vault's alias: short-lived tokens are read under it; name the vault otherwise", alias)
		case !secret.ValidAlias(alias):
			b.errorf(e.name.place, "%q can't be a vault's alias: it has letters, digits, dashes, dots and underscores, begins with a letter or digit, and has at most 63", clip(alias))
		}
		if d.identity.ok {
			v.Identity = d.identity.value
		}
		v.Host = b.vaultHost(d.url)
		v.URL = "https://" + v.Host
		b.vaultIdentity(e, v)
		all[alias] = v
	}
	return all
}

// vaultIdentity checks that the identity is there and that it is of the vault's cloud.
func (b *builder) vaultIdentity(e *entry[vault], v Vault) {
	if e.value.identity.set && !e.value.identity.ok {
		return
	}
	at := e.value.identity.place
	if !e.value.identity.set {
		at = e.name.place
	}
	// Entra refuses a federation across clouds (AADSTS900382), but only when a build asks. The checks below find it
	// when the configuration is loaded.
	if v.Identity == defaultIdentity && b.identities[defaultIdentity] == nil {
		b.used[used{"identity", defaultIdentity}] = true // everything in it comes from the environment
		return
	}
	if !lookup(b, b.identities, "identity", v.Identity, at) {
		return
	}
	cloud := b.identities[v.Identity].value.cloud
	// Either is reported already.
	if cloud.set && !cloud.ok || v.Host == "" {
		return
	}
	if have, want := cmp.Or(cloud.value, CloudPublic), cloudOf(v.Host); have != want {
		b.errorf(at, "identity %q is of the cloud %s and the vault %s of %s: name an identity with cloud: %s", v.Identity, have, v.Host, want, want)
	}
}

// defaultCloud is that of the vaults which use the identity that no file lists. It is empty if there is none of a good
// address.
func (b *builder) defaultCloud() string {
	cloud := ""
	for _, alias := range sortedKeys(b.vaults) {
		e := b.vaults[alias]
		host, why := vaultHost(e.value.url.value)
		if why != "" || e.value.identity.set && e.value.identity.value != defaultIdentity {
			continue
		}
		if cloud != "" && cloudOf(host) != cloud {
			b.errorf(e.value.url.place, "one identity can't open vaults of two clouds: list identities, each with its cloud")
		}
		cloud = cloudOf(host)
	}
	return cloud
}

// cloudOf returns the cloud of a vault's host, or "" for a host that is no vault's.
func cloudOf(host string) string {
	_, suffix, _ := strings.Cut(host, ".")
	return clouds()[suffix]
}

// vaultHost returns the host of what was written under url, or "" after reporting why there is none.
func (b *builder) vaultHost(t text) string {
	if !t.ok {
		return ""
	}
	host, why := vaultHost(t.value)
	if why != "" {
		b.errorf(t.place, "%q is no vault's address: %s%s", clip(t.value), why, likelyVault(t.value))
	}
	return host
}

// vaultHost returns the host of a vault's URL in lower case, or why there is none.
//
//	https://KV-Pay.vault.azure.net/               kv-pay.vault.azure.net
//	https://kv-pay.vault.azure.net.evil.example   refused: not one name under a known suffix
//	https://kv-pay.vault.azure.net@evil.example   refused: it holds a user
//	https://a.kv-pay.vault.azure.net              refused: two labels in front of the suffix
//
// Whoever chooses the host gets the token that the vault's identity fetches for it, so everything is refused that is
// not plainly one of Microsoft's names.
func vaultHost(s string) (host, why string) {
	// The order of the cases matters: u is nil when there is an err. An empty port, query or fragment leaves no trace
	// in its field of u, so s itself is looked at as well.
	u, err := url.Parse(s)
	switch {
	case !strings.Contains(s, "://"):
		return "", "it has no https:// in front"
	case err != nil:
		return "", "it can't be read as a URL"
	case u.Scheme != "https":
		return "", "only https is spoken with a vault"
	case u.User != nil:
		return "", "it holds a user"
	case u.Port() != "" || strings.HasSuffix(u.Host, ":"):
		return "", "it has a port"
	case u.Path != "" && u.Path != "/" || // the portal shows a slash at the end
		u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", "something follows the host; a secret's name stands in the rules"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return "", "an IP address is no name that a certificate could prove; write https://NAME.vault.azure.net"
	}
	host = fold(u.Host)
	// The host is cut at its first dot, so exactly one label stands in front of the suffix.
	label, suffix, _ := strings.Cut(host, ".")
	switch {
	case clouds()[suffix] == "":
		return "", "a vault is one name under " + oneOf(sortedKeys(clouds()))
	case !isVaultName(label):
		return "", "a vault's name has letters, digits and dashes"
	}
	return host, ""
}

// likelyVault suggests the address that s is probably a misspelling of. It returns ": did you mean …?" or "". A
// suggestion is only ever text: it is never used as an address.
//
//	kv-pay.vault.azure.com   : did you mean "https://kv-pay.vault.azure.net"?
func likelyVault(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	if end := strings.IndexAny(s, "/:?#"); end >= 0 {
		s = s[:end]
	}
	label, suffix, _ := strings.Cut(fold(s), ".")
	if strings.HasSuffix(suffix, "azure.com") { // the domain of the portal
		suffix = "vault.azure.net"
	}
	if best := nearest(suffix, sortedKeys(clouds())); best != "" && isVaultName(label) {
		return fmt.Sprintf(": did you mean %q?", "https://"+label+"."+best)
	}
	return ""
}

// isVaultName tells whether s, in lower case, is a DNS label. Azure gives names of 3 to 24 characters today; the wider
// bound keeps a host well formed and does not break if Azure widens its own.
func isVaultName(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && strings.Trim(s[:1], "-") != "" &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && !strings.HasSuffix(s, "-")
}
