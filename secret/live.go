package secret

import (
	"slices"
	"strings"
)

// live returns what is left of l, which one binding gives, when the denies and the other meanings of a name had their way.
//
// l has one entry in Asked, and all of Repos are named by the binding. The denies are those that may matter to it;
// the rest are not asked again. Where nothing withholds a part, one cell of each condition speaks for all of them.
// Else l falls into cells, Decide judges each, and those that are allowed are joined again.
//
// A cell that is withheld in part stays, since some build gets the secret, and carries the rule as an exception; one
// that is withheld as a whole goes. For example, with a binding of acme/* for a push to main or dev:
//
//	deny push to main               →  push to dev, without an exception
//	deny push to main of acme/app   →  push to dev or main, except the deny
func (s *Survey) live(rule int32, l Line, denies []*region) []Line {
	var against []*region
	for _, r := range denies {
		if s.overlap(&l, r) {
			against = append(against, r)
		}
	}
	only := []int32{rule}
	elsewhere := s.elsewhere(rule, &l)
	// Where one other binding makes all of the line ambiguous, nothing is left to narrow: no need for any deny.
	if slices.ContainsFunc(elsewhere, func(other int32) bool { return s.ambiguous(rule, other, &l) }) {
		return nil
	}
	for _, other := range elsewhere {
		if r := s.policy.bindings[other].elsewhere(l.Asked[0]); s.overlap(&l, &r) {
			against, only = append(against, &r), append(only, other)
		}
	}
	// The judge knows this binding and what can stand in its way, and nothing else. With the other bindings in it, a
	// cell could be allowed through one of them, and the line would claim that it is this one's doing.
	judge := s.policy.restricted(only, against)
	if len(against) == 0 {
		return s.untouched(judge, l)
	}
	var cells []Line
	for cell := range l.cells() {
		if s.allowed(judge, &cell) {
			cells = append(cells, cell)
		}
	}
	lines := merge(cells)
	for i := range lines {
		lines[i].Except = s.exceptions(&lines[i], against)
	}
	return lines
}

// untouched is live where nothing withholds a part: each condition holds for all of its alternatives or for none.
//
// That is so because no deny and no other meaning overlaps it. What can still fail depends on the event alone: a
// promote without actors, for one, is never granted. So the first cell of each condition is asked, and the others
// share its fate. A condition that never holds has no cell, and falls away.
func (s *Survey) untouched(judge *Policy, l Line) []Line {
	when := l.When
	l.When = nil
	for i := range when {
		c := l
		c.When = when[i : i+1]
		for cell := range c.cells() {
			if s.allowed(judge, &cell) {
				l.When = append(l.When, when[i])
			}
			break
		}
	}
	if l.When == nil {
		return nil
	}
	return tidied([]Line{l})
}

// allowed asks Decide about the requests that stand for a cell.
//
// One that is allowed is enough: the templates differ in depth and in the key, and a cell is live if any of it is.
func (s *Survey) allowed(judge *Policy, cell *Line) bool {
	for t := range cell.templates(s.deepest) {
		generic := t.generic()
		if d := judge.decide(&generic); generic.grants(&d) {
			return true
		}
	}
	return false
}

// overlap tells whether some request may be in both. It stops at the first cell.
func (s *Survey) overlap(l *Line, r *region) bool {
	for range s.policy.common(l, r) {
		return true
	}
	return false
}

// exceptions lists the rules that still take something from a line, in order of their ids. A deny that was the reason
// for a missing cell need not be among them: what it withholds is no longer in the line.
func (s *Survey) exceptions(l *Line, against []*region) (list []Exception) {
	for _, r := range against {
		if s.overlap(l, r) {
			list = append(list, r.Exception)
		}
	}
	slices.SortFunc(list, func(a, b Exception) int { return strings.Compare(a.Rule, b.Rule) })
	return list
}

// restricted is the policy with some bindings and denies only, those that can matter to a line, so that Decide need not
// look at a hundred thousand others to say the same.
//
// The vaults are shared, the rules are copied shallowly; nothing of p changes. Rules get new numbers in the result,
// so an entry of one policy means nothing in the other.
func (p *Policy) restricted(bindings []int32, against []*region) *Policy {
	q := &Policy{vaults: p.vaults, bindings: make([]binding, 0, len(bindings))}
	for i, rule := range bindings {
		q.bindings = append(q.bindings, p.bindings[rule])
		q.byRepo.add(i, p.bindings[rule].Repos)
	}
	for i := range p.denies {
		if slices.ContainsFunc(against, func(r *region) bool { return r.deny && r.Rule == p.denies[i].ID }) {
			q.denyRepo.add(len(q.denies), p.denies[i].Repos)
			q.denies = append(q.denies, p.denies[i])
		}
	}
	q.byRepo.seal()
	q.denyRepo.seal()
	return q
}

// ambiguous tells whether another binding's meaning of the name alone makes all of the line ambiguous.
func (s *Survey) ambiguous(rule, other int32, l *Line) bool {
	judge := s.policy.restricted([]int32{rule, other}, nil)
	for cell := range l.cells() {
		if s.allowed(judge, &cell) {
			return false
		}
	}
	return true
}

// elsewhere lists the bindings that map the line's name to something else, and may name one of its repositories.
//
// The list may be too long, never too short: the caller looks at the real overlap. A line that is asked for by
// reference has none, since only a name alone can mean two things.
func (s *Survey) elsewhere(rule int32, l *Line) (list []int32) {
	name := l.Asked[0]
	if name == "" {
		return nil
	}
	target := s.policy.bindings[rule].Names[name]
	add := func(i int32) {
		if other, ok := s.policy.bindings[i].Names[name]; ok && other != target {
			list = append(list, i)
		}
	}
	for i := range l.Repos {
		if slug := l.Repos[i].Slug; slug.literal {
			s.policy.byRepo.each(slug.text, func(e entry) { add(e.rule) })
		} else {
			near(s.named()[name], slug, add)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Witness returns a request that Decide allows and that is covered by the line, with words in the place of what the
// patterns leave open. It returns false if it finds none, which takes rules that name every letter.
//
// A line says "acme/*"; a person who doubts it wants one build to try. The generic request finds the right cell, and
// the words then make of it what a forge could send.
func (s *Survey) Witness(l Line) (Request, bool) {
	for cell := range l.cells() {
		for t := range cell.templates(s.deepest) {
			generic := t.generic()
			if d := s.policy.decide(&generic); !generic.grants(&d) {
				continue
			}
			if r, ok := t.spelled(func(f *template) bool { d := s.policy.Decide(f.Request); return f.grants(&d) }); ok {
				return r, true
			}
		}
	}
	return Request{}, false
}

// spelled fills the template with words until one makes a request that will do.
//
// The generic request proved that it may be had with a text that no rule knows; a rule that knows "x" sends us to the
// next word. Where the template leaves the default branch open, every other try has one, as a real repository does.
func (t *template) spelled(will func(*template) bool) (Request, bool) {
	for i, word := range [...]string{"x", "any", "q7", "zz9", "j4k8w2", "0", "y3y3y3", "hq6vw1", "b5", "m8d2u7", "e1", "gtrk", "0o0"} {
		f := t.filled(word)
		f.Name = f.alone
		if f.alone == "" {
			f.Name = f.ref.String()
		}
		if f.Repo.DefaultBranch == "" && i%2 == 0 {
			f.Repo.DefaultBranch = "trunk"
		}
		if will(&f) {
			return f.Request, true
		}
	}
	return Request{}, false
}
