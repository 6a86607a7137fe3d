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
)

// warm makes so many reads that take 100 ms each, so that the door knows what is slow.
func warm(r *provider.Router, s *source, reads int) {
	s.set(func(s *source) { s.latency = 100 * time.Millisecond })
	for i := range reads {
		ask(r, of(1), fmt.Sprintf("shared/warm-%d", i))
	}
}

// slowly asks for a secret whose first read takes that long, and whose second one 10 ms and fails with second, if that is
// not nil. It returns the answer and how long it took.
func slowly(r *provider.Router, s *source, first time.Duration, second error) (got string, took time.Duration) {
	s.set(func(s *source) { s.latency = first })
	done := make(chan string)
	took = timed(func() {
		go func() { done <- ask(r, of(1), fmt.Sprintf("shared/slow-%d", s.reads())) }()
		synctest.Wait()
		s.set(func(s *source) { s.latency, s.fail = 10*time.Millisecond, second })
		got = <-done
	})
	s.set(func(s *source) { s.fail = nil })
	return got, took
}

func TestAReadThatTakesLongIsHedged(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		warm(r, s, 20)
		got, took := slowly(r, s, 5*time.Second, nil)
		want(t, got, "fetched value-21")
		if took != 110*time.Millisecond+1 {
			t.Errorf("took %s", took)
		}
		want(t, ask(r, of(1), "shared/slow-20"), "build value-21")
		synctest.Wait() // the loser is cancelled, not waited for
		if d := r.Doors()["shared"]; d.Hedged != 1 || d.Reads != 0 {
			t.Errorf("%+v", d)
		}
		if !provider.Idle(r) {
			t.Error("something is left over")
		}
		for i, b := range s.handed {
			if !overwritten(b) {
				t.Errorf("the bytes of read %d were not overwritten", i)
			}
		}
	})
}

// Both attempts end at the same moment: one's value is used, the other's is overwritten.
func TestTheLosersValueIsOverwritten(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		warm(r, s, 20)
		s.set(func(s *source) { s.deaf = true })
		got, took := slowly(r, s, 200*time.Millisecond, nil)
		if !strings.HasPrefix(got, "fetched value-2") || took != 110*time.Millisecond+1 {
			t.Errorf("%s after %s", got, took)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(s.handed) != 22 {
			t.Fatalf("%d values came", len(s.handed))
		}
		for i, b := range s.handed {
			if !overwritten(b) {
				t.Errorf("the bytes of read %d were not overwritten", i)
			}
		}
	})
}

