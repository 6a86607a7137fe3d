package cli

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/internal/app"
)

// rotateCommand plans a rotation and does none of it: people, or a pipeline of theirs, do the steps, days apart.
type rotateCommand struct {
	issuerConfig
	JSON bool `name:"json" help:"For programs."`
}

// Run prints where the rotation stands and which step is now. Exit code 1 if something is wrong that endangers tokens.
func (c rotateCommand) Run(ctx context.Context, env Env, out *printer) error {
	i, err := c.open(env, out)
	if err != nil {
		return err
	}
	defer i.Close()
	r, err := i.Rotation(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = rotationJSON(out, &r)
	} else {
		out.rotation(&r)
	}
	for _, s := range r.Steps {
		if err == nil && s.State == "wrong" {
			return errNo
		}
	}
	return err
}

// rotation prints the situation in a few lines, and each step with its commands.
func (p *printer) rotation(r *app.Rotation) {
	p.printf("%s: %s signs now\n", r.URL, r.Signs)
	if r.PublishedProblem != nil {
		p.printf("  %s\n", p.paint(bad, "the key set can't be fetched: "+printable(r.PublishedProblem.Error())))
	} else {
		p.printf("  %s, %d listed in the configuration\n", plural(len(r.Published.KIDs), "key")+" at "+r.KeySetURL, len(r.Listed))
	}
	if r.VersionsProblem != nil {
		p.printf("  %s\n", p.paint(warn, "the versions in Key Vault can't be listed, so new ones and old ones are not seen: "+printable(r.VersionsProblem.Error())))
	}
	colours := map[string]string{"done": dim, "now": good, "wait": warn, "later": dim, "wrong": bad}
	for _, s := range r.Steps {
		state := string(s.State)
		when := ""
		if !s.NotBefore.IsZero() && state != "done" {
			when = "   not before " + s.NotBefore.UTC().Format(time.RFC3339)
		}
		p.printf("\n%s  %s%s\n", p.paint(colours[state], state+strings.Repeat(" ", 5-len(state))), p.paint(bold, string(s.Action)), when)
		for line := range strings.SplitSeq(s.Text, "\n") {
			for _, row := range wrapped(line, 110) {
				p.printf("       %s\n", row)
			}
		}
		for _, command := range s.Commands {
			p.printf("         %s\n", command)
		}
	}
}

// wrapped breaks a line at blanks, and only there, so that no row is wider than width if words allow it. Blanks in front
// stay: they are those of YAML.
func wrapped(line string, width int) (rows []string) {
	row := ""
	for n, w := range strings.Split(line, " ") {
		switch {
		case n == 0:
			row = w
		case strings.TrimSpace(row) != "" && utf8.RuneCountInString(row)+1+utf8.RuneCountInString(w) > width:
			rows, row = append(rows, row), w
		default:
			row += " " + w
		}
	}
	return append(rows, row)
}

// rotationJSON is the same for programs. Steps are as internal/issuer has them.
func rotationJSON(out *printer, r *app.Rotation) error {
	type key struct {
		Name      string    `json:"name"`
		KID       string    `json:"kid"`
		From      time.Time `json:"from,omitzero"`
		Signs     bool      `json:"signs"`
		Published bool      `json:"published"`
	}
	type version struct {
		Name    string    `json:"name"`
		Created time.Time `json:"created"`
		Enabled bool      `json:"enabled"`
	}
	published := map[string]bool{}
	for _, kid := range r.Published.KIDs {
		published[kid] = true
	}
	keys, versions := []key{}, []version{}
	for _, l := range r.Listed {
		keys = append(keys, key{l.Name, l.KID, l.From, l.Name == r.Signs, published[l.KID]})
	}
	for _, v := range r.Versions {
		versions = append(versions, version{v.Name, v.Created, v.Enabled})
	}
	return out.encode(struct {
		Issuer    string    `json:"issuer"`
		KeySet    string    `json:"key_set"`
		Now       time.Time `json:"now"`
		Published []string  `json:"published"`
		Problem   string    `json:"published_problem,omitempty"`
		Keys      []key     `json:"keys"`
		Versions  []version `json:"versions"`
		Unlisted  string    `json:"versions_problem,omitempty"`
		Steps     any       `json:"steps"`
	}{r.URL, r.KeySetURL, r.Now.UTC(), append([]string{}, r.Published.KIDs...), text(r.PublishedProblem), keys, versions, text(r.VersionsProblem), r.Steps})
}

// text is an error's, or nothing.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
