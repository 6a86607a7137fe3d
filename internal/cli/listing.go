package cli

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// loadBoth reads a configuration and compiles its rules. Problems are printed; with an error there is neither. Warnings
// are not printed: they are check's business, and would stand between question and answer.
func loadBoth(out *printer, paths []string) (*config.Config, *secret.Policy, error) {
	c, problems := config.Load(orDefault(paths))
	if problems.Errors() > 0 {
		fmt.Fprint(out.err, problems)
		return nil, nil, errNo
	}
	policy, err := secret.NewPolicy(c.Rules)
	return c, policy, err
}

// block is one entry of a table: its columns, each of which may take several lines, and notes below. A column with
// fewer lines than the highest one is filled with blanks. colour may be empty.
type block struct {
	columns [][]string
	notes   []string
	colour  string
}

// table prints blocks in aligned columns under their titles. Widths are those of the longest text, counted in
// characters; each block has as many columns as there are titles.
func (p *printer) table(titles []string, blocks []block) {
	widths := make([]int, len(titles))
	for i, title := range titles {
		widths[i] = utf8.RuneCountInString(title)
		for _, b := range blocks {
			for _, text := range b.columns[i] {
				widths[i] = max(widths[i], utf8.RuneCountInString(text))
			}
		}
	}
	p.tableRow(dim, widths, titles)
	for _, b := range blocks {
		height := 0
		for _, column := range b.columns {
			height = max(height, len(column))
		}
		for n := range height {
			row := make([]string, len(titles))
			for i, column := range b.columns {
				if n < len(column) {
					row[i] = column[n]
				}
			}
			p.tableRow(b.colour, widths, row)
		}
		for _, note := range b.notes {
			p.printf("    %s\n", p.paint(warn, note))
		}
	}
}

// tableRow pads first and paints then, since escapes have no width. Blanks at the end of a line are cut.
func (p *printer) tableRow(colour string, widths []int, row []string) {
	var b strings.Builder
	for i, text := range row {
		b.WriteString(text)
		b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+3))
	}
	p.printf("  %s\n", p.paint(colour, strings.TrimRight(b.String(), " ")))
}

// conditions are the lines of a WHEN column. The last one says what else has to hold. conditions returns at least what
// the line's own conditions are; an empty uid leaves out the ids of repositories, which are printed beside their slugs
// elsewhere.
func conditions(l *secret.Line, uid string) []string {
	list := l.Conditions()
	var also []string
	for _, repo := range l.Repos {
		if uid != "" && repo.UID != "" {
			also = append(also, "uid "+printable(repo.UID))
		}
	}
	more := slices.DeleteFunc([]string{l.PoolWords(), strings.Join(also, " or ")}, func(s string) bool { return s == "" })
	for i := range list {
		if len(more) > 0 {
			list[i] += ", " + strings.Join(more, ", ")
		}
	}
	return list
}

// called is the secret as a pipeline may name it.
//
//	by reference only           pay-prod/db
//	by reference and by name    pay-prod/db as db_password
//	by name only                db_password → pay-prod/db
func called(l *secret.Line) string {
	names := l.Names()
	switch {
	case len(names) == 0:
		return l.Secret.String()
	case l.ByReference():
		return l.Secret.String() + " as " + strings.Join(names, " or ")
	}
	return strings.Join(names, " or ") + " → " + l.Secret.String()
}

// exceptions are notes about what a line gives less than it seems to.
func exceptions(l *secret.Line) (notes []string) {
	for i := range l.Except {
		e := &l.Except[i]
		note := "except " + e.Rule + ": " + e.Withholds()
		if e.Reason != "" {
			note += " (" + printable(e.Reason) + ")"
		}
		notes = append(notes, note)
	}
	return notes
}

// repoTexts lists the repositories of a line, each with the id that is pinned.
func repoTexts(l *secret.Line) []string {
	texts := make([]string, len(l.Repos))
	for i, repo := range l.Repos {
		texts[i] = repo.String()
	}
	return texts
}

// titles are those of a table of lines, its own ones before the binding and its place.
func titles(own ...string) []string { return append(own, "BINDING", "") }

// writeCSV writes one row for each line and repository.
func writeCSV(p *printer, lines []secret.Line) error {
	w := csv.NewWriter(p.out)
	rows := [][]string{{"repository", "uid", "secret", "names", "when", "pools", "binding", "at", "except"}}
	for i := range lines {
		l := &lines[i]
		for _, repo := range l.Repos {
			rows = append(rows, []string{
				repo.Slug.String(), repo.UID, l.Secret.String(), strings.Join(l.Names(), " "), strings.Join(l.Conditions(), "; "),
				strings.Join(l.Pools, " "), l.Binding, l.At, strings.Join(exceptions(l), "; "),
			})
		}
	}
	return writeRows(w, rows)
}

// writeRows keeps a spreadsheet from taking a cell for a formula. A cell that begins with =, +, -, @, a tab or a
// carriage return is run as a formula by spreadsheets (CSV injection, in OWASP's words). An apostrophe in front makes
// it text.
func writeRows(w *csv.Writer, rows [][]string) error {
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
	}
	return w.WriteAll(rows)
}

