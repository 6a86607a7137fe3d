package provider_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/provider"
)

// However many doors hang, another one reads at once, and all together hardly take more than there is.
func TestDoorsThatHangLeaveSomeForOthers(t *testing.T) {
	check(t, func(rt *rapid.T) {
		all, hanging := rapid.IntRange(1, 40).Draw(rt, "reads"), rapid.IntRange(1, 6).Draw(rt, "hanging doors")
		hangs, works := &source{hang: true}, &source{latency: 10 * time.Millisecond}
		doors := map[string]provider.Door{"works": {Source: works}}
		for i := range hanging {
			doors[fmt.Sprintf("hangs-%d", i)] = provider.Door{Source: hangs}
		}
		r := provider.NewRouter(doors, provider.Options{Reads: all, InFlight: 100})
		defer r.Close()
		var wg sync.WaitGroup
		for i := range 50 {
			for d := range hanging {
				wg.Go(func() { ask(r, of(1), fmt.Sprintf("hangs-%d/s%d", d, i)) })
			}
		}
		synctest.Wait()
		if n := hangs.reads(); n > all+hanging || n < min(all/2, 50) {
			rt.Errorf("%d doors that hang take %d reads of %d", hanging, n, all)
		}
		for i := range 10 {
			if took := timed(func() { ask(r, of(1), fmt.Sprintf("works/s%d", i)) }); took != 10*time.Millisecond {
				rt.Errorf("beside them, a read took %s", took)
			}
		}
		wg.Wait()
		if !provider.Idle(r) {
			rt.Error("something is left over")
		}
	})
}

// Who waits because others took all has his turn as soon as one of theirs ends.
func TestARoomThatAnotherDoorGivesBackIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &source{latency: 300 * time.Millisecond}, &source{latency: 50 * time.Millisecond}
		r := provider.NewRouter(map[string]provider.Door{"slow": {Source: slow, Host: "a"}, "quick": {Source: quick, Host: "b"}}, provider.Options{Reads: 3, InFlight: 100})
		defer r.Close()
		var wg sync.WaitGroup
		for _, ref := range []string{"quick/a", "slow/a", "slow/b"} {
			wg.Go(func() { ask(r, of(1), ref) })
			synctest.Wait()
		}
		if n := slow.reads(); n != 1 {
			t.Errorf("%d reads of one door, where two of three are taken", n)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if n := slow.reads(); n != 2 {
			t.Errorf("%d reads of that door when the other's has ended", n)
		}
		wg.Wait()
		if !provider.Idle(r) {
			t.Error("something is left over")
		}
	})
}
