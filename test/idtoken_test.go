package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// minting has tokens that our issuer signs for three relying parties.
const minting = `
identities: {default: {}}
vaults:
  sign:   {url: https://kv-sign.vault.azure.net}
  shared: {url: https://kv-shared.vault.azure.net}
tokens:
  aws:    {audience: sts.amazonaws.com, lifetime: 10m}
  vault:  {audience: "https://vault.acme.example"}
  deploy: {audience: deploy.acme.example, subject: environment, lifetime: 2m}
bindings:
  - {id: ci, repos: [acme/app, acme/odd], read: ["shared/ci-*", "tokens/*"]}
  - {id: pr, repos: [acme/app], when: {pull_request: {from: any}}, read: ["tokens/vault"]}
  - {id: rest, repos: [acme/app], when: {promote: {deploy_to: [production, "eu:prod"]}, rollback: {deploy_to: [production]}, custom: {branches: ["**"]}}, actors: [alice], read: ["tokens/*"]}
`

func startMinting(t *testing.T) (*issuing, *faulty) {
	t.Helper()
	i := newIssuing(t, emulator.Options{})
	return i, startFaulty(t, i.config(minting), i.on())
}

// claimed asks for an ID token and returns what a relying party reads in it.
func (f *faulty) claimed(t *testing.T, i *issuing, b build, name, audience string) map[string]any {
	t.Helper()
	token, _ := f.minted(t, b, "tokens/"+name)
	claims, err := i.relying(t, token, audience)
	if err != nil {
		t.Fatalf("the relying party %s refuses it: %v", audience, err)
	}
	return claims
}

