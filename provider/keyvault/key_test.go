package keyvault_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

const keyName = "drone-issuer"

// keyWorld is a world whose application may use the keys of its vault, and one key in it.
type keyWorld struct {
	*world
	version string
}

func newKeyWorld(t *testing.T) keyWorld {
	t.Helper()
	w := newWorld(t)
	w.kv.AllowKeys(client)
	return keyWorld{w, w.kv.SetKey(keyName)}
}

// key is a Key that was not used yet, of a vault and an identity of its own.
func (w keyWorld) key(t *testing.T) *keyvault.Key {
	t.Helper()
	return w.vault(t).Key(keyName, w.version)
}

func digest() []byte {
	sum := sha256.Sum256([]byte("a token"))
	return sum[:]
}

// failed is an error as it must be: an *secret.Error that names the key, and tells nothing.
func failed(t *testing.T, err error) *secret.Error {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		t.Fatalf("%T is no *secret.Error", err)
	}
	for _, s := range []string{"eyJ", "Sign in to the network", "appid=", base64.RawURLEncoding.EncodeToString(digest())} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("%q is in %q", s, err)
		}
	}
	return e
}

// sign signs and checks what must hold of every answer: a good signature or an error.
func sign(t *testing.T, ctx context.Context, k *keyvault.Key) *secret.Error {
	t.Helper()
	signature, err := k.Sign(ctx, digest())
	if err != nil {
		if signature != nil {
			t.Error("a signature beside an error")
		}
		return failed(t, err)
	}
	public, err := k.Public(ctx)
	if err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, digest(), signature) != nil {
		t.Errorf("the signature %x does not verify, %v", signature, err)
	}
	return nil
}

