package issuer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/issuer"
)

// world is an installation that signs without a pause, and whoever verifies. It notes what must never be.
type world struct {
	now       time.Time
	life      time.Duration // of the longest token
	lag       time.Duration // how far a replica's clock is behind
	listed    []issuer.Listed
	versions  []issuer.Version
	since     map[string]time.Time // published keys, each since when
	validTill map[string]time.Time // until when something is valid that a key signed
	problems  []string
}

func newWorld(life, lag time.Duration) *world {
	w := &world{now: start, life: life, lag: lag, listed: []issuer.Listed{listed("v0", time.Time{})},
		since: map[string]time.Time{id("v0"): start.Add(-999 * hour)}, validTill: map[string]time.Time{}}
	w.versions = []issuer.Version{{Name: named("v0"), Created: start.Add(-999 * hour), Enabled: true}}
	return w
}

func (w *world) wrong(format string, args ...any) {
	w.problems = append(w.problems, w.now.Format(time.RFC3339)+": "+fmt.Sprintf(format, args...))
}

// signing is the key that signs at that time: the rule once more, in the plainest words.
func (w *world) signing(at time.Time) (found issuer.Listed) {
	sorted := slices.SortedFunc(slices.Values(w.listed), func(a, b issuer.Listed) int { return a.From.Compare(b.From) })
	for _, l := range sorted {
		if !l.From.After(at) {
			found = l
		}
	}
	return found
}

// pass lets time go by, in which each key signs whose time it is.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for w.now.Before(end) {
		until, key := end, w.signing(w.now)
		for _, l := range w.listed {
			if l.From.After(w.now) && l.From.Before(until) {
				until = l.From
			}
		}
		if since, ok := w.since[key.KID]; !ok {
			w.wrong("%s signs and is not published", key.Name)
		} else if first := w.validTill[key.KID]; first.IsZero() && w.now.Sub(since) < 24*time.Hour {
			w.wrong("%s signs and was published only %s ago", key.Name, w.now.Sub(since))
		}
		if i := w.version(key.Name); !w.versions[i].Enabled {
			w.wrong("%s signs and is disabled", key.Name)
		}
		w.validTill[key.KID] = until.Add(w.life + w.lag)
		w.now = until
	}
}

func (w *world) version(name string) int {
	return slices.IndexFunc(w.versions, func(v issuer.Version) bool { return v.Name == name })
}

// publish puts the listed keys there, and no other.
func (w *world) publish() {
	next := map[string]time.Time{}
	for _, l := range w.listed {
		next[l.KID] = w.now
		if since, ok := w.since[l.KID]; ok {
			next[l.KID] = since
		}
	}
	for kid := range w.since {
		if _, ok := next[kid]; !ok && w.validTill[kid].After(w.now) {
			w.wrong("%.5s is gone, and tokens of it are valid until %s", kid, w.validTill[kid])
		}
	}
	w.since = next
}

func (w *world) plan() []issuer.Step {
	p := issuer.Published{Known: true}
	for kid := range w.since {
		p.KIDs = append(p.KIDs, kid)
	}
	slices.Sort(p.KIDs)
	return issuer.Plan(issuer.Situation{Now: w.now, URL: here, Vault: "v", Key: "k", Listed: w.listed, Published: p, Versions: w.versions, TokenLife: w.life})
}

// act does what a step says. extra is by how much a `from` is later than it had to be.
func (w *world) act(s issuer.Step, extra time.Duration) {
	switch s.Action {
	case issuer.ActionCreate:
		w.versions = append(w.versions, issuer.Version{Name: named(fmt.Sprintf("v%d", len(w.versions))), Created: w.now, Enabled: true})
	case issuer.ActionList:
		name := w.versions[len(w.versions)-1].Name
		w.listed = append(w.listed, issuer.Listed{Name: name, KID: id(strings.TrimPrefix(name, named(""))), From: w.now.Add(24*time.Hour + extra)})
	case issuer.ActionMove:
		w.listed[len(w.listed)-1].From = w.now.Add(24*time.Hour + extra)
	case issuer.ActionAdd, issuer.ActionRemove:
		w.publish()
	case issuer.ActionRetire:
		l := w.signing(w.now)
		l.From = time.Time{}
		w.listed = []issuer.Listed{l}
	case issuer.ActionDisable:
		for i, v := range w.versions {
			if v.Enabled && strings.Contains(s.Text, v.Name+" ") {
				w.versions[i].Enabled = false
			}
		}
	default:
		w.wrong("there is a step %s", s.Action)
	}
}

