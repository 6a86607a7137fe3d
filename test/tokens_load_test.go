package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// ownTokens has tokens that each repository asks for as itself.
const ownTokens = `
identities:
  default: {}
  repo: {tenant_id: ` + tenantID + `, clients: {"1": ` + appClient + `, "2": ` + siteClient + `}, assertion: {issuer: repo}}
  env:  {tenant_id: ` + tenantID + `, client_id: ` + envClient + `, assertion: {issuer: environment}}
vaults:
  sign:   {url: https://kv-sign.vault.azure.net}
  shared: {url: https://kv-shared.vault.azure.net}
tokens:
  arm:    {identity: repo, scope: https://management.azure.com/.default}
  docker: {identity: repo, registry: ` + acr + `, repositories: {team/app: [pull, push]}}
  deploy: {identity: env, scope: https://management.azure.com/.default}
  aws:    {audience: sts.amazonaws.com}
bindings:
  - {id: all, repos: [acme/app, acme/site, acme/none], read: ["shared/ci-*", "tokens/*"]}
  - {id: deploy, repos: [acme/app], when: {promote: {deploy_to: [production]}}, actors: [alice], read: [tokens/deploy]}
`

func startOwnTokens(t *testing.T) (*issuing, *faulty) {
	t.Helper()
	i := newIssuing(t, emulator.Options{})
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	i.trust(siteClient, "drone:"+issuerServer+":repo:2")
	i.trust(envClient, "drone:"+issuerServer+":repo:1:environment:production")
	i.Registry(acr, tenantID).Allow(appClient, "team/app", "pull", "push")
	i.Registry(acr, tenantID).Allow(siteClient, "team/site", "pull")
	return i, startFaulty(t, i.config(ownTokens), i.on())
}

// A token for Azure is the repository's own: what it may do there is what Azure gives to that repository.
func TestATokenIsOfTheRepositorysOwnIdentity(t *testing.T) {
	t.Parallel()
	i, f := startOwnTokens(t)
	for client, b := range map[string]build{appClient: f.app(), siteClient: f.site()} {
		token, e := f.minted(t, b, "tokens/arm")
		if claims := f.ofEntra(t, token, "https://management.azure.com"); claims["appid"] != client || e.Identity != "repo" {
			t.Errorf("the token of %s is that of %v", client, claims["appid"])
		}
	}
	password, _ := f.minted(t, f.app(), "tokens/docker")
	if access, ok := i.Registry(acr, tenantID).Login(tokenUser, password); !ok || fmt.Sprint(access) != "[{team/app [pull push]}]" {
		t.Errorf("the registry's token may %v", access)
	}
	f.because(t, f.site(), "tokens/docker", denied("vault-refused"), "team/app", acr)
	f.because(t, f.nextOf("acme/none").uid("3"), "tokens/arm", fails(http.StatusServiceUnavailable, "identity"), `"3"`, "clients")
	token, _ := f.minted(t, promote("acme/app", "production").number(f.next().build.Number), "tokens/deploy")
	if claims := f.ofEntra(t, token, "https://management.azure.com"); claims["appid"] != envClient {
		t.Errorf("the environment's token is that of %v", claims["appid"])
	}
	f.because(t, f.app(), "tokens/deploy", denied("deploy_to"), "promote")
	// The registry call gives each repository what is its own, and the others nothing.
	if hosts, _, err := f.list(f.key, f.app()); err != nil || fmt.Sprint(hosts) != "["+acr+"]" {
		t.Errorf("acme/app pulls from %v, %v", hosts, err)
	}
	before := len(f.events())
	if hosts, _, err := f.list(f.key, f.site()); err != nil || len(hosts) != 0 {
		t.Errorf("acme/site, whom Azure gives nothing, pulls from %v, %v", hosts, err)
	}
	if events := f.listed(before); len(events) != 1 || events[0].Outcome != "denied" || events[0].Reason != "vault-refused" {
		t.Errorf("on record is %+v", events)
	}
	f.good(t)
}

// Many builds ask for tokens at once: each gets one of its own.
func TestManyBuildsAskForTokensAtOnce(t *testing.T) {
	t.Parallel()
	_, f := startOwnTokens(t)
	var mu sync.Mutex
	seen := map[string]string{}
	var all sync.WaitGroup
	for n := range int64(60) {
		for _, ref := range []string{"tokens/arm", "tokens/aws"} {
			all.Go(func() {
				b := push("acme/app").number(5000 + n)
				token, err := f.find(b, ref)
				if err != nil {
					t.Errorf("%s for build %d: %v", ref, 5000+n, err)
					return
				}
				f.world.watch(token)
				mu.Lock()
				defer mu.Unlock()
				if other := seen[token]; other != "" {
					t.Errorf("build %d has the token of %s", 5000+n, other)
				}
				seen[token] = fmt.Sprint("build ", 5000+n)
			})
		}
	}
	all.Wait()
	f.good(t)
}

// The configuration is replaced again and again, its issuer and identities with it, while builds ask: nobody notices.
func TestC6TokensWhileTheConfigurationIsReplaced(t *testing.T) {
	t.Parallel()
	i, f := startOwnTokens(t)
	done := make(chan struct{})
	var asking sync.WaitGroup
	for worker := range int64(4) {
		asking.Go(func() {
			for n := int64(0); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				for _, ref := range []string{"tokens/arm", "tokens/aws", "tokens/docker", "shared/ci-token"} {
					value, err := f.find(push("acme/app").number(10000+1000*worker+n), ref)
					if err != nil {
						t.Errorf("%s: %v", ref, err)
					} else if strings.HasPrefix(ref, "tokens/") {
						f.world.watch(value)
					}
				}
			}
		})
	}
	from := "2098"
	f.edit(t, "}]}\n", fmt.Sprintf("}, {key: sign/drone-issuer@%s, from: \"2098-01-01T00:00:00Z\"}]}\n", i.sign.SetKey("drone-issuer")), true)
	f.configured(t, 2)
	for n := range 3 { // each makes another issuer, and with it other identities
		to := fmt.Sprint(2090 + n)
		f.edit(t, from+"-01-01", to+"-01-01", true)
		f.configured(t, n+3)
		from = to
	}
	close(done)
	asking.Wait()
	f.good(t)
}