func TestAKeySigns(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	old := w.version
	w.version = w.kv.SetKey(keyName)
	v := w.vault(t)
	one, two := v.Key(keyName, old), v.Key(strings.ToUpper(keyName), strings.ToUpper(w.version))
	for _, k := range []*keyvault.Key{one, two} {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := sign(t, t.Context(), k); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	first, _ := one.Public(t.Context())
	second, _ := two.Public(t.Context())
	if first.Equal(second) || first.N.BitLen() != 2048 {
		t.Error("two versions are one key, or not of 2048 bits")
	}
	if n := w.TokenRequests(client); n != 1 {
		t.Errorf("%d tokens", n)
	}
	w.Forget()
	if err := sign(t, t.Context(), one); err != nil {
		t.Error(err)
	}
	if all := w.Requests(); len(all) != 1 || all[0].Method != http.MethodPost || !strings.HasSuffix(all[0].Path, "/"+old+"/sign") {
		t.Errorf("a later signature made %+v", all)
	}
	reads(t, v, "deploy-db", value) // with the same vault
}

// What Key Vault answers, and what becomes of it: the first time a key is used, and later.
func TestFaultsOfKeys(t *testing.T) {
	t.Parallel()
	status := func(code int) emulator.Fault { return emulator.Fault{Status: code} }
	kind := func(k emulator.Kind) emulator.Fault { return emulator.Fault{Kind: k} }
	inner := func(code string) emulator.Fault {
		return emulator.Fault{Status: 403, Body: `{"error":{"code":"Forbidden","message":"appid=x","innererror":{"code":"` + code + `"}}}`}
	}
	for name, c := range map[string]struct {
		fault  emulator.Fault
		kind   secret.Kind
		reason secret.Reason
		detail string
	}{
		"401":               {status(401), secret.Unavailable, secret.ReasonVaultRefused, "Unauthorized"},
		"403":               {status(403), secret.Unavailable, secret.ReasonVaultRefused, "ForbiddenByRbac: identity pay has no role that uses this key: give it Key Vault Crypto User"},
		"403 policy":        {inner("ForbiddenByPolicy"), secret.Unavailable, secret.ReasonVaultRefused, "sign with them: add it there"},
		"403 firewall":      {inner("ForbiddenByFirewall"), secret.Unavailable, secret.ReasonVaultRefused, "firewall"},
		"403 operations":    {inner("KeyOperationForbidden"), secret.Unavailable, secret.ReasonVaultRefused, "list of operations"},
		"403 hostile code":  {inner("eyJ hunter2-canary"), secret.Unavailable, secret.ReasonVaultRefused, "403 Forbidden"},
		"404":               {status(404), secret.Unavailable, secret.ReasonNotFound, "404 KeyNotFound: there is no such key"},
		"400":               {status(400), secret.Unavailable, secret.ReasonNotFound, "no such version"},
		"disabled":          {inner("KeyDisabled"), secret.Unavailable, secret.ReasonDisabled, "the key is disabled: enable it"},
		"429 later":         {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, secret.Unavailable, secret.ReasonThrottled, "429"},
		"503":               {status(503), secret.Unavailable, secret.ReasonUnavailable, "503"},
		"204":               {status(204), secret.Garbled, secret.ReasonGarbled, "204"},
		"redirect":          {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/keys/x"}, secret.Garbled, secret.ReasonGarbled, "307"},
		"reset":             {kind(emulator.Reset), secret.Unavailable, secret.ReasonNetwork, "broke"},
		"broken JSON":       {kind(emulator.BrokenJSON), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"a web page":        {kind(emulator.HTML), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"a number":          {kind(emulator.WrongTypes), secret.Garbled, secret.ReasonGarbled, ""},
		"null":              {kind(emulator.NullValue), secret.Garbled, secret.ReasonGarbled, ""},
		"an empty value":    {kind(emulator.EmptyValue), secret.Garbled, secret.ReasonGarbled, ""},
		"no end":            {emulator.Fault{Status: 200, Body: strings.Repeat(" ", 2<<20)}, secret.Garbled, secret.ReasonGarbled, "no end"},
		"foreign challenge": {kind(emulator.ForeignChallenge), secret.Garbled, secret.ReasonGarbled, "no sense"},
		"odd challenge":     {kind(emulator.OddChallenge), secret.Garbled, secret.ReasonGarbled, "panic"},
		"another resource":  {challenge(tenant, "https://azure.net"), secret.Garbled, secret.ReasonGarbled, "another resource"},
		"another tenant":    {challenge(foreign, "https://vault.azure.net"), secret.Unavailable, secret.ReasonIdentity, foreign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newKeyWorld(t)
			for _, warm := range []bool{false, true} {
				k := w.key(t)
				if warm {
					if err := sign(t, t.Context(), k); err != nil {
						t.Fatal(err)
					}
				}
				remove := w.Fault(w.kv.KeyTarget(keyName), c.fault)
				err := sign(t, t.Context(), k)
				remove()
				want(t, err, c.kind, c.reason, c.detail)
				if !err.Identity && !strings.Contains(err.Detail, "key pay-prod/"+keyName+"@"+w.version+" ("+host+")") {
					t.Errorf("it does not name the key: %s", err.Detail)
				}
				if err := sign(t, t.Context(), k); err != nil { // right after: one bad challenge must not stay with the client
					t.Error(err)
				}
				if n := w.Count(w.evil.Host(), ""); n != 0 {
					t.Errorf("%d requests went elsewhere", n)
				}
			}
		})
	}
}

// Each use of a key, by name.
func uses(v *keyvault.Vault, version string) map[string]func(context.Context) error {
	k := v.Key(keyName, version)
	return map[string]func(context.Context) error{
		"public":   func(ctx context.Context) error { _, err := k.Public(ctx); return err },
		"sign":     func(ctx context.Context) error { _, err := v.Key(keyName, version).Sign(ctx, digest()); return err },
		"versions": func(ctx context.Context) error { _, err := v.KeyVersions(ctx, keyName); return err },
	}
}

func TestAHostileChallengeGetsNoTokenForKeys(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	for name, fault := range map[string]emulator.Fault{
		"foreign":          {Kind: emulator.ForeignChallenge},
		"odd":              {Kind: emulator.OddChallenge},
		"another resource": challenge(tenant, "https://azure.net"),
		"any resource":     challenge(tenant, "https://net"),
		"another tenant":   challenge(foreign, "https://vault.azure.net"),
	} {
		for use, f := range uses(w.vault(t), w.version) {
			w.Forget()
			remove := w.Fault(w.kv.Target(), fault)
			if err := failed(t, f(t.Context())); err == nil {
				t.Errorf("%s, %s: no error", name, use)
			}
			remove()
			for _, r := range w.Requests() {
				if r.Token || r.Host != host {
					t.Errorf("%s, %s: a request to %s%s, with a token: %v", name, use, r.Host, r.Path, r.Token)
				}
			}
		}
	}
}

func TestNobodyWaitsForKeysBeyondHisTime(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Drip} {
		v := w.vault(t)
		for use, f := range uses(v, w.version) {
			if err := f(t.Context()); err != nil { // a token is at hand
				t.Fatal(err)
			}
			if use == "public" {
				k := v.Key(keyName, w.version) // which was not remembered
				f = func(ctx context.Context) error { _, err := k.Public(ctx); return err }
			}
			remove := w.Fault(w.kv.Target(), emulator.Fault{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			want(t, failed(t, f(ctx)), secret.Late, secret.ReasonTimeout, host)
			cancel()
			remove()
			if err := f(t.Context()); err != nil {
				t.Errorf("%v, %s: afterwards %v", kind, use, err)
			}
		}
	}
}

// The SDK's waiters ignore their contexts; ours don't.
func TestACredentialThatIgnoresTheContextHoldsUpNoSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := func(ctx context.Context) (azcore.AccessToken, error) {
			<-release
			return token(ctx)
		}
		v := open(t, someone(stuck), fakeVault(func(*http.Request) (*http.Response, error) { return nil, io.EOF }))
		for use, f := range uses(v, "0123") {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			want(t, failed(t, f(ctx)), secret.Late, secret.ReasonTimeout, host)
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s took %s", use, took)
			}
			cancel()
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Minute) // whatever still tries gives up
	})
}

