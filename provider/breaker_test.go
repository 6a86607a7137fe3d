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

// trip opens the breaker of the door "shared" by failures, and leaves the source well.
func trip(t *testing.T, r *provider.Router, s *source) {
	t.Helper()
	s.set(func(s *source) { s.fail = failure(secret.Unavailable, secret.ReasonNetwork) })
	for range 5 {
		ask(r, of(1), "shared/trip")
	}
	wantState(t, r, provider.Open)
	s.set(func(s *source) { s.fail = nil })
}

// due sleeps until the door may be tried.
func due(r *provider.Router) { time.Sleep(time.Until(r.Doors()["shared"].Retry)) }

func wantState(t *testing.T, r *provider.Router, want provider.State) {
	t.Helper()
	if got := r.Doors()["shared"]; got.State != want || got.Since.IsZero() != (want == provider.Closed) {
		t.Fatalf("the door is %+v, not %s", got, want)
	}
}

// timed runs f and returns how long it took.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestADeadVaultAnswersAtOnce(t *testing.T) {
	for _, fault := range []*secret.Error{
		{Kind: secret.Unavailable, Reason: secret.ReasonNetwork, Detail: "connection refused"},
		{Kind: secret.Unavailable, Reason: secret.ReasonUnavailable, Detail: "503: the vault is down"},
		{Kind: secret.Unavailable, Reason: secret.ReasonThrottled, Detail: "429", Pause: 5 * time.Second},
	} {
		t.Run(string(fault.Reason), func(t *testing.T) {
			bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
				s.fail = fault
				for range 4 {
					ask(r, of(1), "shared/a")
				}
				wantState(t, r, provider.Closed)
				ask(r, of(1), "shared/a")
				wantState(t, r, provider.Open)
				time.Sleep(time.Minute)
				ask(r, of(1), "shared/b") // nobody waits for the next try: it is some seconds away, and a second secret has failed
				wantReads(t, s, 6)
				took := timed(func() {
					_, err := r.Fetch(t.Context(), of(1), grant("shared/c"))
					want(t, describe(secret.Fetched{}, err), "unavailable "+string(fault.Reason))
					for _, part := range []string{"vault shared has not answered since 2000-01-01T00:00:00Z", "tried again at 2000-", fault.Detail} {
						if !strings.Contains(err.Error(), part) {
							t.Errorf("%q lacks %q", err, part)
						}
					}
				})
				if took != 0 {
					t.Errorf("took %s", took)
				}
				wantReads(t, s, 6)
				if p := r.Doors()["shared"].Problem; !strings.Contains(p, fault.Detail) {
					t.Errorf("the problem is %q", p)
				}
			})
		})
	}
}

// A vault that throttles lives: others' reads are answered, and some of ours are.
func TestThrottlingAloneOpensNothing(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.fail = failure(secret.Unavailable, secret.ReasonThrottled)
		for range 50 {
			want(t, ask(r, of(1), "shared/a"), "unavailable throttled")
		}
		wantState(t, r, provider.Closed)
		wantReads(t, s, 50)
	})
}

func TestAPauseThatTheVaultAsksForIsKept(t *testing.T) {
	for asked, kept := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, time.Hour: 30 * time.Second} {
		bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
			s.fail = &secret.Error{Kind: secret.Unavailable, Reason: secret.ReasonThrottled, Pause: asked}
			for range 5 {
				ask(r, of(1), "shared/a")
			}
			s.set(func(s *source) { s.fail = nil })
			if got := time.Until(r.Doors()["shared"].Retry); got != kept {
				t.Errorf("left alone for %s, not %s", got, kept)
			}
			time.Sleep(kept - 950*time.Millisecond)
			want(t, ask(r, of(1), "shared/a"), "unavailable throttled")
			time.Sleep(950 * time.Millisecond)
			want(t, ask(r, of(1), "shared/a"), "fetched value-5")
		})
	}
}

func TestAnAnswerOfAnyKindCloses(t *testing.T) {
	for _, answer := range append([]*secret.Error{nil}, conclusive...) {
		bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
			for range 3 { // failures that are not in a row
				s.set(func(s *source) { s.fail = passing[1] })
				for range 4 {
					ask(r, of(1), "shared/a")
				}
				s.set(func(s *source) { s.fail = conclusive[0] })
				ask(r, of(1), "shared/a")
				wantState(t, r, provider.Closed)
			}
			trip(t, r, s)
			if answer != nil {
				s.set(func(s *source) { s.fail = answer })
			}
			due(r)
			ask(r, of(1), "shared/a")
			wantState(t, r, provider.Closed)
			if p := r.Doors()["shared"].Problem; p != "" {
				t.Errorf("the problem is still %q", p)
			}
		})
	}
}

