package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// replay explains what is on record: the request of an id, or every request of a build, each decided again by the
// configuration that was in force then. Exit code 1 if nothing is found, or if one of them was not released. It reads
// the record from its beginning and does not verify the chain; a line that can't be read ends it with an error.
func (c explainCommand) replay(out *printer) error {
	wanted, what, err := c.wanted()
	if err != nil {
		return err
	}
	file, err := c.record(out)
	if err != nil {
		return err
	}
	r := replayer{out: out, record: file, json: c.JSON, all: c.All, policies: map[string]*secret.Policy{}}
	// Only these kinds are answers to somebody; starts and configurations are not explained.
	for e, err := range audit.Entries(file) {
		if err != nil {
			return err
		}
		if (e.Kind == secret.EventSecret || e.Kind == secret.EventRegistry || e.Kind == secret.EventUnproven) && wanted(&e) {
			if err := r.one(&e); err != nil {
				return err
			}
		}
	}
	switch {
	case r.found == 0:
		return fmt.Errorf("%s has nothing about %s; ids are in the answers and in the log, and `--file` or `--config` name another record", file, what)
	case c.JSON:
		if err := out.encode(r.answers); err != nil {
			return err
		}
	}
	if r.refused > 0 {
		return errNo
	}
	return nil
}

// wanted reads what stands for requests of the record: an id as every answer carries one, or a build as slug#number. An
// argument with a slash and no # is a secret: its facts were forgotten, which the error says.
func (c explainCommand) wanted() (match func(*audit.Entry) bool, what string, err error) {
	slug, number, isBuild := strings.Cut(c.Secret, "#")
	if !isBuild {
		if strings.Contains(c.Secret, "/") {
			return nil, "", usageError("--repo and --event are missing: whose build asks? Or name a request id, or a build as acme/app#412")
		}
		return func(e *audit.Entry) bool { return e.ID == c.Secret }, "the request " + printable(c.Secret), nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || slug == "" {
		return nil, "", usageError(fmt.Sprintf("%s names no build: write slug#number, as acme/app#412", printable(c.Secret)))
	}
	return func(e *audit.Entry) bool { return e.Build.Number == n && strings.EqualFold(e.Repo.Slug, slug) }, "the build " + printable(c.Secret), nil
}

// replayer decides entries of a record again. It serves one command. A configuration is loaded once, however many
// entries were decided by it.
type replayer struct {
	out      *printer
	record   string
	json     bool
	all      bool
	policies map[string]*secret.Policy // by the SHA-256 of their configuration
	found    int
	refused  int // that were not released
	answers  []jsonReplay
}

// jsonReplay is one entry and its decision, for programs. Config is the SHA-256 of the configuration in force.
type jsonReplay struct {
	ID       string        `json:"id"`
	Time     string        `json:"time"`
	Outcome  string        `json:"outcome"`
	Reason   string        `json:"reason,omitempty"`
	Detail   string        `json:"detail,omitempty"`
	Config   string        `json:"config"`
	Decision *jsonDecision `json:"decision,omitempty"` // the policy's alone, which a source may have ended otherwise; absent where there is none
	Agrees   bool          `json:"agrees"`             // the decision is the recorded one
	Note     string        `json:"note,omitempty"`
}

// In UTC, as the record has it: the Z is written and not worked out.
const recordTime = "2006-01-02 15:04:05Z"

// one decides an entry again and prints it, or keeps it for the JSON list. A disagreement is a note and no error, so
// that the other entries of a build still come.
func (r *replayer) one(e *audit.Entry) error {
	r.found++
	if e.Outcome != secret.Released {
		r.refused++
	}
	d, request, note, err := r.decide(e)
	if err != nil {
		return err
	}
	agrees := d != nil && agree(e, d)
	if d != nil && !agrees {
		note = "the record and the configuration kept beside it disagree: one of them was altered, or an older version of the program decided; `drone-entra audit verify` tells about the record"
	}
	if r.json {
		answer := jsonReplay{e.ID, e.Time.Format(recordTime), string(e.Outcome), string(e.Reason), e.Detail, e.Config, nil, agrees, note}
		if d != nil {
			decision := jsonAnswer(request, *d)
			answer.Decision = &decision
		}
		r.answers = append(r.answers, answer)
		return nil
	}
	r.print(e, d, request, note)
	return nil
}

// decide decides an entry again. Without a decision the note says why there is none. Nothing was decided where the
// guard refused the request or where it could not be read; one that asks for nothing and was denied for its name was
// read.
func (r *replayer) decide(e *audit.Entry) (d *secret.Decision, request secret.Request, note string, err error) {
	switch {
	case e.Kind == secret.EventUnproven:
		return nil, request, "nobody proved to be a runner of ours, so nothing was decided: " + printable(e.Detail), nil
	case e.Asked.Path == "" && e.Asked.Name == "" && e.Reason != secret.ReasonName:
		return nil, request, "the request could not be read, so nothing was decided: " + printable(e.Detail), nil
	}
	request, err = e.Request()
	if errors.Is(err, audit.ErrCut) {
		return nil, request, err.Error(), nil
	}
	policy, err := r.policy(e.Config)
	if err != nil {
		return nil, request, "", err
	}
	decision := policy.Decide(request)
	return &decision, request, "", nil
}

// policy loads the configuration that was in force, and makes sure that it is that one.
func (r *replayer) policy(sum string) (*secret.Policy, error) {
	if p := r.policies[sum]; p != nil {
		return p, nil
	}
	file := audit.KeptConfig(r.record, sum)
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: it is kept beside the record for just this; restore it, or explain by flags", file)
	}
	if err != nil {
		return nil, err
	}
	c, problems := config.Replay(content, fmt.Sprintf("config-%.8s….yaml", sum))
	if c == nil {
		return nil, fmt.Errorf("%s can't be used any more: %s", file, problems[0].Text)
	}
	// Checked after loading, as the sum is one of several files together. Nothing has acted on it yet.
	if c.SHA256 != sum {
		return nil, fmt.Errorf("%s was altered: its SHA-256 is not the one in its name, so nobody can say what it would have decided", file)
	}
	p, err := secret.NewPolicy(c.Rules)
	r.policies[sum] = p
	return p, err
}

