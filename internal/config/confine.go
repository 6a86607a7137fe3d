package config

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/drone-entra/drone-entra/secret"
)

// One file may confine the others: each of them then holds rules about its own repositories and secrets and can't widen, or
// take away, what others have. Everything that a rule's meaning hangs on (vaults, tokens, pools, groups) stays with the file
// that confines: a group of a team's own, called alice, would otherwise change what `actors: [alice]` means everywhere.

// confinement is what one file may speak of, or the word unconfined. The word is there because every other file has to
// be listed: an omission must not be read as freedom.
type confinement struct {
	head
	unconfined   bool
	repos        list[repo, *repo]
	reads, pools texts
}

func (*confinement) what() string { return "a confinement" }
func (c *confinement) fields() []field {
	return []field{{"repos", &c.repos, required}, {"read", &c.reads, required}, {"pools", &c.pools, optional}}
}

// read takes the word unconfined or a mapping.
func (c *confinement) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "unconfined" {
		c.begin(r, n)
		c.unconfined, c.ok = true, true
		return
	}
	r.object(n, c)
}

// bounds is a confinement as rules are compared with it. A nil *bounds stands for a file that is not confined.
type bounds struct {
	at    string // file:line:column, for texts
	repos []secret.RepoPattern
	reads []secret.ReadPattern
	pools []string
}

// confine finds out which file is confined to what, and that none is forgotten.
//
// It runs before the rules are built and fills b.confined, which has no entry for an unconfined file. Once any file is
// listed, each loaded one must be: a new file in the directory could otherwise say what it likes.
func (b *builder) confine() {
	b.confined = map[int32]*bounds{}
	listing := single(b, "files", func(f *file) *dict[confinement, *confinement] { return &f.confined })
	if !listing.ok {
		return
	}
	// Names are relative to the file that lists them, wherever the program is started from.
	dir := filepath.Dir(b.report.names[listing.file])
	listed := map[int32]bool{listing.file: true}
	for i := range listing.entries {
		e := &listing.entries[i]
		if !e.name.ok {
			continue
		}
		index, ok := b.loaded(dir, e.name)
		switch {
		case !ok:
		case index == listing.file:
			b.errorf(e.name.place, "this is the file itself: it confines the others")
		case listed[index]:
			b.errorf(e.name.place, "%q is listed already, written differently", clip(e.name.value))
		default:
			listed[index] = true
			// A confinement with an error in it confines to nothing, as it is left out; the error keeps all of it from
			// being used.
			if to := b.bounds(&e.value); e.value.ok && !e.value.unconfined {
				b.confined[index] = to
			}
		}
	}
	for _, f := range b.files {
		if !listed[f.file] {
			b.errorf(listing.place, "%s is loaded and not listed: where files confines some, it lists all (as NAME: {repos: …, read: …}, or NAME: unconfined)",
				b.report.names[f.file])
		}
		if to := b.confined[f.file]; to != nil {
			b.ownSections(f, to)
		}
	}
}

// loaded finds the file that is meant among those that are loaded. Paths are compared as text, cleaned: it is what
// distinct does, and no link is followed.
func (b *builder) loaded(dir string, name text) (index int32, ok bool) {
	path := filepath.Clean(name.value)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	var others []string
	for i, loaded := range b.report.names {
		if filepath.Clean(loaded) == path {
			return int32(i), true
		}
		if relative, err := filepath.Rel(dir, loaded); err == nil {
			others = append(others, relative)
		}
	}
	b.errorf(name.place, "%s is not loaded%s", path, didYouMean(name.value, others, ": name it on the command line too, or its directory"))
	return 0, false
}

// bounds compiles a confinement. Without pools, a confined file has the pool "default" alone, as a binding has.
func (b *builder) bounds(c *confinement) *bounds {
	to := &bounds{at: b.where(c.place), pools: []string{secret.DefaultPool}}
	for i := range c.repos.items {
		p := &c.repos.items[i]
		if !p.slug.ok {
			continue
		}
		slug, err := secret.ParseSlugPattern(p.slug.value)
		if err != nil {
			b.errorf(p.slug.place, "%v", err)
		}
		to.repos = append(to.repos, secret.RepoPattern{Slug: slug, UID: p.uid.value})
	}
	for i := range c.reads.items {
		to.reads = b.bindingRead(&c.reads.items[i], to.reads)
	}
	// What is stated replaces the default.
	if c.pools.set {
		to.pools = nil
	}
	for _, t := range c.pools.items {
		if b.pool(t) {
			to.pools = append(to.pools, t.value)
		}
	}
	return to
}

// ownSections refuses what a confined file may not hold. It asks for what is allowed, so that a section which the
// language gets one day is closed to confined files until somebody opens it.
func (b *builder) ownSections(f *file, to *bounds) {
	own := []string{"version", "bindings", "denies", "expect"}
	for _, field := range f.fields() {
		if h := field.into.(interface{ header() *head }).header(); h.set && !slices.Contains(own, field.key) {
			b.failf(h.place, ruleOutside, "this file is confined at %s and holds bindings, denies and expect alone: %q belongs in the file that confines it", to.at, field.key)
		}
	}
}

// enter makes the rules of a file be compared with what it is confined to.
func (b *builder) enter(f *file) {
	b.inside = b.confined[f.file]
	b.same = same{} // what was fine in one file may be outside in another
}

// repoInside reports a pattern of repositories that may match one outside the file's own. It is inside if one bound
// alone takes all of it; two bounds that take it together are not enough. A bound with a uid takes only rules that pin
// the same uid, as a slug alone can pass to another repository.
func (b *builder) repoInside(at place, p secret.RepoPattern) {
	if b.inside == nil {
		return
	}
	for _, bound := range b.inside.repos {
		if p.Slug.Within(bound.Slug) && (bound.UID == "" || bound.UID == p.UID) {
			return
		}
	}
	b.outside(at, p.Slug.String(), "repositories", texted(b.inside.repos, func(p secret.RepoPattern) string {
		if p.UID != "" {
			return p.Slug.String() + " with uid " + p.UID
		}
		return p.Slug.String()
	}))
}

// readInside reports a secret, or a pattern of them, that no bound gives; given tells whether one does.
func (b *builder) readInside(at place, what string, given func(secret.ReadPattern) bool) {
	if b.inside == nil || slices.ContainsFunc(b.inside.reads, given) {
		return
	}
	b.outside(at, what, "secrets", texted(b.inside.reads, secret.ReadPattern.String))
}

// poolsInside reports pools that are not the file's own. A binding that names none is asked with "default".
func (b *builder) poolsInside(at place, pools []string) {
	if b.inside == nil {
		return
	}
	for _, pool := range pools {
		if !slices.Contains(b.inside.pools, pool) {
			b.outside(at, pool, "pools", b.inside.pools)
		}
	}
}

// outside words what a confined file may not say, and what it may.
func (b *builder) outside(at place, what, of string, within []string) {
	b.failf(at, ruleOutside, "%s reaches outside what %s confines this file to: its %s are %s", clip(what), b.inside.at, of, clip(strings.Join(within, ", ")))
}

func texted[T any](list []T, text func(T) string) (texts []string) {
	for _, v := range list {
		texts = append(texts, text(v))
	}
	return texts
}