// next is what the plan says to do now.
func (w *world) next() (issuer.Step, bool) {
	for _, s := range w.plan() {
		if s.State == issuer.StateWrong && s.Action != issuer.ActionMove {
			w.wrong("the plan was followed and finds fault: %s", s.Text)
		}
		if s.State == issuer.StateWrong || s.State == issuer.StateNow {
			return s, true
		}
	}
	return issuer.Step{}, false
}

// deadline is when somebody has to have published, as the plan says.
func (w *world) deadline() (time.Time, bool) {
	last := w.listed[len(w.listed)-1]
	_, there := w.since[last.KID]
	return last.From, last.From.After(w.now) && !there
}

// Whoever does what is now, whenever they like, never loses a token; and gets through.
func TestFollowingThePlanLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most/time.Second)).Draw(t, name)) * time.Second
		}
		w := newWorld(max(issuer.AssertionLifetime, span("life", issuer.MaxLifetime)), span("lag", issuer.Slack))
		for range rapid.IntRange(1, 60).Draw(t, "looks") {
			if s, ok := w.next(); ok && rapid.IntRange(0, 3).Draw(t, "acts") > 0 {
				w.act(s, span("extra", 72*hour))
			}
			d := span("time", rapid.SampledFrom([]time.Duration{time.Minute, hour, 60 * hour}).Draw(t, "scale"))
			// They look in before the time that they chose themselves.
			if from, ok := w.deadline(); ok && !w.now.Add(d).Before(from) {
				d = from.Sub(w.now) - time.Nanosecond
			}
			w.pass(d)
		}
		for range 300 { // now without a break, until a rotation would begin
			s, ok := w.next()
			if ok && s.Action == issuer.ActionCreate {
				break
			}
			if ok {
				w.act(s, hour)
			} else {
				w.pass(hour)
			}
		}
		if s, ok := w.next(); !ok || s.Action != issuer.ActionCreate || len(w.listed) != 1 || len(w.since) != 1 {
			t.Fatalf("it does not end: %s", outline(w.plan()))
		}
		if enabled := len(slices.DeleteFunc(w.versions, func(v issuer.Version) bool { return !v.Enabled })); enabled != 1 {
			t.Fatalf("%d versions are left enabled", enabled)
		}
		if w.problems != nil {
			t.Fatal(strings.Join(w.problems, "\n"))
		}
	})
}

// The world above notices whoever does not follow the plan.
func TestNotFollowingThePlanIsNoticed(t *testing.T) {
	for what, c := range map[string]struct {
		follow int // steps of the plan that are done as they come
		then   func(*world)
	}{
		"signing at once":         {2, func(w *world) { w.listed[1].From = w.now; w.publish(); w.pass(hour) }},
		"not publishing":          {2, func(w *world) { w.pass(99 * hour) }},
		"publishing late":         {2, func(w *world) { w.pass(2 * hour); w.publish(); w.pass(99 * hour) }},
		"dropping without a wait": {3, func(w *world) { w.pass(25 * hour); w.act(issuer.Step{Action: issuer.ActionRetire}, 0); w.publish() }},
		"disabling what signs":    {3, func(w *world) { w.versions[0].Enabled = false; w.pass(hour) }},
	} {
		w := newWorld(tokenLife, 0)
		for range c.follow {
			s, _ := w.next()
			w.act(s, hour)
		}
		if w.problems != nil {
			t.Fatalf("%s: too early: %q", what, w.problems)
		}
		c.then(w)
		if w.problems == nil {
			t.Errorf("%s is not noticed", what)
		}
	}
}
