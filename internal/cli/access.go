package cli

import (
	"encoding/csv"
	"fmt"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// accessCommand lists an upper bound from the rules alone: it asks no vault which secrets there are. Its paths are not
// split (sep none): kong would take a file's name apart at its commas.
type accessCommand struct {
	Repo   string   `arg:"" optional:"" help:"Slug of a repository, as acme/app. Left out: the table of all repositories and all secrets that the bindings name."`
	UID    string   `name:"uid" help:"The forge's id of the repository; without it, bindings that pin one are listed with it." placeholder:"ID"`
	Config []string `sep:"none" help:"Files and directories of the configuration (default: drone-entra.yaml)." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
	JSON   bool     `name:"json" help:"For programs." xor:"form"`
	CSV    bool     `name:"csv" help:"For a spreadsheet." xor:"form"`
	HTML   bool     `name:"html" help:"The table of everything as one page for a browser, with the conditions; needs no other file." xor:"form"`
}

// Run prints what a repository can read, or the matrix. That nothing is readable is an answer, too: exit code 0.
func (c accessCommand) Run(out *printer) error {
	switch {
	case c.Repo == "" && c.UID != "":
		return usageError("--uid is about one repository: name it")
	case strings.Contains(c.Repo, "*"):
		return usageError(printable(c.Repo) + " is a pattern: name one repository, or none for all of them")
	case c.Repo != "" && c.HTML:
		return usageError("--html is a page about every repository, where one can be searched for: leave " + printable(c.Repo) + " out")
	}
	loaded, policy, err := loadBoth(out, c.Config)
	if err != nil {
		return err
	}
	s := secret.NewSurvey(policy)
	switch {
	case c.HTML:
		return writePage(out.out, loaded, s, time.Now(), versionText())
	case c.Repo == "":
		return c.matrix(out, s)
	}
	lines, err := s.Access(c.Repo, c.UID)
	switch {
	case err != nil:
		return usageError(err.Error())
	case c.CSV:
		return writeCSV(out, lines)
	case c.JSON:
		return out.encode(struct {
			Repo  string     `json:"repo"`
			UID   string     `json:"uid,omitempty"`
			Lines []jsonLine `json:"lines"`
		}{c.Repo, c.UID, toJSONs(s, lines)})
	}
	out.access(c, lines)
	return nil
}

// access prints what one repository can read. Without a uid, each line that pins one shows which.
func (p *printer) access(c accessCommand, lines []secret.Line) {
	if len(lines) == 0 {
		p.printf("%s can read nothing: no binding names it and gives it anything that no deny takes away.\n", printable(c.Repo))
		return
	}
	p.printf("%s can read\n\n", p.paint(bold, printable(c.Repo)))
	pinned := "show"
	if c.UID != "" {
		pinned = ""
	}
	var blocks []block
	for i := range lines {
		l := &lines[i]
		blocks = append(blocks, block{columns: [][]string{{called(l)}, conditions(l, pinned), {l.Binding}, {l.At}}, notes: exceptions(l)})
	}
	p.table(titles("SECRET", "WHEN"), blocks)
}

// matrix prints all of it: as a table with a number for each secret, as CSV with the conditions in the cells.
func (c accessCommand) matrix(out *printer, s *secret.Survey) error {
	m := s.Matrix()
	switch {
	case c.CSV:
		return matrixCSV(out, m)
	case c.JSON:
		return matrixJSON(out, s, m)
	case len(m.Repos) == 0:
		out.printf("Nobody can read anything.\n")
		return nil
	}
	// The names of secrets are too wide for a terminal's columns: numbers stand there and the names below.
	titles := []string{"REPOSITORY"}
	for i := range m.Secrets {
		titles = append(titles, fmt.Sprint(i+1))
	}
	var blocks []block
	less := false
	for i, repo := range m.Repos {
		columns := [][]string{{repo.String()}}
		for j := range m.Secrets {
			text := summary(m.Cell(i, j))
			less = less || strings.HasSuffix(text, minus)
			columns = append(columns, []string{text})
		}
		blocks = append(blocks, block{columns: columns})
	}
	out.table(titles, blocks)
	out.printf("\n")
	for i, name := range m.Secrets {
		out.printf("  %*d  %s\n", len(fmt.Sprint(len(m.Secrets))), i+1, name)
	}
	out.printf("\n  %s\n", out.paint(dim, "access REPO and readers REF say on which conditions."))
	if less {
		out.printf("  %s\n", out.paint(dim, strings.TrimSpace(minus)+" marks what a deny, or another meaning of a name, takes a part of."))
	}
	return nil
}

// minus marks a cell with exceptions.
const minus = " −"

// summary names the events of a cell. It is a dot where there is no access, so that an empty cell is never taken for a
// missing one.
func summary(lines []secret.Line) string {
	var events []string
	except := ""
	for _, event := range secret.BuildEvents {
		for i := range lines {
			if hasEvent(&lines[i], event) {
				events = append(events, string(event))
				break
			}
		}
	}
	for i := range lines {
		if len(lines[i].Except) > 0 {
			except = minus
		}
	}
	if len(events) == 0 {
		return "·"
	}
	return strings.Join(events, ",") + except
}

// hasEvent tells whether the line gives anything on the event.
func hasEvent(l *secret.Line, event secret.BuildEvent) bool {
	for i := range l.When {
		if l.When[i].Event == event {
			return true
		}
	}
	return false
}

// matrixCSV writes one row for each repository and one column for each secret.
func matrixCSV(out *printer, m *secret.Matrix) error {
	rows := [][]string{append([]string{"repository", "uid"}, m.Secrets...)}
	for i, repo := range m.Repos {
		row := []string{repo.Slug.String(), repo.UID}
		for j := range m.Secrets {
			row = append(row, strings.Join(cellTexts(m.Cell(i, j)), "; "))
		}
		rows = append(rows, row)
	}
	return writeRows(csv.NewWriter(out.out), rows)
}

// cellTexts words a cell: the conditions of each binding, and what is excepted.
func cellTexts(lines []secret.Line) (texts []string) {
	for i := range lines {
		l := &lines[i]
		text := strings.Join(append(conditions(l, ""), exceptions(l)...), "; ")
		texts = append(texts, text+" ["+l.Binding+"]")
	}
	return texts
}

// matrixJSON writes the cells that give something, row by row; a matrix is mostly empty.
func matrixJSON(out *printer, s *secret.Survey, m *secret.Matrix) error {
	type cell struct {
		Repo   jsonRepo   `json:"repo"`
		Secret string     `json:"secret"`
		Lines  []jsonLine `json:"lines"`
	}
	cells := []cell{}
	for i, repo := range m.Repos {
		for j, name := range m.Secrets {
			if lines := m.Cell(i, j); lines != nil {
				cells = append(cells, cell{jsonRepo{repo.Slug.String(), repo.UID}, name, toJSONs(s, lines)})
			}
		}
	}
	return out.encode(struct {
		Cells []cell `json:"cells"`
	}{cells})
}
