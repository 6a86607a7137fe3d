package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

const (
	maxIssuerURL  = 500 // bytes; Entra takes 600 for an issuer, and a path follows it
	maxIssuerKeys = 100 // Entra keeps the first 100 keys of an issuer (workload identity federation, "Important considerations")
	maxServer     = 100 // bytes; with a uid and a deploy target it has to fit into the 600 of a subject
)

// buildIssuer compiles our own issuer, or returns nil where there is none.
func (b *builder) buildIssuer() *Issuer {
	d := b.issuer
	if !d.set {
		return nil
	}
	if d.url.ok {
		if why := notIssuer(d.url.value); why != "" {
			b.errorf(d.url.place, "%q is no issuer: %s", clip(d.url.value), why)
		}
	}
	if s := d.server; s.ok && (len(s.value) > maxServer || strings.Trim(s.value, lettersAndDigits+".-") != "") {
		b.errorf(s.place, "%q can't be the server in a subject: it has letters, digits, dots and dashes, at most %d; write its host's name alone, as in drone.acme.example",
			clip(s.value), maxServer)
	}
	return &Issuer{URL: d.url.value, Server: d.server.value, Pools: b.serverPools(d), Keys: b.issuerKeys(d), At: b.line(d.place)}
}

// notIssuer says why a URL can't be our issuer, or nothing. Whatever is accepted stays as it was written: Entra compares
// it byte for byte, the slash at the end included, so nothing is made tidy here.
//
//	https://oidc.acme.example/drone     fine
//	https://oidc.acme.example/drone/    fine, and another issuer
//	https://localhost/drone             refused: Entra could not reach it
func notIssuer(s string) string {
	u, err := url.Parse(s) // the order of the cases matters: u is nil when there is an err
	switch {
	case len(s) > maxIssuerURL:
		return "it has more than 500 characters"
	case !strings.Contains(s, "://"):
		return "it has no https:// in front"
	case err != nil:
		return "it can't be read as a URL"
	case u.Scheme != "https" || !strings.HasPrefix(s, "https://"):
		return "an issuer is https:// in lower case"
	case u.User != nil:
		return "it holds a user"
	case u.Port() != "" || strings.HasSuffix(u.Host, ":"):
		return "it has a port"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "a query or a fragment follows the path"
	// The others would have to be encoded, and then two spellings of one URL would be two issuers.
	case strings.Trim(s, lettersAndDigits+"-._~:/") != "":
		return "its path has letters, digits and -._~, and nothing that is encoded"
	case strings.Contains(u.Path, "//"):
		return "its path has an empty segment, which clients and servers take out"
	case strings.HasSuffix(s, "/.well-known/openid-configuration"):
		return "this is where its discovery document is; leave /.well-known/openid-configuration out"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return "an IP address is no name that a certificate could prove"
	}
	labels := strings.Split(u.Host, ".")
	for _, label := range labels {
		if !isVaultName(fold(label)) {
			return "its host is no DNS name"
		}
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return "a client would take . and .. out of its path"
		}
	}
	if len(labels) < 2 {
		return "Entra has to reach it, so its host has a dot in it"
	}
	return ""
}

// issuerKeys compiles the keys. One of them signs from the beginning, so that there is a key to sign with at any time; each
// other begins at a time of its own, so that it is always plain which one signs.
func (b *builder) issuerKeys(d *issuer) (keys []IssuerKey) {
	if len(d.keys.items) > maxIssuerKeys {
		b.errorf(d.keys.place, "Entra keeps the first %d keys of an issuer, and here are %d: remove those that sign nothing any more",
			maxIssuerKeys, len(d.keys.items))
	}
	var first *issuerKey
	all := true // whether each could be read: one that could not may be the first
	same, times := map[secret.Ref]place{}, map[time.Time]place{}
	for i := range d.keys.items {
		k := &d.keys.items[i]
		key := b.issuerKey(k, same)
		keys = append(keys, key)
		switch earlier, twice := times[key.From]; {
		case !k.ok:
			all = false
		case !k.from.set && first == nil:
			first = k
		case !k.from.set:
			b.errorf(k.place, `the key at %s has no "from" either: say from when this one signs, as in from: "2026-12-01T00:00:00Z"`, b.where(first.place))
		case key.From.IsZero(): // reported
		case twice:
			b.errorf(k.from.place, "the key at %s signs from the same time on: only one can", b.where(earlier))
		default:
			times[key.From] = k.place
		}
	}
	if d.keys.ok && all && first == nil {
		b.errorf(d.keys.place, `no key signs before the first "from": leave it out of the key that signs now`)
	}
	return keys
}

// issuerKey compiles one key. same holds those before it, by the host of their vault: two aliases may open one.
func (b *builder) issuerKey(k *issuerKey, same map[secret.Ref]place) IssuerKey {
	out := IssuerKey{At: b.line(k.place)}
	if k.from.ok {
		from, err := time.Parse(time.RFC3339, k.from.value)
		if err != nil || from.IsZero() {
			b.errorf(k.from.place, `%q is no time: write it as in "2026-12-01T00:00:00Z"`, clip(k.from.value))
		} else {
			out.From = from.UTC()
		}
	}
	if !k.key.ok {
		return out
	}
	// Key Vault's names of keys are of the same form as those of secrets, and ignore case as well.
	ref, err := secret.ParseRef(k.key.value)
	switch {
	case err != nil || ref.Vault == secret.TokenDoor || strings.Count(k.key.value, "/") != 1:
		b.errorf(k.key.place, "%q names no key: write vault/key@version, with an alias from vaults", clip(k.key.value))
		return out
	case len(ref.Version) != 32 || strings.Trim(ref.Version, "0123456789abcdef") != "":
		b.errorf(k.key.place, "%q needs the key's version, 32 hexadecimal digits, as in %s/%s@0123456789abcdef0123456789abcdef: without, a rotation in Key Vault would sign with a key that nobody published",
			clip(k.key.value), clip(ref.Vault), clip(ref.Name))
		return out
	}
	out.Vault, out.Name, out.Version = ref.Vault, ref.Name, ref.Version
	if !lookup(b, b.vaults, "vault", ref.Vault, k.key.place) {
		return out
	}
	b.circle(ref.Vault, k.key.place)
	ref.Vault, _ = vaultHost(b.vaults[ref.Vault].value.url.value)
	if earlier, twice := same[ref]; twice {
		b.errorf(k.key.place, "this key is at %s already: list it once", b.where(earlier))
	}
	same[ref] = k.key.place
	return out
}

// circle refuses a key in a vault whose identity needs that key's signature to open it.
func (b *builder) circle(alias string, at place) {
	name := defaultIdentity
	if t := b.vaults[alias].value.identity; t.set {
		name = t.value
	}
	if e := b.identities[name]; e != nil && e.value.assertion.issuer.set {
		b.errorf(at, "vault %q is opened by the identity %q, whose assertion this key would sign: name a vault with an identity of another assertion (file or managed)",
			alias, name)
	}
}

// warnUnusedIssuer tells of an issuer that nothing asks to sign anything.
func (b *builder) warnUnusedIssuer() {
	if !b.issuer.set {
		return
	}
	for _, e := range b.identities {
		if e.value.assertion.issuer.set {
			return
		}
	}
	for _, e := range b.tokens {
		if e.value.audience.set {
			return
		}
	}
	b.warnf(b.issuer.place, "unused-issuer", "the issuer is not used: no identity has assertion: {issuer: …}, and no token an audience")
}
