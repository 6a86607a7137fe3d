package config

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/drone-entra/drone-entra/secret"
)

// One file may confine the others: each of them then holds rules about its own repositories and secrets and can't widen, or
// take away, what others have. Everything that a rule's meaning hangs on (vaults, pools, groups) stays with the file that
// confines: a group of a team's own, called alice, would otherwise change what `actors: [alice]` means everywhere.

// confinement is what one file may speak of, or the word unconfined.
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

func (c *confinement) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "unconfined" {
		c.begin(r, n)
		c.unconfined, c.ok = true, true
		return
	}
	r.object(n, c)
}

// bounds is a confinement as rules are compared with it.
type bounds struct {
	at    string // file:line:column, for texts
	repos []secret.RepoPattern
	reads []secret.ReadPattern
	pools []string
}

// confine finds out which file is confined to what, and that none is forgotten.
func (b *builder) confine() {
	b.confined = map[int32]*bounds{}
	listing := single(b, "files", func(f *file) *dict[confinement, *confinement] { return &f.confined })
	if !listing.ok {
		return
	}
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

// loaded finds the file that is meant among those that are loaded.
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

// ownSections refuses what a confined file may not hold.
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

func (b *builder) readInside(at place, what string, given func(secret.ReadPattern) bool) {
	if b.inside == nil || slices.ContainsFunc(b.inside.reads, given) {
		return
	}
	b.outside(at, what, "secrets", texted(b.inside.reads, secret.ReadPattern.String))
}

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

func (b *builder) outside(at place, what, of string, within []string) {
	b.failf(at, ruleOutside, "%s reaches outside what %s confines this file to: its %s are %s", clip(what), b.inside.at, of, clip(strings.Join(within, ", ")))
}

func texted[T any](list []T, text func(T) string) (texts []string) {
	for _, v := range list {
		texts = append(texts, text(v))
	}
	return texts
}
