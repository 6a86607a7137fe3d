package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

const threeDoors = `
vaults:
  shared:  {url: https://kv-shared.vault.azure.net}
  a:  {url: https://kv-slow-a.vault.azure.net}
  b:  {url: https://kv-slow-b.vault.azure.net}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/*", "a/*", "b/*"]}
`

// Two vaults that answer slowly are asked for ever more by clients that don't wait, and the program may open few files. What it
// holds towards the vaults leaves some for everything else: another vault's secrets come, and nothing fails for want of a file.
func TestV10VaultsThatAreSlowLeaveDescriptorsForOthers(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, threeDoors, openFiles(320))
	f.good(t)
	for _, host := range []string{"kv-slow-a.vault.azure.net", "kv-slow-b.vault.azure.net"} {
		f.Emulator.Fault(emulator.Host(host), emulator.Fault{Kind: emulator.Delay, Wait: 3 * time.Second})
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var asked atomic.Int64
	for range 40 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := asked.Add(1)
				b := push("acme/app").number(100_000 + n)
				conn, err := net.DialTimeout("tcp", f.Address, patience)
				if err != nil {
					continue
				}
				_, _ = conn.Write(genuine(b.body([]string{"a", "b"}[n%2], fmt.Sprintf("s%d", n))).sign(runnerKey, five).bytes())
				_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		})
	}
	most := 0
	for range 20 {
		time.Sleep(100 * time.Millisecond)
		if value, err := f.find(f.next(), "shared/ci-token"); err != nil || value != f.valueAt(t, "kv-shared/ci-token") {
			t.Errorf("the other vault's secret: %q, %v", value, err)
		}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.child.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(open))
	}
	close(stop)
	clients.Wait()
	t.Logf("%d files of 320 were open at most, after %d requests", most, asked.Load())
	if most < 100 {
		t.Error("the slow vaults took hardly any: this shows nothing")
	}
	if n := strings.Count(f.out.String(), "too many open files"); n > 0 {
		t.Errorf("%d times there were too many open files", n)
	}
}
