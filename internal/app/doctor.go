package app

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

// Verdict is how one step of a Doctor ended.
type Verdict string

// The verdicts. A step is skipped where another one that it rests on failed or was skipped, or where a fact is missing.
const (
	VerdictOK   Verdict = "ok"
	VerdictWarn Verdict = "warn"
	VerdictFail Verdict = "fail"
	VerdictSkip Verdict = "skip"
)

// Fault is one thing that is wrong, and what to do about it.
type Fault struct {
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
}

// Fact is one thing that a step saw, such as an assertion's subject.
type Fact struct{ Name, Value string }

// Finding is what one step of a Doctor found. It holds no token, key or value; what a stranger wrote may be in Facts, Faults
// and Detail, so make them harmless before they reach a terminal.
type Finding struct {
	Area, Step string // "identity pay", "assertion"
	Verdict    Verdict
	Took       time.Duration
	Detail     string  // one line
	Facts      []Fact  // in the order to show them
	Faults     []Fault // with fail and warn, one at least
	Commands   []string
	After      string // with skip: the step that it rests on, as "identity pay: assertion"; empty where a fact is missing
}

// Patient is what a Doctor examines.
type Patient struct {
	Paths  []string       // files and directories of the configuration
	Build  secret.Request // whose subject our own issuer is asked for; the zero one: nobody's
	Secret secret.Ref     // what is read of its vault; the zero one: what the bindings name
	Env    Env            // Getenv is required. Log, Paths and Adapt are not used
}

// Doctor walks through an installation as a request would, and further, and says of each step how it went. It changes nothing:
// it opens no address, takes no lock and writes no file. Azure sees exchanges and reads of it, as of any replica.
//
// Problems are those of the configuration; with an error among them its first step fails and there is no other.
type Doctor struct {
	Problems config.Problems

	patient Patient
	env     Env
	checks  []check
	known   map[string]bool // the names of checks

	config *config.Config
	*generation
	ids map[string]*examined // by identity
	now func() time.Time

	vaultClock *clock // nil where an authority tells the time
}

// examined is what the steps of one identity hand on. Each writes before it ends and reads after those that it rests on have.
type examined struct {
	is     *entra.Identity
	claims entra.Claims
	failed atomic.Bool // the first exchange, and every other one would
	clock  *clock      // nil for a managed identity, which shows no assertion
}

// NewDoctor reads the configuration and plans the steps; nobody is asked for anything yet. A Secret that no vault of the
// configuration has is an error of whoever asks.
func NewDoctor(p Patient) (*Doctor, error) {
	d := &Doctor{patient: p, env: p.Env, known: map[string]bool{}, ids: map[string]*examined{}}
	if d.env.Now == nil {
		d.env.Now = time.Now
	}
	d.now = d.env.Now
	if d.env.Transport == nil {
		d.env.Transport = entra.NewTransport(0)
	}
	d.config, d.Problems = config.Load(p.Paths)
	d.add("configuration", "files", nil, d.examineConfig)
	if d.config == nil {
		return d, nil
	}
	if at := p.Secret.Vault; at != "" && d.config.Vaults[at].Alias == "" && (at != secret.TokenDoor || d.config.Tokens[p.Secret.Name].Name == "") {
		return nil, fmt.Errorf("%s: the configuration has no such vault or token", p.Secret)
	}
	d.generation = newExamined(d.config)
	d.planMachine()
	d.planClouds()
	d.planIdentities(false)
	d.planVaults()
	d.planIssuer()
	d.planIdentities(true)
	d.planTokens()
	d.planReads()
	return d, nil
}

// newExamined is a generation that is opened piece by piece, so that a broken one leaves the others.
func newExamined(c *config.Config) *generation {
	return &generation{
		config: c, identities: map[string]*entra.Identity{}, who: map[string]who{}, doors: map[string]door{}, vaults: map[string]*keyvault.Vault{},
	}
}

