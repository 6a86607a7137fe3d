package secret

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Survey answers what an auditor asks of a policy: what a repository can read, who can read a secret, and all of it at
// once. The answers are exact in patterns and conditions and need neither a vault nor a request: each line is what Decide
// allows, found by asking Decide about requests that stand for whole cells of it.
//
// Exact means both ways: what is listed is given to some build, and what is not listed is given to none. A list that
// is too long would hide the line that matters; one that is too short would be a false promise.
// The legal world that an answer speaks of has branches, tags, targets and jobs without empty segments, as Git has them.
// A Survey is safe for concurrent use.
type Survey struct {
	policy  *Policy
	regions []region // of the denies
	deepest int      // one segment more than any pattern has
	reads   func() *readIndex
	named   func() map[string][]mapping
	heads   func() []mapping // of all bindings
}

// NewSurvey prepares the answers about a policy. The indexes that only some questions need are made at the first of them.
func NewSurvey(p *Policy) *Survey {
	s := &Survey{policy: p, deepest: deepest(p)}
	for i := range p.denies {
		s.regions = append(s.regions, p.denies[i].region())
	}
	s.reads = sync.OnceValue(func() *readIndex { return newReadIndex(p) })
	s.named = sync.OnceValue(func() map[string][]mapping { return mappings(p) })
	s.heads = sync.OnceValue(func() []mapping { return heads(p) })
	return s
}

// deepest is how many segments set a text apart from every pattern of the policy: with that many, only "**" can still
// match.
func deepest(p *Policy) (n int) {
	scope := func(s *Scope) {
		for i := range s.Repos {
			n = max(n, len(s.Repos[i].Slug.segments))
		}
		for i := range s.When {
			c := &s.When[i]
			for _, list := range [...][]Pattern{c.Branches, c.Tags, c.Into, c.DeployTo, c.Cron} {
				for j := range list {
					n = max(n, len(list[j].segments))
				}
			}
		}
	}
	for i := range p.bindings {
		scope(&p.bindings[i].Scope)
	}
	for i := range p.denies {
		scope(&p.denies[i].Scope)
	}
	return n + 1
}

// Access lists what a repository can read. An empty uid is one that nobody stated: bindings that pin an id are then listed
// with it. The error says why slug names no repository.
//
// A binding may name the repository by several patterns; it is listed with the ids that they pin, or with none if one
// of them pins none.
func (s *Survey) Access(slug, uid string) ([]Line, error) {
	if !validSlug(slug) {
		return nil, fmt.Errorf("%q is no repository's slug: write namespace/name", clip(slug, maxQuoted))
	}
	literal := Pattern{text: slug, segments: strings.Split(fold(slug), "/"), literal: true, fold: true}
	denies := s.denies(func(r *region) bool { return commonRepos([]RepoPattern{{literal, uid}}, r.Repos) != nil })
	repos := map[int32][]RepoPattern{}
	s.policy.byRepo.each(slug, func(e entry) {
		pattern := &s.policy.bindings[e.rule].Repos[e.repo]
		if pattern.Slug.Match(slug) && (uid == "" || pattern.UID == "" || pattern.UID == uid) {
			repos[e.rule] = append(repos[e.rule], RepoPattern{literal, pattern.UID})
		}
	})
	var lines []Line
	for i, patterns := range repos {
		if uid != "" {
			patterns = []RepoPattern{{literal, uid}}
		} else if slices.ContainsFunc(patterns, func(r RepoPattern) bool { return r.UID == "" }) {
			// A pattern without an id takes every id in, and the others with it.
			patterns = []RepoPattern{{literal, ""}}
		}
		lines = append(lines, s.given(i, patterns, denies)...)
	}
	return tidied(lines), nil
}

// Readers lists who can read a secret: vault/secret[@version][/key], under every alias of the vault, or a name alone that
// bindings map. Without a version in the reference all versions count, without a key the whole and each key; with a key,
// the readers of the whole count. The error says why the reference is none, or that no vault has the alias.
//
// An alias is only a door: whoever may read the same secret under another alias of the vault reads the same bytes,
// and an auditor who asks about one means both.
func (s *Survey) Readers(asked string) ([]Line, error) {
	if asked != "" && !strings.Contains(asked, "/") {
		return s.readersOfName(asked), nil
	}
	ref, err := ParseRef(asked)
	if err != nil {
		return nil, err
	}
	v := s.policy.vaults[ref.Vault]
	if v == nil {
		return nil, fmt.Errorf("no vault has the alias %q; the configuration knows %s", ref.Vault, strings.Join(s.aliases(), ", "))
	}
	denies := s.denies(func(r *region) bool {
		return !r.reads || (&deny{Deny: &Deny{Scope: r.Scope}}).withholds(v.doors, ref.Name)
	})
	var lines []Line
	for _, alias := range v.doors {
		for _, source := range s.reads().find(alias, ref.Name) {
			lines = append(lines, s.readers(source, ref, denies)...)
		}
	}
	return tidied(lines), nil
}

