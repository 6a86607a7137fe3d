package app

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"crypto/rand"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/emulator"
)

// Sample is the configuration that Dev runs when it is given none.
//
//go:embed sample.yaml
var Sample []byte

// What stands for the identities of a configuration in the emulated Entra, where it leaves them to the environment.
const (
	devTenant = "72f988bf-0000-4000-8000-000000000001"
	devClient = "3f2a4c55-0000-4000-8000-000000000002"
)

// DevOptions say what Dev runs.
type DevOptions struct {
	Config  []string // files of one's own; empty: the sample
	Address string   // where to listen; empty: 127.0.0.1:3000, or another port if that is taken
	Getenv  func(string) string
	Log     io.Writer
	Colour  bool
}

// Dev is the extension on an emulated Entra and Key Vault, in this process and over real TLS. Everything that it writes
// lies in Dir, which Close removes.
type Dev struct {
	*App
	Dir      string
	Config   string // the sample's file, or the first of one's own
	Problems config.Problems
	Key      string            // of the pool "default", or of the only one
	Keys     map[string]string // by pool
	Own      bool              // a configuration of one's own
	Moved    bool              // 127.0.0.1:3000 was taken

	emulator *emulator.Emulator
	config   *config.Config
	gate     *gate
}

// NewDev starts the emulator, projects a token as Kubernetes would, fills the vaults, and builds the extension. Problems
// of a configuration of one's own are in Dev.Problems; with an error among them the rest is nil and err is ErrConfig.
func NewDev(o DevOptions) (d *Dev, err error) {
	d = &Dev{Own: len(o.Config) > 0, gate: &gate{out: o.Log}, Keys: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.clean())
		}
	}()
	if d.Dir, err = os.MkdirTemp("", "drone-entra-dev-"); err != nil {
		return d, err
	}
	if err := d.load(o.Config); err != nil {
		return d, err
	}
	if d.emulator, err = emulator.Start(emulator.Options{}); err != nil {
		return d, err
	}
	environment, err := d.emulate(o.Getenv)
	if err != nil {
		return d, err
	}
	d.listen(o.Address)
	d.App, err = New(d.config, Env{
		Getenv: environment, Transport: d.emulator.Transport(), Log: d.gate, Terminal: o.Colour,
	})
	return d, err
}

// ErrConfig says that a configuration has errors, which are in Dev.Problems.
var ErrConfig = errors.New("the configuration has errors")

func (d *Dev) load(paths []string) error {
	if !d.Own {
		sample := filepath.Join(d.Dir, "drone-entra.yaml")
		if err := os.WriteFile(sample, Sample, 0o600); err != nil {
			return err
		}
		paths = []string{sample}
	}
	d.Config = paths[0]
	if d.config, d.Problems = config.Load(paths); d.config == nil {
		return ErrConfig
	}
	return nil
}

// emulate makes every vault and identity of the configuration in the emulator, and returns the environment in which the
// extension finds them. Nothing of the real one but the runners' keys comes through: a client secret of a laptop's own
// Azure login is none of the extension's business here.
func (d *Dev) emulate(getenv func(string) string) (func(string) string, error) {
	token := filepath.Join(d.Dir, "azure-identity-token")
	if err := d.emulator.ProjectToken(token, emulator.DefaultSubject); err != nil {
		return nil, err
	}
	environment := map[string]string{
		"AZURE_TENANT_ID": devTenant, "AZURE_CLIENT_ID": devClient, "AZURE_FEDERATED_TOKEN_FILE": token,
	}
	for name, identity := range d.config.Identities {
		if !identity.Managed {
			identity.AssertionFile = token
			d.config.Identities[name] = identity
		}
		d.register(identity)
	}
	for _, v := range d.config.Vaults {
		identity := d.config.Identities[v.Identity]
		d.emulator.Vault(v.Host, tenantOf(identity)).Allow(clientOf(identity))
	}
	d.fill()
	if err := d.makeKeys(getenv, environment); err != nil {
		return nil, err
	}
	return func(name string) string { return environment[name] }, nil
}

func (d *Dev) register(i config.Identity) {
	if i.Managed {
		d.emulator.ManagedIdentity(clientOf(i), tenantOf(i))
		return
	}
	d.emulator.Register(emulator.App{Tenant: tenantOf(i), ClientID: clientOf(i)})
}

func tenantOf(i config.Identity) string {
	if i.TenantID == "" {
		return devTenant
	}
	return i.TenantID
}

func clientOf(i config.Identity) string {
	if i.ClientID == "" && !i.Managed {
		return devClient
	}
	return i.ClientID
}

// makeKeys gives each pool a key: the one of the environment where it is set there, else one made up.
func (d *Dev) makeKeys(getenv func(string) string, environment map[string]string) error {
	pools := maps.Clone(d.config.Pools)
	if len(pools) == 0 {
		pools = map[string]config.Pool{"default": defaultPool(config.Key{ID: "dev", Env: "DRONE_SECRET"})}
	}
	for name, pool := range pools {
		variable, value := "DRONE_ENTRA_DEV_KEY_"+name, ""
		for _, k := range pool.Keys {
			if k.Env != "" && value == "" {
				value = getenv(k.Env)
			}
		}
		if value == "" {
			var b [24]byte
			_, _ = rand.Read(b[:])
			value = hex.EncodeToString(b[:])
		}
		environment[variable], d.Keys[name] = value, value
		pools[name] = config.Pool{Name: name, Keys: []config.Key{{ID: pool.Keys[0].ID, Env: variable}}}
	}
	d.config.Pools = pools
	names := slices.Sorted(maps.Keys(d.Keys))
	if d.Key = d.Keys["default"]; d.Key == "" {
		d.Key = d.Keys[names[0]]
	}
	return nil
}

// listen puts the extension on the loopback address, whatever the configuration says of listening, and its record into Dir.
func (d *Dev) listen(address string) {
	if address == "" {
		address = config.DefaultAddress
		probe, err := net.Listen("tcp", address)
		if err != nil {
			address, d.Moved = "127.0.0.1:0", true
		} else {
			_ = probe.Close()
		}
	}
	d.config.Listen = config.Listen{Address: address, Encrypt: d.config.Listen.Encrypt}
	d.config.Limits.Drain = 0
	d.config.Record.File = filepath.Join(d.Dir, "audit.jsonl")
	d.config.Log = config.Log{Level: d.config.Log.Level, Format: "text"}
}

// Vaults lists the emulated vaults' addresses, for people.
func (d *Dev) Vaults() []string {
	hosts := map[string]bool{}
	for _, v := range d.config.Vaults {
		hosts[v.URL] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// OpenLog lets the extension's log through, which a story would be lost in.
func (d *Dev) OpenLog() { d.gate.open.Store(true) }

// Close ends everything and removes Dir. It is for a Dev whose Run has ended, or that is not run.
func (d *Dev) Close() error { return d.clean() }

func (d *Dev) clean() error {
	if d.emulator != nil {
		d.emulator.Close()
	}
	if d.Dir == "" {
		return nil
	}
	return os.RemoveAll(d.Dir)
}

// Endpoint is what a runner's DRONE_SECRET_PLUGIN_ENDPOINT is set to.
func (d *Dev) Endpoint() string { return fmt.Sprintf("http://%s", d.Addr()) }

// gate is a writer that drops everything until it is opened.
type gate struct {
	out  io.Writer
	open atomic.Bool
}

func (g *gate) Write(p []byte) (int, error) {
	if !g.open.Load() {
		return len(p), nil
	}
	return g.out.Write(p)
}
