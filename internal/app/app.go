// Package app is where the rooms meet: it makes a running extension of a configuration and its surroundings.
//
// It holds no logic of its own beyond wiring, the environment's names, and what an operator sees of the whole: the log of
// events, readiness, the status. It trusts that config checked what files say; what only the surroundings can show (keys,
// addresses, a stray client secret, a record that can't be written) it checks before anything is served, and refuses to
// start with the remedy.
package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/server"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

// Env is the surroundings of the extension.
type Env struct {
	Getenv    func(string) string
	Now       func() time.Time  // nil: time.Now
	Transport http.RoundTripper // towards Entra and Key Vault; nil: the one for production
	Log       io.Writer
	Terminal  bool // Log is a terminal
	Alone     bool // the process serves and does nothing else, so that its memory may be hidden and bounded
	reads     int  // of vaults at once that there are open files for; 0: any number

	// Paths are what the configuration was loaded from; Run watches them. None: nothing is watched.
	Paths []string
	// Adapt changes a configuration that was loaded again as the first one was changed before New got it; nil: not at all.
	Adapt func(*config.Config)
	// Hangup asks to read everything again now (SIGHUP); nil: nobody does.
	Hangup <-chan os.Signal
}

// App is one extension, from New to the end of Run.
//
// record is the file itself, events the Recorder that also logs. current is replaced whole by a reload; everything else
// stays for the App's life.
type App struct {
	env     Env
	log     zerolog.Logger
	record  *audit.Record
	events  secret.Recorder
	server  *server.Server
	current atomic.Pointer[generation]
	probes  *probes
	started time.Time
	opened  bool // the start is on record
	reload  reloading
	memory  *drone.Memory
}

// New builds everything and binds the addresses, so that Run only has to serve. The error says what to change.
//
// The order matters: what costs nothing to check comes first; the record is opened before anything that may have to be
// put on record; the addresses come last, so that nobody connects to an extension that may still refuse to start.
// Whatever was begun is ended again on an error.
func New(c *config.Config, env Env) (*App, error) {
	if err := entra.CheckEnvironment(env.Getenv); err != nil {
		return nil, err
	}
	if err := c.CheckListen(Address(c.Listen, env.Getenv), truth(env.Getenv("DRONE_ENTRA_PLAIN_HTTP"))); err != nil {
		return nil, err
	}
	var warnings []string
	if env.Alone {
		warnings = hide() // before there is anything to hide
		bound(c, env.Getenv)
	}
	keys, more, err := loadKeys(c.Pools, env.Getenv)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	if env.Now == nil {
		env.Now = time.Now
	}
	upstream := server.Upstream(c.Limits.Connections)
	env.reads = upstream / 2 // the rest is for idle ones, and for tokens
	if env.Transport == nil {
		env.Transport = entra.NewTransport(upstream)
	}
	a := &App{env: env, log: newLog(c.Log, env), started: env.Now()}
	for _, w := range slices.Concat(warnings, overridden(c, env.Getenv), entra.Stray(env.Getenv)) {
		a.log.Warn().Msg(w)
	}
	if a.record, err = audit.Open(audit.Options{File: c.Record.File, Instance: instance(), Now: env.Now, Log: a.log}); err != nil {
		return nil, err
	}
	a.events, a.probes = newLogged(a.record, a.log), newProbes(a.log)
	a.memory = drone.NewMemory(env.Now)
	a.reload.seen = print{c.SHA256, keysPrint(keys, nil)}
	g, err := newGeneration(c, keys, nil, a.memory, a.events, env, a.log)
	if err == nil {
		a.current.Store(g)
		err = a.open(c)
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// open puts the start on record and binds the addresses.
//
// The configuration is kept before it is on record: a line that names a configuration which is nowhere could not be
// explained.
func (a *App) open(c *config.Config) error {
	ctx := context.Background()
	if err := a.record.KeepConfig(c.SHA256, c.Content); err != nil {
		return err
	}
	c.Forget()
	for _, e := range []secret.Event{
		{Kind: secret.EventStart, Outcome: secret.Started, Config: c.SHA256},
		{Kind: secret.EventConfig, Outcome: secret.Accepted, Config: c.SHA256, Detail: c.Summary()},
	} {
		if err := a.events.Record(ctx, e); err != nil {
			return err
		}
		a.opened = true
	}
	o := server.Options{
		Address: Address(c.Listen, a.env.Getenv), CertFile: c.Listen.CertFile, KeyFile: c.Listen.KeyFile,
		Admin:       cmp.Or(c.Listen.Admin, config.DefaultAdmin),
		Connections: c.Limits.Connections, WriteTimeout: writeTimeout,
		Grace: c.Limits.Drain, Drain: c.Limits.Budget + 5*time.Second,
		Ready: a.unready, Status: a.status, Log: a.log,
	}
	var err error
	if a.server, err = server.New(o); err != nil && c.Listen.Admin == "" {
		// Nobody asked for the default admin address; another program may have it.
		o.Admin = ""
		var again error
		if a.server, again = server.New(o); again == nil {
			a.log.Warn().Err(err).Msg("serving without /status: set listen.admin to a free address")
			err = nil
		}
	}
	if err == nil {
		a.server.Swap(a.current.Load().handler)
	}
	return err
}

// writeTimeout is above every budget that a configuration can set, as a reload may change it.
const writeTimeout = time.Minute

// Run serves until ctx ends, then drains and closes the record.
//
// The probes and the watch of the files go on until it has drained.
func (a *App) Run(ctx context.Context) error {
	c := a.current.Load().config
	line := a.log.Info().Str("address", a.Addr())
	if admin := a.server.AdminAddr(); admin != nil {
		line.Str("admin", admin.String())
	}
	line.Str("config", c.SHA256).Str("rules", c.Summary()).Str("record", c.Record.File).Msg("serving")
	a.current.Load().keepTokens()
	background, stop := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	beside.Go(func() { a.probes.run(background, func() map[string]*keyvault.Vault { return a.current.Load().vaults }) })
	beside.Go(func() { a.watch(background) })
	err := a.server.Run(ctx)
	stop()
	beside.Wait()
	return errors.Join(err, a.close())
}

// close ends what New began, as far as it came; Run ends with it.
//
// The server comes first, so that nothing is recorded behind the stop; the record comes last, with all it still has to
// write.
func (a *App) close() error {
	var errs []error
	if a.server != nil {
		errs = append(errs, a.server.Close())
	}
	if g := a.current.Load(); g != nil {
		a.reload.closeRetired()
		g.close(nil)
	}
	if a.opened {
		errs = append(errs, a.events.Record(context.Background(), secret.Event{Kind: secret.EventStop, Outcome: secret.Stopped}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(append(errs, a.record.Close(ctx))...)
}

// closeTimeout bounds the last words to a record whose disk may hang.
const closeTimeout = 5 * time.Second

// Addr is where runners reach the extension, as host:port.
func (a *App) Addr() string { return a.server.Addr().String() }

// unready lists why no answer can be right now.
// A vault that is down is no reason: the others, and what may still be served of it, work here as on any other replica.
func (a *App) unready() (reasons []string) {
	if a.record.Healthy() != nil {
		reasons = append(reasons, "the record can't be written")
	}
	if a.env.Now().Sub(a.started) >= probeGrace {
		return reasons
	}
	if !a.probes.finished() {
		reasons = append(reasons, "the first probes of the vaults are under way")
	}
	for _, identity := range a.current.Load().identities {
		if !identity.Settled() {
			return append(reasons, "the first tokens are being fetched")
		}
	}
	return reasons
}

// instance names this replica in the record.
func instance() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
