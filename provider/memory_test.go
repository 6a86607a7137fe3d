package provider_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// overwritten tells whether nothing of a value is left.
func overwritten(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

// What a source gives is overwritten with the last who waits for it, what is kept as soon as it is not: whoever leaves,
// whatever comes late or twice, and whatever a source does after it was told to stop.
func TestNoValueOutlivesItsUse(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{deaf: rapid.Bool().Draw(rt, "deaf")}
		s.edit = func(f *secret.Fetched) {
			if s.calls[0].began.Before(time.Now().Add(-5 * time.Second)) {
				f.MinLife, f.Expires = time.Minute, time.Now().Add(70*time.Second)
			}
		}
		r := provider.NewRouter(map[string]provider.Door{
			"shared": {Source: s, Stale: 2 * time.Minute, Host: "kv"}, "tokens": {Source: s, PerBuild: true, Host: "kv"},
		}, provider.Options{Entries: 3, Bytes: 40, Burst: 40, Rate: 20, Queue: 5, Timeout: 3 * time.Second})
		kept := map[*byte][]byte{}
		look := func() (now map[*byte]bool) {
			now = map[*byte]bool{}
			for _, b := range provider.Bytes(r) {
				kept[&b[0]], now[&b[0]] = b, true
			}
			return now
		}
		var wg sync.WaitGroup
		for range rapid.IntRange(1, 80).Draw(rt, "callers") {
			ms := func(name string, of ...int) time.Duration {
				return time.Duration(rapid.SampledFrom(of).Draw(rt, name)) * time.Millisecond
			}
			latency, patience := ms("latency", 0, 20, 20, 20, 500, 4000), ms("patience", 1, 100, 5000)
			s.set(func(s *source) {
				s.latency = latency
				s.fail = rapid.SampledFrom([]error{nil, nil, nil, nil, passing[1], conclusive[0]}).Draw(rt, "fault")
			})
			ref := rapid.SampledFrom([]string{"shared/", "tokens/"}).Draw(rt, "door") + rapid.StringMatching(`[a-e]`).Draw(rt, "name")
			number := rapid.Int64Range(1, 3).Draw(rt, "build")
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if f, err := r.Fetch(ctx, of(number), grant(ref)); err == nil {
					if overwritten(f.Value.Reveal()) {
						rt.Errorf("%s came overwritten", ref)
					}
					f.Value.Clear() // as the service does after each answer
				}
			})
			time.Sleep(ms("pause", 0, 0, 30, 300, 40_000))
			synctest.Wait()
			now := look()
			for at, b := range kept {
				if !now[at] && !overwritten(b) {
					rt.Fatal("what is not kept any more was not overwritten")
				}
			}
		}
		look() // the last ones
		r.Close()
		wg.Wait()
		synctest.Wait()
		for _, b := range kept {
			if !overwritten(b) {
				rt.Fatal("what was kept was not overwritten at the end")
			}
		}
		for i, b := range s.handed {
			if !overwritten(b) {
				rt.Fatalf("value %d of %d from the source was not overwritten", i, len(s.handed))
			}
		}
	})
}

// What a source brings although the Router is closed is overwritten, and not kept.
func TestAValueThatComesAfterTheEnd(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		s.latency, s.deaf = time.Second, true
		for i := range 2 { // one of them is still waited for
			ctx, cancel := within(t, time.Duration(i+1)*400*time.Millisecond)
			defer cancel()
			go func() { _, _ = r.Fetch(ctx, of(1), grant(fmt.Sprintf("shared/s%d", i))) }()
		}
		time.Sleep(500 * time.Millisecond)
		r.Close()
		if len(s.handed) != 2 || !overwritten(s.handed[0]) || !overwritten(s.handed[1]) || provider.Kept(r) != 0 {
			t.Errorf("%q came, %d are kept", s.handed, provider.Kept(r))
		}
	})
}
