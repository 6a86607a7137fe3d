package cli

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/secret"
)

// doctorCommand examines an installation from where it runs. The facts of a build are for identities whose subject is a
// build's; without them those are skipped.
type doctorCommand struct {
	Path   []string `sep:"none" arg:"" optional:"" help:"Files and directories (default: drone-entra.yaml)."`
	Config []string `sep:"none" help:"The same, as serve has it." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
	facts
	Secret string `help:"The secret that is read of its vault, as vault/secret[@version][/key] (default: the first that a binding names)." placeholder:"REF"`
	JSON   bool   `name:"json" help:"For programs."`
}

// Run prints each step as it ends, with cause and remedy where it failed; exit code 1 if one did.
func (c doctorCommand) Run(ctx context.Context, env Env, out *printer) error {
	p, err := c.patient(env)
	if err != nil {
		return err
	}
	doctor, err := app.NewDoctor(p)
	if err != nil {
		return usageError(err.Error())
	}
	if c.JSON {
		return out.examinationJSON(ctx, doctor)
	}
	return out.examination(ctx, doctor)
}

// patient is what the flags describe.
func (c doctorCommand) patient(env Env) (p app.Patient, err error) {
	p = app.Patient{Paths: c.Path, Env: app.Env{Getenv: env.Getenv, Transport: env.Transport}}
	if len(p.Paths) == 0 {
		p.Paths = orDefault(c.Config)
	} else if len(c.Config) > 0 && env.Getenv("DRONE_ENTRA_CONFIG") == "" {
		return p, usageError("the configuration is named twice, as an argument and with --config: leave out one of them")
	}
	if c.facts != (facts{}) {
		// What is asked for makes no difference here.
		if p.Build, err = c.request("vault/secret"); err != nil {
			return p, err
		}
	}
	if c.Secret != "" {
		if p.Secret, err = secret.ParseRef(c.Secret); err != nil {
			return p, usageError("--secret: " + err.Error())
		}
	}
	return p, nil
}

// examination prints for people, each step as it ends. Texts may hold what strangers wrote, as an assertion's subject.
func (p *printer) examination(ctx context.Context, doctor *app.Doctor) error {
	area, step := 0, 0
	for _, name := range doctor.Steps() {
		area, step = max(area, utf8.RuneCountInString(name[0])), max(step, utf8.RuneCountInString(name[1]))
	}
	counts := map[app.Verdict]int{}
	for f := range doctor.Examine(ctx) {
		counts[f.Verdict]++
		p.finding(f, area, step)
	}
	p.printf("\n%d ok, %s, %s, %d skipped\n", counts[app.VerdictOK], plural(counts[app.VerdictWarn], "warning"),
		plural(counts[app.VerdictFail], "failure"), counts[app.VerdictSkip])
	if counts[app.VerdictFail] > 0 {
		return errNo
	}
	return nil
}

// verdictWidth fits the longest of the verdicts.
const verdictWidth = 4

func (p *printer) finding(f app.Finding, area, step int) {
	colour := map[app.Verdict]string{app.VerdictOK: good, app.VerdictWarn: warn, app.VerdictFail: bad, app.VerdictSkip: dim}[f.Verdict]
	took := ""
	if f.Verdict != app.VerdictSkip {
		took = fmt.Sprintf("%d ms", f.Took.Milliseconds())
	}
	line := fmt.Sprintf("%s  %-*s  %-*s  %8s  %s", p.paint(colour, fmt.Sprintf("%-*s", verdictWidth, f.Verdict)), area, f.Area, step, f.Step, took, visible(f.Detail))
	p.printf("%s\n", strings.TrimRight(line, " "))
	const indent = "      "
	for _, fault := range f.Faults {
		p.printf("%s%s     %s\n", indent, p.paint(bold, "cause"), visible(fault.Cause))
		p.printf("%s%s    %s\n", indent, p.paint(bold, "remedy"), visible(fault.Remedy))
	}
	for _, fact := range f.Facts {
		p.printf("%s%s\n", indent, p.paint(dim, fmt.Sprintf("%-8s  %s", fact.Name, printable(fact.Value))))
	}
	for _, command := range f.Commands {
		if command = visible(command); f.Verdict == app.VerdictOK {
			command = p.paint(dim, command)
		}
		p.printf("%s%s\n", indent, command)
	}
}

// visible shows a sentence of ours as one line in which nothing does anything to a terminal. Our own sentences have quotes
// and dashes, so that printable would quote all of them.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' && r != '…' {
			return '?'
		}
		return r
	}, s)
}

// jsonFinding is a step for programs.
type jsonFinding struct {
	Area     string            `json:"area"`
	Step     string            `json:"step"`
	State    app.Verdict       `json:"state"`
	MS       int64             `json:"ms"`
	Detail   string            `json:"detail,omitempty"`
	After    string            `json:"after,omitempty"`
	Facts    map[string]string `json:"facts,omitempty"`
	Faults   []app.Fault       `json:"faults,omitempty"`
	Commands []string          `json:"commands,omitempty"`
}

// examinationJSON prints all steps at once when the last has ended.
func (p *printer) examinationJSON(ctx context.Context, doctor *app.Doctor) error {
	all := struct {
		OK    bool          `json:"ok"`
		Steps []jsonFinding `json:"steps"`
	}{OK: true}
	for f := range doctor.Examine(ctx) {
		step := jsonFinding{
			Area: f.Area, Step: f.Step, State: f.Verdict, MS: f.Took.Round(time.Millisecond).Milliseconds(), Detail: f.Detail,
			After: f.After, Faults: f.Faults, Commands: f.Commands,
		}
		if len(f.Facts) > 0 {
			step.Facts = map[string]string{}
		}
		for _, fact := range f.Facts {
			step.Facts[fact.Name] = strings.TrimPrefix(step.Facts[fact.Name]+"\n"+fact.Value, "\n")
		}
		all.OK = all.OK && f.Verdict != app.VerdictFail
		all.Steps = append(all.Steps, step)
	}
	if err := p.encode(all); err != nil {
		return err
	}
	if !all.OK {
		return errNo
	}
	return nil
}
