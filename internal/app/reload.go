package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// pollEvery is how often files are looked at. By content, not by notifications: Kubernetes swaps symbolic links, network
// file systems notify nobody, and a content that is the same is no change.
const pollEvery = 5 * time.Second

// reloading is the state of following the files.
// seen is the watch's alone once Run began; mu guards what others see or add to.
type reloading struct {
	mu      sync.Mutex
	seen    print // what was last acted upon
	refused *refusedState
	retired []func() // what is still to be closed of generations before, once their requests have ended
}

// refusedState is a configuration that is not in force, for /status.
type refusedState struct {
	At      time.Time `json:"at"`
	Problem string    `json:"problem"`
}

// watch follows the files until ctx ends.
// Only one goroutine runs it, so two changes never overtake each other.
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

// print stands for everything that a generation is made of, as it was read.
type print struct{ config, keys string }

// print is that of the files as they are, with the keys that the configuration in force lists.
func (a *App) print(c *config.Config) print {
	keys, _, err := loadKeys(c.Pools, a.env.Getenv)
	return print{config.Fingerprint(a.env.Paths), keysPrint(keys, err)}
}

// keysPrint hashes the keys, so that none stays in memory a second time. Keys that can't be read have a print as well,
// by the error: a file that appears later is then a change.
func keysPrint(keys []drone.Key, err error) string {
	h := sha256.New()
	for _, k := range keys {
		fmt.Fprintf(h, "%q %q %q\n", k.Pool, k.ID, k.Secret)
	}
	fmt.Fprint(h, err)
	return string(h.Sum(nil))
}

// follow puts a changed configuration in force, whole, or keeps the old one and says why. asked does so also when nothing
// seems to have changed.
//
// What was acted upon is what was read, never a second look at the files: an edit in between would count as seen. A
// configuration that is bad is not tried again before it changes; a failure of ours is, at the next look.
func (a *App) follow(asked bool) {
	now := a.current.Load()
	before := a.print(now.config)
	if before == a.reload.seen && !asked {
		return
	}
	next, read, err := a.build(now)
	if err != nil {
		if read == (print{}) {
			a.reload.seen = before
		}
		a.refuse(now, err)
		return
	}
	if config.Fingerprint(a.env.Paths) != read.config {
		next.close(now) // the files changed while they were read; several belong together, so the next look takes them whole
		return
	}
	if err := a.adopt(now, next); err != nil {
		next.close(now)
		a.refuse(now, err)
		return
	}
	a.reload.seen = read
}

// build makes the next generation from the files as they are now, and says what it read: with an error only if the files
// are good and what they refer to is not there yet, which may change without them.
func (a *App) build(now *generation) (*generation, print, error) {
	c, problems := config.Load(a.env.Paths)
	if c == nil {
		return nil, print{}, refusal(problems)
	}
	if a.env.Adapt != nil {
		a.env.Adapt(c)
	}
	keys, warnings, err := loadKeys(c.Pools, a.env.Getenv)
	read := print{c.SHA256, keysPrint(keys, err)}
	if err != nil {
		return nil, read, err
	}
	for _, w := range append(warnings, needRestart(now.config, c)...) {
		a.log.Warn().Msg(w)
	}
	c.Listen, c.Record, c.Log = now.config.Listen, now.config.Record, now.config.Log
	g, err := newGeneration(c, keys, now, a.memory, a.events, a.env, a.log)
	if err != nil {
		return nil, print{}, err
	}
	return g, read, nil
}

// refusal is the first problem and how many more there are: the rest is what `drone-entra check` is for.
// For example "drone-entra.yaml:14:7: unknown key … (and 2 more)". Warnings do not count.
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
	if a.env.Alone {
		bound(c, a.env.Getenv)
	}
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
	next.keepTokens()
	a.current.Store(next)
	a.server.Swap(next.handler)
	a.reload.set(nil)
	a.reload.retire(old.config.Limits.Budget+retireAfter, func() { old.close(next) })
	a.log.Info().Int("generation", next.number).Str("config", c.SHA256).Str("rules", c.Summary()).Msg("the configuration in force")
	return nil
}

// refuse records and logs a configuration that is not put in force, once for each problem, and shows it in /status.
func (a *App) refuse(now *generation, err error) {
	if old := a.reload.problem(); old != nil && old.Problem == err.Error() {
		return // tried again, and told already
	}
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

// closeRetired ends at the program's end what still waits for its time; the server has no requests any more then.
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