// A request for a token is explained from the record like any other, and the record has no part of the token.
func TestATokensRequestIsExplained(t *testing.T) {
	t.Parallel()
	_, f := startOwnTokens(t)
	_, released := f.minted(t, f.app(), "tokens/aws")
	refused := f.expect(t, f.app().branch("dev"), "tokens/aws", denied("ref"))
	for id, says := range map[string]string{released.ID: "ALLOWED", refused.ID: "DENIED"} {
		if _, out := command(t, "explain", "--file", f.Record, id); !strings.Contains(out, says) || !strings.Contains(out, "tokens/aws") {
			t.Errorf("explain says %s, want %s", out, says)
		}
	}
}

// A machine's own identity asks for tokens as well, of Entra and of a registry; while its endpoint is down, they alone fail.
func TestTokensOfAManagedIdentity(t *testing.T) {
	t.Parallel()
	const machine = "eeeeeeee-1111-4222-8333-000000000002"
	f := startFaulty(t, `
identities: {default: {}, vm: {managed: {client_id: `+machine+`}}}
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
tokens:
  arm:    {identity: vm, scope: https://management.azure.com/.default, min_life: 1h}
  docker: {identity: vm, registry: `+acr+`, repositories: {base: [pull]}}
bindings: [{id: app-ci, repos: [acme/app], read: ["shared/ci-*", "tokens/*"]}]
`)
	f.because(t, f.next(), "tokens/arm", fails(http.StatusServiceUnavailable, "identity"), "identity vm", "assign")
	f.Emulator.ManagedIdentity(machine, tenantID)
	f.Emulator.Registry(acr, tenantID).Allow(machine, "base", "pull")
	token, e := f.minted(t, f.next(), "tokens/arm")
	if claims := f.ofEntra(t, token, "https://management.azure.com"); claims["appid"] != machine || e.Identity != "vm" || time.Until(e.Expires) < 23*time.Hour {
		t.Errorf("on record is %s, it is that of %v", e.Line, claims["appid"])
	}
	password, _ := f.minted(t, f.next(), "tokens/docker")
	if access, ok := f.Emulator.Registry(acr, tenantID).Login(tokenUser, password); !ok || fmt.Sprint(access) != "[{base [pull]}]" {
		t.Errorf("the registry's token may %v", access)
	}
	f.good(t)
}

// Many repositories ask at once, each for the first time, of vaults and for tokens: each of them becomes itself and is served.
func TestC6ManyRepositoriesAtOnce(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.Register(emulator.App{Tenant: tenantID, ClientID: appClient, Issuer: issuerURL, AnySubject: true})
	config := strings.Replace(i.each([]string{appClient}), "repos: [acme/app]", `repos: ["acme/*"]`, 1)
	config = strings.Replace(config, "own0/*]", `own0/*, "tokens/*"]`, 1) + "tokens: {arm: {identity: id0, scope: https://management.azure.com/.default}}\n"
	f := startFaulty(t, config, i.on())
	f.fill("kv-own/db")
	f.good(t)
	// Entra takes its time, as it does.
	defer i.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Delay, Wait: 200 * time.Millisecond})()
	first := 100
	f.promptly(t, func() error {
		var all sync.WaitGroup
		failures := make(chan error, 80)
		for n := range 40 {
			for _, ref := range []string{"own0/db", "tokens/arm"} {
				b := push(fmt.Sprintf("acme/r%d", first+n)).uid(fmt.Sprint(first + n))
				all.Go(func() {
					value, err := f.find(b, ref)
					if err != nil {
						failures <- fmt.Errorf("%s for %s: %w", ref, b.repo.Slug, err)
					} else if ref == "tokens/arm" {
						f.world.watch(value)
					}
				})
			}
		}
		all.Wait()
		close(failures)
		first += 40
		return <-failures
	})
	f.good(t)
}

// The most talkative log, with all that can fail failing: the scan at the end of each test finds no part of a token.
func TestADebugLogTellsNoToken(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.trust(appClient, "drone:"+issuerServer+":repo:1")
	i.Registry(acr, tenantID).Allow(appClient, "team/app", "pull", "push")
	f := startFaulty(t, i.config(ownTokens)+"log: {level: debug}\n", i.on())
	for _, ref := range []string{"tokens/arm", "tokens/docker", "tokens/aws"} {
		f.minted(t, f.app(), ref)
	}
	if _, all, err := f.list(f.key, f.app()); err != nil || len(all) != 1 {
		t.Errorf("%d registries, %v", len(all), err)
	}
	for _, fault := range []emulator.Fault{{AADSTS: 700016}, {Kind: emulator.HTML}, {Kind: emulator.Redirect, Location: "https://evil.example/"}} {
		for _, target := range []emulator.Target{emulator.TokenEndpoint(), i.Registry(acr, tenantID).Target(), i.sign.Target()} {
			remove := i.Fault(target, fault)
			for _, ref := range []string{"tokens/arm", "tokens/docker", "tokens/aws"} {
				_, _ = f.find(f.app(), ref)
			}
			remove()
		}
	}
	if f.status(); f.lines("level", "debug") == nil && !strings.Contains(f.out.String(), "released") {
		t.Error("the log tells nothing at all")
	}
	f.good(t)
}
