package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	tenant      = "11111111-2222-4333-8444-555555555555"
	otherTenant = "99999999-2222-4333-8444-555555555555"
	payClient   = "3f2a4c55-1111-4222-8333-444455556666"
	vmClient    = "5d1c0a77-3333-4444-8555-666677778888"
	appClient   = "6e1c0a77-3333-4444-8555-666677778888"
	repoClient  = "7f1c0a77-3333-4444-8555-666677778888"
	envClient   = "8a1c0a77-3333-4444-8555-666677778888"
	issuerURL   = "https://oidc.acme.example/drone"
	runnerKey   = "canary-runners-key-0123456789abcdef"
	value       = "canary-value"
	login       = "login.microsoftonline.com"
)

// everything is an installation with every kind of identity and of token.
const everything = `version: 1
issuer:
  url: https://oidc.acme.example/drone
  server: drone.acme.example
  keys: [{key: sign/drone-issuer@VERSION}]
identities:
  pay: {tenant_id: TENANT, client_id: ` + payClient + `, assertion: {file: DIR/token/token}}
  vm: {managed: {client_id: ` + vmClient + `}}
  vmapp: {tenant_id: TENANT, client_id: ` + appClient + `, assertion: {managed: {client_id: ` + vmClient + `}}}
  repo: {tenant_id: TENANT, client_id: ` + repoClient + `, assertion: {issuer: repo}}
  env: {tenant_id: TENANT, clients: {"42": ` + envClient + `}, assertion: {issuer: environment}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net, identity: pay}
  sign: {url: https://kv-sign.vault.azure.net, identity: vm}
  lame: {url: https://kv-lame.vault.azure.net, identity: vmapp}
  own: {url: https://kv-own.vault.azure.net, identity: repo}
  prod: {url: https://kv-prod.vault.azure.net, identity: env}
tokens:
  arm: {identity: pay, scope: https://management.azure.com/.default, min_life: 30m}
  acr: {identity: pay, registry: acme.azurecr.io, repositories: {team/app: [pull]}}
  aws: {audience: sts.amazonaws.com, lifetime: 10m}
bindings:
  - {id: ci, repos: [acme/app], read: ["shared/ci-token", "lame/db/password", "own/*", "prod/db", "tokens/*"]}
record: {file: DIR/audit.jsonl}
`

// two is an installation with two identities that have nothing to do with each other, and a token.
const two = `version: 1
identities:
  pay: {tenant_id: TENANT, client_id: ` + payClient + `, assertion: {file: DIR/token/token}}
  vm: {managed: {client_id: ` + vmClient + `}}
vaults:
  shared: {url: https://kv-shared.vault.azure.net, identity: pay}
  sign: {url: https://kv-sign.vault.azure.net, identity: vm}
tokens:
  arm: {identity: pay, scope: https://management.azure.com/.default}
bindings:
  - {id: ci, repos: [acme/app], read: ["shared/ci-token", "sign/ci-*", "tokens/*"]}
record: {file: DIR/audit.jsonl}
`

// managedOnly is an installation whose only identity is the machine's.
const managedOnly = `version: 1
identities:
  vm: {managed: {client_id: ` + vmClient + `}}
vaults:
  sign: {url: https://kv-sign.vault.azure.net, identity: vm}
bindings:
  - {id: ci, repos: [acme/app], read: ["sign/db"]}
record: {file: DIR/audit.jsonl}
`

// site is one installation, sound until a test breaks it.
type site struct {
	*emulator.Emulator
	t       *testing.T
	dir     string
	text    string // of the configuration
	env     map[string]string
	ahead   time.Duration
	build   secret.Request
	secret  string
	version string // of the issuer's key
	token   string
}

// keys are made once for all emulators.
var keys = new(emulator.Keys)

