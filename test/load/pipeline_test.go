package load

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkPipeline runs pipelines of 20 steps with 5 secrets each, one request after the other as one runner sends them,
// where a vault answers after 20 ms: through ours and through the plain extension, in turns.
func BenchmarkPipeline(b *testing.B) {
	const upstream = 20 * time.Millisecond
	w, address := azure(b), serve(b)
	sdk, err := newBare(w)
	if err != nil {
		b.Fatal(err)
	}
	plainly := plain(b, sdk)
	for b.Loop() {
		ours, theirs := &timed{name: "ours", address: address}, &timed{name: "plain extension", address: plainly}
		for round := range rounds + 1 { // the first only warms up
			for _, s := range []*timed{ours, theirs} {
				s.run(b, w, pipeline(buildOfFirstVault()), upstream, round > 0)
			}
		}
		fmt.Printf("\n%-16s %14s %8s %10s\n", "100 in turn", "ms a pipeline", "reads", "of plain")
		faster := ratio(theirs.took, ours.took)
		for _, s := range []*timed{theirs, ours} {
			fmt.Printf("%-16s %14.0f %8.0f %10.2f\n", s.name, median(s.took), median(s.reads), ratio(s.took, theirs.took))
		}
		fmt.Println()
		b.ReportMetric(faster, "x-faster")
		tell(4, "pipeline of 100 requests, vaults answer after 20ms",
			fmt.Sprintf("%.1f times as fast as a plain extension, %.0f reads", faster, median(ours.reads)), "15 times, 5 reads", faster >= 15 && median(ours.reads) == 5)
	}
}

// buildOfFirstVault is a fresh one. All use one vault, so that connections and tokens are there after the first round.
func buildOfFirstVault() int64 { return builds.Add(vaults) / vaults * vaults }

// timed is an extension and what its pipelines took.
type timed struct {
	name, address string
	took, reads   []float64 // one a round: milliseconds, and reads of vaults
}

func (s *timed) run(b *testing.B, w *world, requests [][]byte, upstream time.Duration, counts bool) {
	defer w.slow(upstream, aliases()...)()
	w.Forget()
	c := &client{address: s.address}
	defer c.close()
	began := time.Now()
	for _, r := range requests {
		if status, err := c.ask(r); err != nil || status != 200 {
			b.Fatalf("%s: %d, %v", s.name, status, err)
		}
	}
	if took := time.Since(began); counts {
		s.took, s.reads = append(s.took, millis(took)), append(s.reads, float64(w.reads()))
	}
}
