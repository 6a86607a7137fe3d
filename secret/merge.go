package secret

import (
	"cmp"
	"slices"
	"strings"
)

// Cells are lines with one alternative in each dimension. What is left of them after the denies is joined again, dimension
// by dimension, into as few lines as that gives; no cell is lost and none is added.

// dimension is one factor of a Line's product. Two lines are joined in it when they are equal in all others.
//
// Joining is sound only between lines that are equal in every other dimension: then the union of two products is a
// product again. Of the cells (x, main), (x, dev) and (y, main), all of one binding, the first two become one line
// and the third stays by itself; one line "x or y, main or dev" would claim (y, dev), which nobody granted. An
// auditor would read access that does not exist, or, in a diff, a loss that never happened.
//
// text tells apart what is joined: it is what the order, and the equality of all other dimensions, are judged by.
// Texts that join several words have control bytes between them, which no pattern can hold.
type dimension struct {
	text func(*Line) string
	kind func(*Line) string // must be equal even so: "the default branch" is no branch of a list
	join func(to, from *Line)
}

// The places in dimensions that matter to key.
const (
	conditions = 4  // those before it are inside a condition: until conditions are joined, each line has one
	whole      = -1 // no dimension left out
)

// dimensions are in the order in which cells are joined.
// The order matters in two ways: the dimensions inside a condition come first, while each line still has one
// condition; and how the secret is asked for comes last, because mergeAsked joins by that alone.
var dimensions = [...]dimension{
	{refText, refKind, func(to, from *Line) {
		c, d := &to.When[0], &from.When[0]
		c.Branches, c.Tags = slices.Concat(c.Branches, d.Branches), slices.Concat(c.Tags, d.Tags)
	}},
	{func(l *Line) string { return texts(l.When[0].DeployTo) }, nil, func(to, from *Line) {
		to.When[0].DeployTo = slices.Concat(to.When[0].DeployTo, from.When[0].DeployTo)
	}},
	{func(l *Line) string { return texts(l.When[0].Cron) }, nil, func(to, from *Line) {
		to.When[0].Cron = slices.Concat(to.When[0].Cron, from.When[0].Cron)
	}},
	{func(l *Line) string { return texts(l.When[0].Into) }, func(l *Line) string { return nilness(l.When[0].Into) },
		func(to, from *Line) { to.When[0].Into = slices.Concat(to.When[0].Into, from.When[0].Into) }},
	{whenText, nil, func(to, from *Line) { to.When = slices.Concat(to.When, from.When) }},
	{func(l *Line) string { return strings.Join(l.Actors, "\x01") }, func(l *Line) string { return nilness(l.Actors) },
		func(to, from *Line) { to.Actors = slices.Concat(to.Actors, from.Actors) }},
	{func(l *Line) string { return texts(l.DefaultIs) }, func(l *Line) string { return nilness(l.DefaultIs) },
		func(to, from *Line) { to.DefaultIs = slices.Concat(to.DefaultIs, from.DefaultIs) }},
	{func(l *Line) string { return strings.Join(l.Pools, "\x01") }, nil,
		func(to, from *Line) { to.Pools = slices.Concat(to.Pools, from.Pools) }},
	{reposText, nil, func(to, from *Line) { to.Repos = slices.Concat(to.Repos, from.Repos) }},
	{secretText, func(l *Line) string { return l.Secret.unkeyed().text }, joinKeys},
	{func(l *Line) string { return strings.Join(l.Asked, "\x01") }, nil,
		func(to, from *Line) { to.Asked = slices.Concat(to.Asked, from.Asked) }},
}

