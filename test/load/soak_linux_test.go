package load

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// BenchmarkSoak asks for as many different things as it can for a while, never the same twice but for one in eight: secrets of
// 32 vaults for ever new repositories and builds, repeats, names that are not there, repositories and aliases that may not be
// read, and signatures that prove nothing. What it leaves behind must be no more than what it found.
func BenchmarkSoak(b *testing.B) {
	const clients, soak, rest = 16, 20 * time.Second, 2 * time.Second
	for b.Loop() {
		c := startChild(b, func(dir string) []byte { return small(dir, "", aliases()...) })
		large := startChild(b, configuration)
		time.Sleep(rest)
		idle, _ := c.memory(b)
		idleLarge, _ := large.memory(b)
		large.stop(b)
		before := c.descriptors()
		all, statuses := varied(b, c, clients, soak)
		end, peak := c.memory(b)
		during := c.descriptors()
		after := c.hungUp(azure(b), before)
		n := len(all.latencies)
		fmt.Printf("\n%d varied requests in %s:", n, all.elapsed.Round(time.Second))
		for status := range statuses {
			if count := statuses[status].Load(); count > 0 {
				fmt.Printf(" %d with %d", count, status)
			}
		}
		fmt.Printf("\n%-30s %8s %8s\n%-30s %8.1f %8d\n%-30s %8.1f %8s\n%-30s %8.1f %8s\n%-30s %8.1f %8d\n%-30s %8s %8d\n\n", "", "MiB", "files",
			"idle", idle, before, "idle, 10,000 bindings", idleLarge, "", "at most", peak, "",
			"at the end", end, during, "once the vaults have hung up", "", after)
		tell(8, "memory, idle", fmt.Sprintf("%.1f MiB (%.1f with 10,000 bindings)", idle, idleLarge), "30 MiB", idle <= 30)
		tell(8, fmt.Sprintf("memory at the end of %d varied requests", n), fmt.Sprintf("%.1f MiB, %.1f at most", end, peak), "128 MiB", end <= 128)
		tell(8, "open files once they are over", fmt.Sprintf("%d, %d before", after, before), "no more", after <= before)
		c.stop(b)
		c.verify(b)
	}
}

// hungUp has the vaults close their connections, which the program would keep for a minute and a half, and returns how many
// files it has open once it has seen that, or after a while.
func (c *child) hungUp(w *world, want int) (open int) {
	for _, alias := range aliases() { // whose connections the emulator closes for it
		defer w.Fault(w.vault(alias).Target(), emulator.Fault{Kind: emulator.ExpiredCertificate})()
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if open = c.descriptors(); open <= want {
			break
		}
	}
	return open
}

// varied asks for the time, and counts the answers by their status.
func varied(b *testing.B, c *child, clients int, d time.Duration) (run, *[600]atomic.Int64) {
	b.Helper()
	var statuses [600]atomic.Int64
	got, err := together(clients, d, 0, func() (func(int) error, func()) {
		asker := &client{address: c.address}
		last := builds.Add(1)
		return func(i int) error {
			build := builds.Add(1)
			r := of(request(build, int(build%coldNames), 0), int(build), int(build%977))
			want := 200
			switch i / clients % 8 {
			case 1:
				r = of(request(last, int(last%coldNames), i), int(last), int(last%977))
			case 2:
				r.Name, want = fmt.Sprintf("secret-none-%d", build), 404
			case 3:
				r.Repo.Slug, want = fmt.Sprintf("stranger-%d/service", build), 404
			case 4:
				r.Path, want = fmt.Sprintf("elsewhere-%d", build), 404
			case 5:
				r.Build.Event, r.Build.Ref, want = "pull_request", fmt.Sprintf("refs/pull/%d/head", build), 404
			}
			if want == 200 {
				last = r.Build.Number
			}
			signed := sign(r)
			if i/clients%8 == 6 {
				signed, want = append(signed[:len(signed)-1], ' '), 401
			}
			status, err := asker.ask(signed)
			if err == nil {
				statuses[status].Add(1)
				if status != want && status != 429 {
					err = fmt.Errorf("answered with %d instead of %d", status, want)
				}
			}
			return err
		}, asker.close
	})
	if err != nil {
		b.Fatal(err)
	}
	return got, &statuses
}
