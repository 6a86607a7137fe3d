package secret

import "slices"

// Line is one row of an answer about the policy as a whole: what one binding gives, narrowed to what was asked. Its fields
// are a product (each repository, at each condition, by each actor, …), and every alternative in them is granted for some
// request. From the product the exceptions are to be taken away; what is left is exactly what Decide allows through this
// binding.
//
// A Line may share its lists with the policy and with other lines: readers must not change them.
type Line struct {
	Binding string // its id
	At      string // where it stands: file:line

	Repos  []RepoPattern
	Secret ReadPattern
	Exact  bool        // only the secret as a whole, not its keys by themselves
	Asked  []string    // how a pipeline may ask: "" for by reference, else the name alone that leads to the secret
	Pools  []string    // at least one
	When   []Condition // at least one; meant as in a binding
	Actors []string    // logins in lower case, in order; nil: whoever it is, also nobody

	// DefaultIs narrows the default branch that a condition means: only where its name matches. Only Diff needs it.
	DefaultIs []Pattern

	Except []Exception // in order of the rules' ids
}

// Exception is a rule that withholds a part of a Line.
type Exception struct {
	Rule   string // the id of a deny, or of a binding that maps a name to something else
	At     string
	Reason string // a deny's, for people
	Name   string // with a binding: the name that is ambiguous where both match
	Scope         // what the rule is about, as it is written; in a deny, what is not stated means everything
}

// Ambiguous tells whether the exception is a binding that maps the same name differently, not a deny.
func (e *Exception) Ambiguous() bool { return e.Name != "" }

// ByReference tells whether a pipeline can ask for the secret by its reference, and not only by a name of the binding.
func (l *Line) ByReference() bool { return slices.Contains(l.Asked, "") }

// Names returns the names alone that lead to the secret.
func (l *Line) Names() []string {
	return slices.DeleteFunc(slices.Clone(l.Asked), func(name string) bool { return name == "" })
}

// exactPattern is the pattern of one reference and nothing else, but for a whole secret's keys.
// An empty key is no key stated, which takes keys in: whoever means the whole alone sets Exact beside it.
func exactPattern(r Ref) ReadPattern {
	return ReadPattern{r.String(), r.Vault, r.Name, r.Version, r.Key, r.Version != "", r.Key != ""}
}

// reworded is the pattern with its text made anew from its parts.
func (p ReadPattern) reworded() ReadPattern {
	p.text = p.vault + "/" + p.name
	if p.pinned {
		p.text += "@" + p.version
	}
	if p.keyed {
		p.text += "/" + p.key
	}
	return p
}

// line is all that the binding gives, but for the secret.
// It asks by reference; a name alone replaces that (see by).
func (b *binding) line() Line {
	return Line{
		Binding: b.ID, At: b.At, Repos: sortedRepos(b.Repos), Asked: byReference, Pools: b.poolNames(), When: b.conditions(),
		Actors: b.actors.list(),
	}
}

// What a binding means that leaves it out; not changed by anybody.
var (
	byReference  = []string{""}
	defaultPools = []string{DefaultPool}
	defaultWhen  = []Condition{pushToDefault}
)

// poolNames are the pools that the binding is about.
func (b *binding) poolNames() []string {
	if b.Pools == nil {
		return defaultPools
	}
	return b.Pools
}

// conditions are the events that the binding is about.
func (b *binding) conditions() []Condition {
	if b.When == nil {
		return defaultWhen
	}
	return b.When
}

// list returns every login, in order, or nil where no actor is needed.
//
// Not nil but empty: actors are asked for, and there are none, for the groups are empty. Nobody satisfies it.
func (c *people) list() []string {
	if c.any || !c.stated {
		return nil
	}
	logins := append(slices.Clone(c.logins), members(c.groups)...)
	slices.Sort(logins)
	return append([]string{}, slices.Compact(logins)...)
}
