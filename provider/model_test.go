package provider_test

import (
	"fmt"
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

// last is what the model remembers: the one value that may be in memory.
type last struct {
	value string
	build int64
	began time.Time
}

// One caller after the other: the Router answers as the three sentences of the promise say, and reads no more than that.
func TestSequentialCallersGetWhatTheModelSays(t *testing.T) {
	check(t, func(rt *rapid.T) {
		stale := time.Duration(rapid.SampledFrom([]int{0, 30, 90, 600}).Draw(rt, "stale")) * time.Second
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s, Stale: stale}}, provider.Options{})
		defer r.Close()
		var kept *last
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"ask", "ask", "ask", "wait", "heal", "outage", "refusal"}).Draw(rt, "step") {
			case "wait":
				time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
			case "heal":
				s.set(func(s *source) { s.fail = nil })
			case "outage":
				s.set(func(s *source) { s.fail = rapid.SampledFrom(passing[1:]).Draw(rt, "fault") })
			case "refusal":
				s.set(func(s *source) { s.fail = rapid.SampledFrom(conclusive).Draw(rt, "fault") })
			case "ask":
				number := rapid.Int64Range(1, 3).Draw(rt, "build")
				var expected string
				reads := s.reads()
				expected, kept = predict(s, kept, number, stale, &reads)
				if got := ask(r, of(number), "shared/a"); got != expected || s.reads() != reads {
					rt.Fatalf("got %q after %d reads, want %q after %d", got, s.reads(), expected, reads)
				}
			}
		}
	})
}

func predict(s *source, kept *last, number int64, stale time.Duration, reads *int) (string, *last) {
	now := time.Now()
	if kept != nil && kept.build == number && now.Sub(kept.began) < time.Minute {
		return "build " + kept.value, kept
	}
	*reads++
	if s.fail == nil {
		value := fmt.Sprintf("value-%d", *reads-1)
		return "fetched " + value, &last{value, number, now}
	}
	e := s.fail.(*secret.Error)
	failed := e.Kind.String() + " " + string(e.Reason)
	for _, c := range conclusive {
		if c == e {
			return failed, nil
		}
	}
	if kept != nil && now.Sub(kept.began) < stale {
		return "stale " + kept.value, kept
	}
	return failed, kept
}

// answer is what one of many concurrent callers got.
type answer struct {
	number int64
	asked  time.Time
	got    string
}

// Many callers at once: no two reads of a secret begin within a second of each other while the first is under way, and
// no value crosses from one build to another but by a read that was joined or an outage.
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
		for i, c := range s.calls[1:] {
			if before := s.calls[i]; c.began.Before(before.ended) && c.began.Sub(before.began) < time.Second {
				rt.Fatalf("read %d began %s after the one before, which was under way", i+1, c.began.Sub(before.began))
			}
		}
		for _, a := range answers {
			judge(rt, s, a, leaders)
		}
	})
}

func judge(rt *rapid.T, s *source, a answer, leaders map[string]int64) {
	how, value, _ := strings.Cut(a.got, " ")
	var n int
	if _, err := fmt.Sscanf(value, "value-%d", &n); err != nil {
		rt.Fatalf("build %d got %q", a.number, a.got)
	}
	age := a.asked.Sub(s.calls[n].began)
	switch {
	case how == secret.HowFetched && age == 0:
	case how == secret.HowJoined && age < time.Second && !a.asked.After(s.calls[n].ended):
	case how == secret.HowBuild && age < time.Minute && leaders[value] == a.number:
	default:
		rt.Fatalf("build %d got %q, %s after that read began for build %d", a.number, a.got, age, leaders[value])
	}
}