func TestTheFirstAnswerWins(t *testing.T) {
	for name, c := range map[string]struct {
		second error
		want   string
		took   time.Duration
	}{
		"a failure in passing waits for the other": {passing[1], "fetched value-20", 300 * time.Millisecond},
		"a refusal is an answer":                   {conclusive[0], "not found not-found", 110*time.Millisecond + 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
				warm(r, s, 20)
				got, took := slowly(r, s, 300*time.Millisecond, c.second)
				want(t, got, c.want)
				if took != c.took {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// What an attempt tells is as new as its own begin: a refusal by the second one is news to whoever read in between, and
// what that read brings late is none after the second one's value.
func TestASecondAttemptIsAsNewAsItsBegin(t *testing.T) {
	for _, refused := range []bool{true, false} {
		bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
			s.set(func(s *source) { s.latency = 1500 * time.Millisecond })
			for i := range 20 {
				ask(r, of(1), fmt.Sprintf("shared/warm-%d", i))
			}
			answers := func(fail bool, latency time.Duration) {
				s.set(func(s *source) {
					s.latency, s.fail = latency, nil
					if fail {
						s.fail = conclusive[0]
					}
				})
			}
			var wg sync.WaitGroup
			answers(false, 5*time.Second) // the first attempt
			wg.Go(func() { ask(r, of(1), "shared/a") })
			time.Sleep(1200 * time.Millisecond)
			answers(!refused, time.Second) // in between, and later than the second attempt
			wg.Go(func() { ask(r, of(2), "shared/a") })
			synctest.Wait()
			answers(refused, 100*time.Millisecond) // the second attempt
			wg.Wait()
			wantReads(t, s, 20+3)
			s.set(func(s *source) { s.fail = passing[1] })
			if got, serves := ask(r, of(3), "shared/a"), "stale value-22"; (got == serves) == refused {
				t.Errorf("refused: %t, and then %s", refused, got)
			}
		})
	}
}

func TestWhatIsNotHedged(t *testing.T) {
	for name, c := range map[string]struct {
		door    provider.Door
		options provider.Options
		warm    int
		latency time.Duration
		before  func(*provider.Router, *source)
	}{
		"too few reads to know what is slow": {warm: 19},
		"no slower than others":              {warm: 40, latency: 100 * time.Millisecond},
		"each build has its own value":       {warm: 40, door: provider.Door{PerBuild: true}},
		"the limit of reads under way":       {warm: 40, options: provider.Options{InFlight: 1}},
		"no token left":                      {warm: 40, options: provider.Options{Burst: 2, Rate: 1}},
		"the door is in trouble": {warm: 40, before: func(r *provider.Router, s *source) {
			s.set(func(s *source) { s.latency, s.fail = 0, passing[0] })
			ask(r, of(1), "shared/fails")
			s.set(func(s *source) { s.fail = nil })
			time.Sleep(time.Second)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{}
				c.door.Source = s
				r := provider.NewRouter(map[string]provider.Door{"shared": c.door}, c.options)
				defer r.Close()
				warm(r, s, c.warm)
				if c.before != nil {
					c.before(r, s)
				}
				before := s.reads()
				latency := c.latency
				if latency == 0 {
					latency = 900 * time.Millisecond
				}
				s.set(func(s *source) { s.latency = latency })
				if got := ask(r, of(1), "shared/slow"); !strings.HasPrefix(got, "fetched ") {
					t.Error(got)
				}
				wantReads(t, s, before+1)
			})
		})
	}
}

// Nothing below 50 ms counts as slow, however fast the vault is otherwise.
func TestAFastVaultIsNotHedgedAtOnce(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		for i := range 40 {
			ask(r, of(1), fmt.Sprintf("shared/warm-%d", i))
		}
		_, took := slowly(r, s, 5*time.Second, nil)
		if took != 60*time.Millisecond+1 {
			t.Errorf("took %s", took)
		}
	})
}

func TestNobodyWaitsSoNobodyHedges(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		warm(r, s, 40)
		s.set(func(s *source) { s.latency = 900 * time.Millisecond })
		ctx, cancel := within(t, 50*time.Millisecond)
		defer cancel()
		want(t, describe(r.Fetch(ctx, of(1), grant("shared/a"))), "late timeout")
		time.Sleep(time.Second)
		wantReads(t, s, 41)
	})
}

// However slow a vault gets, no more than a twentieth of its reads is made twice.
func TestHedgesAreFew(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{InFlight: 1000})
		defer r.Close()
		var wg sync.WaitGroup
		n := rapid.IntRange(1, 400).Draw(rt, "reads")
		slow := rapid.IntRange(0, n).Draw(rt, "slow from")
		for i := range n {
			s.set(func(s *source) {
				s.latency = 100 * time.Millisecond
				if i >= slow {
					s.latency = time.Second
				}
			})
			wg.Go(func() { ask(r, of(1), fmt.Sprintf("shared/s%d", i)) })
			time.Sleep(20 * time.Millisecond)
		}
		wg.Wait()
		hedged := r.Doors()["shared"].Hedged
		if hedged > uint64(n)/20 || s.reads() != n+int(hedged) {
			rt.Errorf("%d of %d reads were made twice, %d in all", hedged, n, s.reads())
		}
		if slow > 100 && n > slow+20 && hedged == 0 {
			rt.Errorf("none of %d slow reads was made twice", n-slow)
		}
	})
}

// A loser may have been refused, cancelled or broken; none of that is the door's trouble.
func TestALoserSaysNothingOfTheDoor(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		warm(r, s, 100)
		for range 5 {
			if got, _ := slowly(r, s, 5*time.Second, nil); !strings.HasPrefix(got, "fetched ") {
				t.Error(got)
			}
		}
		synctest.Wait()
		if d := r.Doors()["shared"]; d.State != provider.Closed || d.Problem != "" || d.Hedged != 5 {
			t.Errorf("%+v", d)
		}
	})
}
