package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// A subject of our issuer names one Drone server, and ids of repositories are a server's own. So a pool whose runners
// belong to another server gets nothing that the issuer signs for: that server's repository 42 would pass for this one's.

// serverPools compiles the pools of the issuer's server. It is nil where none were written, and where one of them is wrong:
// whatever is compared with the rest would be a second problem. To be listed here is no use of a pool.
func (b *builder) serverPools(d *issuer) (names []string) {
	good := d.pools.ok
	for _, t := range d.pools.items {
		good = (b.poolKnown(t) || t.ok && listed(b, b.pools, "pool", t.value, t.place)) && good
		names = append(names, t.value)
	}
	if !good {
		return nil
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// issuerPools compares what bindings give of what the issuer signs for with the pools of its server. It refuses another pool,
// and warns of several where the files do not say whose they are. A deny does not count: it may be gone tomorrow.
func (b *builder) issuerPools(cfg *Config) {
	if !b.issuer.ok || b.issuer.pools.set && cfg.Issuer.Pools == nil { // a misspelt key may be this one
		return
	}
	all := signedFor(cfg)
	if len(all.vaults)+len(all.tokens) == 0 {
		return
	}
	known := map[string]bool{} // the server's pools; where none are stated, those that get something
	for _, name := range cfg.Issuer.Pools {
		known[name] = true
	}
	next := 0
	for _, f := range b.files {
		for i := range f.bindings.items {
			d, compiled := &f.bindings.items[i], &cfg.Rules.Bindings[next]
			next++
			asked := slices.DeleteFunc(b.poolsOf(d), func(t text) bool { return known[t.value] })
			if len(asked) == 0 {
				continue
			}
			door := all.first(compiled, cfg.Issuer.Pools != nil)
			for _, t := range asked {
				switch {
				case door == "":
				case cfg.Issuer.Pools == nil:
					known[t.value] = true
				default:
					b.errorf(t.place, "%s for the server %s; pool %q is not in issuer.pools: add it there if its runners are of that server; "+
						"if not, take it out of this binding, and give it a door with another identity", door, clip(b.issuer.server.value), clip(t.value))
				}
			}
		}
	}
	if cfg.Issuer.Pools == nil && len(known) > 1 {
		b.warnf(b.issuer.place, ruleIssuerPools, "a subject names the server %s alone, and more than one pool gets what the issuer signs: write pools: [%s] here, "+
			"without those whose runners are of another server, as a repository there can have the id of one of this server's",
			clip(b.issuer.server.value), cut(strings.Join(sortedKeys(known), ", "), 100))
	}
}

// poolsOf are the pools of a binding, each where it stands. One that names none is for the default one.
func (b *builder) poolsOf(d *binding) (pools []text) {
	if !d.pools.set {
		return []text{{head: d.head, value: secret.DefaultPool}}
	}
	for _, t := range d.pools.items {
		if b.poolKnown(t) {
			pools = append(pools, t)
		}
	}
	return pools
}

// poolKnown tells whether a pool is there. The environment can give "default" without a file's help.
func (b *builder) poolKnown(t text) bool {
	return t.ok && (t.value == secret.DefaultPool || b.pools[t.value] != nil)
}

// signedFor finds what is had by a signature of our issuer: its ID tokens, and whatever is had as an identity whose assertion
// it signs.
func signedFor(cfg *Config) *targets {
	all := &targets{vaults: map[string]string{}, tokens: map[string]string{}}
	words := func(kind, name, how, identity string) string {
		if cfg.Identities[identity].Issuer == "" {
			return ""
		}
		return fmt.Sprintf("%s %q is %s identity %q, whose assertion the issuer signs", kind, clip(name), how, clip(identity))
	}
	for alias, v := range cfg.Vaults {
		if text := words("vault", alias, "opened as", v.Identity); text != "" {
			all.vaults[alias] = text
		}
	}
	for name, t := range cfg.Tokens {
		if text := words("token", name, "asked for as", t.Identity); text != "" {
			all.tokens[name] = text
		} else if t.Audience != "" {
			all.tokens[name] = fmt.Sprintf("token %q is one that the issuer signs", clip(name))
		}
	}
	all.names = sortedKeys(all.tokens)
	return all
}

// first has the words for one of the targets that a binding gives, or none. It compares a bounded number of tokens in all. A
// pattern beyond that is said to give one if the caller needs that to be safe.
func (t *targets) first(binding *secret.Binding, safe bool) string {
	for _, name := range sortedKeys(binding.Names) {
		if text := t.ref(binding.Names[name]); text != "" {
			return text
		}
	}
	for _, p := range binding.Read {
		if p.Vault() != secret.TokenDoor || literalToken(p) != "" {
			if whose := t.read(p); whose != nil {
				return whose[0]
			}
			continue
		}
		for _, name := range t.names {
			if t.compared++; t.compared > maxCompared {
				break
			}
			if givesToken(p, name) {
				return t.tokens[name]
			}
		}
		if t.compared > maxCompared && safe {
			return fmt.Sprintf("%q is one pattern too many to tell whether it gives a token that the issuer signs (name tokens without a *)", clip(p.String()))
		}
	}
	return ""
}