// key is equal for lines that differ in the one dimension only, and so that they can be joined there.
//
// Inside a condition (but < conditions) the event and the origin take the place of the conditions' text, which would
// hold the very thing that may differ. The binding is part of every key: lines of two bindings are never joined,
// since a reader wants to know whom to change. So are the exceptions, as far as they are known yet.
func (l *Line) key(but int) string {
	var b strings.Builder
	b.WriteString(l.Binding)
	for i := range dimensions {
		switch {
		case i < conditions && (but == whole || but >= conditions):
			continue // inside the conditions, which may be several by now
		case i == conditions && but >= 0 && but < conditions:
			b.WriteString("\x00" + string(l.When[0].Event) + string(l.When[0].From))
			continue
		}
		b.WriteByte(0)
		if kind := dimensions[i].kind; kind != nil {
			b.WriteString(kind(l))
		}
		b.WriteByte(0)
		if i != but {
			b.WriteString(dimensions[i].text(l))
		}
	}
	for i := range l.Except {
		b.WriteString("\x00" + l.Except[i].Rule + "\x00" + l.Except[i].Name)
	}
	return b.String()
}

// merge joins cells into lines, in an order that depends on nothing but what they say.
// It takes over the lines and their conditions: joining appends to the lists of a cell's only condition, in place.
// The cells must own theirs (see owning).
func merge(lines []Line) []Line {
	for i := range dimensions {
		lines = mergeIn(lines, i)
	}
	return tidied(lines)
}

// mergeAsked joins finished lines that differ in how the secret is asked for.
func mergeAsked(lines []Line) []Line { return tidied(mergeIn(lines, len(dimensions)-1)) }

// mergeIn joins in one dimension, and reuses the lines' array: joined never overtakes the line that is being read.
func mergeIn(lines []Line, dimension int) []Line {
	if len(lines) < 2 {
		return lines
	}
	// Which lines meet first decides how a set that is no product falls apart, so it must not depend on the rules' order.
	order := func(a, b Line) int {
		return strings.Compare(dimensions[dimension].text(&a), dimensions[dimension].text(&b))
	}
	slices.SortStableFunc(lines, order)
	at := make(map[string]int, len(lines))
	joined := lines[:0]
	for _, l := range lines {
		key := l.key(dimension)
		if i, ok := at[key]; ok {
			dimensions[dimension].join(&joined[i], &l)
			continue
		}
		at[key] = len(joined)
		joined = append(joined, l)
	}
	return joined
}

// tidied puts every list in order, without repetition, and the lines as well.
//
// It clones what it sorts: the lists of an unmerged line are still the policy's own, which other goroutines read.
func tidied(lines []Line) []Line {
	for i := range lines {
		l := &lines[i]
		l.When = slices.Clone(l.When)
		for j := range l.When {
			c := &l.When[j]
			c.Branches, c.Tags, c.Into = sorted(c.Branches), sorted(c.Tags), sorted(c.Into)
			c.DeployTo, c.Cron = sorted(c.DeployTo), sorted(c.Cron)
		}
		l.When = sortedBy(l.When, func(a, b Condition) int {
			return cmp.Or(cmp.Compare(eventOrder(a.Event), eventOrder(b.Event)), strings.Compare(a.text(), b.text()))
		})
		l.Repos = sortedRepos(l.Repos)
		l.DefaultIs = sorted(l.DefaultIs)
		l.Actors, l.Pools = sortedBy(l.Actors, strings.Compare), sortedBy(l.Pools, strings.Compare)
		l.Asked = sortedBy(l.Asked, strings.Compare)
	}
	return inOrder(lines)
}

// inOrder sorts lines for people: by secret, then by repository, then by binding. Lines are large, so their order is found
// first and each is moved once.
func inOrder(lines []Line) []Line {
	if len(lines) < 2 {
		return lines
	}
	type place struct {
		repos string
		line  *Line
	}
	order := make([]place, len(lines))
	for i := range lines {
		order[i] = place{reposText(&lines[i]), &lines[i]}
	}
	slices.SortFunc(order, func(a, b place) int {
		c := cmp.Or(strings.Compare(a.line.Secret.text, b.line.Secret.text), strings.Compare(a.repos, b.repos),
			strings.Compare(a.line.Binding, b.line.Binding))
		if c == 0 {
			c = strings.Compare(a.line.key(whole), b.line.key(whole))
		}
		return c
	})
	moved := make([]Line, len(lines))
	for i := range order {
		moved[i] = *order[i].line
	}
	return moved
}

