package provider_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

func failure(k secret.Kind, r secret.Reason) *secret.Error { return secret.Fail(k, r, "") }

var passing = []*secret.Error{
	failure(secret.Late, secret.ReasonTimeout),
	failure(secret.Unavailable, secret.ReasonNetwork),
	failure(secret.Unavailable, secret.ReasonThrottled),
	failure(secret.Unavailable, secret.ReasonUnavailable),
}

var conclusive = []*secret.Error{
	failure(secret.NotFound, secret.ReasonNotFound),
	failure(secret.NotFound, secret.ReasonVaultRefused),
	failure(secret.Denied, secret.ReasonDisabled),
	failure(secret.Unavailable, secret.ReasonIdentity),
	failure(secret.Garbled, secret.ReasonGarbled),
}

func TestTheLastValueServesWhileTheSourceCantAnswer(t *testing.T) {
	for _, fault := range passing {
		t.Run(string(fault.Reason), func(t *testing.T) {
			bubble(t, provider.Options{}, 10*time.Minute, func(t *testing.T, r *provider.Router, s *source) {
				want(t, ask(r, of(1), "shared/a"), "fetched value-0")
				s.set(func(s *source) { s.fail = fault })
				want(t, ask(r, of(2), "shared/a"), "stale value-0") // another build: policy decided that it may
				time.Sleep(10*time.Minute - time.Second)
				want(t, ask(r, of(1), "shared/a"), "stale value-0")
				time.Sleep(time.Second)
				want(t, ask(r, of(1), "shared/a"), fault.Kind.String()+" "+string(fault.Reason))
				want(t, ask(r, of(1), "shared/never-read"), fault.Kind.String()+" "+string(fault.Reason))
			})
		})
	}
}

func TestByDefaultNothingOldServes(t *testing.T) {
	for _, fault := range passing {
		bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
			want(t, ask(r, of(1), "shared/a"), "fetched value-0")
			s.set(func(s *source) { s.fail = fault })
			want(t, ask(r, of(2), "shared/a"), fault.Kind.String()+" "+string(fault.Reason))
			want(t, ask(r, of(1), "shared/a"), "build value-0")
		})
	}
}

func TestAfterARefusalNothingOldServesEverAgain(t *testing.T) {
	for _, refusal := range conclusive {
		t.Run(string(refusal.Reason), func(t *testing.T) {
			bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
				want(t, ask(r, of(1), "shared/a"), "fetched value-0")
				s.set(func(s *source) { s.fail = refusal })
				want(t, ask(r, of(2), "shared/a"), refusal.Kind.String()+" "+string(refusal.Reason))
				want(t, ask(r, of(1), "shared/a"), refusal.Kind.String()+" "+string(refusal.Reason)) // its own build neither
				s.set(func(s *source) { s.fail = passing[1] })
				want(t, ask(r, of(1), "shared/a"), "unavailable network")
			})
		})
	}
}

// While Entra can't say who we are, nobody says that we still may have what is remembered; it serves again once the vault
// alone is the trouble.
func TestWhileEntraIsDownNothingOldServes(t *testing.T) {
	for _, fault := range passing {
		bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
			want(t, ask(r, of(1), "shared/a"), "fetched value-0")
			entra := *fault
			entra.Identity = true
			s.set(func(s *source) { s.fail = &entra })
			want(t, ask(r, of(2), "shared/a"), fault.Kind.String()+" "+string(fault.Reason))
			want(t, ask(r, of(1), "shared/a"), "build value-0")
			s.set(func(s *source) { s.fail = passing[1] })
			time.Sleep(time.Second) // for so long the door is left alone after a timeout
			want(t, ask(r, of(2), "shared/a"), "stale value-0")
		})
	}
}

func TestOurOwnTroubleIsNoOutage(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/a"), "fetched value-0")
		s.set(func(s *source) { s.panics = "bug" })
		want(t, ask(r, of(2), "shared/a"), "internal internal")
		s.set(func(s *source) { s.panics, s.fail = nil, passing[0] })
		want(t, ask(r, of(2), "shared/a"), "stale value-0")
	})
}

