package config

import (
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// What rules say of tokens. Their names are all listed, which those of a vault's secrets are not: so here a misspelling is an
// error, and a token that no rule gives is found.

// useTokens notes which tokens some binding gives. It looks at the compiled rules, since a pattern can give several, and a
// confinement, which is compiled as one, gives none.
func (b *builder) useTokens(rules *secret.Rules) {
	use := func(name string) { b.used[used{"token", name}] = true }
	// What a pattern gives is not compared with the next one, so tokens/* costs nothing where it stands a second time.
	left, compared := sortedKeys(b.tokens), 0
	for i := range rules.Bindings {
		for _, ref := range rules.Bindings[i].Names {
			if ref.Vault == secret.TokenDoor {
				use(ref.Name)
			}
		}
		for _, p := range rules.Bindings[i].Read {
			if p.Vault() != secret.TokenDoor {
				continue
			}
			if name := literalToken(p); name != "" {
				use(name)
			} else if compared += len(left); compared <= maxCompared {
				left = slices.DeleteFunc(left, func(name string) bool {
					gives := givesToken(p, name)
					if gives {
						use(name)
					}
					return gives
				})
			}
		}
	}
	if compared > maxCompared { // whether the rest is used is not known
		for _, name := range left {
			use(name)
		}
	}
}

// literalToken returns the name in a pattern of tokens, or "" where it has a * in it.
func literalToken(p secret.ReadPattern) string {
	name, _, _ := tokenParts(fold(p.String()))
	if strings.Contains(name, "*") {
		return ""
	}
	return name
}

// givesToken tells whether a pattern gives the token of that name, or what belongs to it.
func givesToken(p secret.ReadPattern, name string) bool {
	return slices.ContainsFunc(append(registryKeys(), ""), func(key string) bool {
		return p.Gives(secret.Ref{Vault: secret.TokenDoor, Name: name, Key: key})
	})
}

// registryKeys are the keys of a registry's token; any other token has the first alone.
func registryKeys() []string { return []string{"expires", "username", "registry"} }

// door checks the place of a secret that somebody may read: an alias that is listed, or the door of the tokens, where
// each name is one of the configuration's own and so are its keys. A part with a * is a pattern and may meet what is
// listed one day.
func (b *builder) door(t text, alias string) bool {
	if alias != secret.TokenDoor {
		return listed(b, b.vaults, "vault", alias, t.place)
	}
	name, key, keyed := tokenParts(t.value)
	switch {
	case !b.tokenListed(t):
		return false
	case strings.Contains(name, "@"):
		name, _, _ = strings.Cut(name, "@")
		b.errorf(t.place, "%q: a token has no versions, as each is made when it is asked for: write %s/%s", clip(t.value), secret.TokenDoor, clip(name))
		return false
	case !keyed || key == "value" || strings.Contains(name+key, "*"):
		return true
	}
	keys := registryKeys()
	if e := b.tokens[fold(name)]; e != nil && !e.value.registry.set {
		keys = keys[:1]
	}
	if !slices.Contains(keys, key) {
		b.errorf(t.place, "%q: the keys of this token are %s; without a key it is the token itself", clip(t.value), joined(keys, "and"))
		return false
	}
	return true
}

// tokenListed tells whether the token that a reference or a pattern speaks of is listed, and reports one that is not.
func (b *builder) tokenListed(t text) bool {
	name, _, _ := tokenParts(t.value)
	name, _, _ = strings.Cut(name, "@")
	switch {
	case len(b.tokens) == 0 && (b.partial || b.vaults[secret.TokenDoor] != nil): // a vault of that alias is reported
		return false
	case len(b.tokens) == 0:
		b.errorf(t.place, `%q is a short-lived token, and none is listed: list it under "tokens"`, clip(t.value))
		return false
	case strings.Contains(name, "*"):
		return true
	}
	return listed(b, b.tokens, "token", fold(name), t.place)
}

// tokenParts takes tokens/NAME[/KEY] apart, which was read as a reference or a pattern before.
func tokenParts(s string) (name, key string, keyed bool) {
	_, rest, _ := strings.Cut(s, "/")
	name, key, keyed = strings.Cut(rest, "/")
	return name, key, keyed
}
