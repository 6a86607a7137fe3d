package load

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// BenchmarkLife starts the program, waits until it is ready and ends it, some times over, and weighs it.
func BenchmarkLife(b *testing.B) {
	const drain = time.Second // the least that limits.drain can be
	info, err := os.Stat(binary(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var ready, readyLarge, end []float64
		for range rounds {
			c := startChild(b, func(dir string) []byte { return small(dir, "", "load-0", "load-1") })
			ready = append(ready, millis(c.ready))
			end = append(end, millis(c.stop(b)-drain))
			c = startChild(b, configuration)
			readyLarge = append(readyLarge, millis(c.ready))
			c.stop(b)
		}
		size := float64(info.Size()) / (1 << 20)
		fmt.Printf("\n%-42s %8.0f ms\n%-42s %8.0f ms\n%-42s %8.0f ms\n%-42s %8.1f MiB\n\n", "from its start until ready", median(ready),
			"the same with 10,000 bindings, 32 vaults", median(readyLarge), "from SIGTERM to its end, beyond the drain", median(end), "the binary", size)
		tell(9, "from its start until ready", fmt.Sprintf("%.0f ms (%.0f with 10,000 bindings, 32 vaults)", median(ready), median(readyLarge)), "200 ms", median(ready) <= 200)
		tellOnly(9, "from SIGTERM to its end", fmt.Sprintf("%.0f ms beyond the drain", median(end)))
		tell(9, "size of the binary", fmt.Sprintf("%.1f MiB", size), "25 MiB", size <= 25)
	}
}
