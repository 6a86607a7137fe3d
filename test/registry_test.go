package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/drone/drone-go/drone"
	"github.com/drone/drone-go/plugin/registry"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

const registryMedia = "application/vnd.drone.registry.v1+json"

// pulling has three registries: two for acme/app (and acme/dapp, which was recorded), one for production's runners.
const pulling = `
identities: {default: {}}
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
tokens:
  arm:   {identity: default, scope: https://management.azure.com/.default}
  acme:  {identity: default, registry: acme.azurecr.io, repositories: {team/app: [pull]}}
  base:  {identity: default, registry: base.azurecr.io, repositories: {base: [pull]}}
  prod:  {identity: default, registry: prod.azurecr.io, repositories: {app: [pull]}}
bindings:
  - {id: ci, repos: [acme/app, acme/dapp], read: ["shared/ci-*", "tokens/arm", "tokens/acme", "tokens/base"]}
  - {id: part, repos: [acme/part], read: ["tokens/acme/username"]}
  - {id: prod, repos: [acme/app], pools: [prod], read: ["tokens/prod"]}
`

const poolsOfTwo = `
pools:
  default: {keys: [{id: runners, env: DRONE_SECRET}]}
  prod:    {keys: [{id: prod, env: PROD_KEY}]}
`

const poolKey = "canary-prod-key-0123456789abcdef-0123456789abcdef"

func startPulling(t *testing.T, options ...option) *faulty {
	t.Helper()
	f := startFaulty(t, pulling+poolsOfTwo, append(options, env("PROD_KEY", poolKey), canary(poolKey))...)
	for host, repository := range map[string]string{"acme.azurecr.io": "team/app", "base.azurecr.io": "base", "prod.azurecr.io": "app"} {
		f.Emulator.Registry(host, tenantID).Allow(clientID, repository, "pull")
	}
	return f
}

// list asks for registries with drone-go's client, as a runner does before it pulls images, and watches for the passwords.
func (s *server) list(key string, b build) (hosts []string, all []*drone.Registry, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err = registry.Client(s.URL, key, true).List(ctx, &registry.Request{Repo: b.repo, Build: b.build})
	if err != nil {
		s.world.answered(err.Error())
	}
	for _, r := range all {
		s.world.watch(r.Password)
		hosts = append(hosts, r.Address)
	}
	return hosts, all, err
}

// listed are the events of registries that came since.
func (s *server) listed(before int) (found []event) {
	for _, e := range s.events()[before:] {
		if e.Kind == "registry" {
			found = append(found, e)
		}
	}
	return found
}

// pulls checks which registries a build gets, and that each is on record as it came.
func (f *faulty) pulls(t *testing.T, key string, b build, want ...string) []event {
	t.Helper()
	before := len(f.events())
	hosts, all, err := f.list(key, b)
	if err != nil || !slices.Equal(hosts, want) {
		t.Errorf("it gets %v, %v; want %v", hosts, err, want)
	}
	events, released := f.listed(before), 0
	for _, e := range events {
		if e.Outcome == "released" {
			released++
			if e.Expires.IsZero() || e.How != "minted" || !strings.HasPrefix(e.Secret, "tokens/") || e.Binding == "" {
				t.Errorf("on record is %s", e.Line)
			}
		}
	}
	if released != len(want) {
		t.Errorf("%d releases are on record of %d", released, len(want))
	}
	for _, r := range all {
		access, ok := f.Emulator.Registry(r.Address, tenantID).Login(r.Username, r.Password)
		if !ok || r.Username != tokenUser || len(access) != 1 || fmt.Sprint(access[0].Actions) != "[pull]" {
			t.Errorf("docker login at %s may %v", r.Address, access)
		}
	}
	return events
}

