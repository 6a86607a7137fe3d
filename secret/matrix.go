package secret

import (
	"cmp"
	"slices"
	"strings"
)

// Matrix is everything at once: repositories down, secrets across. A row is a repository pattern of the bindings, a column
// a secret pattern or a target of their names, and a cell says on which conditions every repository of the row can read
// every secret of the column; a binding with a wider pattern shows in the narrower rows and columns, too.
//
// A table of what the rules literally say would hide exactly that: a row "acme/app" that looks empty, while a binding
// of "acme/*" gives it everything. So each cell is worked out anew, with every binding that names all of the row.
type Matrix struct {
	Repos   []RepoPattern
	Secrets []string
	rows    []map[int][]Line
}

// Cell returns the lines of a cell, by index in Repos and Secrets; nil where there is no access.
// They belong to the matrix and are not to be changed.
func (m *Matrix) Cell(repo, secret int) []Line { return m.rows[repo][secret] }

// Matrix lists all of the policy as one table.
func (s *Survey) Matrix() *Matrix {
	m := &Matrix{}
	columns := map[string]column{}
	for _, l := range s.All() {
		m.Repos = append(m.Repos, l.Repos...)
		columns[secretText(&l)] = column{l.Secret, l.Exact}
	}
	m.Repos = sortedRepos(m.Repos)
	secrets := make([]column, 0, len(columns))
	for _, c := range columns {
		secrets = append(secrets, c)
	}
	slices.SortFunc(secrets, func(a, b column) int {
		return cmp.Or(strings.Compare(a.read.text, b.read.text), compareBool(a.exact, b.exact))
	})
	for _, c := range secrets {
		m.Secrets = append(m.Secrets, c.String())
	}
	for i := range m.Repos {
		m.rows = append(m.rows, s.row(&m.Repos[i], secrets))
	}
	return m
}

// column is a secret pattern; exact, if it is about a secret as a whole.
type column struct {
	read  ReadPattern
	exact bool
}

// String returns the pattern, and says so where its keys by themselves are not meant.
func (c column) String() string {
	if c.exact {
		return c.read.text + " (whole)"
	}
	return c.read.text
}

// row is one row's cells by the index of their column; a cell without access has no entry, since most of a large
// table is empty.
func (s *Survey) row(repo *RepoPattern, secrets []column) map[int][]Line {
	row := map[int][]Line{}
	denies := s.denies(func(r *region) bool { return commonRepos([]RepoPattern{*repo}, r.Repos) != nil })
	for _, rule := range s.naming(repo) {
		b := &s.policy.bindings[rule]
		for i := range secrets {
			if lines := s.meeting(rule, b, repo, &secrets[i], denies); lines != nil {
				row[i] = append(row[i], lines...)
			}
		}
	}
	for i := range row {
		row[i] = tidied(row[i])
	}
	return row
}

// naming lists the bindings that name every repository of the row.
//
// A binding that names only some of them is not listed: it has a narrower row of its own. The index is asked with the
// deepest spelling of the pattern, and what it yields is tried with each of the others: "acme/*/*" names all of
// "acme/*/x", and of "acme/**" only a part. A pattern that pins an id stands in rows that pin the same one.
func (s *Survey) naming(repo *RepoPattern) (rules []int32) {
	slugs := repo.Slug.templates(s.deepest)
	s.policy.byRepo.each(strings.ReplaceAll(slugs[0], "*", anything), func(e entry) {
		pattern := &s.policy.bindings[e.rule].Repos[e.repo]
		for _, slug := range slugs {
			if generic := strings.ReplaceAll(slug, "*", anything); validSlug(generic) && !pattern.Slug.Match(generic) {
				return
			}
		}
		if pattern.UID == "" || pattern.UID == repo.UID {
			rules = append(rules, e.rule)
		}
	})
	slices.Sort(rules)
	return slices.Compact(rules)
}

// meeting are the lines of one binding in one cell of the matrix.
//
// It is empty unless the binding gives all of the column, by a pattern of its read or as a target of its names. A
// target is asked for by each of the names that lead there, and by reference.
func (s *Survey) meeting(rule int32, b *binding, repo *RepoPattern, c *column, denies []*region) (lines []Line) {
	l := b.line()
	l.Repos = []RepoPattern{*repo}
	l.Secret, l.Exact = c.read, c.exact
	gives := slices.ContainsFunc(b.Read, func(p ReadPattern) bool { return p.contains(c) })
	if gives {
		lines = s.live(rule, l, denies)
	}
	for name, target := range b.Names {
		if target != c.read.template() || !c.exact && target.Key == "" {
			continue
		}
		if !gives {
			gives, lines = true, s.live(rule, l, denies)
		}
		lines = append(lines, s.live(rule, l.by(name), denies)...)
	}
	return mergeAsked(lines)
}

// contains tells whether the pattern gives all of the column.
// It asks about the column's reference with the character that no pattern holds, so that a pattern gives it only if
// it gives all of it: "pay/*" contains "pay/ci-*", not the other way round.
func (p *ReadPattern) contains(c *column) bool {
	generic := func(s string) string { return strings.ReplaceAll(s, "*", anything) }
	r := c.read.template()
	r.Name, r.Version, r.Key = generic(r.Name), generic(r.Version), generic(r.Key)
	return p.Gives(r)
}
