package config

import (
	"fmt"

	"github.com/drone-entra/drone-entra/secret"
)

// warnOpening warns of a token that a build can itself exchange for the one of an identity: our issuer signs it, Entra's
// exchange is its audience, and its subject is of the form that the identity's application trusts.
func (b *builder) warnOpening(cfg *Config) {
	trusting := map[string]string{} // form of a subject → the first identity by name whose application trusts it
	for _, id := range sortedKeys(cfg.Identities) {
		if form := cfg.Identities[id].Issuer; trusting[form] == "" {
			trusting[form] = id
		}
	}
	for name, token := range cfg.Tokens {
		switch fold(token.Audience) {
		case "api://azureadtokenexchange", "api://azureadtokenexchangeusgov", "api://azureadtokenexchangechina":
		default:
			continue
		}
		if id := trusting[token.Subject]; id != "" {
			b.warnf(b.tokens[name].value.audience.place, ruleOpensIdentity, "a build with this token can exchange it itself and read whatever identity %q may, "+
				"past the bindings: give the token another subject or audience, or the identity another assertion", id)
		}
	}
}

// withoutTarget warns of a binding that gives, on an event without a deploy target, what is had by a subject with such a
// target in it: there is no subject then, and every request fails.
func (b *builder) withoutTarget(cfg *Config) {
	all := targeted(cfg)
	if len(all.vaults)+len(all.tokens) == 0 {
		return
	}
	// The configuration had no error, so each binding and each entry of its lists was compiled, in the order of the drafts.
	next := 0
	for _, f := range b.files {
		for i := range f.bindings.items {
			d, compiled := &f.bindings.items[i], &cfg.Rules.Bindings[next]
			next++
			for at, p := range compiled.Read {
				b.warnTarget(d.reads.items[at], compiled, all.read(p))
			}
			for _, e := range d.names.entries {
				b.warnTarget(e.value, compiled, all.ref(compiled.Names[e.name.value]))
			}
		}
	}
}

// warnTarget warns of what a binding gives, if it is had by such a subject (whose says whose) and the binding has an event
// without a target.
func (b *builder) warnTarget(t text, binding *secret.Binding, whose string) {
	var without []string
	for _, event := range events(binding) {
		if event != string(secret.Promote) && event != string(secret.Rollback) {
			without = append(without, event)
		}
	}
	if whose != "" && without != nil {
		b.warnf(t.place, ruleWithoutTarget, "%s: the subject of %s names the deploy target, and a build of %s has none: its requests fail; give this on promote and rollback alone",
			clip(t.value), whose, oneOf(without))
	}
}

// targets is what is had by a subject with a deploy target in it: vaults by alias and tokens by name, each with the words
// for whose subject that is.
type targets struct {
	vaults, tokens map[string]string
	names          []string // of the tokens, sorted
	compared       int
}

func targeted(cfg *Config) *targets {
	all := &targets{vaults: map[string]string{}, tokens: map[string]string{}}
	whose := func(identity string) string {
		if cfg.Identities[identity].Issuer == SubjectEnvironment {
			return fmt.Sprintf("identity %q", identity)
		}
		return ""
	}
	for alias, v := range cfg.Vaults {
		if text := whose(v.Identity); text != "" {
			all.vaults[alias] = text
		}
	}
	for name, t := range cfg.Tokens {
		if t.Subject == SubjectEnvironment {
			all.tokens[name] = fmt.Sprintf("token %q", name)
		} else if text := whose(t.Identity); text != "" {
			all.tokens[name] = text
		}
	}
	all.names = sortedKeys(all.tokens)
	return all
}

// read says whose subject a pattern needs, or nothing. Of several tokens the first by name stands for all. It gives up
// after a bounded number of comparisons.
func (t *targets) read(p secret.ReadPattern) string {
	if p.Vault() != secret.TokenDoor {
		return t.vaults[p.Vault()]
	}
	if name := literalToken(p); name != "" {
		return t.tokens[name]
	}
	if t.compared += len(t.names); t.compared > maxCompared {
		return ""
	}
	for _, name := range t.names {
		if givesToken(p, name) {
			return t.tokens[name]
		}
	}
	return ""
}

// ref is read for one secret.
func (t *targets) ref(ref secret.Ref) string {
	if ref.Vault == secret.TokenDoor {
		return t.tokens[ref.Name]
	}
	return t.vaults[ref.Vault]
}
