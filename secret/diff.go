package secret

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Change is something that one policy gives and the other does not: each alternative in its Line is, at least in part.
//
// It says more than that a line of a file changed: a binding may be rewritten, split or renamed, and nobody gains or
// loses anything; or a deny goes, and the change is in bindings that nobody touched.
type Change struct {
	Gained bool // the newer policy gives it; else the older one did
	Line
	Because string   // what stands or stood in the other policy's way, for people; empty: none of its bindings gives this
	Partly  []string // ids of the other policy's bindings that give a part of it
	Witness Request  // one of them decides it otherwise than the other; zero in the rare case that no word was found for it
}

// Diff says what becomes readable and what no longer does, from one policy to the next. It is empty if and only if both
// decide every request alike, but for what lies behind an alias: a vault's host and demands are not compared.
//
// Both policies must stay as they are meanwhile, which compiled ones do. What one gives is cut into cells; the other
// is asked about each by its generic requests, and where it has rules that cut a cell in two, about the parts.
func Diff(older, newer *Policy) []Change {
	a, b := NewSurvey(older), NewSurvey(newer)
	// A "**" has to be spelled as deep as either policy can tell apart.
	a.deepest = max(a.deepest, b.deepest)
	b.deepest = a.deepest
	changes := append(b.beyond(a, true), a.beyond(b, false)...)
	slices.SortStableFunc(changes, func(x, y Change) int {
		return cmp.Or(
			strings.Compare(x.Secret.text, y.Secret.text), strings.Compare(reposText(&x.Line), reposText(&y.Line)),
			strings.Compare(x.Binding, y.Binding),
			compareBool(y.Gained, x.Gained), strings.Compare(x.Because, y.Because), strings.Compare(x.key(whole), y.key(whole)))
	})
	return changes
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// beyond lists what s gives and other does not.
//
// Cells are joined again only where the reason is the same, so that each change has one sentence to explain it. The
// order in which groups come out is Go's map order; Diff sorts.
func (s *Survey) beyond(other *Survey, gained bool) (changes []Change) {
	for _, line := range s.All() {
		groups := map[string][]Line{}
		for whole := range line.cells() {
			for cell := range whole.keyCells() {
				for _, differing := range s.differing(other, &cell) {
					because, partly := s.why(other, &differing)
					key := because + "\x00" + strings.Join(partly, "\x01")
					groups[key] = append(groups[key], differing)
				}
			}
		}
		for key, cells := range groups {
			because, partly, _ := strings.Cut(key, "\x00")
			for _, l := range merge(cells) {
				l.Except = s.exceptions(&l, s.against(&l))
				c := Change{Gained: gained, Line: l, Because: because, Partly: strings.FieldsFunc(partly, func(r rune) bool { return r == 1 })}
				c.Witness, _ = s.differs(other, &l)
				changes = append(changes, c)
			}
		}
	}
	return changes
}

// keyCells splits a secret into its whole and its keys, since another policy may give one of them alone.
// For example, vault/db becomes the whole vault/db and, by itself, vault/db/*.
func (l *Line) keyCells() func(func(Line) bool) {
	return func(yield func(Line) bool) {
		if l.Exact || l.Secret.keyed {
			yield(l.owning())
			return
		}
		one, keys := l.owning(), l.owning()
		one.Exact = true
		keys.Secret.key, keys.Secret.keyed = "*", true
		keys.Secret = keys.Secret.reworded()
		_ = yield(one) && yield(keys)
	}
}

// differing returns the parts of a cell that s gives and other does not: all of the cell, if its generic requests say so,
// or what it has in common with the rules of the other policy that withhold something.
//
// The second look is needed because a generic request is denied only by a rule that holds for all of its cell. A new
// deny of acme/app leaves the generic request for acme/* allowed, and yet takes something away: the part that both
// are about.
func (s *Survey) differing(other *Survey, cell *Line) []Line {
	if s.beyondOf(other, cell) != nil {
		return []Line{*cell}
	}
	var parts []Line
	for _, r := range other.againstIn(s, cell) {
		for part := range other.policy.common(cell, r) {
			if s.beyondOf(other, &part) != nil {
				parts = append(parts, part.owning())
			}
		}
	}
	return parts
}

// beyondOf returns a template for the cell that s grants and other does not, or nil.
// "Does not" includes that the other grants another secret for the same name: the pipeline would get different bytes.
func (s *Survey) beyondOf(other *Survey, cell *Line) *template {
	for t := range cell.templates(s.deepest) {
		if generic := t.generic(); s.grantsBeyond(other, &generic, (*Policy).decide) {
			return &t
		}
	}
	return nil
}

// grantsBeyond decides one template in both policies. decide is the generic or the real evaluator.
func (s *Survey) grantsBeyond(other *Survey, t *template, decide func(*Policy, *template) Decision) bool {
	mine := decide(s.policy, t)
	if !t.grants(&mine) {
		return false
	}
	theirs := decide(other.policy, t)
	return !theirs.Allowed() || theirs.Grant.Ref != mine.Grant.Ref
}

// differs finds a request, in words, that s grants and other does not.
// differs is decided by Decide itself, from the request's own text, so that its answer can be shown as proof.
func (s *Survey) differs(other *Survey, l *Line) (Request, bool) {
	for cell := range l.cells() {
		for t := range cell.templates(s.deepest) {
			generic := t.generic()
			if !s.grantsBeyond(other, &generic, (*Policy).decide) {
				continue
			}
			r, ok := t.spelled(func(f *template) bool {
				return s.grantsBeyond(other, f, func(p *Policy, t *template) Decision { return p.Decide(t.Request) })
			})
			if ok {
				return r, true
			}
		}
	}
	return Request{}, false
}

// against returns the regions of the survey's own rules that overlap the line.
func (s *Survey) against(l *Line) []*region { return s.againstIn(s, l) }

// againstIn is against for a line of another survey.
//
// A name that leads elsewhere stands against it, too: two bindings that disagree make the name ambiguous for both. A
// binding that maps it to the same secret does not.
func (s *Survey) againstIn(of *Survey, l *Line) (list []*region) {
	for i := range s.regions {
		if s.overlap(l, &s.regions[i]) {
			list = append(list, &s.regions[i])
		}
	}
	for _, name := range l.Names() {
		target, rules := l.Secret.template(), []int32(nil)
		for _, repo := range l.Repos {
			near(s.named()[name], repo.Slug, func(i int32) { rules = append(rules, i) })
		}
		slices.Sort(rules)
		for _, i := range slices.Compact(rules) {
			b := &s.policy.bindings[i]
			if r := b.elsewhere(name); b.Names[name] != target && s.overlap(l, &r) {
				list = append(list, &r)
			}
		}
	}
	return list
}

// why says what stands in the other policy's way, and which of its bindings give a part of the cell nevertheless.
//
// because is empty where the other policy has no binding that gives it, which needs no words.
func (s *Survey) why(other *Survey, cell *Line) (because string, partly []string) {
	t := s.beyondOf(other, cell)
	if t == nil {
		return "", nil
	}
	generic := t.generic()
	switch d := other.policy.decide(&generic); {
	case d.Allowed():
		because = fmt.Sprintf("%s leads to %s", t.alone, d.Grant.Ref)
	case d.Reason == ReasonDeny:
		because = "withheld by " + d.DeniedBy
	case d.Reason == ReasonAmbiguous:
		because = t.alone + " is ambiguous"
	}
	near(other.heads(), cell.Repos[0].Slug, func(i int32) {
		if id := other.policy.bindings[i].ID; !slices.Contains(partly, id) && other.givesPart(i, cell) {
			partly = append(partly, id)
		}
	})
	slices.Sort(partly)
	return because, partly
}

// givesPart tells whether a binding gives what is in the cell, to some of its requests.
// It is what tells "nobody could read this before" from "main could already, now every branch can".
func (s *Survey) givesPart(rule int32, cell *Line) bool {
	b := &s.policy.bindings[rule]
	if commonRepos(cell.Repos, b.Repos) == nil {
		return false
	}
	l := b.line()
	r := region{Exception: Exception{Rule: b.ID, Scope: b.Scope}, actors: l.Actors}
	r.Pools, r.When = l.Pools, l.When
	for part := range s.policy.common(cell, &r) {
		for _, narrow := range b.gift(&part) {
			if s.allowed(s.policy, &narrow) {
				return true
			}
		}
	}
	return false
}

// gift narrows a cell to what the binding reads of its secret.
// A name alone can't be narrowed: it leads to the cell's secret or elsewhere. A reference is narrowed by every
// pattern and every target of the binding, each to a line of its own.
func (b *binding) gift(cell *Line) (list []Line) {
	if name := cell.Asked[0]; name != "" {
		if target, ok := b.Names[name]; ok && target == cell.Secret.template() {
			list = append(list, *cell)
		}
		return list
	}
	add := func(p *ReadPattern, exact bool) {
		for _, common := range commonReads(&cell.Secret, cell.Exact, p, exact) {
			l := *cell
			l.Secret = common
			list = append(list, l)
		}
	}
	for i := range b.Read {
		add(&b.Read[i], false)
	}
	for _, target := range b.Names {
		p := exactPattern(target)
		add(&p, target.Key == "")
	}
	return list
}

// commonReads narrows p, of which exact says that it is about the whole secret alone, to what q is about as well.
// p is about the whole alone or about keys (see keyCells), so a q without a key leaves its key as it is. The whole
// alone and a key have nothing in common.
func commonReads(p *ReadPattern, exact bool, q *ReadPattern, exactToo bool) (list []ReadPattern) {
	versions, ok := commonVersions(p, q)
	if p.vault != q.vault || !ok || exact && q.keyed || exactToo && p.keyed {
		return nil
	}
	keys := []string{p.key}
	if p.keyed && q.keyed {
		keys = commonGlobs(p.key, q.key)
	}
	for _, name := range commonGlobs(p.name, q.name) {
		for _, version := range versions {
			for _, key := range keys {
				n := *p
				n.name, n.version, n.key, n.pinned = name, version, key, version != ""
				list = append(list, n.reworded())
			}
		}
	}
	return list
}

// commonVersions are the versions that both are about: "" is the current one, which "@*" takes in.
func commonVersions(p, q *ReadPattern) ([]string, bool) {
	switch {
	case p.pinned && q.pinned:
		return commonGlobs(p.version, q.version), true
	case p.pinned:
		return []string{""}, glob(p.version, "", false)
	}
	return []string{""}, !q.pinned || glob(q.version, "", false)
}
