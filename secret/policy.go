package secret

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Policy is a compiled, immutable set of rules. The zero Policy denies everything.
//
// It is safe for concurrent use: a reload compiles a new one, and requests under way keep theirs. It holds on to the
// rules that it was made from, which nobody may change any more.
type Policy struct {
	vaults   map[string]*vault
	bindings []binding
	denies   []deny
	byRepo   index // of bindings
	denyRepo index // of denies

	deepOnce sync.Once
	deep     map[string]int // see depths
}

// vault is what Decide and Admit need to know of an alias.
type vault struct {
	Vault
	doors []string // every alias of the same host, this one included
}

// A binding keeps the rule as it was written, for those who explain, beside what was compiled of it.
type binding struct {
	*Binding
	actors people
}

type deny struct {
	*Deny
	actors people
}

// people is a compiled Actors: groups are shared between rules, logins are in lower case.
//
// Groups stay maps: a group of a thousand, named in a hundred rules, is kept once.
type people struct {
	stated, any bool
	logins      []string
	groups      []map[string]struct{}
}

// NewPolicy compiles rules. The errors are those that would make the rules mean something else than they say; a reader of
// configuration files finds them earlier, with their place.
//
// It stops at the first error of a rule. It takes over the rules' slices and maps.
func NewPolicy(rules Rules) (*Policy, error) {
	p := &Policy{vaults: make(map[string]*vault, len(rules.Vaults))}
	// Aliases are joined by host, without case as DNS has it, before anything asks about denies: a deny of one alias
	// holds for all of its vault.
	doors := map[string][]string{}
	for _, v := range rules.Vaults {
		if p.vaults[v.Alias] != nil {
			return nil, fmt.Errorf("vault %q is there twice", v.Alias)
		}
		p.vaults[v.Alias] = &vault{Vault: v}
		doors[fold(v.Host)] = append(doors[fold(v.Host)], v.Alias)
	}
	for _, v := range p.vaults {
		v.doors = doors[fold(v.Host)]
	}
	groups, err := compileGroups(rules.Groups)
	if err != nil {
		return nil, err
	}
	// One set of ids for both kinds: the record names a rule by its id alone.
	ids := map[string]bool{}
	for i := range rules.Bindings {
		b := &rules.Bindings[i]
		if err := errors.Join(unique(ids, b.ID), b.meaningful(), p.listed(b)); err != nil {
			return nil, fmt.Errorf("binding %q: %w", b.ID, err)
		}
		if b.Repos != nil { // without a repository it matches none
			p.byRepo.add(i, b.Repos)
		}
		p.bindings = append(p.bindings, binding{b, compilePeople(b.Actors, groups)})
	}
	for i := range rules.Denies {
		d := &rules.Denies[i]
		if err := errors.Join(unique(ids, d.ID), d.meaningful()); err != nil {
			return nil, fmt.Errorf("deny %q: %w", d.ID, err)
		}
		p.denies = append(p.denies, deny{d, compilePeople(d.Actors, groups)})
		p.denyRepo.add(i, d.Repos)
	}
	p.byRepo.seal()
	p.denyRepo.seal()
	return p, nil
}

// listed tells whether every vault that a binding reads is one that the rules list.
// Decide relies on it: a grant never names a vault that has no host.
func (p *Policy) listed(b *Binding) error {
	for _, read := range b.Read {
		if p.vaults[read.vault] == nil {
			return fmt.Errorf("it reads from the unknown vault %q", read.vault)
		}
	}
	for name, ref := range b.Names {
		if p.vaults[ref.Vault] == nil {
			return fmt.Errorf("it maps %q to the unknown vault %q", name, ref.Vault)
		}
	}
	return nil
}

// meaningful refuses what could be read in two ways: an empty list is neither "not stated" nor "nothing", and an event that
// policy does not know matches nothing, so that a rule about it says something else than its author meant.
func (s *Scope) meaningful() error {
	empty := s.Repos != nil && len(s.Repos) == 0 || s.When != nil && len(s.When) == 0 || s.Pools != nil && len(s.Pools) == 0 ||
		s.Read != nil && len(s.Read) == 0 || s.Actors.Names != nil && len(s.Actors.Names) == 0
	for _, c := range s.When {
		if !slices.Contains(BuildEvents[:], c.Event) {
			return fmt.Errorf("no event is called %q", c.Event)
		}
		for _, list := range [...][]Pattern{c.Branches, c.Tags, c.Into, c.DeployTo, c.Cron} {
			empty = empty || list != nil && len(list) == 0
		}
	}
	if empty {
		return errors.New("an empty list says nothing: leave it out, or name something")
	}
	return nil
}

// compileGroups makes a set of each group. Two names that differ in case only would be one group to whoever is looked
// up.
func compileGroups(groups map[string][]string) (map[string]map[string]struct{}, error) {
	compiled := make(map[string]map[string]struct{}, len(groups))
	for name, logins := range groups {
		if compiled[fold(name)] != nil {
			return nil, fmt.Errorf("two groups are called %q, case aside", name)
		}
		compiled[fold(name)] = set(logins)
	}
	return compiled, nil
}

// unique notes the id, or says why it can't be one.
func unique(ids map[string]bool, id string) error {
	if id == "" || ids[id] {
		return fmt.Errorf("the id %q is empty or there twice", id)
	}
	ids[id] = true
	return nil
}

func set(logins []string) map[string]struct{} {
	m := make(map[string]struct{}, len(logins))
	for _, login := range logins {
		m[fold(login)] = struct{}{}
	}
	return m
}

// compilePeople splits names into groups and logins. A group wins over a login of the same name.
func compilePeople(a Actors, groups map[string]map[string]struct{}) people {
	c := people{stated: a.stated(), any: a.Any}
	for _, name := range a.Names {
		if group, ok := groups[fold(name)]; ok {
			c.groups = append(c.groups, group)
		} else {
			c.logins = append(c.logins, fold(name))
		}
	}
	return c
}

// has tells whether the actor is one of them. Nobody ("") never is.
//
// The actor is compared in ASCII without case, as forges do; more than that (K to k, ſ to s) would let a look-alike
// in.
func (c *people) has(actor string) bool {
	if actor == "" {
		return false
	}
	for _, login := range c.logins {
		if equalFold(login, actor) {
			return true
		}
	}
	var buf [64]byte
	folded := appendFold(buf[:0], actor)
	for _, group := range c.groups {
		if _, ok := group[string(folded)]; ok {
			return true
		}
	}
	return false
}
