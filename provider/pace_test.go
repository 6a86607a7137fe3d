package provider_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/provider"
)

// A burst of builds waits for nothing; who comes right after it waits for a moment and not for the rest of the ten seconds; and
// after those the next burst waits for nothing again.
func TestABurstWaitsForNothing(t *testing.T) {
	bubble(t, provider.Options{InFlight: 10_000, Burst: 300}, 0, func(t *testing.T, r *provider.Router, s *source) {
		burst := func(name string) time.Duration {
			return timed(func() {
				var wg sync.WaitGroup
				for i := range 300 {
					wg.Go(func() { ask(r, from("crowd"), fmt.Sprintf("shared/%s-%d", name, i)) })
				}
				wg.Wait()
			})
		}
		if took := burst("first"); took != 0 {
			t.Errorf("the first burst took %s", took)
		}
		if took := timed(func() { ask(r, from("other"), "shared/alone") }); took == 0 || took > 20*time.Millisecond {
			t.Errorf("the next one waited %s", took)
		}
		time.Sleep(10*time.Second + 250*time.Millisecond) // what began is counted by quarters of a second
		if took := burst("second"); took != 0 {
			t.Errorf("the second burst took %s", took)
		}
		for range 100 { // as long as the door is idle, nothing is owed
			time.Sleep(7 * time.Second)
			if took := timed(func() { ask(r, from("other"), "shared/alone") }); took != 0 {
				t.Fatalf("one read in seven seconds waited %s", took)
			}
		}
	})
}