// newSite makes an installation of the configuration.
func newSite(t *testing.T, text string) *site {
	t.Helper()
	e, err := emulator.Start(emulator.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := &site{Emulator: e, t: t, dir: t.TempDir(), text: text, env: map[string]string{"DRONE_SECRET": runnerKey}}
	e.Register(emulator.App{Tenant: tenant, ClientID: payClient})
	principal := e.ManagedIdentity(vmClient, tenant)
	e.Register(emulator.App{Tenant: tenant, ClientID: appClient, Subject: principal, Issuer: e.ManagedIssuer(tenant)})
	e.Register(emulator.App{Tenant: tenant, ClientID: repoClient, Issuer: issuerURL, Subject: "drone:drone.acme.example:repo:42"})
	e.Register(emulator.App{Tenant: tenant, ClientID: envClient, Issuer: issuerURL, Subject: "drone:drone.acme.example:repo:42:environment:prod"})
	s.vault("kv-shared", "ci-token").Allow(payClient)
	s.vault("kv-lame", "db").Allow(appClient)
	s.vault("kv-own", "db").Allow(repoClient)
	s.vault("kv-prod", "db").Allow(envClient)
	sign := s.vault("kv-sign", "db")
	sign.Allow(vmClient)
	sign.AllowKeys(vmClient)
	s.version = sign.SetKey("drone-issuer")
	e.Registry("acme.azurecr.io", tenant).Allow(payClient, "team/app", "pull")
	s.publish(issuerURL, s.version)
	s.project(emulator.AssertionOptions{})
	s.build.Repo = secret.Repo{UID: "42", Slug: "acme/app", DefaultBranch: "main"}
	s.build.Build = secret.Build{Event: "promote", DeployTo: "prod", Ref: "refs/heads/main"}
	s.build.Pool = "default"
	return s
}

func (s *site) vault(name, holds string) *emulator.Vault {
	v := s.Vault(name+".vault.azure.net", tenant)
	v.Set(holds, `{"password":"`+value+`-of-`+name+`"}`)
	return v
}

// project puts an assertion where the identity pay looks for it.
func (s *site) project(o emulator.AssertionOptions) { s.write(s.Assertion(o)) }

func (s *site) write(content string) {
	s.t.Helper()
	s.token = content
	if err := emulator.Project(filepath.Join(s.dir, "token", "token"), content); err != nil {
		s.t.Fatal(err)
	}
}

// publish serves the documents of our own issuer for these versions of its key.
func (s *site) publish(url string, versions ...string) {
	s.t.Helper()
	transport := s.Transport()
	defer transport.CloseIdleConnections()
	is := s.machine(transport)
	defer is.Close()
	v, err := keyvault.New(keyvault.Options{Alias: "sign", URL: "https://kv-sign.vault.azure.net", Identity: is, Transport: transport})
	if err != nil {
		s.t.Fatal(err)
	}
	o := issuer.Options{URL: url, Server: "drone.acme.example"}
	for i, version := range versions {
		k := issuer.Key{Name: version, Signer: v.Key("drone-issuer", version)}
		if i > 0 {
			k.From = time.Now().Add(-time.Hour)
		}
		o.Keys = append(o.Keys, k)
	}
	made, err := issuer.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	set, err := made.KeySet(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.Handle("oidc.acme.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/drone/.well-known/openid-configuration":
			_, _ = w.Write(made.Discovery())
		case "/drone/openid/v1/jwks":
			_, _ = w.Write(set)
		default:
			http.NotFound(w, r)
		}
	}))
}

// patient is the installation as a doctor is shown it.
func (s *site) patient() app.Patient {
	s.t.Helper()
	file := filepath.Join(s.dir, "drone-entra.yaml")
	text := strings.NewReplacer("DIR", s.dir, "TENANT", tenant, "VERSION", s.version).Replace(s.text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p := app.Patient{Paths: []string{file}, Build: s.build, Env: app.Env{
		Getenv: func(name string) string { return s.env[name] }, Transport: s.Transport(), Log: io.Discard,
		Now: func() time.Time { return time.Now().Add(s.ahead) },
	}}
	if s.secret != "" {
		ref, err := secret.ParseRef(s.secret)
		if err != nil {
			s.t.Fatal(err)
		}
		p.Secret = ref
	}
	return p
}

// findings are all that a doctor found, by the names of the steps.
type findings struct {
	t    *testing.T
	all  []app.Finding
	step map[string]app.Finding
	text string // all of it
}

func (s *site) examine() findings {
	s.t.Helper()
	return s.within(s.t.Context())
}

func (s *site) within(ctx context.Context) findings {
	s.t.Helper()
	d, err := app.NewDoctor(s.patient())
	if err != nil {
		s.t.Fatal(err)
	}
	f := findings{t: s.t, step: map[string]app.Finding{}}
	began := time.Now()
	for one := range d.Examine(ctx) {
		f.all = append(f.all, one)
		f.step[one.Area+": "+one.Step] = one
		f.text += sprint(one)
	}
	if took := time.Since(began); took > 40*time.Second {
		s.t.Errorf("it took %s", took)
	}
	s.canary(f.text)
	return f
}

// machine is the machine's managed identity, which reads the issuer's keys.
func (s *site) machine(transport http.RoundTripper) *entra.Identity {
	s.t.Helper()
	i, err := entra.New(entra.Options{Name: "vm", Managed: true, ClientID: vmClient, Transport: transport, Log: zerolog.Nop()})
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

// sprint is everything that a Finding can show.
func sprint(f app.Finding) string {
	return fmt.Sprintf("%-4s %s: %s  %s\n%s", f.Verdict, f.Area, f.Step, f.Detail, indented(f))
}

func indented(f app.Finding) (text string) {
	for _, fact := range f.Facts {
		text += "     " + fact.Name + " " + fact.Value + "\n"
	}
	for _, fault := range f.Faults {
		text += "     cause  " + fault.Cause + "\n     remedy " + fault.Remedy + "\n"
	}
	for _, command := range f.Commands {
		text += "     " + command + "\n"
	}
	return text
}

// canary fails on whatever must not be seen: tokens and parts of one, values, the runners' key.
func (s *site) canary(text string) {
	s.t.Helper()
	forbidden := []string{"eyJ", value, runnerKey}
	for _, part := range strings.Split(s.token, ".") {
		if len(part) > 16 {
			forbidden = append(forbidden, part)
		}
	}
	for _, f := range forbidden {
		if strings.Contains(text, f) {
			s.t.Errorf("%.20q… is in\n%s", f, text)
		}
	}
}