// A runner gets credentials of the registries that bindings give, by its own pool, and each is on record by itself.
func TestARunnerGetsCredentialsOfRegistries(t *testing.T) {
	t.Parallel()
	f := startPulling(t)
	b := f.next()
	events := f.pulls(t, f.key, b, "acme.azurecr.io", "base.azurecr.io")
	if len(events) != 2 {
		t.Fatalf("%d events are on record: %+v", len(events), events)
	}
	for n, name := range []string{"acme", "base"} {
		if e := events[n]; e.Asked.Path != "tokens" || e.Secret != "tokens/"+name && events[1-n].Secret != "tokens/"+name || e.Identity != "default" || e.Pool != "default" {
			t.Errorf("on record is %s", e.Line)
		}
	}
	f.pulls(t, poolKey, f.next(), "prod.azurecr.io")
	// The same token answers the secret call of the same build.
	_, all, err := f.list(f.key, b)
	if err != nil || len(all) != 2 {
		t.Fatalf("the build's next stage: %v", err)
	}
	if password, _ := f.minted(t, b, "tokens/acme"); password != all[0].Password {
		t.Error("one build has two tokens of one registry")
	}
	f.good(t)
}

// Who may have none gets an empty list, which is no failure, and is on record with the reason.
func TestWhoMayPullNothing(t *testing.T) {
	t.Parallel()
	f := startPulling(t)
	for name, c := range map[string]struct {
		who    build
		key    string
		reason string
	}{
		"another repository":                {f.nextOf("acme/other"), f.key, "repo"},
		"a pull request":                    {pull("acme/app"), f.key, "event"},
		"a fork's":                          {pull("acme/app").from("evil/app"), f.key, "event"},
		"a branch":                          {f.next().branch("feature"), f.key, "ref"},
		"a binding of a part":               {f.nextOf("acme/part"), f.key, "read"},
		"another pool":                      {f.nextOf("acme/dapp"), poolKey, "pool"},
		"no id":                             {f.next().uid(""), f.key, "uid"},
		"an event that Drone has never had": {of("deploy", "acme/app"), f.key, "event"},
	} {
		t.Run(name, func(t *testing.T) {
			events := f.pulls(t, c.key, c.who)
			if len(events) != 1 || events[0].Outcome != "denied" || events[0].Reason != c.reason {
				t.Errorf("on record is %+v, want denied: %s", events, c.reason)
			}
		})
	}
	f.pulls(t, f.key, f.next(), "acme.azurecr.io", "base.azurecr.io")
}

// One of several registries fails: the others' credentials come, and the failure is on record. If none can be had, the
// runner is told so.
func TestOneRegistryOfSeveralIsDown(t *testing.T) {
	t.Parallel()
	f := startPulling(t)
	acme := f.Emulator.Registry("acme.azurecr.io", tenantID)
	base := f.Emulator.Registry("base.azurecr.io", tenantID)
	for name, fault := range map[string]emulator.Fault{"503": {Status: 503}, "refused": {Status: 401}, "a page": {Kind: emulator.HTML}, "reset": {Kind: emulator.Reset}, "hangs": {Kind: emulator.Hang}} {
		t.Run(name, func(t *testing.T) {
			remove := f.Emulator.Fault(acme.Target(), fault)
			defer remove()
			events := f.pulls(t, f.key, f.next(), "base.azurecr.io")
			if len(events) != 2 || !slices.ContainsFunc(events, func(e event) bool {
				return e.Outcome != "released" && e.Secret == "tokens/acme" && strings.Contains(e.Detail, "acme.azurecr.io")
			}) {
				t.Errorf("on record is %+v", events)
			}
			f.good(t)
		})
	}
	for _, r := range []*emulator.Registry{acme, base} {
		defer f.Emulator.Fault(r.Target(), emulator.Fault{Status: 503})()
	}
	before := len(f.events())
	if hosts, _, err := f.list(f.key, f.next()); err == nil {
		t.Errorf("both are down and it gets %v", hosts)
	}
	if events := f.listed(before); len(events) != 2 || count(events, "failed") != 2 {
		t.Errorf("on record is %+v", events)
	}
	f.good(t)
}

// credentials opens an answer as a runner does.
func credentials(t *testing.T, key string, r reply) (all []drone.Registry) {
	t.Helper()
	plain, err := r.Body, error(nil)
	if r.Header.Get("Content-Encoding") == "aesgcm" {
		plain, err = unseal(key, r.Body)
	}
	if err != nil || json.Unmarshal(plain, &all) != nil {
		t.Fatalf("the answer %v is no list: %v", r.Header, err)
	}
	return all
}

