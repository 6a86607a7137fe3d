package app

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/provider/keyvault"
)

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

func (p *probes) of(alias string) *probeResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.results[alias]; ok {
		return &r
	}
	return nil
}

// status is what GET /status answers: by name and state, never a key or a token.
func (a *App) status() any {
	g := a.current.Load()
	seq, hash := a.record.Head()
	s := statusPage{
		Ready: len(a.unready()) == 0, Reasons: a.unready(), Started: a.started.UTC(),
		Config:     configStatus{Generation: g.number, SHA256: g.config.SHA256, Rules: g.config.Summary(), Since: g.since.UTC()},
		Record:     recordStatus{File: g.config.Record.File, Seq: seq, Hash: hash},
		Identities: map[string]any{}, Vaults: map[string]vaultStatus{}, Pools: map[string][]string{},
	}
	s.Config.Refused = a.reload.problem()
	if err := a.record.Healthy(); err != nil {
		s.Record.Problem = err.Error()
	}
	for _, f := range g.config.Files {
		s.Config.Files = append(s.Config.Files, f.Name)
	}
	for name, identity := range g.identities {
		s.Identities[name] = identity.Status()
	}
	for alias, v := range g.config.Vaults {
		s.Vaults[alias] = vaultStatus{URL: v.URL, Identity: v.Identity, Probe: a.probes.of(alias)}
	}
	for _, k := range g.keys {
		s.Pools[k.Pool] = append(s.Pools[k.Pool], k.ID)
	}
	if g.config.Listen.CertFile != "" {
		s.Certificate = a.server.Certificate()
	}
	return s
}

type statusPage struct {
	Ready       bool                   `json:"ready"`
	Reasons     []string               `json:"reasons,omitempty"`
	Started     time.Time              `json:"started"`
	Config      configStatus           `json:"config"`
	Record      recordStatus           `json:"record"`
	Pools       map[string][]string    `json:"pools"` // the ids of their keys
	Identities  map[string]any         `json:"identities"`
	Vaults      map[string]vaultStatus `json:"vaults"`
	Certificate any                    `json:"certificate,omitempty"`
}

type configStatus struct {
	Generation int           `json:"generation"` // 1 at the start, one more with each reload
	SHA256     string        `json:"sha256"`
	Rules      string        `json:"rules"`
	Since      time.Time     `json:"since"`
	Files      []string      `json:"files"`
	Refused    *refusedState `json:"refused,omitempty"` // a newer one that is not in force, and why
}

type recordStatus struct {
	File    string `json:"file"`
	Seq     uint64 `json:"seq"`
	Hash    string `json:"hash"`
	Problem string `json:"problem,omitempty"`
}

type vaultStatus struct {
	URL      string       `json:"url"`
	Identity string       `json:"identity"`
	Probe    *probeResult `json:"probe,omitempty"`
}
