package config

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	maxTokenName    = 127 // as a secret's, whose place it takes in a reference
	maxScope        = 300 // bytes
	maxAudience     = 300 // bytes
	defaultLifetime = 5 * time.Minute
)

// foldTokens keys the tokens by their names in lower case: references compare without case, as they do for Key Vault's
// secrets.
func (b *builder) foldTokens(written map[string]*entry[token]) map[string]*entry[token] {
	folded := make(map[string]*entry[token], len(written))
	for _, name := range sortedKeys(written) {
		e := written[name]
		if len(name) > maxTokenName || strings.Trim(name, lettersAndDigits+"-") != "" {
			b.errorf(e.name.place, "%q can't be a token's name: it has letters, digits and dashes, at most %d, as a secret's", clip(name), maxTokenName)
		}
		if other := folded[fold(name)]; other != nil {
			b.errorf(e.name.place, "token %q and token %q are one, as names compare without case", clip(other.name.value), clip(name))
		}
		folded[fold(name)] = e
	}
	return folded
}

// buildTokens compiles the tokens by their names in lower case.
func (b *builder) buildTokens() map[string]Token {
	all := make(map[string]Token, len(b.tokens))
	for _, name := range sortedKeys(b.tokens) {
		all[name] = b.token(name, b.tokens[name])
	}
	return all
}

// token compiles one token. Which kind it is says which other keys mean something.
func (b *builder) token(name string, e *entry[token]) Token {
	d := &e.value
	out := Token{
		Name: name, Identity: d.identity.value, Scope: d.scope.value, Audience: d.audience.value,
		Subject: d.subject.value, MinLife: d.minLife.value, Lifetime: d.lifetime.value, At: b.line(e.name.place),
	}
	var kinds []string
	for _, kind := range []struct {
		h    *head
		name string
	}{{&d.scope.head, "scope"}, {&d.registry.head, "registry"}, {&d.audience.head, "audience"}} {
		if kind.h.set {
			kinds = append(kinds, kind.name)
		}
	}
	if len(kinds) != 1 {
		if d.ok { // else a key was misspelt, which may be the one that is missing
			b.errorf(d.place, `a token has a "scope" (of Entra), a "registry" or an "audience" (signed by our issuer), one of them`)
		}
		return out
	}
	b.stray(d, kinds[0])
	cloud := b.tokenIdentity(d, kinds[0])
	switch kinds[0] {
	case "scope":
		b.scopeOf(d.scope)
	case "registry":
		out.Registry = b.registry(d, cloud)
		out.Repositories, out.AnyRepository = b.repositories(d)
	case "audience":
		b.audience(d.audience)
		out.Subject, out.Lifetime = cmp.Or(out.Subject, SubjectRepo), cmp.Or(out.Lifetime, defaultLifetime)
	}
	return out
}

// stray refuses what a token of that kind would ignore: somebody would believe that it is in force.
func (b *builder) stray(d *token, kind string) {
	for _, key := range []struct {
		h     *head
		name  string
		kinds []string
		why   string
	}{
		{&d.identity.head, "identity", []string{"scope", "registry"}, "our own issuer signs such a token, and no identity is asked"},
		{&d.repositories.head, "repositories", []string{"registry"}, "only a registry has them"},
		{&d.subject.head, "subject", []string{"audience"}, "only a token for an audience has a subject of ours"},
		{&d.minLife.head, "min_life", []string{"scope", "registry"}, "such a token is made anew for each request; lifetime says how long it lives"},
		{&d.lifetime.head, "lifetime", []string{"audience"}, "Azure decides how long its tokens live; min_life says how much of that must be left"},
	} {
		if key.h.set && !slices.Contains(key.kinds, kind) {
			b.errorf(key.h.place, "%q means nothing beside %q: %s; remove it", key.name, kind, key.why)
		}
	}
}

// tokenIdentity checks the identity that a token is asked for with and returns its cloud, or "" where that is not known or
// there is no identity.
func (b *builder) tokenIdentity(d *token, kind string) string {
	t := d.identity
	switch {
	case kind == "audience":
		return ""
	case d.ok && !t.set:
		b.errorf(d.place, `a token with %q needs "identity": who asks for it`, kind)
		return ""
	case !t.ok:
		return ""
	case t.value == defaultIdentity && b.identities[defaultIdentity] == nil:
		b.used[used{"identity", defaultIdentity}] = true // everything in it comes from the environment
		return cmp.Or(b.defaultCloud(), CloudPublic)
	case !lookup(b, b.identities, "identity", t.value, t.place):
		return ""
	}
	cloud := b.identities[t.value].value.cloud
	if cloud.set && !cloud.ok {
		return ""
	}
	return cmp.Or(cloud.value, CloudPublic)
}

// The applications that Entra knows as Key Vault (in the public clouds and in the one for the US government) and as its own
// token exchange: a scope can name a resource by these as well.
const (
	keyVaultApp      = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	keyVaultAppGov   = "7e7c393b-45d0-48b1-a35e-2905ddf8183c"
	tokenExchangeApp = "fb60f99c-7a34-4190-8149-302f77469936"
)

// scopeOf checks a scope, and refuses the two whose token is worth more than what it is given for. A piece of the text is
// enough for that: Entra takes a resource with one slash more, in any case and by its application's id, and nothing else
// that people need has such a name.
func (b *builder) scopeOf(t text) {
	if !t.ok {
		return
	}
	name := fold(t.value)
	names := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
	why := ""
	switch {
	case len(t.value) > maxScope:
		why = "it has more than 300 characters"
	case strings.ContainsFunc(t.value, func(c rune) bool { return c <= ' ' || c > '~' || c == '%' }):
		why = "it holds a blank, a % or a character outside of ASCII: write one resource and /.default behind it"
	case !strings.HasSuffix(t.value, "/.default") || t.value == "/.default":
		why = "write the resource and /.default behind it, as in https://management.azure.com/.default"
	case names(sortedKeys(clouds())...), names(keyVaultApp, keyVaultAppGov):
		why = "with a token for Key Vault a build could read whatever the identity may, past every binding: give the secrets themselves, with read or names"
	case names("azureadtokenexchange", tokenExchangeApp):
		why = "whoever has a token for Entra's exchange is the identity: give what the build needs of it, as in scope: https://management.azure.com/.default"
	default:
		return
	}
	b.errorf(t.place, "%q can't be a token's scope: %s", clip(t.value), why)
}

// audience checks for whom our issuer is to sign a token, and that there is an issuer.
func (b *builder) audience(t text) {
	switch {
	case !t.ok:
	case len(t.value) > maxAudience || strings.ContainsFunc(t.value, blankOrUnseen):
		b.errorf(t.place, "%q can't be an audience: it has 1 to %d characters, without blanks and what can't be seen", clip(t.value), maxAudience)
	case !b.issuer.set && !b.partial:
		b.errorf(t.place, `a token for an audience is signed by our own issuer: say its url, server and keys under "issuer"`)
	}
}