// What holds at once, whatever held before.
func TestARevocationIsSeenByTheNextSignature(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	k := w.key(t)
	if err := sign(t, t.Context(), k); err != nil {
		t.Fatal(err)
	}
	w.kv.SetKeyEnabled(keyName, w.version, false)
	want(t, sign(t, t.Context(), k), secret.Unavailable, secret.ReasonDisabled, "the key is disabled: enable it in Key Vault")
	if _, err := w.key(t).Public(t.Context()); err != nil {
		t.Errorf("a disabled key can still be published: %v", err)
	}
	w.kv.SetKeyEnabled(keyName, w.version, true)
	w.kv.ForbidKeys(client)
	want(t, sign(t, t.Context(), k), secret.Unavailable, secret.ReasonVaultRefused, "Key Vault Crypto User")
	w.kv.AllowKeys(client)
	if err := sign(t, t.Context(), k); err != nil {
		t.Error(err)
	}
	_, err := w.vault(t).Key(keyName, strings.Repeat("0", 32)).Public(t.Context())
	want(t, failed(t, err), secret.Unavailable, secret.ReasonNotFound, "404 KeyNotFound")
}

// A signature is asked for again after a short failure, with its body, though the first request of a client goes without.
func TestSigningIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	k := w.key(t)
	for name, c := range map[string]struct {
		fault emulator.Fault
		tries int
		fails bool
	}{
		"503 at first": {emulator.Fault{Status: 503, Times: 1}, 2, false},
		"503":          {emulator.Fault{Status: 503}, 3, true},
		"429 at first": {emulator.Fault{Status: 429, Times: 2}, 3, false},
		"403":          {emulator.Fault{Status: 403}, 1, true},
	} {
		if _, err := k.Public(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Forget()
		remove := w.Fault(w.kv.KeyTarget(keyName), c.fault)
		err := sign(t, t.Context(), k)
		remove()
		if n := w.Count(host, "/keys/"); n != c.tries || (err != nil) != c.fails {
			t.Errorf("%s: %d tries, %v", name, n, err)
		}
	}
}

