package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/cli"
)

const bindings = 10_000

// served is the one extension of this process that benchmarks use: the program itself, by its own front door.
var served struct {
	sync.Once
	address string
	err     error
	stop    func()
}

// serve runs `drone-entra serve` in this process, so that a profile shows it.
func serve(b testing.TB) string {
	b.Helper()
	w := azure(b)
	served.Do(func() { served.address, served.stop, served.err = startServe(w, w.dir, configuration(w.dir)) })
	if served.err != nil {
		b.Fatal(served.err)
	}
	return served.address
}

// serveInMemory is another one whose record lies on no disk, to tell what of a request is the wait for it. It is empty where there
// is no such place.
func serveInMemory(b *testing.B) (address string) {
	b.Helper()
	base := inMemory()
	if base == "" {
		return ""
	}
	dir, err := os.MkdirTemp(base, "load-")
	if err != nil {
		b.Fatal(err)
	}
	address, stop, err := startServe(azure(b), dir, configuration(dir))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stop(); _ = os.RemoveAll(dir) })
	return address
}

func startServe(w *world, dir string, configuration []byte) (address string, stop func(), err error) {
	file := filepath.Join(dir, "drone-entra.yaml")
	if err := os.WriteFile(file, configuration, 0o600); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	log, ended := newAddressLog(), make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, cli.Env{
			Args: []string{"serve", "--config", file}, Stdout: io.Discard, Stderr: log,
			Getenv: func(name string) string {
				if name == "GOMEMLIMIT" { // which serve sets for a process that is its own; the emulator and all clients are in this one
					return "off"
				}
				return w.environment[name]
			},
		})
	}()
	select {
	case address = <-log.address:
	case code := <-ended:
		err = fmt.Errorf("serve ended with %d: %s", code, log.text())
	case <-time.After(patience):
		err = fmt.Errorf("serve did not start: %s", log.text())
	}
	return address, func() { cancel(); <-ended }, err
}

// configuration has 10,000 bindings in a realistic mix, one that reads from every vault, and the record on disk.
func configuration(dir string) []byte {
	y := rules(realisticRepos, bindings)
	doors, everywhere := doorsOf(aliases()...)
	y = bytes.Replace(y, []byte("vaults:\n"), []byte("vaults:\n"+doors), 1)
	y = bytes.Replace(y, []byte("bindings:\n"), []byte("bindings:\n"+everywhere), 1)
	return append(y, program(dir, "repeats: 1000000")...)
}

// small is a configuration with one binding, by which every repository of an organisation may read from these vaults.
func small(dir, limits string, aliases ...string) []byte {
	doors, everywhere := doorsOf(aliases...)
	return []byte("version: 1\nvaults:\n" + doors + "bindings:\n" + everywhere + program(dir, limits))
}

// doorsOf are the vaults behind the aliases, and a binding that reads from all of them.
func doorsOf(aliases ...string) (doors, binding string) {
	var reads []string
	for _, alias := range aliases {
		doors += fmt.Sprintf("  %s: {url: https://kv-%s.vault.azure.net}\n", alias, alias)
		reads = append(reads, alias+"/secret-*")
	}
	return doors, fmt.Sprintf("  - {id: everywhere, repos: [\"organisation-*/service-*\"], read: [%s]}\n", strings.Join(reads, ", "))
}

// program is what a configuration says of the process. Limits are in addition to the drain.
func program(dir, limits string) string {
	if limits != "" {
		limits += ", "
	}
	return fmt.Sprintf("record: {file: %s}\nlisten: {address: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {%sdrain: 1s}\n",
		filepath.Join(dir, "audit.jsonl"), limits)
}

// rules are n bindings and two denies.
func rules(repos func(i int) string, n int) []byte {
	var y bytes.Buffer
	y.WriteString("version: 1\nvaults:\n  load: {url: https://kv-load.vault.azure.net}\n  rare: {url: https://kv-rare.vault.azure.net}\nbindings:\n")
	for i := range n {
		read := `"load/secret-*"`
		if i%1000 == 999 {
			read += fmt.Sprintf(`, "rare/token-%d"`, i%10_000/1000)
		}
		fmt.Fprintf(&y, "  - {id: b%d, repos: [%s], when: {push: {branches: [main, \"release/*\"]}}, read: [%s]}\n", i, repos(i), read)
	}
	y.WriteString("denies:\n  - {id: no-root, read: [\"*/root-*\"]}\n  - {id: no-robots, actors: [robot], read: [\"load/human-*\"]}\n")
	return y.Bytes()
}

// realisticRepos spreads bindings over 200 organisations: most for one repository or a family of them, a few for a whole
// organisation.
func realisticRepos(i int) string {
	switch organisation, service := i%200, i/200; {
	case i < 200:
		return fmt.Sprintf(`"organisation-%d/*"`, organisation)
	case i%10 == 0:
		return fmt.Sprintf(`"organisation-%d/service-%d*"`, organisation, service)
	default:
		return fmt.Sprintf(`"organisation-%d/service-%d"`, organisation, service)
	}
}

// addressLog takes the log of the extension, keeps its beginning, and gives the address that it serves at.
type addressLog struct {
	mu      sync.Mutex
	kept    bytes.Buffer
	found   bool
	address chan string
}

func newAddressLog() *addressLog { return &addressLog{address: make(chan string, 1)} }

// Write takes what may be several lines, or a part of one.
func (l *addressLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.Len() < 64<<10 {
		l.kept.Write(p)
	}
	for rest := l.kept.Bytes(); !l.found; {
		text, after, whole := bytes.Cut(rest, []byte("\n"))
		if rest = after; !whole {
			break
		}
		var line struct{ Message, Address string }
		if json.Unmarshal(text, &line) == nil && line.Message == "serving" {
			l.found = true
			l.address <- line.Address
		}
	}
	return len(p), nil
}

func (l *addressLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
