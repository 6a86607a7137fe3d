package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/cli"
	"github.com/drone-entra/drone-entra/internal/emulator"
)

const bindings = 10_000

// served is the one extension that all benchmarks of this process use: the program itself, by its own front door.
var served struct {
	sync.Once
	address string
	err     error
	stop    func()
}

func stopServed() {
	if served.stop != nil {
		served.stop()
	}
}

func serve(b *testing.B) string {
	served.Do(func() { served.address, served.stop, served.err = startServe() })
	if served.err != nil {
		b.Fatal(served.err)
	}
	return served.address
}

// startServe runs `drone-entra serve` against the emulator at production host names, which the usual variables for a proxy
// and for a CA lead to it.
func startServe() (address string, stop func(), err error) {
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return "", nil, err
	}
	token, ca, file := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "drone-entra.yaml")
	const tenant, client = "72f988bf-0000-4000-8000-000000000001", "3f2a4c55-0000-4000-8000-000000000002"
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	for n := range vaults {
		vault := e.Vault(fmt.Sprintf("kv-load-%d.vault.azure.net", n), tenant)
		vault.Allow(client)
		for i := range coldNames {
			vault.Set(fmt.Sprintf("secret-%d", i), "a value of about this length, as secrets are")
		}
	}
	err = e.ProjectToken(token, emulator.DefaultSubject)
	for name, content := range map[string][]byte{ca: e.CAPEM(), file: configuration(dir)} {
		if err == nil {
			err = os.WriteFile(name, content, 0o600)
		}
	}
	environment := map[string]string{
		"DRONE_SECRET": sharedKey, "AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": client, "AZURE_FEDERATED_TOKEN_FILE": token,
	}
	for name, value := range map[string]string{"HTTPS_PROXY": e.ProxyURL(), "SSL_CERT_FILE": ca} { // read by the standard library
		if err == nil {
			err = os.Setenv(name, value)
		}
	}
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	log, ended := newAddressLog(), make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, cli.Env{
			Args: []string{"serve", "--config", file}, Stdout: io.Discard, Stderr: log,
			Getenv: func(name string) string { return environment[name] },
		})
	}()
	select {
	case address = <-log.address:
	case code := <-ended:
		err = fmt.Errorf("serve ended with %d: %s", code, log.text())
	case <-time.After(time.Minute):
		err = fmt.Errorf("serve did not start: %s", log.text())
	}
	return address, func() { cancel(); <-ended; e.Close(); _ = os.RemoveAll(dir) }, err
}

// vaults is how many there are to read from: of one, no more is read than Key Vault bears, and that is not what is measured.
const vaults = 32

// configuration has 10,000 bindings in a realistic mix, one that reads from every vault, and the record on disk.
func configuration(dir string) []byte {
	y := rules(realisticRepos, bindings)
	doors, reads := "vaults:\n", ""
	for n := range vaults {
		doors += fmt.Sprintf("  load-%d: {url: https://kv-load-%d.vault.azure.net}\n", n, n)
		reads += fmt.Sprintf("load-%d/secret-*, ", n)
	}
	y = bytes.Replace(y, []byte("vaults:\n"), []byte(doors), 1)
	y = bytes.Replace(y, []byte("bindings:\n"), fmt.Appendf(nil, "bindings:\n  - {id: everywhere, repos: [organisation-7/service-3], read: [%s]}\n", reads[:len(reads)-2]), 1)
	return fmt.Appendf(y,
		"record: {file: %s}\nlisten: {address: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {repeats: 1000000, drain: 1s}\n",
		filepath.Join(dir, "audit.jsonl"))
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

func (l *addressLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found {
		return len(p), nil
	}
	l.kept.Write(p)
	var line struct{ Message, Address string }
	if json.Unmarshal(p, &line) == nil && line.Message == "serving" {
		l.found = true
		l.address <- line.Address
	}
	return len(p), nil
}

func (l *addressLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
