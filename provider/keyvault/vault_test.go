package keyvault_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

func TestASecretIsReadWithWhatKeyVaultSaysOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	created, notBefore, expires := at("2026-01-02T03:04:05Z"), at("2030-01-01T00:00:00Z"), at("2020-01-01T00:00:00Z")
	// Neither nbf nor exp keeps Key Vault from answering; that they hold is Policy.Admit's.
	version := w.kv.Set("odd", value, emulator.Created(created), emulator.NotBefore(notBefore), emulator.Expires(expires))
	f, err := read(t, t.Context(), v, "odd/key")
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != version || !f.Created.Equal(created) || !f.NotBefore.Equal(notBefore) || !f.Expires.Equal(expires) || !f.Enabled {
		t.Errorf("fetched %+v", f)
	}
	f, err = read(t, t.Context(), v, "deploy-db")
	if err != nil {
		t.Fatal(err)
	}
	if !f.NotBefore.IsZero() || !f.Expires.IsZero() {
		t.Errorf("times that Key Vault did not state: %+v", f)
	}
}

func TestAPinnedVersionStaysAndTheCurrentOneMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	w.kv.Set("deploy-db", "rotated")
	reads(t, v, "deploy-db", "rotated")
	reads(t, v, "deploy-db@"+w.version, value)
	reads(t, v, "DEPLOY-DB@"+strings.ToUpper(w.version), value) // Key Vault ignores case, and so does a Ref
}

func TestOneTokenAndOneChallengeServeManyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := read(t, t.Context(), v, "deploy-db"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.TokenRequests(client); n != 1 {
		t.Errorf("%d tokens", n)
	}
	w.Forget()
	reads(t, v, "deploy-db", value)
	if all := w.Requests(); len(all) != 1 || !all[0].Token {
		t.Errorf("a later read made %+v", all)
	}
}

