package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// bubbled keeps rapid from asking for the test's deadline, which means nothing in fake time.
type bubbled struct{ *testing.T }

func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubbled{t}, property) })
}

// model is a Router in a few lines, for one caller after the other and one secret.
type model struct {
	stale    time.Duration
	life     time.Duration // of a value from the moment it was read; zero: it never ends
	perBuild bool
	kept     map[int64]last // by build where the door is PerBuild, else the one at 0

	failures int // in a row
	failure  *secret.Error
	open     time.Time     // when the breaker opened; zero: it is closed
	pause    time.Duration // the longest before the next try
}

// minLife is how much of a value's life must be left, where it has an end at all.
const minLife = 10 * time.Second

// last is what the model remembers: the one value that may be in memory.
type last struct {
	value string
	build int64
	began time.Time
}

// One caller after the other: the Router answers as the three sentences of the promise say, and reads no more than that.
func TestSequentialCallersGetWhatTheModelSays(t *testing.T) {
	check(t, func(rt *rapid.T) {
		seconds := func(name string, of ...int) time.Duration {
			return time.Duration(rapid.SampledFrom(of).Draw(rt, name)) * time.Second
		}
		m := &model{stale: seconds("stale", 0, 30, 90, 600), life: seconds("life", 0, 0, 20, 45, 100), perBuild: rapid.Bool().Draw(rt, "per build"), kept: map[int64]last{}}
		s := &source{}
		if m.life > 0 {
			s.edit = func(f *secret.Fetched) { f.Expires, f.MinLife = time.Now().Add(m.life), minLife }
		}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s, Stale: m.stale, PerBuild: m.perBuild}}, provider.Options{})
		defer r.Close()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"ask", "ask", "ask", "wait", "heal", "outage", "refusal"}).Draw(rt, "step") {
			case "wait":
				time.Sleep(seconds("seconds", 1, 2, 5, 20, 40, 100))
			case "heal":
				s.set(func(s *source) { s.fail = nil })
			case "outage":
				s.set(func(s *source) { s.fail = rapid.SampledFrom(outages).Draw(rt, "fault") })
			case "refusal":
				s.set(func(s *source) { s.fail = rapid.SampledFrom(conclusive).Draw(rt, "fault") })
			case "ask":
				number := rapid.Int64Range(1, 3).Draw(rt, "build")
				reads := s.reads()
				expected := m.predict(rt, s, r.Doors()["shared"], number, &reads)
				if got := ask(r, of(number), "shared/a"); got != expected || s.reads() != reads {
					rt.Fatalf("got %q after %d reads, want %q after %d", got, s.reads(), expected, reads)
				}
			}
		}
	})
}

// outages are the passing failures, and a 429 that asks for a pause.
var outages = append([]*secret.Error{{Kind: secret.Unavailable, Reason: secret.ReasonThrottled, Pause: 20 * time.Second}}, passing...)

func (m *model) predict(rt *rapid.T, s *source, door provider.DoorStatus, number int64, reads *int) string {
	now, at := time.Now(), int64(0)
	if m.perBuild {
		at = number
	}
	kept, has := m.kept[at]
	lives := func() bool { return has && (m.life == 0 || m.life-now.Sub(kept.began) >= minLife) }
	stale := func() bool { return lives() && now.Sub(kept.began) < m.stale && !m.perBuild }
	if lives() && kept.build == number && now.Sub(kept.began) < time.Minute {
		return "build " + kept.value
	}
	if (door.State != provider.Closed) == m.open.IsZero() {
		rt.Fatalf("the breaker is %s after %d failures", door.State, m.failures)
	}
	if wait := door.Retry.Sub(now); !m.open.IsZero() && wait > 0 {
		if !m.promised(wait) {
			rt.Fatalf("left alone for %s more", wait)
		}
		if stale() {
			return "stale " + kept.value
		}
		if wait > 900*time.Millisecond {
			return m.failure.Kind.String() + " " + string(m.failure.Reason)
		}
		now = door.Retry
	}
	*reads++
	if s.fail == nil {
		m.failures, m.open = 0, time.Time{}
		value := fmt.Sprintf("value-%d", *reads-1)
		m.kept[at] = last{value, number, now}
		return "fetched " + value
	}
	e := s.fail.(*secret.Error)
	failed := e.Kind.String() + " " + string(e.Reason)
	if slices.Contains(conclusive, e) {
		m.failures, m.open = 0, time.Time{}
		delete(m.kept, at)
		return failed
	}
	m.fail(e, now)
	if stale() {
		return "stale " + kept.value
	}
	return failed
}

