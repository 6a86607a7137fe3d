package config

import (
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// buildRules compiles bindings and denies, which share one space of ids, in the order of the files.
//
// The lists are made at their full length: growing one of a hundred thousand bindings would hold it twice.
func (b *builder) buildRules(rules *secret.Rules) {
	bindings, denies := 0, 0
	for _, f := range b.files {
		bindings, denies = bindings+len(f.bindings.items), denies+len(f.denies.items)
	}
	rules.Bindings = make([]secret.Binding, 0, bindings)
	ids := make(map[string]place, bindings+denies)
	b.bindings = make(map[string]bool, bindings)
	var ambiguous ambiguity
	for _, f := range b.files {
		b.enter(f)
		for i := range f.bindings.items {
			d := &f.bindings.items[i]
			b.ruleID(d.id, "a binding's id", ids)
			b.bindings[d.id.value] = true
			compiled := b.binding(d)
			rules.Bindings = append(rules.Bindings, compiled)
			if d.ok {
				ambiguous.add(b, d, &compiled)
			}
		}
		for i := range f.denies.items {
			d := &f.denies.items[i]
			b.ruleID(d.id, "a deny's id", ids)
			rules.Denies = append(rules.Denies, b.deny(d))
		}
	}
}

// ruleID checks an id and that no rule has it yet: the record and denied_by name a rule by its id alone.
func (b *builder) ruleID(id text, what string, ids map[string]place) {
	if !b.ident(id, what) {
		return
	}
	if earlier, twice := ids[id.value]; twice {
		b.errorf(id.place, "the id %q is at %s already: bindings and denies have ids of their own", clip(id.value), b.where(earlier))
		return
	}
	ids[id.value] = id.place
}

// binding compiles one. With a problem the result is incomplete and never used.
func (b *builder) binding(d *binding) secret.Binding {
	out := secret.Binding{ID: d.id.value, At: b.line(d.place), Scope: b.scope(&d.scope)}
	// Pools that could not be read are asked of nobody: the error is there already.
	if at := d.pools.place; d.pools.ok {
		b.poolsInside(at, out.Pools)
	} else if !d.pools.set {
		b.poolsInside(d.place, []string{secret.DefaultPool})
	}
	out.Read = b.same.reads.get(b.report, func(dst []byte) []byte { return appendTexts(dst, &d.reads) }, func() (reads []secret.ReadPattern) {
		for i := range d.reads.items {
			reads = b.bindingRead(&d.reads.items[i], reads)
		}
		return reads
	})
	out.Names = b.names(d)
	if d.ok && !d.reads.set && !d.names.set {
		b.errorf(d.place, `a binding needs "read" or "names": without, it gives nothing`)
	}
	b.bindingWhen(d, &out)
	return out
}

// bindingRead appends a pattern, if it is one, of a vault that is listed and within what confines the file. A
// confinement's own read goes through it too, before any file is entered.
func (b *builder) bindingRead(t *text, reads []secret.ReadPattern) []secret.ReadPattern {
	if !t.ok {
		return reads
	}
	p, err := secret.ParseRead(t.value)
	if err != nil {
		b.errorf(t.place, "%v", err)
	} else if b.door(*t, p.Vault()) {
		b.used[used{"vault", p.Vault()}] = true
		b.readInside(t.place, t.value, p.Within)
		reads = append(reads, p)
	}
	return reads
}

// names compiles what a pipeline may ask for by a name alone. It is nil where nothing was written. An entry with a
// problem is left out.
func (b *builder) names(d *binding) map[string]secret.Ref {
	if !d.names.ok {
		return nil
	}
	names := make(map[string]secret.Ref, len(d.names.entries))
	for _, e := range d.names.entries {
		if e.name.ok {
			if why := loneName(e.name.value); why != "" {
				b.errorf(e.name.place, "%q can't be a secret's name: %s", clip(e.name.value), why)
			}
		}
		if !e.value.ok {
			continue
		}
		ref, err := secret.ParseRef(e.value.value)
		if err != nil {
			b.errorf(e.value.place, "%v", err)
		} else if b.door(e.value, ref.Vault) {
			b.used[used{"vault", ref.Vault}] = true
			b.readInside(e.value.place, e.value.value, func(p secret.ReadPattern) bool { return p.Gives(ref) })
			names[e.name.value] = ref
		}
	}
	return names
}

// loneName says why a pipeline could not ask for the name alone, or nothing. Key Vault's own rules do not apply: it is
// the operator's word for the secret.
func loneName(s string) string {
	switch {
	case strings.Contains(s, "/"):
		return "with a slash in it, it would be read as vault/secret"
	case strings.ContainsFunc(s, blankOrUnseen):
		return "it holds a blank or a character that can't be seen"
	}
	return ""
}

// deny compiles one. Where it is confined, its repositories have to be the file's own, and that is enough: whatever
// else it states, it takes away from those alone.
func (b *builder) deny(d *deny) secret.Deny {
	out := secret.Deny{ID: d.id.value, At: b.line(d.place), Scope: b.scope(&d.scope), Reason: d.reason.value}
	if b.inside != nil && d.ok && !d.repos.set {
		b.failf(d.place, ruleOutside, `without "repos" this deny holds for every repository, and %s confines this file: name its own`, b.inside.at)
	}
	for i := range d.reads.items {
		b.denyRead(&d.reads.items[i], &out.Scope)
	}
	for i := range d.when.events {
		if c := &d.when.events[i]; c.ok {
			out.When = append(out.When, b.condition(c))
		}
	}
	return out
}

// denyRead appends a deny's pattern of secrets.
func (b *builder) denyRead(t *text, into *secret.Scope) {
	if !t.ok {
		return
	}
	p, err := secret.ParseDenyRead(t.value)
	if err != nil {
		b.errorf(t.place, "%v", err)
		return
	}
	into.Read = append(into.Read, p)
	if p.Narrow() {
		b.warnf(t.place, ruleNarrowDeny, "%q: a deny holds for every version and every key; write it without them", t.value)
	}
	// A misspelt vault or token would deny nothing. Withholding alone is no use of it.
	switch {
	case strings.Contains(p.Vault(), "*"):
		b.denyGlob(t, p)
	case p.Vault() == secret.TokenDoor:
		b.tokenListed(*t)
	default:
		listed(b, b.vaults, "vault", p.Vault(), t.place)
	}
}

// denyGlob warns of a pattern of vaults that meets none. "*" is meant for vaults that are listed one day, too. Nothing
// is said where a file could not be read: the vault may be in that one.
func (b *builder) denyGlob(t *text, p secret.ReadPattern) {
	glob, err := secret.ParsePattern(p.Vault())
	if err != nil || b.partial || p.Vault() == "*" {
		return
	}
	for alias := range b.vaults {
		if glob.Match(alias) {
			return
		}
	}
	if len(b.tokens) > 0 && glob.Match(secret.TokenDoor) {
		return
	}
	b.warnf(t.place, ruleUnreachableAlias, "%q: no vault's alias matches %q", t.value, p.Vault())
}

// scope compiles what both sorts of rule have in common, except read and when.
//
// A list that was left out stays nil, which means the default in a binding and everything in a deny.
func (b *builder) scope(d *scope) secret.Scope {
	out := secret.Scope{Actors: b.actors(&d.actors)}
	for i := range d.repos.items {
		p := &d.repos.items[i]
		if !p.slug.ok {
			continue
		}
		b.dotStar(p.slug)
		slug, err := secret.ParseSlugPattern(p.slug.value)
		if err != nil {
			b.errorf(p.slug.place, "%v", err)
		}
		out.Repos = append(out.Repos, secret.RepoPattern{Slug: slug, UID: p.uid.value})
		if err == nil {
			b.repoInside(p.slug.place, out.Repos[len(out.Repos)-1])
		}
	}
	// Left out, a binding is for this pool; so it is not unused.
	if !d.pools.set {
		b.used[used{"pool", secret.DefaultPool}] = true
	}
	for _, t := range d.pools.items {
		if b.pool(t) {
			out.Pools = append(out.Pools, t.value)
		}
	}
	return out
}

// pool checks that a pool is there. The environment can give "default" without a file's help. It tells whether the name
// is to be taken into a rule.
func (b *builder) pool(t text) bool {
	if !t.ok {
		return false
	}
	if t.value == secret.DefaultPool && b.pools[t.value] == nil {
		return true
	}
	return lookup(b, b.pools, "pool", t.value, t.place)
}