// What Key Vault answers, and what becomes of it.
func TestFaultsOfKeyVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	status := func(code int) emulator.Fault { return emulator.Fault{Status: code} }
	kind := func(k emulator.Kind) emulator.Fault { return emulator.Fault{Kind: k} }
	inner := func(code string) emulator.Fault {
		return emulator.Fault{Status: 403, Body: `{"error":{"code":"Forbidden","message":"appid=x","innererror":{"code":"` + code + `"}}}`}
	}
	number := 0
	for name, c := range map[string]struct {
		fault  emulator.Fault
		kind   secret.Kind
		reason secret.Reason
		detail string
	}{
		"401":                {status(401), secret.NotFound, secret.ReasonVaultRefused, "Unauthorized"},
		"403":                {status(403), secret.NotFound, secret.ReasonVaultRefused, "ForbiddenByRbac: identity pay has no role"},
		"403 policy":         {inner("ForbiddenByPolicy"), secret.NotFound, secret.ReasonVaultRefused, "access policy"},
		"403 firewall":       {inner("ForbiddenByFirewall"), secret.NotFound, secret.ReasonVaultRefused, "firewall"},
		"403 of tomorrow":    {inner("ForbiddenByMoon"), secret.NotFound, secret.ReasonVaultRefused, "ForbiddenByMoon"},
		"403 hostile code":   {inner("eyJ hunter2-canary"), secret.NotFound, secret.ReasonVaultRefused, "403 Forbidden"},
		"403 of a proxy":     {emulator.Fault{Status: 403, Body: "<html>"}, secret.NotFound, secret.ReasonVaultRefused, "proxy"},
		"404":                {status(404), secret.NotFound, secret.ReasonNotFound, "404 SecretNotFound"},
		"disabled":           {inner("SecretDisabled"), secret.Denied, secret.ReasonDisabled, "enable it"},
		"429 later":          {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, secret.Unavailable, secret.ReasonThrottled, "429"},
		"500":                {status(500), secret.Unavailable, secret.ReasonUnavailable, "500"},
		"503":                {status(503), secret.Unavailable, secret.ReasonUnavailable, "503"},
		"504":                {status(504), secret.Unavailable, secret.ReasonUnavailable, "504"},
		"400":                {status(400), secret.Garbled, secret.ReasonGarbled, "400"},
		"204":                {emulator.Fault{Status: 204}, secret.Garbled, secret.ReasonGarbled, "204"},
		"redirect":           {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/secrets/deploy-db"}, secret.Garbled, secret.ReasonGarbled, "307"},
		"reset":              {kind(emulator.Reset), secret.Unavailable, secret.ReasonNetwork, "broke"},
		"unknown host":       {kind(emulator.UnknownHost), secret.Unavailable, secret.ReasonNetwork, "DNS"},
		"old certificate":    {kind(emulator.ExpiredCertificate), secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"another's":          {kind(emulator.WrongCertificate), secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"nobody's":           {kind(emulator.UntrustedCertificate), secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"broken JSON":        {kind(emulator.BrokenJSON), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"a web page":         {kind(emulator.HTML), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"a number":           {kind(emulator.WrongTypes), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"null":               {kind(emulator.NullValue), secret.Garbled, secret.ReasonGarbled, "without a value"},
		"an empty value":     {kind(emulator.EmptyValue), secret.Garbled, secret.ReasonGarbled, "without a value"},
		"no end":             {emulator.Fault{Status: 200, Body: strings.Repeat(" ", 2<<20)}, secret.Garbled, secret.ReasonGarbled, "no end"},
		"foreign challenge":  {kind(emulator.ForeignChallenge), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"odd challenge":      {kind(emulator.OddChallenge), secret.Garbled, secret.ReasonGarbled, "panic"},
		"another resource":   {challenge(tenant, "https://azure.net"), secret.Garbled, secret.ReasonGarbled, "another resource"},
		"another tenant":     {challenge(foreign, "https://vault.azure.net"), secret.Unavailable, secret.ReasonIdentity, foreign},
		"a challenge of ads": {challenge("x y\tz", "https://vault.azure.net"), secret.Unavailable, secret.ReasonIdentity, "not a GUID"},
	} {
		number++
		kv := w.Vault(fmt.Sprintf("kv-%d.vault.azure.net", number), tenant) // of its own, since the tests wait out retries
		kv.Allow(client)
		kv.Set("deploy-db", value)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, warm := range []bool{false, true} {
				v := openAt(t, kv.URL(), w.identity(t), w.transport)
				if warm {
					reads(t, v, "deploy-db", value)
				}
				remove := w.Fault(kv.Target(), c.fault)
				_, err := read(t, t.Context(), v, "deploy-db")
				remove()
				want(t, err, c.kind, c.reason, c.detail)
				reads(t, v, "deploy-db", value) // right after: one bad challenge must not stay with the client
				if n := w.Count(w.evil.Host(), ""); n != 0 {
					t.Errorf("%d requests went elsewhere", n)
				}
			}
		})
	}
}

// challenge is a 401 that asks for a token of a tenant, for a resource.
func challenge(tenant, resource string) emulator.Fault {
	return emulator.Fault{Status: 401, Body: "{}", Header: http.Header{
		"Www-Authenticate": {`Bearer authorization="https://` + login + `/` + tenant + `", resource="` + resource + `"`}}}
}

func TestAHostileChallengeGetsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, fault := range map[string]emulator.Fault{
		"foreign":          {Kind: emulator.ForeignChallenge},
		"odd":              {Kind: emulator.OddChallenge},
		"another resource": challenge(tenant, "https://azure.net"),
		"any resource":     challenge(tenant, "https://net"),
		"another tenant":   challenge(foreign, "https://vault.azure.net"),
	} {
		t.Run(name, func(t *testing.T) {
			w.Forget()
			defer w.Fault(w.kv.Target(), fault)()
			if _, err := read(t, t.Context(), w.vault(t), "deploy-db"); err == nil {
				t.Error("no error")
			}
			if n := w.Count(login, ""); n != 0 {
				t.Errorf("Entra was asked %d times", n)
			}
			for _, r := range w.Requests() {
				if r.Token {
					t.Errorf("a token went to %s%s", r.Host, r.Path)
				}
			}
		})
	}
}

func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	reads(t, v, "deploy-db", value)
	for name, c := range map[string]struct {
		fault emulator.Fault
		tries int
	}{
		"503":               {emulator.Fault{Status: 503}, 3},
		"429":               {emulator.Fault{Status: 429}, 3},
		"429 in a while":    {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, 1},
		"503 in an instant": {emulator.Fault{Status: 503, RetryAfter: time.Second, Times: 1}, 2},
		"403":               {emulator.Fault{Status: 403}, 1},
		"404":               {emulator.Fault{Status: 404}, 1},
	} {
		w.Forget()
		remove := w.Fault(w.kv.Target(), c.fault)
		_, err := read(t, t.Context(), v, "deploy-db")
		remove()
		if n := w.Count(host, "/secrets/"); n != c.tries || (err == nil) != (c.fault.Times == 1) {
			t.Errorf("%s: %d tries, %v", name, n, err)
		}
	}
}

// What holds at once, whatever held before.
func TestARevocationIsSeenByTheNextRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	reads(t, v, "deploy-db", value)
	w.kv.Forbid(client)
	_, err := read(t, t.Context(), v, "deploy-db")
	want(t, err, secret.NotFound, secret.ReasonVaultRefused, "ForbiddenByRbac")
	w.kv.Allow(client)
	w.kv.Update("deploy-db", "", emulator.Disabled())
	_, err = read(t, t.Context(), v, "deploy-db")
	want(t, err, secret.Denied, secret.ReasonDisabled, "pay-prod/deploy-db")
	w.kv.Update("deploy-db", "", emulator.Enabled())
	_, err = read(t, t.Context(), v, "deploy-db@0123456789abcdef0123456789abcdef")
	want(t, err, secret.NotFound, secret.ReasonNotFound, "404")
	w.kv.Delete("deploy-db")
	_, err = read(t, t.Context(), v, "deploy-db")
	want(t, err, secret.NotFound, secret.ReasonNotFound, host)
}

func TestOnlyVaultsOfAzureAreOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, url := range []string{"https://kv-pay-prod.vault.azure.net", "https://KV.vault.azure.net/", "https://kv.vault.usgovcloudapi.net", "https://kv.vault.azure.cn"} {
		if _, err := keyvault.New(keyvault.Options{Alias: "a", URL: url, Identity: w.identity(t), Transport: w.transport}); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "http://kv.vault.azure.net", "https://kv.vault.azure.net:8443", "https://kv.vault.azure.net.evil.example",
		"https://evil.example/kv.vault.azure.net", "https://evil.example#.vault.azure.net", "https://vault.azure.net", "https://.vault.azure.net",
		"https://a.b.vault.azure.net", "https://user:hunter2-canary@kv.vault.azure.net", "https://10.0.0.1", "https://kv.vault.azure.net/secrets",
		"https://kv.vault.azure.net?x=1", "https://-kv.vault.azure.net", "https://kv%2eevil.vault.azure.net", "kv.vault.azure.net",
		"https://" + strings.Repeat("a", 64) + ".vault.azure.net", "https://\x00.vault.azure.net"} {
		_, err := keyvault.New(keyvault.Options{Alias: "door", URL: url, Identity: w.identity(t), Transport: w.transport})
		if err == nil || !strings.Contains(err.Error(), "vault door: url") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := keyvault.New(keyvault.Options{Alias: "door", URL: "https://kv.vault.azure.net"}); err == nil {
		t.Error("a vault that nobody opens")
	}
}
