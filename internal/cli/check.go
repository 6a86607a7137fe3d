package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
)

// defaultConfig is what a command reads when it is told nothing.
const defaultConfig = "drone-entra.yaml"

// checkCommand is what a pipeline of configurations runs. Notes fail it never, warnings only if it is strict.
type checkCommand struct {
	Path   []string `sep:"none" arg:"" optional:"" env:"DRONE_ENTRA_CONFIG" help:"Files and directories (default: drone-entra.yaml)."`
	Strict bool     `help:"Fail on warnings too."`
	Notes  bool     `help:"Show notes: what is risky and normal."`
	JSON   bool     `name:"json" xor:"form" help:"For programs, notes included."`
	SARIF  bool     `name:"sarif" xor:"form" help:"SARIF 2.1.0, for reviews of a repository of configurations; notes included."`
}

// Run prints every problem with its place, every expectation that does not hold, and a summary. It does not look at the
// environment, so that it says the same on a laptop and in front of production.
func (c checkCommand) Run(out *printer) error {
	loaded, problems := config.Check(orDefault(c.Path))
	var err error
	switch {
	case c.JSON:
		err = out.problemsJSON(loaded, problems)
	case c.SARIF:
		err = out.problemsSARIF(problems)
	default:
		c.text(out, loaded, problems)
	}
	if err == nil && (problems.Errors() > 0 || c.Strict && problems.Warnings() > 0) {
		return errNo
	}
	return err
}

// text prints for people. loaded is nil where an error keeps the configuration from being used: then there is nothing
// to count.
func (c checkCommand) text(out *printer, loaded *config.Config, problems config.Problems) {
	shown, notes := problems, ""
	if c.Notes {
		notes = ", " + plural(problems.Notes(), "note")
	} else {
		shown = slices.DeleteFunc(slices.Clone(problems), func(p config.Problem) bool { return p.Note })
	}
	out.problems(shown)
	if loaded != nil {
		out.printf("%s · ", loaded.Summary())
	}
	out.printf("%s, %s%s\n", plural(problems.Errors(), "error"), plural(problems.Warnings(), "warning"), notes)
}

// problems prints configuration problems, the severity in colour. It paints the severities in the finished text, where
// their columns are known. A problem's text that holds the same words between as many blanks would be painted too,
// which does no harm.
func (p *printer) problems(list config.Problems) {
	text := list.String()
	if p.colour {
		text = strings.NewReplacer(
			"   error    ", "   "+p.paint(bad, "error")+"    ", "   warning  ", "   "+p.paint(warn, "warning")+"  ", "   note     ", "   "+p.paint(dim, "note")+"     ",
		).Replace(text)
	}
	fmt.Fprint(p.out, text)
}

// plural counts in words: 1 error, 2 errors.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// orDefault is what to read. It returns a slice of its own.
func orDefault(paths []string) []string {
	if len(paths) == 0 {
		return []string{defaultConfig}
	}
	return slices.Clone(paths)
}