// Drone's own request, as its docker runner sent it, signed anew.
func TestARecordedRegistryRequest(t *testing.T) {
	t.Parallel()
	f := startPulling(t, env("DRONE_SECRET", recordedKey), askingWith(recordedKey), canary("4U1rcaVfNFEuofuq3AHetNz9gYvsnIb5"))
	m := recording(t, "dockerrunner-registry")
	r := f.send(m.again(m.body))
	all := credentials(t, recordedKey, r)
	if r.Status != http.StatusOK || len(all) != 2 {
		t.Fatalf("answered %d with %d registries", r.Status, len(all))
	}
	for _, credential := range all {
		f.world.watch(credential.Password)
	}
	var events []event
	for _, e := range f.events() {
		if e.ID == r.ID() {
			events = append(events, e)
		}
	}
	if len(events) != 2 || events[0].Repo.Slug != "acme/dapp" || events[0].Kind != "registry" {
		t.Errorf("on record is %+v", events)
	}
	f.unproven(t, f.send(m), "date") // as it was sent
}

// A signature for one of Drone's calls is none for another, and a call is what its signed Accept says.
func TestP8ASignatureIsForOneCall(t *testing.T) {
	t.Parallel()
	f := startPulling(t)
	b := f.next()
	asks := b.body("shared", "ci-token")
	lists := b.body("", "")
	swap := func(body, signed, sent string) *message {
		return genuine(body).set("Accept", signed).sign(runnerKey, five).set("Accept", sent)
	}
	for name, m := range map[string]*message{
		"signed for secrets, sent for registries": swap(lists, secretMedia, registryMedia),
		"signed for registries, sent for secrets": swap(asks, registryMedia, secretMedia),
		"both": genuine(asks).set("Accept", secretMedia).add("Accept", registryMedia).sign(runnerKey, five),
	} {
		t.Run(name, func(t *testing.T) {
			r := f.send(m)
			r.refused(t, http.StatusUnauthorized)
			f.good(t)
		})
	}
	// A registry's request may say a secret's name: it gives nothing, since the call decides what is asked.
	r := f.send(genuine(asks).set("Accept", registryMedia).sign(runnerKey, five))
	if all := credentials(t, runnerKey, r); len(all) != 2 || strings.Contains(fmt.Sprint(all), f.valueAt(t, "kv-shared/ci-token")) {
		t.Errorf("answered %d registries", len(all))
	}
	sealed := f.send(genuine(lists).set("Accept", registryMedia).set("Accept-Encoding", "aesgcm").sign(runnerKey, five))
	if all := credentials(t, runnerKey, sealed); len(all) != 2 || all[0].Password == "" {
		t.Errorf("the answer has %d registries", len(all))
	}
	if sealed.Header.Get("Content-Encoding") != "aesgcm" || strings.Contains(string(sealed.Body), "azurecr") {
		t.Errorf("the answer is not encrypted: %v", sealed.Header)
	}
	f.good(t)
}

// Without a token of a registry the call is one that is not served.
func TestP8NoRegistryIsConfigured(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	e := s.unproven(t, s.send(genuine(push("acme/app").body("", "")).set("Accept", registryMedia).sign(runnerKey, five)), "accept")
	if e.Outcome == "released" {
		t.Errorf("on record is %s", e.Line)
	}
	s.servesOne(t)
}

// A registry's events are explained from the record like any other's.
func TestARegistryCallIsExplained(t *testing.T) {
	t.Parallel()
	f := startPulling(t)
	released := f.pulls(t, f.key, f.next(), "acme.azurecr.io", "base.azurecr.io")
	none := f.pulls(t, f.key, f.next().branch("dev"))
	if len(released) != 2 || len(none) != 1 {
		t.Fatalf("%d and %d events are on record", len(released), len(none))
	}
	code, out := command(t, "explain", "--file", f.Record, released[0].ID)
	if code != 0 || !strings.Contains(out, "ALLOWED") || !strings.Contains(out, "tokens/acme") || !strings.Contains(out, "tokens/base") {
		t.Errorf("explain ends with %d: %s", code, out)
	}
	code, out = command(t, "explain", "--file", f.Record, none[0].ID)
	if code != 1 || !strings.Contains(out, "DENIED") || !strings.Contains(out, "reason: ref") {
		t.Errorf("explain ends with %d: %s", code, out)
	}
}
