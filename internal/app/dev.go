package app

import (
	"crypto/rand"
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
	"strings"
	"sync"
	"sync/atomic"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// sample is the configuration that Dev runs when it is given none.
//
//go:embed sample.yaml
var sample []byte

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
//
// keys is asked by the extension's reload and by whoever starts a client, so mu guards it. The rest is set by NewDev.
type Dev struct {
	*App
	Dir      string
	Config   string // the sample's file, or the first of one's own
	Problems config.Problems
	Own      bool // a configuration of one's own
	Moved    bool // 127.0.0.1:3000 was taken

	emulator *emulator.Emulator
	config   *config.Config
	gate     *gate
	getenv   func(string) string // the real environment
	token    string              // file of the projected token
	address  string

	mu       sync.Mutex
	keys     map[string]string           // by pool
	versions map[config.IssuerKey]string // of the issuer's keys: what stands in the configuration → what the emulator made
}

// NewDev starts the emulator, projects a token as Kubernetes would, fills the vaults, and builds the extension. Problems
// of a configuration of one's own are in Dev.Problems; with an error among them the rest is nil and err is ErrConfig.
func NewDev(o DevOptions) (d *Dev, err error) {
	d = &Dev{Own: len(o.Config) > 0, gate: &gate{out: o.Log}, getenv: o.Getenv, keys: map[string]string{}, versions: map[config.IssuerKey]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.Dir, err = os.MkdirTemp("", "drone-entra-dev-"); err != nil {
		return d, err
	}
	paths, err := d.load(o.Config)
	if err != nil {
		return d, err
	}
	if d.emulator, err = emulator.Start(emulator.Options{}); err != nil {
		return d, err
	}
	d.token = filepath.Join(d.Dir, "azure-identity-token")
	if err = d.emulator.ProjectToken(d.token, emulator.DefaultSubject); err != nil {
		return d, err
	}
	d.listen(o.Address)
	d.adapt(d.config)
	d.App, err = New(d.config, Env{
		Getenv: d.environment, Transport: d.emulator.Transport(), Log: d.gate, Terminal: o.Colour,
		Paths: paths, Adapt: d.adapt,
	})
	return d, err
}

// ErrConfig says that a configuration has errors, which are in Dev.Problems.
var ErrConfig = errors.New("the configuration has errors")

// load reads the sample, or a configuration of one's own, and returns its paths.
func (d *Dev) load(paths []string) ([]string, error) {
	if !d.Own {
		file := filepath.Join(d.Dir, "drone-entra.yaml")
		if err := os.WriteFile(file, sample, 0o600); err != nil {
			return nil, err
		}
		paths = []string{file}
	}
	d.Config = paths[0]
	if d.config, d.Problems = config.Load(paths); d.config == nil {
		return nil, ErrConfig
	}
	return paths, nil
}

// adapt makes every vault and identity of a configuration in the emulator, gives its pools keys, and turns what it says of
// files and addresses to this process. It is called again when the configuration is edited.
//
// Values that the emulator has already stay, rotated ones included.
func (d *Dev) adapt(c *config.Config) {
	for name, identity := range c.Identities {
		if !identity.Managed && identity.AssertionManaged == "" && identity.Issuer == "" {
			identity.AssertionFile = d.token
			c.Identities[name] = identity
		}
		d.register(c, identity)
	}
	for _, v := range c.Vaults {
		identity := c.Identities[v.Identity]
		for _, client := range clientsOf(identity) {
			d.emulator.Vault(v.Host, tenantOf(identity)).Allow(client)
		}
	}
	d.issuer(c)
	d.registries(c)
	d.fill(c)
	d.makeKeys(c)
	c.Listen = config.Listen{Address: d.address, Encrypt: c.Listen.Encrypt}
	c.Limits.Drain = 0
	c.Record.File = filepath.Join(d.Dir, "audit.jsonl")
	c.Log = config.Log{Level: c.Log.Level, Format: "text"}
}

// environment is all that the extension sees of one. Nothing of the real one but the runners' keys comes through: a client
// secret of a laptop's own Azure login is none of the extension's business here.
func (d *Dev) environment(name string) string {
	if pool, ok := strings.CutPrefix(name, devKey); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.keys[pool]
	}
	return map[string]string{
		"AZURE_TENANT_ID": devTenant, "AZURE_CLIENT_ID": devClient, "AZURE_FEDERATED_TOKEN_FILE": d.token,
	}[name]
}

// devKey and a pool's name make the variable that holds its key.
const devKey = "DRONE_ENTRA_DEV_KEY_"

// makeKeys gives each pool a key, the same one whenever it is asked: that of the real environment where it is set there, else
// one made up.
func (d *Dev) makeKeys(c *config.Config) {
	pools := maps.Clone(c.Pools)
	if len(pools) == 0 {
		pools = map[string]config.Pool{secret.DefaultPool: defaultPool(config.Key{ID: "dev", Env: "DRONE_SECRET"})}
	}
	for name, pool := range pools {
		d.mu.Lock()
		if d.keys[name] == "" {
			d.keys[name] = d.keyOf(pool)
		}
		d.mu.Unlock()
		pools[name] = config.Pool{Name: name, Keys: []config.Key{{ID: pool.Keys[0].ID, Env: devKey + name}}}
	}
	c.Pools = pools
}

// keyOf finds the pool's key in the real environment, so that runners that have it can be pointed here, or makes one.
func (d *Dev) keyOf(pool config.Pool) string {
	for _, k := range pool.Keys {
		if value := d.getenv(k.Env); k.Env != "" && value != "" {
			return value
		}
	}
	var b [24]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Keys are the shared keys by pool.
func (d *Dev) Keys() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.keys)
}

// Record is the record's file.
func (d *Dev) Record() string { return d.config.Record.File }

// Rules counts what the configuration says, for people.
func (d *Dev) Rules() string { return d.config.Summary() }

// Key is the shared key of the pool "default", or of the first by name if there is none.
func (d *Dev) Key() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key := d.keys[secret.DefaultPool]; key != "" {
		return key
	}
	return d.keys[slices.Min(slices.Collect(maps.Keys(d.keys)))]
}

// listen chooses the address, whatever the configuration says of listening.
//
// The probe's port is free again for a moment; who takes it then makes New fail, with the remedy.
func (d *Dev) listen(address string) {
	if d.address = address; address != "" {
		return
	}
	d.address = config.DefaultAddress
	probe, err := net.Listen("tcp", d.address)
	if err != nil {
		d.address, d.Moved = "127.0.0.1:0", true
		return
	}
	_ = probe.Close()
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
func (d *Dev) Close() error {
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

// Write says that it wrote what it dropped: a logger must not take a closed gate for a failure.
func (g *gate) Write(p []byte) (int, error) {
	if !g.open.Load() {
		return len(p), nil
	}
	return g.out.Write(p)
}
