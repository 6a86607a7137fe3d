package config

import (
	"path/filepath"
	"strings"
	"unicode"

	"github.com/drone-entra/drone-entra/secret"
)

// buildPools compiles the pools by name. No key is read; whether two sources hold one key shows only to whoever
// reads them.
func (b *builder) buildPools() map[string]Pool {
	all := map[string]Pool{}
	// Of all pools, by Env or File alone.
	sources := map[Key]owner{}
	for _, name := range sortedKeys(b.pools) {
		e := b.pools[name]
		b.ident(e.name, "a pool's name")
		p := Pool{Name: name}
		ids := map[string]place{}
		for i := range e.value.keys.items {
			k := &e.value.keys.items[i]
			if !k.ok {
				continue
			}
			if b.ident(k.id, "a key's id") {
				if earlier, twice := ids[k.id.value]; twice {
					b.errorf(k.id.place, "pool %q has a key %q in line %d already: ids tell keys apart in the record", name, k.id.value, earlier.line)
				}
				ids[k.id.value] = k.id.place
			}
			b.keySource(name, k, sources)
			p.Keys = append(p.Keys, Key{ID: k.id.value, Env: k.env.value, File: k.file.value, At: b.line(k.place)})
		}
		all[name] = p
	}
	return all
}

// owner is the pool that a key's source belongs to.
type owner struct {
	pool string
	at   place
}

// keySource checks that a key comes from one place, and that no other key comes from there: runners of two pools with one
// key could not be told apart. It compares names of variables and cleaned paths. Rules and the record speak of the pool
// that a key proves, so a key has to stand for one.
func (b *builder) keySource(pool string, k *key, sources map[Key]owner) {
	if k.env.set == k.file.set {
		b.errorf(k.place, "a key comes from a variable or from a file: write env: NAME or file: PATH, one of them")
		return
	}
	source, at := Key{Env: k.env.value}, k.env.place
	if k.file.set {
		source, at = Key{File: filepath.Clean(k.file.value)}, k.file.place
	}
	if k.env.ok && !isVariable(k.env.value) {
		b.errorf(at, "env is no environment variable's name; if the key itself stands here, it is known now: make a new one") // not quoted, for that reason
		return
	}
	if earlier, twice := sources[source]; !twice {
		sources[source] = owner{pool, at}
	} else if earlier.pool != pool {
		b.errorf(at, "one key in two pools: %q has it at %s; each pool needs a key of its own", earlier.pool, b.where(earlier.at))
	} else {
		b.errorf(at, "this key is in the pool already, at %s", b.where(earlier.at))
	}
}

// isVariable tells whether s, which is not empty, can be the name of a variable. It catches a key pasted in its place,
// unless that looks like one.
func isVariable(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" && (s[0] < '0' || s[0] > '9')
}

// buildGroups compiles the groups by name, and fills folded. It takes two rounds: a login of the first group may be the
// name of the last.
func (b *builder) buildGroups() map[string][]string {
	all := map[string][]string{}
	for _, name := range sortedKeys(b.groups) {
		e := b.groups[name]
		if b.login(e.name, "a group's name") {
			if other, twice := b.folded[fold(name)]; twice {
				b.errorf(e.name.place, "group %q and group %q are one, as logins compare without case", name, other)
			}
			b.folded[fold(name)] = name
		}
	}
	for _, name := range sortedKeys(b.groups) {
		for _, t := range b.groups[name].value.items {
			if !b.login(t, "a login") {
				continue
			}
			if group, ok := b.folded[fold(t.value)]; ok {
				b.warnf(t.place, ruleGroupOrLogin, "%q is a login here and a group at %s: groups are not nested, and in actors the group is meant", t.value, b.where(b.groups[group].name.place))
			}
			all[name] = append(all[name], t.value)
		}
	}
	return all
}

// login checks the name of a person or of a group of them. "any" is reserved, as a group of that name would change what
// actors: any means.
func (b *builder) login(t text, what string) bool {
	if !t.ok {
		return false
	}
	why := ""
	switch {
	case t.value == "any":
		why = `"any" stands alone: write actors: any`
	case strings.Contains(t.value, "*"):
		why = "people are named one by one, never by a pattern"
	case strings.HasPrefix(t.value, "@"):
		why = "write it without the @"
	case strings.ContainsFunc(t.value, blankOrUnseen):
		why = "it holds a blank or a character that can't be seen"
	default:
		return true
	}
	b.errorf(t.place, "%q can't be %s: %s", clip(t.value), what, why)
	return false
}

// blankOrUnseen finds what nobody sees in a review: blanks of all scripts, and whatever Unicode does not call
// printable, such as U+200B and U+202E.
func blankOrUnseen(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }

// actors compiles who may. Names are left as written: the policy resolves groups, and nobody is named where Names is
// nil and Any is false. The use of a group is noted once for each list of words, which is enough.
func (b *builder) actors(a *actors) secret.Actors {
	if a.any {
		return secret.Actors{Any: true}
	}
	return secret.Actors{Names: b.same.actors.get(b.report, a.key, func() (names []string) {
		for _, t := range a.items {
			if b.login(t, "a login or a group") {
				names = append(names, t.value)
				b.used[used{"group", b.folded[fold(t.value)]}] = true
			}
		}
		return names
	})}
}
