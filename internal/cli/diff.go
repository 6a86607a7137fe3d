package cli

import (
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// diffCommand compares what two configurations mean, not how they are written: moved or renamed rules that give the
// same make no difference.
type diffCommand struct {
	Old  string `arg:"" help:"A configuration: a file or a directory."`
	New  string `arg:"" help:"The other one."`
	JSON bool   `name:"json" help:"For programs."`
}

// Run prints what becomes readable and what no longer does. Exit code 0 when nothing differs, 1 when something does, 2 when
// one of them can't be read, as with diff(1).
func (c diffCommand) Run(out *printer) error {
	older, before, err := loadBoth(out, []string{c.Old})
	if err != nil {
		return usageError(c.Old + " can't be compared")
	}
	newer, after, err := loadBoth(out, []string{c.New})
	if err != nil {
		return usageError(c.New + " can't be compared")
	}
	changes, doors := secret.Diff(before, after), doorChanges(older, newer)
	switch {
	case c.JSON:
		err = diffJSON(out, changes, doors)
	case len(changes)+len(doors) == 0:
		out.printf("Nobody can read more or less than before.\n")
	default:
		out.diff(changes, doors)
	}
	if err == nil && len(changes)+len(doors) > 0 {
		return errNo
	}
	return err
}

// diff prints losses and gains as one table, changes of what stands behind them below, and a summary.
func (p *printer) diff(changes []secret.Change, doors []doorChange) {
	var blocks []block
	gained := 0
	for i := range changes {
		c := &changes[i]
		sign, colour := "−", bad
		if c.Gained {
			sign, colour, gained = "+", good, gained+1
		}
		repos := repoTexts(&c.Line)
		for j := range repos {
			repos[j] = sign + " " + repos[j]
		}
		blocks = append(blocks, block{
			columns: [][]string{repos, {called(&c.Line)}, conditions(&c.Line, ""), {c.Binding}, {c.At}},
			notes:   append(whyNot(c), exceptions(&c.Line)...), colour: colour,
		})
	}
	if len(blocks) > 0 {
		p.table(titles("  REPOSITORY", "SECRET", "WHEN"), blocks)
		p.printf("\n")
	}
	for _, d := range doors {
		p.printf("  %s\n", p.paint(warn, "~ "+d.String()))
	}
	if len(doors) > 0 {
		p.printf("\n")
	}
	p.printf("%d gained, %d lost, %s of vaults, tokens and keys\n", gained, len(changes)-gained, plural(len(doors), "change"))
}

// whyNot says how the other configuration has it.
func whyNot(c *secret.Change) (notes []string) {
	when, still := "now ", "still in part through "
	if c.Gained {
		when, still = "before ", "already in part through "
	}
	if c.Because != "" {
		notes = append(notes, when+c.Because)
	}
	if len(c.Partly) > 0 {
		notes = append(notes, still+strings.Join(c.Partly, ", "))
	}
	return notes
}

// diffJSON is the same for programs. Both lists are written even if they are empty, as [] and not null.
func diffJSON(out *printer, changes []secret.Change, doors []doorChange) error {
	type change struct {
		Change  string   `json:"change"` // gained or lost
		Because string   `json:"because,omitempty"`
		Partly  []string `json:"partly_through,omitempty"`
		jsonLine
	}
	list := []change{}
	for i := range changes {
		c := &changes[i]
		j := change{"lost", c.Because, c.Partly, toJSON(&c.Line)}
		if c.Gained {
			j.Change = "gained"
		}
		if c.Witness.Pool != "" {
			j.Explain = arguments(c.Witness)
		}
		list = append(list, j)
	}
	return out.encode(struct {
		Changes []change     `json:"changes"`
		Doors   []doorChange `json:"doors"`
	}{list, append([]doorChange{}, doors...)})
}
