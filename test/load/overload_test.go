package load

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// BenchmarkOverload offers ten times what a vault bears: four reads at once (limits.in_flight), each of 50 ms. What it
// bears is measured first, and what one client alone meets is measured in turns with the flood.
func BenchmarkOverload(b *testing.B) {
	const inFlight, upstream, times, flood = 4, 50 * time.Millisecond, 10, 3 * time.Second
	w := azure(b)
	w.fill("busy")
	defer w.slow(upstream, "busy")()
	for b.Loop() {
		c := startChild(b, func(dir string) []byte { return small(dir, fmt.Sprintf("in_flight: %d", inFlight), "busy") })
		alone := func(clients int) run {
			got, err := drive(c.address, busy(400), clients, 1500*time.Millisecond, 0)
			if err != nil {
				b.Fatal(err)
			}
			return got
		}
		alone(1) // the first connection
		full := alone(inFlight)
		bears := float64(len(full.latencies)) / full.elapsed.Seconds()
		var unloaded, accepted, refused, share, other []float64 // one a round; ms
		for range 3 {
			unloaded = append(unloaded, millis(quantile(alone(1).latencies, 0.99)))
			answers := offer(c.address, busy(int(times*bears*flood.Seconds())), flood)
			n := 0
			for status, took := range answers {
				if n += len(took); status != http.StatusOK && status != http.StatusTooManyRequests {
					b.Errorf("%d were answered with %d", len(took), status)
				}
			}
			share = append(share, float64(len(answers[200]))/float64(n))
			other = append(other, millis(quantile(answers[429], 0.5)))
			accepted = append(accepted, millis(quantile(answers[200], 0.99)))
			refused = append(refused, millis(quantile(answers[429], 0.99)))
		}
		fmt.Printf("\nten times %.0f requests a second\n%-16s %8s %9s %9s\n", bears, "", "share", "p50 ms", "p99 ms")
		fmt.Printf("%-16s %8s %9s %9.1f\n%-16s %8.2f %9s %9.1f\n%-16s %8.2f %9.1f %9.1f\n\n", "alone", "", "", median(unloaded),
			"accepted, 200", median(share), "", median(accepted), "refused, 429", 1-median(share), median(other), median(refused))
		slower := ratio(accepted, unloaded)
		tellOnly(7, "ten times the load", fmt.Sprintf("%.0f%% accepted, their p99 %.0f ms (%.0f times of alone); 429 after %.1f ms, p99 %.1f",
			100*median(share), median(accepted), slower, median(other), median(refused)))
		c.stop(b)
		c.verify(b)
	}
}

// busy are n fresh builds that ask for secrets of the vault that is busy.
func busy(n int) (requests [][]byte) {
	for range n {
		build := builds.Add(1)
		requests = append(requests, sign(at(request(build, int(build%coldNames), 0), "busy")))
	}
	return requests
}

// offer sends the requests evenly within the time, whatever becomes of those before, and returns how long each answer took
// from when it was due, by status; 0 is for what was not answered at all.
func offer(address string, requests [][]byte, within time.Duration) map[int][]time.Duration {
	var mu sync.Mutex
	answers := map[int][]time.Duration{}
	var free []*client
	take := func() *client {
		mu.Lock()
		defer mu.Unlock()
		if last := len(free) - 1; last >= 0 {
			c := free[last]
			free = free[:last]
			return c
		}
		return &client{address: address}
	}
	var asking sync.WaitGroup
	began := time.Now()
	for i, r := range requests {
		due := began.Add(within * time.Duration(i) / time.Duration(len(requests)))
		time.Sleep(time.Until(due))
		asking.Go(func() {
			c := take()
			status, err := c.ask(r)
			took := time.Since(due)
			if err != nil {
				status = 0
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status] = append(answers[status], took)
			free = append(free, c)
		})
	}
	asking.Wait()
	for _, c := range free {
		c.close()
	}
	return answers
}
