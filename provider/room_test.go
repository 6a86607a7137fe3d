package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/provider"
)

// A vault that is quick has room again soon: nobody is refused for having come with many others.
func TestWhoFindsADoorFullWaitsForRoom(t *testing.T) {
	bubble(t, provider.Options{InFlight: 4}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = 20 * time.Millisecond
		var wg sync.WaitGroup
		took := timed(func() {
			for i := range 100 {
				wg.Go(func() {
					if got := ask(r, of(1), fmt.Sprintf("shared/s%d", i)); !strings.HasPrefix(got, "fetched ") {
						t.Error(got)
					}
				})
			}
			synctest.Wait()
			if d := r.Doors()["shared"]; d.Reads != 4 || d.Waiting != 96 {
				t.Errorf("%+v", d)
			}
			wg.Wait()
		})
		if took != 25*20*time.Millisecond || !provider.Idle(r) {
			t.Errorf("took %s; idle: %t", took, provider.Idle(r))
		}
	})
}

// Where reads take so long that his turn won't come within a second, he is refused at once; who has asked for less still waits.
func TestWhoWouldWaitInVainIsRefusedAtOnce(t *testing.T) {
	bubble(t, provider.Options{InFlight: 4}, 0, func(t *testing.T, r *provider.Router, s *source) {
		warm(r, s, 20)
		var wg sync.WaitGroup
		var mu sync.Mutex
		took := map[string][]time.Duration{}
		for i := range 400 {
			wg.Go(func() {
				var got string
				length := timed(func() { got = ask(r, from("flood"), fmt.Sprintf("shared/s%d", i)) })
				mu.Lock()
				defer mu.Unlock()
				got = strings.Fields(got)[0]
				took[got] = append(took[got], length)
			})
		}
		synctest.Wait()
		if length := timed(func() { want(t, ask(r, from("other"), "shared/other")[:7], "fetched") }); length > 300*time.Millisecond {
			t.Errorf("another repository waited for %s", length)
		}
		wg.Wait()
		if n := len(took["fetched"]); n < 36 || n > 44 || len(took["busy"]) != 400-n {
			t.Errorf("%d were served, and %d refused", n, len(took["busy"]))
		}
		slices.Sort(took["busy"])
		if atOnce := took["busy"][len(took["busy"])-8]; atOnce != 0 {
			t.Errorf("more than a handful waited for %s in vain", atOnce)
		}
	})
}

// At one that hangs he waits for a second and no more, and delays nobody at another alias of the same vault.
func TestWhoFindsAHangingDoorFullIsRefusedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, works := &source{hang: true}, &source{}
		r := provider.NewRouter(map[string]provider.Door{"hangs": {Source: hangs, Host: "kv"}, "works": {Source: works, Host: "kv"}}, provider.Options{InFlight: 4})
		defer r.Close()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { want(t, ask(r, of(1), fmt.Sprintf("hangs/first-%d", i)), "late timeout") })
		}
		synctest.Wait()
		for i := range 100 {
			wg.Go(func() {
				took := timed(func() { want(t, ask(r, of(1), fmt.Sprintf("hangs/s%d", i)), "busy busy") })
				if took != time.Second {
					t.Errorf("took %s", took)
				}
			})
		}
		synctest.Wait()
		for i := range 10 {
			took := timed(func() { want(t, ask(r, of(1), fmt.Sprintf("works/s%d", i)), fmt.Sprintf("fetched value-%d", i)) })
			if took != 0 {
				t.Errorf("beside it, a read took %s", took)
			}
		}
		wg.Wait()
		if hangs.reads() != 4 || !provider.Idle(r) {
			t.Errorf("%d reads; idle: %t", hangs.reads(), provider.Idle(r))
		}
	})
}
