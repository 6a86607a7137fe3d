package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/secret"
)

// explainCommand has two forms: facts of a build that may never have been, or what stands for an entry of the record.
type explainCommand struct {
	facts
	recordPlace
	Secret string `arg:"" optional:"" name:"what" help:"The secret: vault/secret[@version][/key], or a name that a binding maps. Or, from the record: a request id, or a build as acme/app#412."`
	All    bool   `help:"List every binding that came near, not only the nearest."`
	JSON   bool   `name:"json" help:"For programs."`
}

// Run prints the decision, and every rule that came near with its predicates; exit code 1 if it is a denial.
func (c explainCommand) Run(out *printer) error {
	// No build is described, so the argument has to stand for one.
	if c.Repo == "" && c.Event == "" && c.Request == "" && c.Secret != "" {
		return c.replay(out)
	}
	request, err := c.request(c.Secret)
	if err != nil {
		return err
	}
	loaded, policy, err := loadBoth(out, c.Config)
	if err != nil {
		return err
	}
	// The environment can give the pool "default" to a running program, so that one is never unknown.
	if _, known := loaded.Pools[request.Pool]; !known && request.Pool != secret.DefaultPool {
		return usageError(fmt.Sprintf("no pool is called %s; there are %s", printable(request.Pool), strings.Join(slices.Sorted(maps.Keys(loaded.Pools)), ", ")))
	}
	decision := policy.Decide(request)
	if c.JSON {
		err = out.encode(jsonAnswer(request, decision))
	} else {
		out.explain(request, decision, verdictOf(decision), c.All)
		if decision.Allowed() {
			out.printf("\n  Whether Key Vault's version is enabled and within its dates is judged when a build asks.\n")
		}
		if c.Request == "" {
			out.assumed(c.facts)
		}
	}
	if err == nil && !decision.Allowed() {
		return errNo
	}
	return err
}

// verdict is how it ended, in the headline's words. What happened behind the policy can end otherwise, so replay makes
// words of its own.
type verdict struct{ word, colour, tail string }

// verdictOf words a decision of the policy alone.
func verdictOf(d secret.Decision) verdict {
	if d.Allowed() {
		return verdict{"ALLOWED", good, "binding: " + d.Grant.Binding}
	}
	return verdict{"DENIED", bad, "reason: " + string(d.Reason)}
}

// nearest is how many bindings are listed unless all are asked for.
const nearest = 12

// explain prints a decision for people. Where no binding comes near, or two disagree, the decision's sentence says what
// rows don't. A remedy, if there is one, comes last: it is what people look for.
func (p *printer) explain(r secret.Request, d secret.Decision, v verdict, all bool) {
	what := printable(asked(r))
	if d.Ref != (secret.Ref{}) && d.Ref.String() != what {
		what += " (" + d.Ref.String() + ")"
	}
	p.printf("%s  %s to %s, %s   %s\n\n", p.paint(v.colour, v.word), what, printable(r.Repo.Slug), headline(r), p.paint(bold, v.tail))
	rows, more := group(d), 0
	if len(rows) > nearest && !all {
		rows, more = rows[:nearest], len(rows)-nearest
	}
	for _, row := range rows {
		p.row(row, width(rows, func(c secret.Check) string { return c.Rule }), width(rows, func(c secret.Check) string { return c.At }))
	}
	if more > 0 {
		p.printf("  %s\n", p.paint(dim, fmt.Sprintf("and %d more that came less near; --all lists them", more)))
	}
	if len(rows) == 0 || d.Reason == secret.ReasonAmbiguous {
		p.printf("  %s\n", d.Why())
	}
	if change := d.Remedy(); change.Text != "" {
		p.printf("\n  %s would allow it with   %s\n", change.Rule, p.paint(bold, change.Text))
		if change.Taken != "" {
			p.printf("  %s\n", p.paint(dim, change.Taken))
		}
	}
}

// headline is the build in a few words.
func headline(r secret.Request) string {
	words := []string{r.Build.Event}
	if r.Build.DeployTo != "" {
		words = append(words, "to", r.Build.DeployTo)
	}
	if r.Build.Ref != "" {
		words = append(words, r.Build.Ref)
	}
	if actor := r.Build.Actor(); actor != "" {
		words = append(words, "by", actor)
	}
	return printable(strings.Join(words, " "))
}

