package secret

import (
	"fmt"
	"slices"
	"strings"
)

// The rules of Lint, as their ids.
const (
	LintDead          = "dead-binding"        // no build can ever match it
	LintDenied        = "denied-binding"      // what it gives, or a part of it, a deny always removes
	LintAmbiguous     = "ambiguous-name"      // a name that another binding always maps differently
	LintShadowed      = "shadowed-binding"    // another binding gives all of it
	LintByAll         = "readable-by-all"     // every repository may read it
	LintOpenNamespace = "open-namespace"      // whoever may create a repository gets in
	LintPullRequest   = "pull-request-access" // a pull request may read it
	LintForkAccess    = "fork-access"         // a stranger's pull request may read it
)

// Finding is something about a binding that a person should look at. It is found only where it is certain.
// A false alarm is worse than a missed one here: people who learn to ignore findings ignore the true ones, too. So
// where a search was given up, nothing is said.
type Finding struct {
	Lint    string // one of the Lint constants
	Note    bool   // risky and normal: worth knowing, nothing to repair
	Binding string // its id

	// Part says which part of the binding is meant: "repos", "read" or "when" with its index, "names" with a name, or
	// nothing for the binding as a whole.
	Part  string
	Index int
	Name  string

	Text string
}

// maxCovered bounds the comparisons for LintShadowed in one Lint.
const maxCovered = 2_000_000

// linter goes through the bindings one after the other.
// compared counts towards maxCovered over all bindings.
type linter struct {
	p        *Policy
	yield    func(Finding)
	compared int
}

// Lint calls yield for all that it finds, binding after binding.
//
// A binding that gives nothing is not compared with others: that it never matches says more than that another one
// covers it.
func (p *Policy) Lint(yield func(Finding)) {
	l := &linter{p: p, yield: yield}
	for i := range p.bindings {
		l.wide(&p.bindings[i])
		if l.reachable(&p.bindings[i]) {
			l.shadowed(i)
		}
	}
}

func (l *linter) find(b *binding, lint, format string, args ...any) {
	l.yield(Finding{Lint: lint, Binding: b.ID, Text: fmt.Sprintf(format, args...)})
}

// wide tells of what a binding gives to more builds than its author may think of.
func (l *linter) wide(b *binding) {
	// A forge's id that is pinned, or a literal slug, names one repository: not wide, whatever else it gives.
	for i, repo := range b.Repos {
		f := Finding{Binding: b.ID, Part: "repos", Index: i}
		switch {
		case repo.UID != "" || repo.Slug.literal:
			continue
		case everyRepository.Within(repo.Slug):
			f.Lint = LintByAll
			f.Text = fmt.Sprintf("%s gives its secrets to every repository, also to one that somebody creates tomorrow; name the namespaces", b.ID)
		default:
			f.Lint, f.Note = LintOpenNamespace, true
			f.Text = fmt.Sprintf("whoever may create a repository that %s matches gets what %s gives; with a slug and its uid, only that repository does", repo.Slug, b.ID)
		}
		l.yield(f)
	}
	for i, c := range b.When {
		switch {
		case c.Event == PullRequest && c.From == FromAny:
			l.yield(Finding{Lint: LintForkAccess, Binding: b.ID, Part: "when", Index: i,
				Text: fmt.Sprintf("%s gives its secrets to pull requests from forks: a stranger's code can read them", b.ID)})
		case c.Event == PullRequest:
			l.yield(Finding{Lint: LintPullRequest, Note: true, Binding: b.ID, Part: "when", Index: i,
				Text: fmt.Sprintf("%s gives its secrets to code that nobody has reviewed yet: whoever may push a branch can read them", b.ID)})
		}
	}
}

// everyRepository are all of the form namespace/name. Only forges with subgroups have others.
// A pattern that takes all of these is open to all, whether it is written "*/*" or "**".
var everyRepository = Pattern{text: "*/*", segments: []string{"*", "*"}, fold: true}

// reachable tells whether the binding gives anything to anybody, and says what does not get there.
//
// Alone first, then among all the rules: a binding that contradicts itself is its author's mistake, one that denies
// or other bindings silence may be meant so by somebody else. Without denies and names, nothing else can silence it.
func (l *linter) reachable(b *binding) bool {
	s := l.p.newSearch(Question{})
	if s.alone = true; !l.given(s, b) {
		l.find(b, LintDead, "%s can never match: no build satisfies all of it at once", b.ID)
		return false
	}
	s.alone = false
	if len(l.p.denies) == 0 && len(b.Names) == 0 {
		return true
	}
	if !l.given(s, b) {
		lint, why := s.why()
		l.find(b, lint, "%s never gives anything: %s", b.ID, why)
		return false
	}
	l.parts(s, b)
	return true
}

// given tells whether a request was found, or may exist, whatever the default branch is called.
//
// The default branch is tried as a name that no rule holds, with one segment, two, and so on: a deny of "*" would
// catch the first, not the second.
func (l *linter) given(s *search, b *binding) bool {
	s.deepen()
	for n := range s.depth {
		s.q.DefaultBranch = strings.Repeat(anything+"/", n) + anything
		if _, _, ok := s.giver(b); ok || s.tries >= maxTries {
			return true
		}
	}
	return false
}