// fail counts a passing failure.
func (m *model) fail(e *secret.Error, now time.Time) {
	switch {
	case e.Reason == secret.ReasonTimeout:
		m.failures, m.failure = m.failures+5, e
	case e.Reason != secret.ReasonThrottled || e.Pause > 0:
		m.failures, m.failure = m.failures+1, e
	}
	if m.open.IsZero() && m.failures >= 5 {
		m.open = now
	}
	m.pause = min(max(now.Sub(m.open)/5, 500*time.Millisecond), 10*time.Second)
}

// promised tells whether a door may be left alone for so long.
func (m *model) promised(wait time.Duration) bool { return wait <= max(m.pause, m.failure.Pause) }

// answer is what one of many concurrent callers got.
type answer struct {
	number int64
	asked  time.Time
	got    string
}

// Many callers at once: no two reads of a secret begin within a second of each other while the first is under way, but for
// the second attempts of one that takes long, and no value crosses from one build to another but by a read that was joined or an outage.
func TestConcurrentCallersNeverGetAnotherBuildsValue(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{})
		defer r.Close()
		var (
			mu      sync.Mutex
			answers []answer
			wg      sync.WaitGroup
			leaders = map[string]int64{}
		)
		for range rapid.IntRange(1, 60).Draw(rt, "callers") {
			number := rapid.Int64Range(1, 4).Draw(rt, "build")
			wg.Go(func() {
				a := answer{number: number, asked: time.Now()}
				a.got = ask(r, of(number), "shared/a")
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, a)
				if value, ok := strings.CutPrefix(a.got, "fetched "); ok {
					leaders[value] = number
				}
			})
			synctest.Wait()
			latency := time.Duration(rapid.IntRange(0, 2500).Draw(rt, "latency")) * time.Millisecond
			s.set(func(s *source) { s.latency = latency })
			time.Sleep(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "pause")) * time.Millisecond)
		}
		wg.Wait()
		again := uint64(0)
		calls := s.seen()
		for i, c := range calls[1:] {
			if before := calls[i]; c.began.Before(before.ended) && c.began.Sub(before.began) < time.Second {
				again++
			}
		}
		hedged := r.Doors()["shared"].Hedged
		if again > 2*hedged { // a second attempt may be soon after one read and soon before another
			rt.Fatalf("%d reads began within a second of the one before, which was under way; %d were second attempts", again, hedged)
		}
		for _, a := range answers {
			judge(rt, s, a, leaders, hedged > 0)
		}
	})
}

func judge(rt *rapid.T, s *source, a answer, leaders map[string]int64, hedged bool) {
	how, value, _ := strings.Cut(a.got, " ")
	var n int
	if _, err := fmt.Sscanf(value, "value-%d", &n); err != nil {
		rt.Fatalf("build %d got %q", a.number, a.got)
	}
	age := a.asked.Sub(s.calls[n].began)
	switch {
	case how == secret.HowFetched && (age == 0 || age < 0 && hedged):
	case how == secret.HowJoined && age < time.Second && !a.asked.After(s.calls[n].ended):
	case how == secret.HowBuild && age < time.Minute && leaders[value] == a.number:
	default:
		rt.Fatalf("build %d got %q, %s after that read began for build %d", a.number, a.got, age, leaders[value])
	}
}
