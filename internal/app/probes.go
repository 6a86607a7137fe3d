package app

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/provider/keyvault"
)

// Times of the probes.
const (
	probeEvery   = time.Minute
	probeTimeout = 10 * time.Second
	probeGrace   = 30 * time.Second // a vault that doesn't answer keeps nobody waiting longer
)

// probes asks each vault now and then whether it is there: an unauthenticated GET that expects the challenge. What it
// learns is for people; a request never waits for it.
type probes struct {
	log zerolog.Logger

	mu      sync.Mutex
	results map[string]probeResult // by alias
	first   bool                   // the first round is over
}

// probeResult is a vault's state in /status.
type probeResult struct {
	OK      bool      `json:"ok"`
	Problem string    `json:"problem,omitempty"`
	At      time.Time `json:"at"`
}

func newProbes(log zerolog.Logger) *probes {
	return &probes{log: log, results: map[string]probeResult{}}
}

// run asks all vaults of the generation in force at once, and again a minute after the last has answered. first is set
// after one round, whatever it brought: a dead vault must not keep a replica out.
func (p *probes) run(ctx context.Context, current func() map[string]*keyvault.Vault) {
	for ctx.Err() == nil {
		var round sync.WaitGroup
		for alias, vault := range current() {
			round.Go(func() { p.probe(ctx, alias, vault) })
		}
		round.Wait()
		p.mu.Lock()
		p.first = true
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(probeEvery):
		}
	}
}

// probe asks one vault, and logs a change only: the first success is no news, the first failure is.
func (p *probes) probe(ctx context.Context, alias string, vault *keyvault.Vault) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := vault.Probe(ctx)
	result := probeResult{OK: err == nil, At: time.Now().UTC()}
	if err != nil {
		result.Problem = err.Error()
	}
	p.mu.Lock()
	before, known := p.results[alias]
	p.results[alias] = result
	p.mu.Unlock()
	if known && before.OK == result.OK || !known && result.OK {
		return
	}
	if result.OK {
		p.log.Info().Str("vault", alias).Msg("the vault answers again")
	} else {
		p.log.Warn().Str("vault", alias).Str("problem", result.Problem).Msg("the vault does not answer; others are not affected")
	}
}

// finished tells whether each vault was asked once.
func (p *probes) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// of is the vault's last result, nil if it has not been asked yet.
func (p *probes) of(alias string) *probeResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.results[alias]; ok {
		return &r
	}
	return nil
}