// why says what stood in the way of the last search.
func (s *search) why() (lint, text string) {
	switch len(s.denied) {
	case 0:
		return LintAmbiguous, "another binding maps the name to something else whenever this one would give it"
	case 1:
		return LintDenied, fmt.Sprintf("the deny %s withholds it from every build that the binding is about", s.denied[0])
	}
	return LintDenied, fmt.Sprintf("the denies %s withhold it from every build that the binding is about", strings.Join(s.denied, ", "))
}

// parts looks at each secret and each event by itself.
//
// A single secret or event is the binding as a whole, which reachable has looked at already.
func (l *linter) parts(s *search, b *binding) {
	part := func(what string, f Finding, q Question) {
		if s.q = q; !l.given(s, b) {
			lint, why := s.why()
			f.Lint, f.Binding, f.Text = lint, b.ID, fmt.Sprintf("%s never gives %s: %s", b.ID, what, why)
			l.yield(f)
		}
	}
	if len(b.Read)+len(b.Names) > 1 {
		for i := range b.Read {
			part(b.Read[i].text, Finding{Part: "read", Index: i}, Question{Secret: b.Read[i].sample(s.letter)})
		}
		for name := range b.Names {
			part(name, Finding{Part: "names", Name: name}, Question{Secret: name})
		}
	}
	if len(b.When) > 1 {
		for i, c := range b.When {
			part("anything on "+string(c.Event), Finding{Part: "when", Index: i}, Question{Build: Build{Event: string(c.Event)}})
		}
	}
}

// shadowed looks for one other binding that gives everything that this one gives.
//
// Only one that gives all of it by itself is looked for; several that do it together are not found. Candidates are
// found by one slug that the binding's first pattern matches: whatever covers the pattern must match that slug as
// well.
func (l *linter) shadowed(i int) {
	b := &l.p.bindings[i]
	slug := strings.ReplaceAll(strings.ReplaceAll(b.Repos[0].Slug.text, "**", anything+"/"+anything), "*", anything)
	by := -1
	l.p.byRepo.each(slug, func(e entry) {
		j := int(e.rule)
		if by >= 0 || i == j || l.compared > maxCovered {
			return
		}
		l.compared++
		other := &l.p.bindings[j]
		if other.covers(b) && (j < i || !b.covers(other)) { // of two equal ones, the second
			by = j
		}
	})
	if by >= 0 {
		other := &l.p.bindings[by]
		l.find(b, LintShadowed, "%s gives nothing that %s at %s does not give already: remove it, or make the other narrower", b.ID, other.ID, other.At)
	}
}

// covers tells whether every request that other allows is allowed by b too, with the same secret.
//
// A true is certain. A false may only mean that no single pattern of b takes one of other's.
func (b *binding) covers(other *binding) bool {
	for _, repo := range other.Repos {
		if !slices.ContainsFunc(b.Repos, func(r RepoPattern) bool {
			return (r.UID == "" || r.UID == repo.UID) && repo.Slug.Within(r.Slug)
		}) {
			return false
		}
	}
	for _, pool := range other.poolNames() {
		if !b.pool(pool) {
			return false
		}
	}
	for _, read := range other.Read {
		if !slices.ContainsFunc(b.Read, read.Within) {
			return false
		}
	}
	for name, ref := range other.Names {
		if got, ok := b.Names[name]; !ok || got != ref {
			return false
		}
	}
	for _, c := range other.conditions() {
		if !slices.ContainsFunc(b.conditions(), c.within) || !b.coversPeople(other, c.Event) {
			return false
		}
	}
	return true
}

// coversPeople tells whether whoever is behind other's build may start one for b.
//
// A binding that asks for no actor takes anybody's build, but a promote, rollback or custom one only if it says
// `any`.
func (b *binding) coversPeople(other *binding, event BuildEvent) bool {
	logins, theirs := b.actors.list(), other.actors.list()
	if logins == nil {
		return b.actors.any || !event.ProvesPersonOnly()
	}
	return theirs != nil && !slices.ContainsFunc(theirs, func(login string) bool { return !slices.Contains(logins, login) })
}

// within tells whether other holds wherever c does, both being a binding's.
// Each list must lie within the other's; an unstated one of a kind that the event does not have is within everything.
func (c Condition) within(other Condition) bool {
	return c.Event == other.Event &&
		(c.From == other.From || other.From == FromAny) &&
		allWithin(c.DeployTo, other.DeployTo) && allWithin(c.Cron, other.Cron) &&
		branchesWithin(c.Into, other.Into, c.Event == PullRequest, other.Event == PullRequest) &&
		allWithin(c.Tags, other.Tags) &&
		branchesWithin(c.Branches, other.Branches, c.meansDefault(), other.meansDefault())
}

// meansDefault tells whether the condition is about the default branch for naming no other.
func (c *Condition) meansDefault() bool {
	return c.Branches == nil && c.Tags == nil && c.Event != PullRequest && c.Event != Tag
}

// branchesWithin compares two lists, where an unstated one can mean the default branch: whatever that is called, only "**"
// surely takes it.
func branchesWithin(list, other []Pattern, byDefault, otherByDefault bool) bool {
	if list != nil {
		return allWithin(list, other)
	}
	return !byDefault || other == nil && otherByDefault || slices.ContainsFunc(other, func(p Pattern) bool { return p.text == "**" })
}

// allWithin tells whether each pattern lies within a single one of other. An empty list always does.
func allWithin(list, other []Pattern) bool {
	for _, p := range list {
		if !slices.ContainsFunc(other, p.Within) {
			return false
		}
	}
	return true
}
