package cli

import (
	"fmt"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// pageMatrix is the matrix of the page. Its cells refer to gifts by their ids, since many cells have the same.
type pageMatrix struct {
	Vaults  []pageVault
	Columns []pageColumn
	Rows    []pageRow
	Gifts   []pageGift
	Flat    bool // so few columns that their titles can lie flat
}

// pageVault is a group of neighbouring columns.
type pageVault struct {
	Alias string
	Span  int
}

// pageColumn is one secret, or pattern of secrets, below its vault.
type pageColumn struct {
	Pattern string // of the whole reference
	Name    string // without the alias, which stands above
	Whole   bool
	First   bool // of its vault
}

// pageRow is one repository, or pattern of them.
type pageRow struct {
	Repo  pageName
	Cells []pageCell // one for each column
}

// pageCell is empty where there is no access.
type pageCell struct {
	First  bool   // of its vault
	Gifts  string // ids, with blanks between
	Events []string
	Minus  bool
}

// flat is how many columns have room for titles that lie flat.
const flat = 6

// newPageMatrix words a matrix that is small enough to be looked at. Neighbouring columns of one vault share its title.
func newPageMatrix(m *secret.Matrix) *pageMatrix {
	p := &pageMatrix{Flat: len(m.Secrets) <= flat}
	for _, text := range m.Secrets {
		p.column(text)
	}
	ids := map[string]int{}
	for i, repo := range m.Repos {
		row := pageRow{Repo: named(repo.Slug.String(), repo.String())}
		for j := range p.Columns {
			row.Cells = append(row.Cells, p.cell(m.Cell(i, j), p.Columns[j].First, ids))
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// column adds a secret, and its vault if that is another one than before.
func (p *pageMatrix) column(text string) {
	pattern, whole := strings.CutSuffix(text, " (whole)") // a pattern has no blanks
	alias, rest, _ := strings.Cut(pattern, "/")
	first := len(p.Vaults) == 0 || p.Vaults[len(p.Vaults)-1].Alias != shown(alias)
	if first {
		p.Vaults = append(p.Vaults, pageVault{Alias: shown(alias)})
	}
	p.Vaults[len(p.Vaults)-1].Span++
	p.Columns = append(p.Columns, pageColumn{shown(pattern), shown(rest), whole, first})
}

// cell words the lines of a cell; ids knows the gifts that are in the page already. The key is all of a gift as Go
// writes it, before it has an id, so two gifts are one exactly if they look the same.
func (p *pageMatrix) cell(lines []secret.Line, first bool, ids map[string]int) pageCell {
	c := pageCell{First: first}
	var list []string
	for i := range lines {
		g := gift(&lines[i])
		key := fmt.Sprintf("%#v", g)
		id, known := ids[key]
		if !known {
			id = len(ids)
			ids[key], g.ID = id, id
			p.Gifts = append(p.Gifts, g)
		}
		list = append(list, fmt.Sprint(id))
		c.Minus = c.Minus || len(g.Except) > 0
	}
	c.Gifts = strings.Join(list, " ")
	for _, event := range secret.BuildEvents {
		for i := range lines {
			if hasEvent(&lines[i], event) {
				c.Events = append(c.Events, string(event))
				break
			}
		}
	}
	return c
}
