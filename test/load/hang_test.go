package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// BenchmarkHang measures a vault beside another for which 200 clients ask: in one process that other one hangs from the
// beginning, in a second process it answers. The two are measured in turns, from the first moment until the hanging one is
// left alone.
func BenchmarkHang(b *testing.B) {
	const crowd, measured = 200, 1500 * time.Millisecond
	w := azure(b)
	w.fill("answers")
	w.fill("hangs")
	for b.Loop() {
		remove := w.Fault(w.vault("hangs").Target(), emulator.Fault{Kind: emulator.Hang})
		without, with := newNeighbour(b, "answers"), newNeighbour(b, "hangs")
		both := []*neighbour{without, with}
		ctx, cancel := context.WithCancel(context.Background())
		var asking sync.WaitGroup
		for _, n := range both {
			for range crowd {
				asking.Go(func() { n.pester(ctx) })
			}
		}
		for range 2 * rounds {
			for _, n := range both {
				n.measure(b, measured/2)
			}
		}
		cancel()
		remove()
		asking.Wait()
		fmt.Printf("\n%-24s %9s %9s %26s\n", "a vault beside one that", "p50 ms", "p99 ms", "answered there: 200, else")
		for _, n := range both {
			fmt.Printf("%-24s %9.2f %9.2f %20d, %4d\n", n.other, median(n.p50), median(n.p99), n.good.Load(), n.bad.Load())
			n.child.stop(b)
		}
		fmt.Println()
		if with.bad.Load() == 0 || without.bad.Load() > 0 {
			b.Errorf("%d were refused where the vault hangs, %d where it answers", with.bad.Load(), without.bad.Load())
		}
		tellOnly(6, "a vault beside one that hangs", fmt.Sprintf("p50 %.2f and p99 %.2f times of what it is beside one that answers",
			ratio(with.p50, without.p50), ratio(with.p99, without.p99)))
	}
}

// neighbour is an extension with two vaults: one is measured, and for the other one many ask.
type neighbour struct {
	other     string // the alias of the other one
	child     *child
	good, bad atomic.Int64 // answers about that one
	p50, p99  []float64    // of the one that is measured, in ms; one a round
}

func newNeighbour(b *testing.B, other string) *neighbour {
	return &neighbour{other: other, child: startChild(b, func(dir string) []byte { return small(dir, "", "load-0", other) })}
}

// pester asks for the other vault's secrets, some seconds after the last answer each time: those that are answered must not be
// more work than those that hang.
func (n *neighbour) pester(ctx context.Context) {
	c := &client{address: n.child.address}
	defer c.close()
	for ctx.Err() == nil {
		build := builds.Add(1)
		status, err := c.ask(sign(at(request(build, int(build%coldNames), 0), n.other)))
		if err == nil && status == 200 {
			n.good.Add(1)
		} else {
			n.bad.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

// measure asks for secrets of the one vault, less often than it could answer, so that what is measured is not a queue of ours.
func (n *neighbour) measure(b *testing.B, d time.Duration) {
	b.Helper()
	var requests [][]byte
	for range 400 {
		requests = append(requests, sign(request(buildOfFirstVault(), len(requests), 0)))
	}
	got, err := drive(n.child.address, requests, 4, d, 10*time.Millisecond)
	if err != nil {
		b.Fatalf("beside one that %s: %v", n.other, err)
	}
	n.p50 = append(n.p50, millis(quantile(got.latencies, 0.5)))
	n.p99 = append(n.p99, millis(quantile(got.latencies, 0.99)))
}
