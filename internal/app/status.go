package app

import (
	"time"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// status is what GET /status answers: by name and state, never a key or a token.
// It takes what is in force at one moment; a reload in between is seen by the next call.
func (a *App) status() any {
	g := a.current.Load()
	seq, hash := a.record.Head()
	s := statusPage{
		Ready: len(a.unready()) == 0, Reasons: a.unready(), Started: a.started.UTC(),
		Config:     configStatus{Generation: g.number, SHA256: g.config.SHA256, Rules: g.config.Summary(), Since: g.since.UTC()},
		Record:     recordStatus{File: g.config.Record.File, Seq: seq, Hash: hash},
		Identities: map[string]any{}, Vaults: map[string]vaultStatus{}, Pools: map[string][]string{}, Tokens: map[string]tokenStatus{},
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
	doors := g.router.Doors()
	for alias, v := range g.config.Vaults {
		s.Vaults[alias] = vaultStatus{URL: v.URL, Identity: v.Identity, Probe: a.probes.of(alias), Door: doors[alias]}
	}
	for name, t := range g.config.Tokens {
		s.Tokens[name] = tokenStatus{Identity: t.Identity, Scope: t.Scope, Registry: t.Registry, Audience: t.Audience, Door: doors[secret.TokenDoor+"/"+name]}
	}
	s.Issuer = g.issuing()
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
	Tokens      map[string]tokenStatus `json:"tokens,omitempty"`
	Issuer      *issuerStatus          `json:"issuer,omitempty"`
	Certificate any                    `json:"certificate,omitempty"`
}

type tokenStatus struct {
	Identity string              `json:"identity,omitempty"`
	Scope    string              `json:"scope,omitempty"`
	Registry string              `json:"registry,omitempty"`
	Audience string              `json:"audience,omitempty"`
	Door     provider.DoorStatus `json:"door"`
}

type issuerStatus struct {
	URL     string   `json:"url"`
	Server  string   `json:"server"`
	Signing string   `json:"signing"` // the key that signs now
	Keys    []string `json:"keys"`
}

// issuing tells which keys our own issuer has; nil where there is none.
func (g *generation) issuing() *issuerStatus {
	if g.issuer == nil {
		return nil
	}
	s := &issuerStatus{URL: g.config.Issuer.URL, Server: g.config.Issuer.Server, Signing: g.issuer.Signing().Name}
	for _, k := range g.config.Issuer.Keys {
		s.Keys = append(s.Keys, keyPath(k))
	}
	return s
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
	URL      string              `json:"url"`
	Identity string              `json:"identity"`
	Probe    *probeResult        `json:"probe,omitempty"`
	Door     provider.DoorStatus `json:"door"` // how its reads do
}