func TestWhatCanBeNoKeyIsNotAskedFor(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	v := w.vault(t)
	for _, c := range [][2]string{{"", w.version}, {"a/b", w.version}, {"a b", w.version}, {"ä", w.version}, {strings.Repeat("a", 128), w.version}, {"..", w.version},
		{keyName, ""}, {keyName, "../x"}, {keyName, "a?b"}, {keyName, strings.Repeat("0", 65)}} {
		if _, err := v.Key(c[0], c[1]).Sign(t.Context(), digest()); err == nil || failed(t, err).Reason != secret.ReasonInternal {
			t.Errorf("%q@%q: %v", c[0], c[1], err)
		}
		if _, err := v.KeyVersions(t.Context(), c[0]); c[0] != keyName && (err == nil || failed(t, err).Reason != secret.ReasonInternal) {
			t.Errorf("the versions of %q: %v", c[0], err)
		}
	}
	for _, size := range []int{0, 20, 31, 33, 64} {
		if _, err := v.Key(keyName, w.version).Sign(t.Context(), make([]byte, size)); err == nil || failed(t, err).Reason != secret.ReasonInternal {
			t.Errorf("a digest of %d bytes: %v", size, err)
		}
	}
	for _, r := range w.Requests() {
		if r.Host == host && r.Method == http.MethodPost || r.Host == host && !strings.HasPrefix(r.Path, "/keys/"+keyName+"/") {
			t.Errorf("%s %s was asked for", r.Method, r.Path)
		}
	}
}

// signer is an Identity that notes for whom its credential was asked.
type signer struct {
	someone
	subjects *[]string
}

func (s signer) Subject(secret.Request) string { return "a repository" }

func (s signer) Credential(subject string) azcore.TokenCredential {
	*s.subjects = append(*s.subjects, subject)
	return s.someone
}

func TestKeysAreUsedByTheIdentityItself(t *testing.T) {
	t.Parallel()
	var subjects []string
	failure := secret.Fail(secret.Unavailable, secret.ReasonIdentity, "identity pay: AADSTS700213: …")
	v := open(t, signer{func(context.Context) (azcore.AccessToken, error) { return azcore.AccessToken{}, failure }, &subjects}, fakeVault(nil))
	_, err := v.Key(keyName, "0123").Public(t.Context())
	told := *failure
	told.Identity = true
	if got := failed(t, err); got == nil || *got != told {
		t.Errorf("got %+v, want it as told, and known as the identity's", got)
	}
	if !slices.Equal(subjects, []string{""}) {
		t.Errorf("the credential was asked for %q", subjects)
	}
}

// disbelieved is an Identity that notes whose token was not taken.
type disbelieved struct {
	signer
	refused *[]string
}

func (d disbelieved) Refused(subject, scope string) {
	*d.refused = append(*d.refused, subject+" for "+scope)
}

// Whoever showed the token that a vault did not take is told, for secrets as for keys; a refusal of rights is another thing.
func TestTheIdentityIsToldOfATokenThatWasNotTaken(t *testing.T) {
	t.Parallel()
	for status, want := range map[int][]string{
		http.StatusUnauthorized: {"a repository for https://vault.azure.net/.default", " for https://vault.azure.net/.default"},
		http.StatusForbidden:    nil,
	} {
		var subjects, refused []string
		is := disbelieved{signer{func(context.Context) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "a.b.c", ExpiresOn: time.Now().Add(time.Hour)}, nil
		}, &subjects}, &refused}
		v := open(t, is, fakeVault(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Request: r, Body: http.NoBody}, nil
		}))
		if _, err := read(t, t.Context(), v, "deploy-db"); err == nil {
			t.Error("a secret")
		}
		if _, err := v.Key(keyName, "0123").Public(t.Context()); err == nil {
			t.Error("a key")
		}
		if fmt.Sprint(refused) != fmt.Sprint(want) {
			t.Errorf("%d: %q was told, want %q", status, refused, want)
		}
	}
}
