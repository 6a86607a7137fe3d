package load

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// BenchmarkCrowd has 10,000 clients ask for one secret at the same moment, which nobody has read yet, each on a connection of
// its own: for one build, and for as many builds, where each release is a line that must be synced.
func BenchmarkCrowd(b *testing.B) {
	const all, upstream = 10_000, 20 * time.Millisecond
	for b.Loop() {
		fmt.Printf("\n%-24s %9s %8s %8s %6s %7s %10s %10s\n", "10,000 at once", "seconds", "p50 ms", "p99 ms", "reads", "tokens", "idle MiB", "peak MiB")
		for _, c := range []struct {
			name  string
			build func(i int) int64
		}{
			{"of one build", func(int) int64 { return vaults }},
			{"of 10,000 builds", func(i int) int64 { return vaults * int64(i+1) }},
		} {
			crowd(b, c.name, all, upstream, c.build)
		}
		fmt.Println()
	}
}

func crowd(b *testing.B, name string, all int, upstream time.Duration, build func(i int) int64) {
	w := azure(b)
	w.Forget()
	c := startChild(b, func(dir string) []byte { return small(dir, "", aliases()...) })
	defer w.slow(upstream, aliases()...)()
	var requests [][]byte
	for i := range all {
		requests = append(requests, sign(request(build(i), 0, i)))
	}
	idle, _ := c.memory(b)
	latencies, failures, elapsed := atOnce(c.address, requests)
	if len(failures) > 0 { // by design, where the disk does not take a line within a second
		fmt.Printf("%s: %d did not get their secret: %v\n", name, len(failures), failures[0])
	}
	_, peak := c.memory(b)
	reads, tokens := w.reads(), w.TokenRequests("")
	fmt.Printf("%-24s %9.2f %8.0f %8.0f %6d %7d %10.1f %10.1f\n", name, elapsed.Seconds(),
		millis(quantile(latencies, 0.5)), millis(quantile(latencies, 0.99)), reads, tokens, idle, peak)
	tell(5, "10,000 ask for one secret at once, "+name, fmt.Sprintf("%d reads and %d token in %.1f s, %.0f MiB at most", reads, tokens, elapsed.Seconds(), peak),
		"a read a second, 1 token, all answered", reads <= 1+int(elapsed/time.Second) && tokens == 1 && len(failures) == 0)
	c.stop(b)
	c.verify(b)
}

// atOnce sends each request on a connection of its own, all at the same moment.
func atOnce(address string, requests [][]byte) (latencies []time.Duration, failures []error, elapsed time.Duration) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	gate := make(chan struct{})
	for _, r := range requests {
		asking.Go(func() {
			c := &client{address: address}
			defer c.close()
			<-gate
			sent := time.Now()
			status, err := c.ask(r)
			took := time.Since(sent)
			if err == nil && status != 200 {
				err = fmt.Errorf("answered with %d", status)
			}
			mu.Lock()
			defer mu.Unlock()
			if latencies = append(latencies, took); err != nil {
				failures = append(failures, err)
			}
		})
	}
	began := time.Now()
	close(gate)
	asking.Wait()
	return latencies, failures, time.Since(began)
}
