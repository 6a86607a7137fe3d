// Package load measures what a request costs, side by side in one run: machines are shared and noisy, so the ratios are
// what counts.
//
//	go test -bench . ./test/load
//
// The floor is the least that a correct net/http handler does: read a bounded body, compare its digest, verify the HMAC,
// decode it, write a fixed answer. "warm" is the extension where the build has asked before: 10,000 bindings, the record on
// disk. "cold" is the extension where each request is a fresh read from the emulated Key Vault over TLS, on record and
// synced before release, of so many vaults that none of them is asked for more than it bears. All are driven by the same clients, in this process, in turns.
package load

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

const (
	rounds      = 5
	perRound    = time.Second
	connections = 8
)

// subject is one of the things compared.
type subject struct {
	name     string
	address  string
	requests func(round int) [][]byte // signed anew for each round, as a Date lives two minutes

	perSecond, p50, p99, allocs, ratio []float64 // one a round
}

func TestMain(m *testing.M) {
	code := m.Run()
	stopServed()
	os.Exit(code)
}

// BenchmarkRequest prints the table. One iteration is all rounds of all subjects.
func BenchmarkRequest(b *testing.B) {
	for b.Loop() {
		subjects := []*subject{
			{name: "floor", address: floor(b), requests: sameBuild},
			{name: "ours, warm", address: serve(b), requests: sameBuild},
			{name: "ours, cold", address: serve(b), requests: freshBuilds},
		}
		for round := range rounds + 1 { // the first only warms up
			for _, s := range subjects {
				s.measure(b, round)
			}
		}
		printTable(b, subjects)
	}
}

func (s *subject) measure(b *testing.B, round int) {
	requests := s.requests(round)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	latencies, elapsed, err := drive(s.address, requests, connections, perRound)
	runtime.ReadMemStats(&after)
	if err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	if round == 0 {
		return
	}
	slices.Sort(latencies)
	n := len(latencies)
	s.perSecond = append(s.perSecond, float64(n)/elapsed.Seconds())
	s.p50 = append(s.p50, micros(latencies[n/2]))
	s.p99 = append(s.p99, micros(latencies[n*99/100]))
	s.allocs = append(s.allocs, float64(after.Mallocs-before.Mallocs)/float64(n))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// printTable prints medians over the rounds; a ratio is the median of the rounds' own ratios.
func printTable(b *testing.B, subjects []*subject) {
	fmt.Printf("\n%-12s %12s %10s %10s %12s %10s\n", "", "requests/s", "p50 µs", "p99 µs", "allocs/req", "of floor")
	for _, s := range subjects {
		for i := range s.perSecond {
			s.ratio = append(s.ratio, s.perSecond[i]/subjects[0].perSecond[i])
		}
		fmt.Printf("%-12s %12.0f %10.0f %10.0f %12.0f %10.2f\n", s.name,
			median(s.perSecond), median(s.p50), median(s.p99), median(s.allocs), median(s.ratio))
		b.ReportMetric(median(s.ratio), metric(s.name)+"/floor")
	}
	fmt.Println()
}

func metric(name string) string {
	return map[string]string{"floor": "floor", "ours, warm": "warm", "ours, cold": "cold"}[name]
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