// A relying party that knows our issuer's URL verifies a build's token, and nobody takes one that was made for another.
func TestARelyingPartyVerifiesABuildsToken(t *testing.T) {
	t.Parallel()
	i, f := startMinting(t)
	b := f.next()
	token, e := f.minted(t, b, "tokens/aws")
	claims, err := i.relying(t, token, "sts.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	if e.How != "minted" || e.Version != claims["jti"] || e.Identity != "" || e.Expires.IsZero() || float64(e.Expires.Unix()) != claims["exp"] {
		t.Errorf("on record is %s, in the token %v", e.Line, claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 600 {
		t.Errorf("it lives for %v s", life)
	}
	if claims["sub"] != "drone:"+issuerServer+":repo:1" || claims["aud"] != "sts.amazonaws.com" || claims["build_number"] != float64(b.build.Number) {
		t.Errorf("it says %v", claims)
	}
	if _, err := i.relying(t, token, "https://vault.acme.example"); err == nil {
		t.Error("another relying party takes it")
	}
	other := f.claimed(t, i, b, "vault", "https://vault.acme.example")
	if life := other["exp"].(float64) - other["iat"].(float64); life != 300 || other["jti"] == claims["jti"] {
		t.Errorf("the other audience's says %v", other)
	}
	again, repeat := f.minted(t, b, "tokens/aws")
	if again != token || repeat.How != "build" {
		t.Errorf("the same build's next step: %s", repeat.Line)
	}
	if expires, err := f.find(b, "tokens/aws/expires"); err != nil || expires != e.Expires.UTC().Format(time.RFC3339) {
		t.Errorf("expires is %q, %v", expires, err)
	}
	for name, changed := range map[string]build{
		"another build": f.next(), "another repository": f.nextOf("acme/odd").uid("9").number(b.build.Number), "a forged actor": b.sender("mallory"),
		"another commit": b.after("0000000000000000000000000000000000000000"),
	} {
		if text, _ := f.minted(t, changed, "tokens/aws"); text == token {
			t.Errorf("%s got this build's token", name)
		}
	}
	spoilt := token[:len(token)-20] + strings.Repeat("A", 20)
	f.world.watch(spoilt)
	if _, err := i.relying(t, spoilt, "sts.amazonaws.com"); err == nil {
		t.Error("a signature that was changed verifies")
	}
	if n := f.Emulator.TokenRequests(clientID); n > 2 {
		t.Errorf("%d exchanges: no identity is asked for an ID token but the one of the key's vault and the other's", n)
	}
	f.good(t)
}

func (b build) after(sha string) build { b.build.After = sha; return b }

// What Drone proves is said as a fact, and what somebody may have made up is set apart.
func TestWhatATokenSaysOfABuild(t *testing.T) {
	t.Parallel()
	i, f := startMinting(t)
	n := func(b build) build { return b.number(f.next().build.Number) }
	for name, c := range map[string]struct {
		who    build
		facts  map[string]any // nil: it must not be there
		unsure map[string]any
	}{
		"push": {n(push("acme/app")), map[string]any{"event": "push", "ref": "refs/heads/main", "ref_type": "branch", "actor": "alice", "fork": nil, "deploy_to": nil},
			map[string]any{"sha": "5d959da0aa172d38cddf6825dc7b766fcbbaeb61", "ref": nil}},
		"promote": {n(promote("acme/app", "production")), map[string]any{"event": "promote", "ref": nil, "ref_type": nil, "deploy_to": "production", "actor": "alice", "trigger": "alice"},
			map[string]any{"ref": "refs/heads/main", "target": "main"}},
		"rollback": {n(rollback("acme/app", "production")), map[string]any{"event": "rollback", "ref": nil, "deploy_to": "production"}, map[string]any{"ref": "refs/heads/main"}},
		"custom": {n(custom("acme/app").ref("refs/heads/secret").sender("root")), map[string]any{"event": "custom", "ref": nil, "actor": "alice"},
			map[string]any{"ref": "refs/heads/secret", "sender": "root"}},
		"pull request":                {n(pull("acme/app")), map[string]any{"event": "pull_request", "ref": "refs/pull/7/head", "ref_type": "pull_request", "fork": false, "target": "main"}, map[string]any{"ref": nil, "target": nil}},
		"fork":                        {n(pull("acme/app").from("evil/app")), map[string]any{"event": "pull_request", "fork": true, "target": "main"}, map[string]any{"source_repo": "evil/app"}},
		"a fork that says it is main": {n(pull("acme/app").from("evil/app").ref("refs/heads/main")), map[string]any{"ref": nil, "fork": true}, map[string]any{"ref": "refs/heads/main"}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := f.claimed(t, i, c.who, "vault", "https://vault.acme.example")
			unproven, _ := claims["unproven"].(map[string]any)
			for which, want := range map[string]map[string]any{"": c.facts, "unproven.": c.unsure} {
				got := claims
				if which != "" {
					got = unproven
				}
				for claim, value := range want {
					if has, ok := got[claim]; has != value || ok != (value != nil) {
						t.Errorf("%s%s is %v, want %v", which, claim, has, value)
					}
				}
			}
			for claim := range claims {
				if strings.Contains(claim, "author") || strings.Contains(claim, "message") || claim == "secret" {
					t.Errorf("it says %s", claim)
				}
			}
		})
	}
	claims := f.claimed(t, i, n(promote("acme/app", "eu:prod")), "deploy", "deploy.acme.example")
	if want := "drone:" + issuerServer + ":repo:1:environment:eu%3Aprod"; claims["sub"] != want || claims["exp"].(float64)-claims["iat"].(float64) != 120 {
		t.Errorf("it says %v, want the subject %s", claims, want)
	}
	f.because(t, f.next(), "tokens/deploy", denied("deploy_to"), "promote")
	f.because(t, f.nextOf("acme/odd").uid("1:repo:2"), "tokens/aws", denied("uid"))
	f.good(t)
}

// A fork's pull request has what a binding of its own gives, and nothing that is for others.
func TestAForkHasNoTokenOfAPushs(t *testing.T) {
	t.Parallel()
	_, f := startMinting(t)
	for _, ref := range []string{"tokens/aws", "tokens/deploy"} {
		if e := f.nothing(t, pull("acme/app").from("evil/app"), ref); e.Outcome != "denied" {
			t.Errorf("%s is on record as %s", ref, e.Line)
		}
	}
	f.expect(t, pull("acme/odd"), "tokens/vault", denied("event"))
}

// The key can't sign: ID tokens fail with the cause, and everything else serves.
func TestATokenThatNobodySigns(t *testing.T) {
	t.Parallel()
	i, f := startMinting(t)
	i.sign.SetKeyEnabled("drone-issuer", "", false)
	f.because(t, f.next(), "tokens/aws", fails(http.StatusServiceUnavailable, "disabled"), "tokens/aws", "key sign/drone-issuer@", "disabled")
	f.good(t)
	if line := f.logged("reason", "disabled"); !strings.Contains(fmt.Sprint(line), "drone-issuer") {
		t.Errorf("the log says %v", line)
	}
	i.sign.SetKeyEnabled("drone-issuer", "", true)
	f.minted(t, f.next(), "tokens/aws")
}

// A key that is listed for later signs nothing before its time and everything after; both are published, so that no token
// ever meets a relying party that can't verify it.
func TestAKeyThatSignsLater(t *testing.T) {
	t.Parallel()
	i := newIssuing(t, emulator.Options{})
	i.publish(i.version(0), i.sign.SetKey("drone-issuer"))
	old, next := i.public(i.version(0)).KeyID, i.public(i.version(1)).KeyID
	from := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	config := strings.Replace(i.config(minting), "}]}", fmt.Sprintf("}, {key: sign/drone-issuer@%s, from: %q}]}", i.version(1), from.Format(time.RFC3339)), 1)
	f := startFaulty(t, config, i.on())
	signer := func() string {
		token, _ := f.minted(t, f.next(), "tokens/aws")
		if _, err := i.relying(t, token, "sts.amazonaws.com"); err != nil {
			t.Error(err)
		}
		return kid(t, token)
	}
	if got := signer(); got != old && time.Now().Before(from) {
		t.Errorf("before its time %s signs, want %s", got, old)
	}
	eventually(t, "a token by the second key", func() bool { return signer() == next || !f.pause() })
	if time.Now().Before(from) {
		t.Error("the second key signs before its time")
	}
	f.good(t)
}

// A reload that adds a token, a pool of the issuer or a key keeps what is there: nobody exchanges again what is still good.
func TestAReloadKeepsTheIdentitiesItDoesNotChange(t *testing.T) {
	t.Parallel()
	i, f := startOwn(t, emulator.Options{})
	f.expect(t, f.app(), "own/app-db", gets("kv-own/app-db"))
	f.good(t)
	mine, theirs := i.TokenRequests(appClient), i.TokenRequests(clientID)
	f.edit(t, "vaults:\n", "tokens:\n  aws: {audience: sts.amazonaws.com}\nvaults:\n", false)
	f.edit(t, "keys: [{key: sign/", "pools: [default], keys: [{key: sign/", false)
	f.edit(t, `"own/*"]`, `"own/*", "tokens/aws"]`, true)
	f.configured(t, 2)
	f.minted(t, f.app(), "tokens/aws")
	f.expect(t, f.app(), "own/app-db", gets("kv-own/app-db"))
	f.good(t)
	if i.TokenRequests(appClient) != mine || i.TokenRequests(clientID) != theirs {
		t.Errorf("%d and %d exchanges, before the reload %d and %d", i.TokenRequests(appClient), i.TokenRequests(clientID), mine, theirs)
	}
	second := i.sign.SetKey("drone-issuer")
	f.edit(t, "}]}", fmt.Sprintf("}, {key: sign/drone-issuer@%s, from: \"2099-01-01T00:00:00Z\"}]}", second), true)
	f.configured(t, 3)
	f.expect(t, f.app(), "own/app-db", gets("kv-own/app-db"))
	f.good(t)
	token, _ := f.minted(t, f.app(), "tokens/aws")
	if theirs != i.TokenRequests(clientID) || i.TokenRequests(appClient) > mine+1 {
		t.Errorf("%d and %d exchanges, before the reload %d and %d", i.TokenRequests(appClient), i.TokenRequests(clientID), mine, theirs)
	}
	if got := kid(t, token); got != i.public(i.version(0)).KeyID {
		t.Errorf("%s signs, which is for later", got)
	}
}