// eventOrder is the order of BuildEvents, not the alphabet's.
func eventOrder(e BuildEvent) int { return slices.Index(BuildEvents[:], e) }

func sorted(list []Pattern) []Pattern {
	return sortedBy(list, func(a, b Pattern) int { return strings.Compare(a.text, b.text) })
}

// sortedRepos takes slugs that differ in case only for one.
func sortedRepos(list []RepoPattern) []RepoPattern {
	if len(list) < 2 {
		return list
	}
	list = slices.Clone(list)
	same := func(a, b RepoPattern) int {
		return cmp.Or(strings.Compare(fold(a.Slug.text), fold(b.Slug.text)), strings.Compare(a.UID, b.UID))
	}
	slices.SortFunc(list, func(a, b RepoPattern) int { return cmp.Or(same(a, b), strings.Compare(a.Slug.text, b.Slug.text)) })
	return slices.CompactFunc(list, func(a, b RepoPattern) bool { return same(a, b) == 0 })
}

// sortedBy returns a sorted copy without repetition. A list of less than two comes back as it is: a nil one stays
// nil, which means something else than an empty one.
func sortedBy[T any](list []T, compare func(a, b T) int) []T {
	if len(list) < 2 {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// joinKeys joins the whole secret and each of its keys.
//
// The three forms of one secret are the whole alone (Exact), every key ("vault/name/*"), and both together, which is
// the plain pattern. Any two different ones of them make the plain one.
func joinKeys(to, from *Line) {
	if to.Exact != from.Exact || to.Secret.keyed != from.Secret.keyed {
		to.Exact, to.Secret = false, to.Secret.unkeyed()
	}
}

// unkeyed is the pattern without "every key", so that "the whole" and "every key" become one.
func (p ReadPattern) unkeyed() ReadPattern {
	if p.keyed && p.key == "*" {
		p.keyed, p.key = false, ""
		return p.reworded()
	}
	return p
}

// secretText tells the whole secret alone from the secret with its keys, which are spelled alike.
func secretText(l *Line) string {
	if l.Exact {
		return l.Secret.text + "\x01"
	}
	return l.Secret.text
}

// nilness keeps "not stated" apart from every list: nil actors are everybody, a nil target list is the default
// branch. Joined with a list they would turn into that list, or the list into them.
func nilness[T any](list []T) string {
	if list == nil {
		return "-"
	}
	return "+"
}

func texts(list []Pattern) string { return joinWith(list, Pattern.String, "\x01") }

func refText(l *Line) string { return texts(l.When[0].Branches) + "\x02" + texts(l.When[0].Tags) }

// refKind keeps "the default branch" apart from named branches and tags: no list can say both.
func refKind(l *Line) string {
	if l.When[0].Branches == nil && l.When[0].Tags == nil {
		return "default"
	}
	return ""
}

func whenText(l *Line) string { return joinWith(l.When, Condition.text, "\x02") }

// text is unequal for conditions that mean something else in a binding.
// The separator differs from the one between patterns, so that no two conditions run together into the same text.
func (c Condition) text() string {
	return strings.Join([]string{
		string(c.Event), texts(c.Branches), texts(c.Tags), nilness(c.Into) + texts(c.Into), texts(c.DeployTo), texts(c.Cron), string(c.From),
	}, "\x03")
}

// reposText folds slugs, as forges do, so that "Acme/app" and "acme/app" are one repository to order and join.
func reposText(l *Line) string {
	return joinWith(l.Repos, func(r RepoPattern) string { return fold(r.Slug.text) + "\x03" + r.UID }, "\x01")
}