func (s *Survey) aliases() (list []string) {
	for alias := range s.policy.vaults {
		list = append(list, alias)
	}
	slices.Sort(list)
	return list
}

// readers are the lines of one source of a binding for the secret.
// The pattern is narrowed to what was asked: its name becomes the literal one, so that a deny of other names of the
// pattern is no longer an exception. A pattern that gives no such version or key has no lines.
func (s *Survey) readers(source source, ref Ref, denies []*region) []Line {
	b := &s.policy.bindings[source.rule]
	read, exact := source.pattern(b)
	read.name = ref.Name
	if ref.Version != "" {
		if !read.pinned || !glob(read.version, ref.Version, false) {
			return nil
		}
		read.version = ref.Version
	}
	// A pattern without a key stays as wide as it is: who reads the whole has read the key.
	if ref.Key != "" && read.keyed {
		if !glob(read.key, ref.Key, false) {
			return nil
		}
		read.key = ref.Key
	}
	l := b.line()
	l.Secret, l.Exact = read.reworded(), exact
	if source.name != "" {
		return mergeAsked(s.target(source.rule, source.name, l, denies))
	}
	return s.live(source.rule, l, denies)
}

// target lists a target of names: asked for by the name and, unless a pattern of the binding says so already, by reference.
//
// Both ways must be looked at: by reference a name can't be ambiguous, so access may remain when the name has lost
// it.
func (s *Survey) target(rule int32, name string, l Line, denies []*region) []Line {
	b := &s.policy.bindings[rule]
	lines := s.live(rule, l.by(name), denies)
	if target := b.Names[name]; slices.ContainsFunc(b.Read, func(p ReadPattern) bool { return p.Gives(target) }) {
		return lines
	}
	return append(lines, s.live(rule, l, denies)...)
}

// by is the line asked for by a name alone.
func (l Line) by(name string) Line {
	l.Asked = []string{name}
	return l
}

// A name alone has no vault: two bindings may mean two secrets by it, each for its own repositories. All are listed.
func (s *Survey) readersOfName(name string) (lines []Line) {
	all := s.denies(func(*region) bool { return true })
	var rules []int32
	for _, m := range s.named()[name] {
		rules = append(rules, m.rule)
	}
	slices.Sort(rules)
	for _, i := range slices.Compact(rules) {
		b := &s.policy.bindings[i]
		l := b.line().by(name)
		l.Secret, l.Exact = exactPattern(b.Names[name]), b.Names[name].Key == ""
		lines = append(lines, s.live(i, l, all)...)
	}
	return tidied(lines)
}

// All lists everything that the policy gives to anybody.
func (s *Survey) All() (lines []Line) {
	denies := s.denies(func(*region) bool { return true })
	for i := range s.policy.bindings {
		lines = append(lines, s.given(int32(i), sortedRepos(s.policy.bindings[i].Repos), denies)...)
	}
	return tidied(lines)
}

// given lists what a binding gives to these repositories, which it names.
func (s *Survey) given(rule int32, repos []RepoPattern, denies []*region) (lines []Line) {
	b := &s.policy.bindings[rule]
	l := b.line()
	l.Repos = repos
	for i := range b.Read {
		l.Secret = b.Read[i]
		lines = append(lines, s.live(rule, l, denies)...)
	}
	for name, target := range b.Names {
		l.Secret, l.Exact = exactPattern(target), target.Key == ""
		lines = append(lines, s.target(rule, name, l, denies)...)
	}
	return mergeAsked(lines)
}

// denies returns the regions of the denies that may matter.
// May sorts out cheaply what can't overlap; too many are slow, too few are wrong.
func (s *Survey) denies(may func(*region) bool) (list []*region) {
	for i := range s.regions {
		if may(&s.regions[i]) {
			list = append(list, &s.regions[i])
		}
	}
	return list
}
