package cli

import (
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// readersCommand asks the question of an audit: who could have read this? The answer is an upper bound and asks no
// vault.
type readersCommand struct {
	Secret string   `arg:"" name:"ref" help:"vault/secret[@version][/key], or a name that bindings map. Without a version all versions count, without a key each of them."`
	Config []string `sep:"none" help:"Files and directories of the configuration (default: drone-entra.yaml)." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
	JSON   bool     `name:"json" help:"For programs." xor:"form"`
	CSV    bool     `name:"csv" help:"For a spreadsheet." xor:"form"`
}

// Run prints who can read a secret, through every alias of its vault. That nobody can is an answer, too: exit code 0.
func (c readersCommand) Run(out *printer) error {
	_, policy, err := loadBoth(out, c.Config)
	if err != nil {
		return err
	}
	s := secret.NewSurvey(policy)
	lines, err := s.Readers(c.Secret)
	switch {
	case err != nil:
		return err
	case c.CSV:
		return writeCSV(out, lines)
	case c.JSON:
		return out.encode(struct {
			Asked string     `json:"asked"`
			Lines []jsonLine `json:"lines"`
		}{c.Secret, toJSONs(s, lines)})
	}
	out.readers(c.Secret, lines)
	return nil
}

// readers prints the answer. The column of secrets is left out where every line is about what was asked.
func (p *printer) readers(asked string, lines []secret.Line) {
	if len(lines) == 0 {
		why := "no binding gives it, or a deny takes it from everybody."
		if !strings.Contains(asked, "/") {
			why = "no binding maps this name, or a deny takes it from everybody, or it is ambiguous everywhere."
		}
		p.printf("Nobody can read %s: %s\n", printable(asked), why)
		return
	}
	p.printf("%s can be read by\n\n", p.paint(bold, printable(asked)))
	own, others := []string{"REPOSITORY", "WHEN"}, false
	for i := range lines {
		others = others || called(&lines[i]) != strings.ToLower(asked)
	}
	if others {
		own = append(own, "SECRET")
	}
	var blocks []block
	for i := range lines {
		l := &lines[i]
		b := block{columns: [][]string{repoTexts(l), conditions(l, "")}, notes: exceptions(l)}
		if others {
			b.columns = append(b.columns, []string{called(l)})
		}
		b.columns = append(b.columns, []string{l.Binding}, []string{l.At})
		blocks = append(blocks, b)
	}
	p.table(titles(own...), blocks)
}
