package provider_test

import (
	"context"
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

// outage asks for another secret each 100 ms for as long as the source is out of order, until it is left alone.
func outage(t *testing.T, r *provider.Router, s *source, spoil func(*source), length time.Duration) {
	t.Helper()
	s.set(spoil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range int(length / (100 * time.Millisecond)) {
		wg.Go(func() {
			ctx, cancel := within(t, length)
			defer cancel()
			_, _ = r.Fetch(ctx, of(1), grant(fmt.Sprintf("shared/lost-%d", i)))
		})
		time.Sleep(100 * time.Millisecond)
	}
	s.set(func(s *source) { s.hang, s.latency, s.fail = false, 50*time.Millisecond, nil })
}

// Whoever asks once the source is back gets his secret, though nobody has told us that it is back.
func TestAfterAnOutageOfSecondsTheFirstCallerIsServed(t *testing.T) {
	for name, spoil := range map[string]func(*source){
		"refused at once":          func(s *source) { s.fail = passing[1] },
		"refused after some tries": func(s *source) { s.fail, s.latency = passing[1], 600*time.Millisecond },
		"hanging":                  func(s *source) { s.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 40 {
				bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
					s.hang = true // known to be in trouble, from one second on
					ask(r, of(1), "shared/first")
					ask(r, of(1), "shared/second")
					outage(t, r, s, spoil, 3*time.Second)
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					var got string
					took := timed(func() { got = ask(r, of(2), "shared/back") })
					if !strings.HasPrefix(got, "fetched ") || took > time.Second {
						t.Errorf("%d: %s after %s", i, got, took)
					}
				})
			}
		})
	}
}

// One secret that hangs says nothing of its vault, however often and by whomever it is asked for.
func TestOneSecretThatHangsLeavesTheOthersOfItsVaultAlone(t *testing.T) {
	for name, apart := range map[string]time.Duration{"seldom": 20 * time.Second, "often": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &picky{hangs: "bad"}
				r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{})
				defer r.Close()
				var wg sync.WaitGroup
				defer wg.Wait()
				for i := range 40 {
					wg.Go(func() { ask(r, of(int64(i)), "shared/bad") })
					if name == "seldom" {
						time.Sleep(16 * time.Second) // it has run out of time, and nobody has asked for another
						ask(r, of(int64(i)), "shared/bad")
					}
					if i%3 == 2 {
						var got string
						took := timed(func() { got = ask(r, of(int64(i)), fmt.Sprintf("shared/good-%d", i)) })
						if !strings.HasPrefix(got, "fetched ") || took > 100*time.Millisecond {
							t.Errorf("%d: %s after %s", i, got, took)
						}
					}
					time.Sleep(apart)
				}
			})
		})
	}
}

// picky is a source of which one secret hangs.
type picky struct {
	source
	hangs string
}

func (p *picky) Get(ctx context.Context, r secret.Request, ref secret.Ref) (secret.Fetched, error) {
	if ref.Name == p.hangs {
		<-ctx.Done()
		return secret.Fetched{}, secret.Fail(secret.Late, secret.ReasonTimeout, "no answer")
	}
	return p.source.Get(ctx, r, ref)
}

// Who joined a read that fails asks once more, and only where that can be news: not if a second is over, nor if the source
// asked for a pause or has refused.
func TestWhoJoinedAReadThatFailsAsksOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		fail    *secret.Error
		latency time.Duration
		want    string
	}{
		"in passing":      {passing[1], 600 * time.Millisecond, "fetched value-1"},
		"after long":      {passing[1], 1600 * time.Millisecond, "unavailable network"},
		"wanting a pause": {outages[0], 600 * time.Millisecond, "unavailable throttled"},
		"for good":        {conclusive[0], 600 * time.Millisecond, "not found not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
				s.fail, s.latency = c.fail, c.latency
				first := make(chan string)
				go func() { first <- ask(r, of(1), "shared/a") }()
				time.Sleep(100 * time.Millisecond)
				s.set(func(s *source) { s.fail, s.latency = nil, 10*time.Millisecond })
				got := ask(r, of(2), "shared/a")
				want(t, got, c.want)
				want(t, <-first, c.fail.Kind.String()+" "+string(c.fail.Reason))
				if again := got == "fetched value-1"; again != (s.reads() == 2) {
					t.Errorf("%s after %d reads", got, s.reads())
				}
			})
		})
	}
}

// Whatever was asked in an outage of three seconds, of whatever kind or kinds: whoever asks when it is over is served within a
// second.
func TestAfterAnyShortOutageWhoeverAsksIsServed(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{latency: 20 * time.Millisecond}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{})
		defer r.Close()
		name := func() string { return "shared/" + rapid.StringMatching(`[a-e]`).Draw(rt, "name") }
		var wg sync.WaitGroup
		defer wg.Wait()
		number := int64(0)
		post := func() {
			number++
			ref, req := name(), of(number)
			wg.Go(func() { ask(r, req, ref) })
		}
		for range rapid.IntRange(0, 30).Draw(rt, "before") {
			post()
			time.Sleep(50 * time.Millisecond)
		}
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			s.set(func(s *source) {
				s.latency = time.Duration(rapid.IntRange(0, 900).Draw(rt, "latency")) * time.Millisecond
				s.fail = rapid.SampledFrom(passing).Draw(rt, "fault")
			})
			for range rapid.IntRange(0, 6).Draw(rt, "callers") {
				post()
			}
			time.Sleep(min(time.Until(end), time.Duration(rapid.IntRange(1, 800).Draw(rt, "apart"))*time.Millisecond))
		}
		s.set(func(s *source) { s.fail, s.latency = nil, 50*time.Millisecond })
		time.Sleep(time.Duration(rapid.IntRange(0, 2000).Draw(rt, "late")) * time.Millisecond)
		ref := name()
		var got string
		took := timed(func() { got = ask(r, of(number+1), ref) })
		_, value, _ := strings.Cut(got, " ")
		if !strings.HasPrefix(value, "value-") || took > time.Second {
			rt.Errorf("%s: got %s after %s; %+v", ref, got, took, r.Doors()["shared"])
		}
	})
}