// jsonLine is a line for programs. Lists are in order; what is not stated is left out.
type jsonLine struct {
	Secret      string          `json:"secret"`
	Whole       bool            `json:"whole_only,omitempty"` // the secret as a whole, not its keys by themselves
	ByReference bool            `json:"by_reference"`
	Names       []string        `json:"names,omitempty"`
	Repos       []jsonRepo      `json:"repos"`
	When        []jsonCondition `json:"when"`
	Text        []string        `json:"conditions"` // the same for people, with the actors
	Actors      []string        `json:"actors,omitempty"`
	Anybody     bool            `json:"anybody,omitempty"` // no actor is needed
	Pools       []string        `json:"pools"`
	Binding     string          `json:"binding"`
	At          string          `json:"at"`
	Except      []jsonExcept    `json:"except,omitempty"`
	Explain     []string        `json:"explain,omitempty"` // arguments of `explain` for a request that shows it
}

// jsonRepo is a pattern of repositories; uid is there where a rule pins one.
type jsonRepo struct {
	Slug string `json:"slug"`
	UID  string `json:"uid,omitempty"`
}

// jsonCondition is one event and what has to hold of it. A condition that means the default branch says so with
// default_branch, and has no list of branches.
type jsonCondition struct {
	Event         string   `json:"event"`
	DefaultBranch bool     `json:"default_branch,omitempty"`
	DefaultIs     []string `json:"default_branch_is,omitempty"`
	Branches      []string `json:"branches,omitempty"`
	Tags          []string `json:"tags,omitempty"`
	Into          []string `json:"into,omitempty"`
	DeployTo      []string `json:"deploy_to,omitempty"`
	Cron          []string `json:"cron,omitempty"`
	From          string   `json:"from,omitempty"`
}

// jsonExcept is what takes a part of a line away: a deny, or another meaning of a name. One of the two is set.
type jsonExcept struct {
	Deny      string `json:"deny,omitempty"`
	Ambiguous string `json:"ambiguous_with,omitempty"` // the binding that maps the name to something else
	At        string `json:"at"`
	Withholds string `json:"withholds"`
	Reason    string `json:"reason,omitempty"`
}

// toJSON turns a line into its form for programs, without an example.
func toJSON(l *secret.Line) jsonLine {
	j := jsonLine{
		Secret: l.Secret.String(), Whole: l.Exact, ByReference: l.ByReference(), Names: l.Names(), Text: l.Conditions(),
		Actors: l.Actors, Anybody: l.Actors == nil, Pools: l.Pools, Binding: l.Binding, At: l.At,
	}
	for _, repo := range l.Repos {
		j.Repos = append(j.Repos, jsonRepo{repo.Slug.String(), repo.UID})
	}
	for i := range l.When {
		c := &l.When[i]
		// As the policy reads a condition: with none of the three the default branch is meant. A tag has no branch.
		byDefault := c.Branches == nil && c.Tags == nil && c.Into == nil && c.Event != secret.Tag
		when := jsonCondition{
			Event: string(c.Event), DefaultBranch: byDefault, Branches: texts(c.Branches), Tags: texts(c.Tags), Into: texts(c.Into),
			DeployTo: texts(c.DeployTo), Cron: texts(c.Cron), From: string(c.From),
		}
		if byDefault {
			when.DefaultIs = texts(l.DefaultIs)
		}
		j.When = append(j.When, when)
	}
	for i := range l.Except {
		e := &l.Except[i]
		x := jsonExcept{Deny: e.Rule, At: e.At, Withholds: e.Withholds(), Reason: e.Reason}
		if e.Ambiguous() {
			x.Deny, x.Ambiguous = "", e.Rule
		}
		j.Except = append(j.Except, x)
	}
	return j
}

// texts writes patterns as they were read; nil stays nil, so that JSON leaves it out.
func texts(list []secret.Pattern) (texts []string) {
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return texts
}

// toJSONs adds to each line an example: a request that it covers and the policy allows, if one is found.
func toJSONs(s *secret.Survey, lines []secret.Line) []jsonLine {
	list := make([]jsonLine, len(lines))
	for i := range lines {
		list[i] = toJSON(&lines[i])
		if r, ok := s.Witness(lines[i]); ok {
			list[i].Explain = arguments(r)
		}
	}
	return list
}

// arguments are those of `explain` for a request. They may hold blanks and quotes, so they are a list and never one
// line for a shell.
func arguments(r secret.Request) (args []string) {
	uid := r.Repo.UID
	if uid == secret.UnknownUID {
		uid = ""
	}
	for _, flag := range [...][2]string{
		{"repo", r.Repo.Slug}, {"uid", uid}, {"event", r.Build.Event}, {"ref", r.Build.Ref}, {"deploy-to", r.Build.DeployTo},
		{"cron", r.Build.Cron}, {"trigger", r.Build.Trigger}, {"source-repo", r.Build.SourceRepo}, {"target", r.Build.Target},
		{"default-branch", r.Repo.DefaultBranch}, {"pool", r.Pool},
	} {
		if flag[1] != "" {
			args = append(args, "--"+flag[0], flag[1])
		}
	}
	return append(args, asked(r))
}
