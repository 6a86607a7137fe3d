// Package load measures what a request costs, side by side in one run and in turns: machines are shared and noisy, so the
// ratios are what counts. docs/performance.md says what each line means.
//
//	go test -bench . ./test/load
//
// The floor is the least that a correct net/http handler does: read a bounded body, compare its digest, verify the HMAC,
// decode it, write a fixed answer. The bare loop reads secrets with Microsoft's SDK and does nothing else. The plain extension
// is drone-go's own handler in front of that loop: one read for each request. "warm" is ours where the build has asked
// before: 10,000 bindings, the record on disk. "cold" is ours where each request is a fresh read, on record and synced before release, of
// so many vaults that none of them is asked for more than it bears. All of it reads from the same emulated Key Vault, over TLS.
package load

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

const (
	rounds      = 5
	perRound    = 600 * time.Millisecond
	connections = 8
	mostCold    = 4000 // fresh requests in a round; so many are never made
)

func TestMain(m *testing.M) {
	code := m.Run()
	if served.stop != nil {
		served.stop()
	}
	if shared.world != nil {
		shared.world.end()
	}
	_ = os.RemoveAll(built.dir)
	printSummary()
	os.Exit(code)
}

// subject is one of the things compared. prepare makes what a round needs, which is not measured, and returns the round.
type subject struct {
	name    string
	delay   time.Duration // of every answer of a vault
	prepare func() func() (run, error)
	against []*subject // what it is compared with

	perSecond, p50, p99, work, allocs, reads []float64 // one a round
}

// BenchmarkRequest compares single requests. One iteration is all rounds of all subjects.
func BenchmarkRequest(b *testing.B) {
	w, address := azure(b), serve(b)
	sdk, err := newBare(w)
	if err != nil {
		b.Fatal(err)
	}
	plainly, undisked := plain(b, sdk), serveInMemory(b)
	for b.Loop() {
		least := &subject{name: "floor", prepare: asking(floor(b), warmly)}
		warm := &subject{name: "ours, warm", prepare: asking(address, warmly), against: []*subject{least}}
		subjects := []*subject{least, warm}
		for _, d := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond} {
			loop := &subject{name: "bare SDK", delay: d, prepare: sdk.loop, against: []*subject{least}}
			simple := &subject{name: "plain extension", delay: d, prepare: asking(plainly, coldly), against: []*subject{least, loop}}
			cold := &subject{name: "ours, cold", delay: d, prepare: asking(address, coldly), against: []*subject{least, loop, simple}}
			subjects = append(subjects, loop, simple, cold)
			if d == 0 && undisked != "" {
				subjects = append(subjects, &subject{name: "ours, no disk", prepare: asking(undisked, coldly), against: cold.against})
			}
		}
		for round := range rounds + 1 { // the first only warms up
			for _, s := range subjects {
				s.measure(b, w, round > 0)
			}
		}
		printTable(subjects)
		tellRequests(b, subjects)
	}
}

// warmly are the requests of one build over and over, which has been read for in the first round.
func warmly() [][]byte { return pipeline(warmBuild) }

func coldly() [][]byte { return freshBuilds(mostCold) }

// asking sends requests, signed anew for each round as a Date lives two minutes, to an extension.
func asking(address string, requests func() [][]byte) func() func() (run, error) {
	return func() func() (run, error) {
		signed := requests()
		return func() (run, error) { return drive(address, signed, connections, perRound, 0) }
	}
}

// loop reads the same secrets as fresh builds ask for, in the same order and side by side.
func (b bare) loop() func() (run, error) {
	first := builds.Add(mostCold) - mostCold + 1
	return func() (run, error) {
		return together(connections, perRound, 0, func() (func(int) error, func()) {
			return func(i int) error {
				r := request(first+int64(i), int(first+int64(i))%coldNames, 0)
				_, err := b.read(context.Background(), r.Path, r.Name)
				return err
			}, func() {}
		})
	}
}

func (s *subject) measure(b *testing.B, w *world, counts bool) {
	round := s.prepare()
	defer w.slow(s.delay, aliases()...)()
	w.Forget()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used := processor()
	got, err := round()
	used = processor() - used
	runtime.ReadMemStats(&after)
	if err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	if !counts {
		return
	}
	n := float64(len(got.latencies))
	s.perSecond = append(s.perSecond, n/got.elapsed.Seconds())
	s.p50 = append(s.p50, micros(quantile(got.latencies, 0.5)))
	s.p99 = append(s.p99, micros(quantile(got.latencies, 0.99)))
	s.work = append(s.work, micros(used)/n)
	s.allocs = append(s.allocs, float64(after.Mallocs-before.Mallocs)/n)
	s.reads = append(s.reads, float64(w.reads())/n)
}

// of is how the throughput compares with another's: the median of the rounds' own ratios.
func (s *subject) of(other *subject) float64 { return ratio(s.perSecond, other.perSecond) }

// printTable prints medians over the rounds.
func printTable(subjects []*subject) {
	fmt.Printf("\n%-16s %8s %11s %8s %8s %11s %11s %10s %9s %8s %9s\n", "", "upstream", "requests/s", "p50 µs", "p99 µs", "CPU µs/req", "allocs/req", "reads/req", "of floor", "of bare", "of plain")
	for _, s := range subjects {
		delay := s.delay.String()
		if len(s.against) == 0 || s.name == "ours, warm" {
			delay = "-"
		}
		fmt.Printf("%-16s %8s %11.0f %8.0f %8.0f %11.0f %11.0f %10.2f", s.name, delay,
			median(s.perSecond), median(s.p50), median(s.p99), median(s.work), median(s.allocs), median(s.reads))
		for i, other := range s.against {
			fmt.Printf(" %*.2f", []int{9, 8, 9}[i], s.of(other))
		}
		fmt.Println()
	}
	fmt.Println()
}

// tellRequests adds what was wanted to the summary.
func tellRequests(b *testing.B, subjects []*subject) {
	warm := subjects[1].of(subjects[0])
	b.ReportMetric(warm, "warm/floor")
	tell(2, "warm: requests a second", fmt.Sprintf("%.2f of the floor", warm), "0.80", warm >= 0.8)
	for _, cold := range subjects[2:] {
		if len(cold.against) < 3 {
			continue
		}
		loop, simple := cold.against[1], cold.against[2]
		figure := fmt.Sprintf("%.2f of the bare SDK, %.2f of a plain extension", cold.of(loop), cold.of(simple))
		if median(cold.work) > 0 {
			figure += fmt.Sprintf("; by processor time %.2f and %.2f", ratio(loop.work, cold.work), ratio(simple.work, cold.work))
		}
		what := fmt.Sprintf("cold: requests a second, vaults answer after %s", cold.delay)
		switch {
		case cold.name != "ours, cold":
			tellOnly(3, "the same without a disk under the record", figure)
		case cold.delay > 0:
			tellOnly(3, what, figure)
		default:
			b.ReportMetric(cold.of(subjects[0]), "cold/floor")
			b.ReportMetric(cold.of(loop), "cold/bare")
			b.ReportMetric(cold.of(simple), "cold/plain")
			tell(3, what, figure, "0.50 of the bare SDK", cold.of(loop) >= 0.5)
		}
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile of nothing is nothing.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(q*float64(len(sorted)-1))]
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio is the median of the rounds' own ratios.
func ratio(values, others []float64) float64 {
	var all []float64
	for i := range values {
		all = append(all, values[i]/others[i])
	}
	return median(all)
}