// Steps are the names of all steps in their order, as {"identity pay", "assertion"}.
func (d *Doctor) Steps() (names [][2]string) {
	for _, c := range d.checks {
		names = append(names, [2]string{c.area, c.step})
	}
	return names
}

// Examine makes the steps, those that do not rest on each other side by side, and yields each one's Finding as it ends, in
// the order of Steps. It ends within 40 seconds, and soon after ctx or the loop does. It may be called once.
func (d *Doctor) Examine(ctx context.Context) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		defer d.close()
		ctx, cancel := context.WithTimeout(ctx, examineLimit)
		defer cancel()
		runs := begin(ctx, d.checks)
		for _, r := range runs {
			<-r.done
			if !yield(r.finding) {
				return
			}
		}
	}
}

// close ends what was opened.
func (d *Doctor) close() {
	if d.generation != nil {
		d.generation.close(nil)
	}
	if t, ok := d.env.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// add plans a step. It rests on those in after: none of them may have failed or been skipped. A name that is not planned is
// of a step that this installation does not need.
func (d *Doctor) add(area, step string, after []string, run func(context.Context, *Finding), behind ...string) {
	planned := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !d.known[name] })
	}
	d.checks = append(d.checks, check{area, step, planned(after), planned(behind), run})
	d.known[stepName(area, step)] = true
}

func stepName(area, step string) string { return area + ": " + step }

// maxProblems is how many problems of a configuration are told; there is check for that.
const maxProblems = 5

func (d *Doctor) examineConfig(_ context.Context, f *Finding) {
	if d.config == nil {
		f.Detail = counted(d.Problems.Errors(), "error")
		for _, p := range d.Problems {
			if p.Warning || p.Note {
				continue
			}
			if len(f.Faults) == maxProblems {
				f.fail("and more", "let `drone-entra check` show all of them")
				break
			}
			cause, remedy := split(p.Text)
			f.fail(p.Place()+": "+cause, cmp.Or(remedy, "correct it; `drone-entra check` shows all problems with their places"))
		}
		return
	}
	f.Detail = counted(len(d.config.Files), "file") + ", " + d.config.Summary()
	if n := d.Problems.Warnings(); n > 0 {
		f.warn("it has "+counted(n, "warning"), "look at them with `drone-entra check`")
	}
}

// log is of identities and vaults, whose lines nobody needs here: what they would say is in the Findings.
func (d *Doctor) log() zerolog.Logger { return zerolog.Nop() }

// counted is a number in words: 1 key, 2 keys.
func counted(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

// sorted are a map's keys in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// fail notes what is wrong.
func (f *Finding) fail(cause, remedy string) {
	f.Verdict = VerdictFail
	f.Faults = append(f.Faults, Fault{cause, cmp.Or(remedy, "please report it")})
}

// warn notes what may be wrong.
func (f *Finding) warn(cause, remedy string) {
	if f.Verdict != VerdictFail {
		f.Verdict = VerdictWarn
	}
	f.Faults = append(f.Faults, Fault{cause, remedy})
}

// skipAfter says that another step has to be put right first.
func (f *Finding) skipAfter(step string) {
	f.Verdict, f.After, f.Detail = VerdictSkip, step, "it rests on "+step
}

// skip says that a fact is missing.
func (f *Finding) skip(why string) { f.Verdict, f.Detail = VerdictSkip, why }

// flaws notes what is wrong with an assertion or a document.
func (f *Finding) flaws(flaws ...entra.Flaw) {
	for _, flaw := range flaws {
		if flaw.Mild {
			f.warn(flaw.Cause, flaw.Remedy)
		} else {
			f.fail(flaw.Cause, flaw.Remedy)
		}
	}
}

// error notes an error of a request's way.
func (f *Finding) error(err error, what ...string) {
	e := secret.AsError(err)
	cause, remedy := diagnose(e, what...)
	f.fail(cause, remedy)
}

// plain notes an error that is a sentence with its remedy behind the last colon.
func (f *Finding) plain(err error) {
	cause, remedy := split(strings.TrimSpace(err.Error()))
	f.fail(cause, remedy)
}
