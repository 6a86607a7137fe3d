package load

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

const (
	tenantID = "72f988bf-0000-4000-8000-000000000001"
	clientID = "3f2a4c55-0000-4000-8000-000000000002"

	value     = "a value of about this length, as secrets are"
	coldNames = 1000 // secrets of each vault

	// vaults is how many there are to read from: of one, no more is read than Key Vault bears, and that is not what is measured.
	vaults = 32
)

// world is the emulated Azure that everything of this process reads from, and what leads to it.
type world struct {
	*emulator.Emulator
	dir         string
	environment map[string]string // of an extension, and of this process as far as the standard library looks at it
}

// shared is made when the first benchmark wants it, and ended by TestMain.
var shared struct {
	sync.Once
	world *world
	err   error
}

func azure(b testing.TB) *world {
	b.Helper()
	shared.Do(func() { shared.world, shared.err = newWorld() })
	if shared.err != nil {
		b.Fatal(shared.err)
	}
	return shared.world
}

// newWorld starts the emulator, which has production host names: the usual variables for a proxy and for a CA lead there.
func newWorld() (*world, error) {
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	w := &world{Emulator: e, dir: dir}
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	w.environment = map[string]string{
		"DRONE_SECRET": sharedKey, "AZURE_TENANT_ID": tenantID, "AZURE_CLIENT_ID": clientID, "AZURE_FEDERATED_TOKEN_FILE": token,
		"HTTPS_PROXY": e.ProxyURL(), "SSL_CERT_FILE": ca,
	}
	e.Register(emulator.App{Tenant: tenantID, ClientID: clientID})
	for _, alias := range aliases() {
		w.fill(alias)
	}
	err = errors.Join(e.ProjectToken(token, emulator.DefaultSubject), os.WriteFile(ca, e.CAPEM(), 0o600))
	for _, name := range []string{"HTTPS_PROXY", "SSL_CERT_FILE"} {
		err = errors.Join(err, os.Setenv(name, w.environment[name]))
	}
	return w, err
}

// vault is the emulated one behind an alias.
func (w *world) vault(alias string) *emulator.Vault {
	return w.Vault("kv-"+alias+".vault.azure.net", tenantID)
}

// fill gives the vault behind an alias its secrets, and lets us read them.
func (w *world) fill(alias string) {
	vault := w.vault(alias)
	vault.Allow(clientID)
	for i := range coldNames {
		vault.Set(fmt.Sprintf("secret-%d", i), value)
	}
}

// aliases are those of the vaults that cold reads are spread over.
func aliases() (all []string) {
	for n := range vaults {
		all = append(all, fmt.Sprintf("load-%d", n))
	}
	return all
}

// slow delays every answer of these vaults until it is undone.
func (w *world) slow(d time.Duration, aliases ...string) (undo func()) {
	var all []func()
	for _, alias := range aliases {
		if d > 0 {
			all = append(all, w.Fault(w.vault(alias).Target(), emulator.Fault{Kind: emulator.Delay, Wait: d}))
		}
	}
	return func() {
		for _, remove := range all {
			remove()
		}
	}
}

// reads is how many secrets the vaults have given out since Forget.
func (w *world) reads() (n int) {
	for _, seen := range w.Requests() {
		if seen.Token && seen.Status == 200 && strings.HasPrefix(seen.Path, "/secrets/") {
			n++
		}
	}
	return n
}

func (w *world) end() {
	w.Close()
	_ = os.RemoveAll(w.dir)
}
