package secret

import (
	"slices"
	"strings"
)

// live returns what is left of l, which one binding gives, when the denies and the other meanings of a name had their way.
func (s *Survey) live(rule int32, l Line, denies []*region) []Line {
	var against []*region
	for _, r := range denies {
		if s.overlap(&l, r) {
			against = append(against, r)
		}
	}
	only := []int32{rule}
	elsewhere := s.elsewhere(rule, &l)
	if slices.ContainsFunc(elsewhere, func(other int32) bool { return s.ambiguous(rule, other, &l) }) {
		return nil
	}
	for _, other := range elsewhere {
		if r := s.policy.bindings[other].elsewhere(l.Asked[0]); s.overlap(&l, &r) {
			against, only = append(against, &r), append(only, other)
		}
	}
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
func (s *Survey) allowed(judge *Policy, cell *Line) bool {
	for t := range cell.templates(s.deepest) {
		generic := t.generic()
		if d := judge.decide(&generic); generic.grants(&d) {
			return true
		}
	}
	return false
}

func (s *Survey) overlap(l *Line, r *region) bool {
	for range s.policy.common(l, r) {
		return true
	}
	return false
}

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
