package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// pollEvery is how often files are looked at. By content, not by notifications: Kubernetes swaps symbolic links, network
// file systems notify nobody, and a content that is the same is no change.
const pollEvery = 5 * time.Second

// reloading is the state of following the files.
type reloading struct {
	mu      sync.Mutex
	seen    [sha256.Size]byte // the fingerprint that was last acted upon
	refused *refusedState
	retired []func() // what is still to be closed of generations before, once their requests have ended
}

// refusedState is a configuration that is not in force, for /status.
type refusedState struct {
	At      time.Time `json:"at"`
	Problem string    `json:"problem"`
}

// watch follows the files until ctx ends.
func (a *App) watch(ctx context.Context) {
	if len(a.env.Paths) == 0 {
		return
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.follow(false)
		case <-a.env.Hangup:
			a.log.Info().Msg("asked to read the configuration again")
			if err := a.server.Reload(); err != nil {
				a.log.Error().Err(err).Msg("the certificate in force stays")
			}
			a.follow(true)
		}
	}
}

// fingerprint stands for the content of the configuration's files and of the keys' files.
func (a *App) fingerprint(c *config.Config) [sha256.Size]byte {
	h := sha256.New()
	files := config.Fingerprint(a.env.Paths)
	h.Write(files[:])
	for _, file := range keyFiles(c, a.env.Getenv) {
		content, err := readSmall(file, maxKeyFile)
		fmt.Fprintf(h, "%q %d %v\n", file, len(content), err)
		h.Write(content)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// follow puts a changed configuration in force, whole, or keeps the old one and says why. asked does so also when nothing
// seems to have changed.
func (a *App) follow(asked bool) {
	now := a.current.Load()
	before := a.fingerprint(now.config)
	if before == a.reload.seen && !asked {
		return
	}
	next, err := a.build(now)
	if a.fingerprint(now.config) != before {
		// The files changed while they were read. Several belong together, so the next look takes them whole.
		if next != nil {
			next.close(now)
		}
		return
	}
	if err == nil {
		if err = a.adopt(now, next); err != nil {
			next.close(now)
		}
	}
	if err != nil {
		a.reload.seen = before
		a.refuse(now, err)
	}
}

// build makes the next generation from the files as they are now.
func (a *App) build(now *generation) (*generation, error) {
	c, problems := config.Load(a.env.Paths)
	if c == nil {
		return nil, refusal(problems)
	}
	if a.env.Adapt != nil {
		a.env.Adapt(c)
	}
	keys, warnings, err := loadKeys(c.Pools, a.env.Getenv)
	if err != nil {
		return nil, err
	}
	for _, w := range append(warnings, needRestart(now.config, c)...) {
		a.log.Warn().Msg(w)
	}
	c.Listen, c.Record, c.Log = now.config.Listen, now.config.Record, now.config.Log
	return newGeneration(c, keys, now, a.events, a.env, a.log)
}

// refusal is the first problem and how many more there are: the rest is what ` + "`drone-entra check`" + ` is for.
func refusal(problems config.Problems) error {
	for _, p := range problems {
		if more := problems.Errors() - 1; !p.Warning && more > 0 {
			return fmt.Errorf("%s: %s (and %d more)", p.Place(), p.Text, more)
		} else if !p.Warning {
			return fmt.Errorf("%s: %s", p.Place(), p.Text)
		}
	}
	return errors.New("the configuration can't be read")
}

// needRestart names what a running extension can't change.
func needRestart(old, next *config.Config) (warnings []string) {
	for _, change := range []struct {
		what string
		is   bool
	}{
		{"listen", old.Listen != next.Listen},
		{"record", old.Record != next.Record},
		{"log", old.Log != next.Log},
		{"limits.connections", old.Limits.Connections != next.Limits.Connections},
		{"limits.drain", old.Limits.Drain != next.Limits.Drain},
		{"limits.budget for the end of the program", old.Limits.Budget < next.Limits.Budget},
	} {
		if change.is {
			warnings = append(warnings, change.what+" changed in the configuration, which takes a restart; the rest is in force")
		}
	}
	return warnings
}

// adopt puts the next generation on record and then in force. A request that has reached the old one stays with it, so what
// only the old one uses is closed once its last request must have ended.
func (a *App) adopt(old, next *generation) error {
	c := next.config
	if err := a.record.KeepConfig(c.SHA256, c.Content); err != nil {
		return err
	}
	c.Forget()
	err := a.events.Record(context.Background(), secret.Event{
		Kind: secret.EventConfig, Outcome: secret.Accepted, Config: c.SHA256, Detail: fmt.Sprintf("generation %d: %s", next.number, c.Summary()),
	})
	if err != nil {
		return err
	}
	a.current.Store(next)
	a.server.Swap(next.handler)
	a.reload.seen = a.fingerprint(c)
	a.reload.set(nil)
	a.reload.retire(old.config.Limits.Budget+retireAfter, func() { old.close(next) })
	a.log.Info().Int("generation", next.number).Str("config", c.SHA256).Str("rules", c.Summary()).Msg("the configuration in force")
	return nil
}

func (a *App) refuse(now *generation, err error) {
	a.reload.set(&refusedState{At: a.env.Now().UTC(), Problem: err.Error()})
	a.log.Error().Err(err).Int("generation", now.number).Msg("the new configuration is refused; the old one stays in force")
	_ = a.events.Record(context.Background(), secret.Event{ // logged by itself if it fails
		Kind: secret.EventConfig, Outcome: secret.Refused, Config: now.config.SHA256, Detail: err.Error(),
	})
}

// retireAfter is added to the budget, in which every request ends.
const retireAfter = 5 * time.Second

// retire runs end after d, or when closeRetired does.
func (r *reloading) retire(d time.Duration, end func()) {
	once := sync.OnceFunc(end)
	timer := time.AfterFunc(d, once)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = append(r.retired, func() { timer.Stop(); once() })
}

func (r *reloading) closeRetired() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, end := range r.retired {
		end()
	}
	r.retired = nil
}

func (r *reloading) set(state *refusedState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = state
}

func (r *reloading) problem() *refusedState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}