// With the tries of one read an outage of a second passes nearly unseen: who comes next waits for the next try.
func TestAfterAShortOutageNobodyLosesHisSecret(t *testing.T) {
	for range 5 { // pauses are jittered
		bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
			s.latency = 600 * time.Millisecond // as three tries take
			s.fail = passing[1]
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() { ask(r, of(1), fmt.Sprintf("shared/s%d", i)) })
			}
			wg.Wait()
			wantState(t, r, provider.Open)
			s.set(func(s *source) { s.latency, s.fail = 20*time.Millisecond, nil })
			took := timed(func() {
				for i := range 50 {
					wg.Go(func() {
						if got := ask(r, of(1), fmt.Sprintf("shared/s%d", i)); !strings.HasPrefix(got, "fetched ") {
							t.Error(got)
						}
					})
				}
				wg.Wait()
			})
			if took > 450*time.Millisecond {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestOneProbeAtATime(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/kept"), "fetched value-0")
		trip(t, r, s)
		s.set(func(s *source) { s.hang = true })
		due(r)
		before, start := s.reads(), time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				got := ask(r, of(2), fmt.Sprintf("shared/s%d", i))
				if took := time.Since(start); took != time.Second || got != "unavailable network" {
					t.Errorf("%s after %s", got, took)
				}
			})
		}
		synctest.Wait()
		wantState(t, r, provider.HalfOpen)
		want(t, ask(r, of(2), "shared/kept"), "stale value-0")
		if took := time.Since(start); took != 0 {
			t.Errorf("the last value took %s", took)
		}
		wantReads(t, s, before+1)
		wg.Wait()
		wantReads(t, s, before+2) // the first one had its three quarters of a second, and the outage is young
	})
}

func TestWhoWaitsForAProbeReadsAfterIt(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		trip(t, r, s)
		s.set(func(s *source) { s.latency = 100 * time.Millisecond })
		due(r)
		before, start := s.reads(), time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if got := ask(r, of(1), fmt.Sprintf("shared/s%d", i)); !strings.HasPrefix(got, "fetched ") {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		wantReads(t, s, before+1)
		wg.Wait()
		wantReads(t, s, before+50)
		if took := time.Since(start); took != 200*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

// A probe that nobody waits for any more still tells that the source is back.
func TestALateProbeCloses(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		trip(t, r, s)
		s.set(func(s *source) { s.latency = 2 * time.Second })
		due(r)
		want(t, ask(r, of(1), "shared/a"), "unavailable network") // what is known of the door so far
		wantState(t, r, provider.Open)
		time.Sleep(time.Second + 1)
		wantState(t, r, provider.Closed)
		want(t, ask(r, of(1), "shared/b"), "fetched value-6")
	})
}

// A read that runs out of time says nothing of a source that answered somebody who asked later.
func TestATimeoutThatOthersRefuteOpensNothing(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.hang = true
		lost := make(chan string)
		go func() { lost <- ask(r, of(1), "shared/a") }()
		time.Sleep(time.Second)
		s.set(func(s *source) { s.hang = false })
		want(t, ask(r, of(1), "shared/b"), "fetched value-1")
		want(t, <-lost, "late timeout")
		wantState(t, r, provider.Closed)
	})
}

func TestWhileEntraIsDownAnOpenDoorServesNothingOld(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/a"), "fetched value-0")
		entra := *passing[0]
		entra.Identity = true
		s.set(func(s *source) { s.fail = &entra })
		want(t, ask(r, of(2), "shared/a"), "late timeout")
		wantState(t, r, provider.Open)
		want(t, ask(r, of(2), "shared/a"), "late timeout")
	})
}

func TestWhoWaitsForATryMayLeave(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		trip(t, r, s)
		s.set(func(s *source) { s.hang = true })
		due(r)
		go ask(r, of(1), "shared/probe")
		synctest.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		want(t, describe(r.Fetch(gone, of(1), grant("shared/a"))), "late late")
		short, done := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer done()
		want(t, describe(r.Fetch(short, of(1), grant("shared/a"))), "unavailable network")
		answer := make(chan string)
		go func() { answer <- ask(r, of(1), "shared/b") }()
		synctest.Wait()
		r.Close()
		want(t, <-answer, "unavailable internal")
	})
}

// However many ask a dead vault, it is asked in ever longer pauses, nobody waits for more than a second once it is known to
// be dead, and within four seconds of its return it is found out.
func TestADeadVaultIsLeftAlone(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{hang: true}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{})
		defer r.Close()
		ask(r, of(1), "shared/first")
		var wg sync.WaitGroup
		began := time.Now()
		gaps := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 80).Draw(rt, "gaps")
		for i, gap := range gaps {
			time.Sleep(time.Duration(gap) * time.Millisecond)
			wg.Go(func() {
				if took := timed(func() { ask(r, of(1), fmt.Sprintf("shared/s%d", i)) }); took > time.Second {
					rt.Errorf("caller %d waited for %s", i, took)
				}
			})
		}
		wg.Wait()
		calls := s.seen()
		for i, c := range calls[2:] { // the first probe may come at once: another secret had failed
			if pause := c.began.Sub(calls[i+1].began); pause < min(max(750*time.Millisecond, calls[i+1].began.Sub(began)/10), 2*time.Second) {
				rt.Errorf("try %d came %s after the one before, %s after the first", i+2, pause, c.began.Sub(began))
			}
		}
		s.set(func(s *source) { s.hang = false })
		time.Sleep(4 * time.Second)
		if got := ask(r, of(1), "shared/back"); !strings.HasPrefix(got, "fetched ") {
			rt.Errorf("the vault is back and the door says %s", got)
		}
	})
}
