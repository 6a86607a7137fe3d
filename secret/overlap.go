package secret

import (
	"iter"
	"slices"
)

// region is what a rule withholds from others: what a deny is about, or where a binding maps a name to something else. It
// is a union of products, one for each combination of its alternatives.
//
// The same words mean different things in both, hence the field deny: what a deny leaves out is everything, what a
// binding leaves out is the default branch or nothing.
type region struct {
	Exception
	actors []string // logins; nil: whoever
	deny   bool     // read as a deny: what its conditions leave out means everything
	reads  bool     // Read says which secrets; without it, the region is about any that the line gives
}

// region is what the deny withholds. Groups are dissolved into logins, so that people can be compared with a line's.
func (d *deny) region() region {
	r := region{Exception: Exception{Rule: d.ID, At: d.At, Reason: d.Reason, Scope: d.Scope}, deny: true, reads: d.Read != nil}
	if d.actors.stated && !d.actors.any {
		r.actors = d.actors.list()
	}
	return r
}

// elsewhere is where the binding decides what the name means.
//
// A binding without actors can never grant a promote, rollback or custom build, so it can't make the name ambiguous
// there either: those conditions are left out, or the answer would take away what Decide gives.
func (b *binding) elsewhere(name string) region {
	l := b.line()
	r := region{Exception: Exception{Rule: b.ID, At: b.At, Name: name, Scope: b.Scope}, actors: l.Actors}
	r.Pools, r.When = l.Pools, slices.DeleteFunc(slices.Clone(l.When), func(c Condition) bool {
		return !b.actors.stated && c.Event.ProvesPersonOnly() // never granted
	})
	return r
}

// common yields the cells in which a line and a region overlap.
//
// Each cell is a product of one name, one condition and the repositories, pools and people of both; whatever is in
// both l and r is in one of them. Nothing is yielded where they do not meet, which is all that most callers ask.
// The cells may overlap one another: the caller asks Decide about each and joins them again.
func (p *Policy) common(l *Line, r *region) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		names := p.commonNames(l, r)
		pools := commonTexts(l.Pools, r.Pools)
		actors, everybody := commonActors(l.Actors, r.actors)
		if len(names) == 0 || len(pools) == 0 || len(actors) == 0 && !everybody || r.Name != "" && !slices.Contains(l.Asked, r.Name) {
			return
		}
		repos := commonRepos(l.Repos, r.Repos)
		if len(repos) == 0 {
			return
		}
		// Conditions come last: their combinations cost something only where all the rest meets.
		for c := range commonConditions(l, r) {
			c.Repos, c.Pools, c.Actors = repos, pools, actors
			if r.Name != "" {
				c.Asked = []string{r.Name}
			}
			for _, name := range names {
				c.Secret = name
				for cell := range c.cells() {
					if !yield(cell) {
						return
					}
				}
			}
		}
	}
}

// commonNames narrows the secret to what the region is about, through every alias of the same vault.
//
// A deny of "pay/root-*" holds for the same vault under any other alias: without that, a second alias would be a way
// round it. So the region's pattern is tried on each alias, and the result keeps the alias that the line has.
// Versions and keys stay the line's, since a deny holds for all of them.
func (p *Policy) commonNames(l *Line, r *region) (list []ReadPattern) {
	if !r.reads {
		return []ReadPattern{l.Secret}
	}
	known := p.vaults[l.Secret.vault]
	if known == nil {
		return nil // of another policy, which has more vaults
	}
	for i := range r.Read {
		for _, alias := range known.doors {
			if !glob(r.Read[i].vault, alias, false) {
				continue
			}
			for _, name := range commonGlobs(l.Secret.name, r.Read[i].name) {
				narrowed := l.Secret
				narrowed.name = name
				list = append(list, narrowed.reworded())
			}
		}
	}
	return list
}

// commonTexts keeps those of a that b has. A nil b is everything; a is never nil where it comes from a line.
func commonTexts(a, b []string) []string {
	if b == nil {
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !contains(b, s) })
}

// commonActors is for sorted lists of logins, of which nil is everybody.
// An empty list that is not everybody means that nobody is in both.
func commonActors(a, b []string) (list []string, everybody bool) {
	switch {
	case b == nil:
		return a, a == nil
	case a == nil:
		return b, false
	}
	for _, login := range a {
		if _, both := slices.BinarySearch(b, login); both {
			list = append(list, login)
		}
	}
	return list, false
}

// commonRepos pairs every repository pattern of a with every one of b; a nil b is every repository. An id that one
// side pins holds for both: "acme/*" and "acme/app, uid 42" have "acme/app, uid 42" in common. Two different ids have
// nothing in common even where the slugs do. The result is nil if a and b do not meet.
func commonRepos(a, b []RepoPattern) (list []RepoPattern) {
	if b == nil {
		return a
	}
	for i := range a {
		for j := range b {
			uid := a[i].UID
			if uid == "" {
				uid = b[j].UID
			} else if b[j].UID != "" && b[j].UID != uid {
				continue
			}
			for _, slug := range commonPatterns(a[i].Slug, b[j].Slug) {
				list = append(list, RepoPattern{slug, uid})
			}
		}
	}
	return list
}

// commonConditions yields the line with the conditions that both have, one alternative at a time.
//
// Each line that comes out has one condition, with at most one pattern in each of its lists.
func commonConditions(l *Line, r *region) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for i := range l.When {
			for c := range l.When[i].alternatives {
				if r.When == nil {
					narrowed := *l
					if narrowed.When = []Condition{c}; !yield(narrowed) {
						return
					}
					continue
				}
				for j := range r.When {
					if r.When[j].Event != c.Event {
						continue
					}
					for narrowed := range l.narrowed(c, &r.When[j], r.deny) {
						if !yield(narrowed) {
							return
						}
					}
				}
			}
		}
	}
}

