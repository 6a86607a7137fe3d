package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// defaultConfig is what a command reads when it is told nothing.
const defaultConfig = "drone-entra.yaml"

type checkCommand struct {
	Path []string `sep:"none" arg:"" optional:"" env:"DRONE_ENTRA_CONFIG" help:"Files and directories (default: drone-entra.yaml)."`
}

// Run prints every problem with its place, every expectation that does not hold, and a summary. It does not look at the
// environment, so that it says the same on a laptop and in front of production.
func (c checkCommand) Run(out *printer) error {
	loaded, problems := config.Load(orDefault(c.Path))
	if loaded != nil {
		failed, err := disappointed(loaded)
		if err != nil {
			return err
		}
		problems = append(problems, failed...)
	}
	out.problems(problems)
	if loaded != nil {
		out.printf("%s · ", loaded.Summary())
	}
	out.printf("%s, %s\n", plural(problems.Errors(), "error"), plural(problems.Warnings(), "warning"))
	if problems.Errors() > 0 {
		return errNo
	}
	return nil
}

// disappointed runs the expectations and returns a problem for each that does not hold.
func disappointed(c *config.Config) (failed config.Problems, err error) {
	policy, err := secret.NewPolicy(c.Rules)
	if err != nil {
		return nil, err
	}
	for _, e := range c.Expect {
		d := policy.Decide(e.Request())
		if d.Allowed() != e.Allow {
			failed = append(failed, config.Problem{File: e.At, Text: disappointment(e.Request(), d)})
		}
	}
	return failed, nil
}

func disappointment(r secret.Request, d secret.Decision) string {
	what := printable(asked(r)) + " to " + printable(r.Repo.Slug) + ", " + headline(r)
	if d.Allowed() {
		return fmt.Sprintf("expected deny, and %s allows %s", d.Grant.Binding, what)
	}
	text := fmt.Sprintf("expected allow, and %s is denied: %s", what, d.Reason)
	for check := range d.Checks() {
		if !check.OK {
			return text + " (" + failing(check) + ")"
		}
	}
	return text
}

// problems prints configuration problems, the severity in colour.
func (p *printer) problems(list config.Problems) {
	text := list.String()
	if p.colour {
		text = strings.NewReplacer("   error    ", "   "+p.paint(bad, "error")+"    ", "   warning  ", "   "+p.paint(warn, "warning")+"  ").Replace(text)
	}
	fmt.Fprint(p.out, text)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func orDefault(paths []string) []string {
	if len(paths) == 0 {
		return []string{defaultConfig}
	}
	return slices.Clone(paths)
}