// group puts the checks of each rule into one row. Checks of one rule come one after the other, so comparing with the
// last row is enough.
func group(d secret.Decision) (rows [][]secret.Check) {
	for check := range d.Checks() {
		if n := len(rows); n > 0 && rows[n-1][0].Rule == check.Rule {
			rows[n-1] = append(rows[n-1], check)
		} else {
			rows = append(rows, []secret.Check{check})
		}
	}
	return rows
}

// width is the widest text of a column, in characters; the first check of a row stands for its rule.
func width(rows [][]secret.Check, column func(secret.Check) string) (w int) {
	for _, row := range rows {
		w = max(w, utf8.RuneCountInString(column(row[0])))
	}
	return w
}

// row prints one rule: its id and place padded to their widths, and its predicates.
func (p *printer) row(row []secret.Check, rule, at int) {
	p.printf("  %-*s  %s", rule, row[0].Rule, p.paint(dim, fmt.Sprintf("%-*s", at, row[0].At)))
	for _, c := range row {
		p.printf("   %s", p.predicate(c))
	}
	p.printf("\n")
}

// predicate paints what matters: the "ok" at the end of one that holds, the station at the beginning of one that
// doesn't.
func (p *printer) predicate(c secret.Check) string {
	text := c.String()
	if c.OK {
		return text[:len(text)-2] + p.paint(good, "ok")
	}
	return p.paint(bad, string(c.Station)) + text[len(c.Station):]
}

// assumed says which facts nobody stated. People take what they did not write for unimportant, and a wrong default
// branch turns an answer around.
func (p *printer) assumed(f facts) {
	var left []string
	if f.Pool == "" {
		left = append(left, "pool default")
	}
	if f.DefaultBranch == "" {
		left = append(left, "default branch main")
	}
	if len(left) > 0 {
		p.printf("\n  %s\n", p.paint(dim, "Taken as given: "+strings.Join(left, ", ")+". What else was left out satisfies no condition."))
	}
}

// printable shows a stranger's text as one harmless line.
//
//	main         main
//	ma<U+202E>in "ma\u202ein"
//
// Branches, logins and messages are whatever a stranger chose: escapes that repaint a terminal, line feeds that forge a
// line, letters of another script that look like ours. So all that is not plain ASCII is quoted.
func printable(s string) string {
	q := fmt.Sprintf("%+q", s)
	if plain := q[1 : len(q)-1]; plain == s {
		return s
	}
	return q
}

// jsonDecision is a decision for programs. What has no value is left out, but for the checks.
type jsonDecision struct {
	Decision string      `json:"decision"`
	Reason   string      `json:"reason,omitempty"`
	Asked    string      `json:"asked"`
	Secret   string      `json:"secret,omitempty"`
	Repo     string      `json:"repo"`
	Event    string      `json:"event"`
	Ref      string      `json:"ref,omitempty"`
	Actor    string      `json:"actor,omitempty"`
	Binding  string      `json:"binding,omitempty"`
	DeniedBy string      `json:"denied_by,omitempty"`
	Remedy   *jsonRemedy `json:"remedy,omitempty"`
	Checks   []jsonCheck `json:"checks"`
}

// jsonRemedy is one change that was tried and would allow it.
type jsonRemedy struct {
	Binding string `json:"binding"`
	Change  string `json:"change"`
}

// jsonCheck is one predicate; want and got are empty where it has nothing to compare.
type jsonCheck struct {
	Rule      string `json:"rule"`
	At        string `json:"at"`
	Deny      bool   `json:"deny,omitempty"`
	Predicate string `json:"predicate"`
	OK        bool   `json:"ok"`
	Want      string `json:"want,omitempty"`
	Got       string `json:"got,omitempty"`
}

// jsonAnswer says the same as explain, with every check.
func jsonAnswer(r secret.Request, d secret.Decision) jsonDecision {
	answer := jsonDecision{
		Decision: "deny", Reason: string(d.Reason), Asked: asked(r), Repo: r.Repo.Slug, Event: r.Build.Event, Ref: r.Build.Ref,
		Actor: r.Build.Actor(), DeniedBy: d.DeniedBy, Checks: []jsonCheck{},
	}
	if d.Allowed() {
		answer.Decision, answer.Binding = "allow", d.Grant.Binding
	}
	if d.Ref != (secret.Ref{}) {
		answer.Secret = d.Ref.String()
	}
	if remedy := d.Remedy(); remedy.Text != "" {
		answer.Remedy = &jsonRemedy{remedy.Rule, remedy.Text}
	}
	for c := range d.Checks() {
		answer.Checks = append(answer.Checks, jsonCheck{c.Rule, c.At, c.Deny, string(c.Station), c.OK, c.Want, c.Got})
	}
	return answer
}