// A disabled value replaces an enabled one: Policy.Admit refuses it, and the old one is gone.
func TestADisabledValueReplacesTheLast(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/a"), "fetched value-0")
		s.set(func(s *source) { s.edit = func(f *secret.Fetched) { f.Enabled = false } })
		want(t, ask(r, of(2), "shared/a"), "fetched value-1")
		s.set(func(s *source) { s.fail = passing[0] })
		f, err := r.Fetch(t.Context(), of(3), grant("shared/a"))
		want(t, describe(f, err), "stale value-1")
		if f.Enabled {
			t.Error("enabled")
		}
	})
}

func TestAHangingDoorServesTheLastValueWithinASecond(t *testing.T) {
	bubble(t, provider.Options{InFlight: 1}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/a"), "fetched value-0")
		want(t, ask(r, of(1), "shared/b"), "fetched value-1")
		s.set(func(s *source) { s.hang = true })
		want(t, ask(r, of(2), "shared/a"), "stale value-0")
		start := time.Now()
		want(t, ask(r, of(3), "shared/a"), "stale value-0") // each is a probe
		want(t, ask(r, of(3), "shared/b"), "stale value-1") // though the one read that may be under way is
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %s", took)
		}
		time.Sleep(time.Minute)
		want(t, ask(r, of(3), "shared/c"), "late timeout")
		start = time.Now()
		want(t, ask(r, of(3), "shared/b"), "stale value-1") // left alone: at once
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

// What an old read brings late must not undo what a younger one told.
func TestALateReadChangesNothing(t *testing.T) {
	for _, young := range []string{"refused", "read"} {
		for _, old := range []string{"refused", "read", "timeout"} {
			t.Run(young+" before "+old, func(t *testing.T) {
				bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
					outcome := map[string]error{"refused": conclusive[1], "timeout": passing[0], "read": nil}
					s.latency, s.fail = 5*time.Second, outcome[old]
					var wg sync.WaitGroup
					wg.Go(func() { ask(r, of(1), "shared/a") })
					time.Sleep(2 * time.Second)
					s.set(func(s *source) { s.latency, s.fail = 0, outcome[young] })
					ask(r, of(2), "shared/a")
					wg.Wait()
					synctest.Wait()
					s.set(func(s *source) { s.fail = passing[3] })
					if got := ask(r, of(3), "shared/a"); (got == "stale value-1") != (young == "read") {
						t.Errorf("got %q", got)
					}
				})
			})
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Run("entries", func(t *testing.T) {
		bubble(t, provider.Options{Entries: 2}, 0, func(t *testing.T, r *provider.Router, s *source) {
			ask(r, of(1), "shared/a")
			ask(r, of(1), "shared/b")
			want(t, ask(r, of(1), "shared/a"), "build value-0")
			ask(r, of(1), "shared/c")                             // displaces b, the least recently used
			want(t, ask(r, of(1), "shared/a"), "build value-0")   //
			want(t, ask(r, of(1), "shared/b"), "fetched value-3") //
		})
	})
	t.Run("bytes", func(t *testing.T) {
		bubble(t, provider.Options{Bytes: 100}, 0, func(t *testing.T, r *provider.Router, s *source) {
			s.value = strings.Repeat("x", 40)
			ask(r, of(1), "shared/a")
			ask(r, of(1), "shared/b")
			ask(r, of(1), "shared/c")
			if got := ask(r, of(1), "shared/b"); !strings.HasPrefix(got, "build ") {
				t.Error(got)
			}
			if got := ask(r, of(1), "shared/a"); !strings.HasPrefix(got, "fetched ") {
				t.Error(got)
			}
			s.set(func(s *source) { s.value = strings.Repeat("y", 101) })
			ask(r, of(1), "shared/huge")
			if got := ask(r, of(1), "shared/huge"); !strings.HasPrefix(got, "fetched ") {
				t.Error(got)
			}
		})
	})
}

func TestWhatNobodyMayHaveIsSwept(t *testing.T) {
	bubble(t, provider.Options{}, 5*time.Minute, func(t *testing.T, r *provider.Router, s *source) {
		ask(r, of(1), "shared/a")
		time.Sleep(6 * time.Minute)
		if n := provider.Kept(r); n != 0 {
			t.Errorf("%d values are still kept", n)
		}
		ask(r, of(1), "shared/a")
		if n := provider.Kept(r); n != 1 {
			t.Errorf("%d values are kept", n)
		}
		time.Sleep(6 * time.Minute)
		if n := provider.Kept(r); n != 0 {
			t.Errorf("%d values are still kept the second time", n)
		}
	})
}
