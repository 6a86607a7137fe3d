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
	all := targeted(cfg, func(id Identity) string {
		if id.Issuer == SubjectEnvironment {
			return fmt.Sprintf("identity %q", id.Name)
		}
		return ""
	})
	for name, t := range cfg.Tokens {
		if t.Subject == SubjectEnvironment {
			all.tokens[name] = fmt.Sprintf("token %q", name)
		}
	}
	b.eachGiven(cfg, all, func(t text, binding *secret.Binding, whose []string) { b.warnTarget(t, binding, whose[0]) })
}

// withoutClient warns of a binding that pins a repository and gives it what is had through an identity with a client for each
// repository, and none for that one: every request of it fails.
func (b *builder) withoutClient(cfg *Config) {
	all := targeted(cfg, func(id Identity) string {
		if id.Clients != nil {
			return id.Name
		}
		return ""
	})
	b.eachGiven(cfg, all, func(t text, binding *secret.Binding, whose []string) {
		for _, name := range whose {
			var missing []string
			for _, repo := range binding.Repos {
				if _, listed := cfg.Identities[name].Clients[repo.UID]; repo.UID != "" && !listed {
					missing = append(missing, repo.UID)
				}
			}
			if missing != nil {
				b.warnf(t.place, ruleClientMissing, "%s: identity %q has no client for uid %s, so requests of that repository fail: add it under clients, or take the repository out of this binding",
					clip(t.value), name, oneOf(missing[:min(len(missing), 5)]))
				return
			}
		}
	})
}

// eachGiven visits what bindings give, with the words for all in it that is among those targets. What is not among them is left
// out.
func (b *builder) eachGiven(cfg *Config, all *targets, visit func(t text, binding *secret.Binding, whose []string)) {
	if len(all.vaults)+len(all.tokens) == 0 {
		return
	}
	all.names = sortedKeys(all.tokens)
	// The configuration had no error, so each binding and each entry of its lists was compiled, in the order of the drafts.
	next := 0
	for _, f := range b.files {
		for i := range f.bindings.items {
			d, compiled := &f.bindings.items[i], &cfg.Rules.Bindings[next]
			next++
			for at, p := range compiled.Read {
				if whose := all.read(p); whose != nil {
					visit(d.reads.items[at], compiled, whose)
				}
			}
			for _, e := range d.names.entries {
				if whose := all.ref(compiled.Names[e.name.value]); whose != "" {
					visit(e.value, compiled, []string{whose})
				}
			}
		}
	}
}

// warnTarget warns of what a binding gives by such a subject (whose says whose), if it has an event without a target.
func (b *builder) warnTarget(t text, binding *secret.Binding, whose string) {
	var without []string
	for _, event := range events(binding) {
		if event != string(secret.Promote) && event != string(secret.Rollback) {
			without = append(without, event)
		}
	}
	if without != nil {
		b.warnf(t.place, ruleWithoutTarget, "%s: the subject of %s names the deploy target, and a build of %s has none: its requests fail; give this on promote and rollback alone",
			clip(t.value), whose, oneOf(without))
	}
}

// targets is what is had by some identity or subject: vaults by alias and tokens by name, each with the words for it.
type targets struct {
	vaults, tokens map[string]string
	names          []string // of the tokens, sorted
	compared       int
}

// targeted finds the vaults and the tokens of those identities for which there are words.
func targeted(cfg *Config, words func(Identity) string) *targets {
	all := &targets{vaults: map[string]string{}, tokens: map[string]string{}}
	for alias, v := range cfg.Vaults {
		if text := words(cfg.Identities[v.Identity]); text != "" {
			all.vaults[alias] = text
		}
	}
	for name, t := range cfg.Tokens {
		if text := words(cfg.Identities[t.Identity]); text != "" {
			all.tokens[name] = text
		}
	}
	return all
}

// read has the words for what a pattern gives: of a vault, or of each token in order of name. It gives up after a bounded
// number of comparisons.
func (t *targets) read(p secret.ReadPattern) (whose []string) {
	add := func(text string) {
		if text != "" {
			whose = append(whose, text)
		}
	}
	if p.Vault() != secret.TokenDoor {
		add(t.vaults[p.Vault()])
		return whose
	}
	if name := literalToken(p); name != "" {
		add(t.tokens[name])
		return whose
	}
	if t.compared += len(t.names); t.compared > maxCompared {
		return nil
	}
	for _, name := range t.names {
		if givesToken(p, name) {
			add(t.tokens[name])
		}
	}
	return whose
}

// ref is read for one secret.
func (t *targets) ref(ref secret.Ref) string {
	if ref.Vault == secret.TokenDoor {
		return t.tokens[ref.Name]
	}
	return t.vaults[ref.Vault]
}