// agree tells whether the decision is what the record says. What happened behind the policy (a source, a value's dates) is
// no business of its.
func agree(e *audit.Entry, d *secret.Decision) bool {
	if d.Allowed() {
		return e.Binding == d.Grant.Binding
	}
	return e.Outcome == secret.DeniedOutcome && e.Reason == d.Reason && e.DeniedBy == d.DeniedBy
}

// print writes one entry for people. Where the policy allowed it and the build got nothing, the headline has the outcome
// and its reason, so that nobody reads ALLOWED over a secret that never came.
func (r *replayer) print(e *audit.Entry, d *secret.Decision, request secret.Request, note string) {
	p := r.out
	if r.found > 1 {
		p.printf("\n")
	}
	p.printf("%s\n", p.paint(dim, fmt.Sprintf("request %s at %s, configuration %.12s…", e.ID, e.Time.Format(recordTime), e.Config)))
	if d != nil {
		v := verdictOf(*d)
		if d.Allowed() && e.Outcome != secret.Released {
			v = verdict{strings.ToUpper(string(e.Outcome)), bad, fmt.Sprintf("reason: %s; the policy allowed it by %s", e.Reason, d.Grant.Binding)}
		}
		p.explain(request, *d, v, r.all)
		if d.Allowed() && e.Detail != "" {
			p.printf("\n  %s\n", printable(e.Detail))
		}
	} else {
		p.printf("%s  reason: %s\n", p.paint(bad, string(e.Outcome)), e.Reason)
	}
	if note != "" {
		p.printf("\n  %s\n", p.paint(warn, note))
	}
}