// narrowed yields what the condition c, with one pattern in each list, has in common with another one of the same event.
//
// Where the events are the same, four things can still differ: the fork rule, the branch or tag, the target and the
// job. They are independent, so what is common is the product of what is common in each.
func (l *Line) narrowed(c Condition, other *Condition, deny bool) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		var others []Condition
		if deny {
			others = other.denyAlternatives()
		} else {
			others = slices.Collect(other.alternatives)
		}
		for i := range others {
			o := &others[i]
			from, ok := commonFrom(c.From, o.From, deny)
			if !ok && c.Event == PullRequest {
				continue
			}
			for _, to := range commonLists(c.DeployTo, o.DeployTo) {
				for _, cron := range commonLists(c.Cron, o.Cron) {
					n := *l
					narrower := c
					narrower.From, narrower.DeployTo, narrower.Cron = from, to, cron
					if !n.branches(narrower, o, deny, yield) {
						return
					}
				}
			}
		}
	}
}

// branches yields the line with each branch or tag that c and o have in common; false to stop.
//
// The default branch is the hard case: "the default branch" and "main" meet only in repositories whose default branch
// is called "main". Such a cell keeps its condition and says so in DefaultIs. For example, of a push to the default
// branch and a binding's push to "release/*":
//
//	c: push, Branches nil   o: push, Branches release/*   →   push, Branches nil, DefaultIs release/*
//
// In a deny, a list that is not stated is everything, so the same c comes out of it unchanged.
func (l *Line) branches(c Condition, o *Condition, deny bool, yield func(Line) bool) bool {
	with := func(c Condition, byDefault []Pattern) bool {
		n := *l
		n.When, n.DefaultIs = []Condition{c}, byDefault
		return yield(n)
	}
	// Which list decides: of the target, of tags or of branches. A build has a tag or a branch, never both, so a
	// condition with tags and one with branches have nothing in common, except that a deny which states neither is
	// about all refs.
	mine, theirs, field := c.Branches, o.Branches, &c.Branches
	switch {
	case c.Event == PullRequest:
		mine, theirs, field = c.Into, o.Into, &c.Into
	case c.Tags != nil:
		mine, theirs, field = c.Tags, o.Tags, &c.Tags
		if theirs == nil && (o.Branches != nil || !deny) {
			return true
		}
	case o.Tags != nil:
		return true
	}
	switch {
	// The other side is about everything, or both mean the default branch: c stays as it is.
	case theirs == nil && (deny || mine == nil):
		return with(c, l.DefaultIs)
	// An earlier step said what the default branch is called: compare that name from now on.
	case mine == nil && l.DefaultIs != nil:
		mine = l.DefaultIs
	}
	if mine == nil || theirs == nil { // a default branch of this name
		*field = nil
		return with(c, slices.Concat(mine, theirs))
	}
	for _, p := range commonPatterns(mine[0], theirs[0]) {
		n, byDefault := c, []Pattern(nil)
		if c.defaultBranch() {
			byDefault = []Pattern{p}
		} else {
			n.setBranch([]Pattern{p})
		}
		if !with(n, byDefault) {
			return false
		}
	}
	return true
}

// setBranch replaces the only pattern of branches or tags.
func (c *Condition) setBranch(p []Pattern) {
	switch {
	case c.Event == PullRequest:
		c.Into = p
	case c.Tags != nil:
		c.Tags = p
	default:
		c.Branches = p
	}
}

// denyAlternatives splits a condition as a deny means it; nil lists stay what they are: everything.
//
// In alternatives, a binding's unstated branches mean the default branch and an unstated target means that there is
// none. Here neither is a condition at all, which is why a deny can't be split by the same function: it would come
// out too narrow, and the answer would show access that the deny takes away.
func (c *Condition) denyAlternatives() (list []Condition) {
	var refs []Condition
	for i := range c.Branches {
		refs = append(refs, Condition{Branches: c.Branches[i : i+1 : i+1]})
	}
	for i := range c.Tags {
		refs = append(refs, Condition{Tags: c.Tags[i : i+1 : i+1]})
	}
	if c.Branches == nil && c.Tags == nil {
		refs = []Condition{{}}
	}
	for _, ref := range refs {
		for _, into := range oneByOne(c.Into, c.Into != nil) {
			for _, to := range oneByOne(c.DeployTo, c.DeployTo != nil) {
				for _, cron := range oneByOne(c.Cron, c.Cron != nil) {
					list = append(list, Condition{
						Event: c.Event, Branches: ref.Branches, Tags: ref.Tags, Into: into, DeployTo: to, Cron: cron, From: c.From,
					})
				}
			}
		}
	}
	return list
}

// commonFrom is whose pull requests both are about.
// The narrower one wins: same-repo and any have same-repo in common. A binding that does not state it gives no pull
// request at all, hence the false.
func commonFrom(a, b From, deny bool) (From, bool) {
	if deny && b == "" {
		b = FromAny
	}
	switch {
	case a == "" || b == "":
		return a, false
	case a == FromAny:
		return b, true
	}
	return a, true
}

// commonLists is for lists of at most one pattern; without one, a list is about everything.
//
// The outer list has one entry for each way to meet: none, if the two patterns exclude each other, and one nil entry,
// if neither side states anything.
func commonLists(a, b []Pattern) [][]Pattern {
	switch {
	case b == nil:
		return [][]Pattern{a}
	case a == nil:
		return [][]Pattern{nil}
	}
	return oneByOne(commonPatterns(a[0], b[0]), true)
}
