package keyvault_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// An answer that is not whole, or not about what was asked, is none.
func TestAnAnswerMustBeAboutWhatWasAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	reads(t, v, "deploy-db", value)
	good := "https://" + host + "/secrets/deploy-db/" + w.version
	body := func(id, attributes string) string {
		return fmt.Sprintf(`{"value":"%s","id":%s%s}`, value, id, attributes)
	}
	const enabled = `,"attributes":{"enabled":true}`
	for name, c := range map[string]struct{ body, ask string }{
		"another host":        {body(`"https://evil.vault.azure.net/secrets/deploy-db/`+w.version+`"`, enabled), "deploy-db"},
		"another name":        {body(`"https://`+host+`/secrets/other/`+w.version+`"`, enabled), "deploy-db"},
		"a key":               {body(`"https://`+host+`/keys/deploy-db/`+w.version+`"`, enabled), "deploy-db"},
		"no version":          {body(`"https://`+host+`/secrets/deploy-db"`, enabled), "deploy-db"},
		"an empty version":    {body(`"https://`+host+`/secrets/deploy-db/"`, enabled), "deploy-db"},
		"a crooked version":   {body(`"https://`+host+`/secrets/deploy-db/a%0ab"`, enabled), "deploy-db"},
		"another version":     {body(`"`+good+`"`, enabled), "deploy-db@0123456789abcdef0123456789abcdef"},
		"more after it":       {body(`"`+good+`/more"`, enabled), "deploy-db"},
		"plain http":          {body(`"http://`+host+`/secrets/deploy-db/`+w.version+`"`, enabled), "deploy-db"},
		"an id of nothing":    {body(`""`, enabled), "deploy-db"},
		"an id of nonsense":   {body(`"::"`, enabled), "deploy-db"},
		"an id of null":       {body(`null`, enabled), "deploy-db"},
		"an id of a number":   {body(`7`, enabled), "deploy-db"},
		"no attributes":       {body(`"`+good+`"`, ""), "deploy-db"},
		"null attributes":     {body(`"`+good+`"`, `,"attributes":null`), "deploy-db"},
		"enabled or not":      {body(`"`+good+`"`, `,"attributes":{}`), "deploy-db"},
		"enabled of a string": {body(`"`+good+`"`, `,"attributes":{"enabled":"true"}`), "deploy-db"},
		"a list":              {`[]`, "deploy-db"},
		"null":                {`null`, "deploy-db"},
		"nothing":             {` `, "deploy-db"},
		"an empty object":     {`{}`, "deploy-db"},
		"a value twice":       {body(`"`+good+`","value":"`+value+`"`, enabled), "deploy-db"},
		"an id twice":         {body(`"`+good+`","id":"`+good+`"`, enabled), "deploy-db"},
		"half a character":    {`{"value":"\ud83d","id":"` + good + `"` + enabled + `}`, "deploy-db"},
		"no UTF-8":            {"{\"value\":\"\xff\",\"id\":\"" + good + `"` + enabled + `}`, "deploy-db"},
		"more behind it":      {body(`"`+good+`"`, enabled) + "{}", "deploy-db"},
		"a value in a list":   {`{"value":["` + value + `"],"id":"` + good + `"` + enabled + `}`, "deploy-db"},
	} {
		remove := w.Fault(w.kv.Target(), emulator.Fault{Status: 200, Body: c.body})
		_, err := read(t, t.Context(), v, c.ask)
		remove()
		if err == nil || err.Kind != secret.Garbled || err.Reason != secret.ReasonGarbled {
			t.Errorf("%s: %v", name, err)
		}
	}
	remove := w.Fault(w.kv.Target(), emulator.Fault{Status: 400, Body: `{"error":{"code":"BadParameter"}}`})
	_, err := read(t, t.Context(), v, "deploy-db@crooked")
	remove()
	want(t, err, secret.NotFound, secret.ReasonNotFound, "400 BadParameter")
	defer w.Fault(w.kv.Target(), emulator.Fault{Status: 200, Body: body(`"`+strings.Replace(good, "deploy-db", "Deploy-DB", 1)+`"`, enabled)})()
	reads(t, v, "deploy-db", value) // Key Vault answers with the name as it was created
}

func TestNobodyWaitsBeyondHisTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Drip} {
		t.Run(kind.String(), func(t *testing.T) {
			v := w.vault(t)
			reads(t, v, "deploy-db", value)
			remove := w.Fault(w.kv.Target(), emulator.Fault{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := read(t, ctx, v, "deploy-db")
			want(t, err, secret.Late, secret.ReasonTimeout, host)
			remove()
			reads(t, v, "deploy-db", value)
		})
	}
}

// someone is an Identity whose credential is a function.
type someone func(context.Context) (azcore.AccessToken, error)

func (someone) Name() string                               { return "pay" }
func (someone) Subject(secret.Request) string              { return "" }
func (s someone) Credential(string) azcore.TokenCredential { return s }
func (someone) Refused(string, string)                     {}

func (s someone) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return s(ctx)
}

// fakeVault answers without a network, so that time may be fake.
func fakeVault(answer func(*http.Request) (*http.Response, error)) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") == "" {
			h := http.Header{"Www-Authenticate": {`Bearer authorization="https://` + login + `/` + tenant + `", resource="https://vault.azure.net"`}}
			return &http.Response{StatusCode: 401, Header: h, Request: r, Body: http.NoBody}, nil
		}
		return answer(r)
	})
}

func token(context.Context) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// silence is a body that never comes.
type silence struct{ context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.Done()
	return 0, s.Err()
}

func TestAHangingVaultIsGivenUpWithinTheReadsTime(t *testing.T) {
	for name, hang := range map[string]func(*http.Request) (*http.Response, error){
		"at once": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"after the head": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(silence{r.Context()})}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				v := open(t, someone(token), fakeVault(func(r *http.Request) (*http.Response, error) {
					tries.Add(1)
					return hang(r)
				}))
				start := time.Now()
				_, err := read(t, t.Context(), v, "deploy-db")
				want(t, err, secret.Late, secret.ReasonTimeout, "3 times")
				if took := time.Since(start); took > 15*time.Second || tries.Load() != 3 {
					t.Errorf("%d tries in %s", tries.Load(), took)
				}
			})
		})
	}
}

// Who asks once says so.
func TestASilentVaultIsProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := open(t, someone(token), roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		e := secret.AsError(v.Probe(t.Context()))
		if want(t, e, secret.Late, secret.ReasonTimeout, "no answer within 4s"); strings.Contains(e.Detail, "times") {
			t.Error(e.Detail)
		}
	})
}

// A fault of the proxy's is neither the vault's nor the identity's.
func TestAProxyAtFault(t *testing.T) {
	for reason, kind := range map[secret.Reason]secret.Kind{secret.ReasonNetwork: secret.Unavailable, secret.ReasonTimeout: secret.Late} {
		synctest.Test(t, func(t *testing.T) {
			fault := &secret.ProxyError{Reason: reason, Cause: "the proxy p:3128 (HTTPS_PROXY) is out", Remedy: "look at it"}
			v := open(t, someone(token), roundTripper(func(*http.Request) (*http.Response, error) { return nil, fault }))
			_, err := read(t, t.Context(), v, "deploy-db")
			want(t, err, kind, reason, "the proxy p:3128 (HTTPS_PROXY) is out: look at it")
			if err.Identity {
				t.Error("it counts as the identity's")
			}
			want(t, secret.AsError(v.Probe(t.Context())), kind, reason, "the proxy p:3128 (HTTPS_PROXY) is out: look at it")
		})
	}
}

// A slow exchange is not a slow vault: the time of a try does not run while a token is waited for.
func TestTheTryDoesNotCountTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) (azcore.AccessToken, error) {
			select {
			case <-time.After(6 * time.Second):
				return token(ctx)
			case <-ctx.Done():
				return azcore.AccessToken{}, ctx.Err()
			}
		}
		v := open(t, someone(slow), fakeVault(func(r *http.Request) (*http.Response, error) {
			body := `{"value":"` + value + `","id":"https://` + host + `/secrets/deploy-db/0123","attributes":{"enabled":true}}`
			return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
		}))
		reads(t, v, "deploy-db", value)
	})
}

// The SDK's waiters ignore their contexts; ours don't.
func TestACredentialThatIgnoresTheContextHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := func(ctx context.Context) (azcore.AccessToken, error) {
			<-release
			return token(ctx)
		}
		v := open(t, someone(stuck), fakeVault(func(*http.Request) (*http.Response, error) { return nil, io.EOF }))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := read(t, ctx, v, "deploy-db")
			want(t, err, secret.Late, secret.ReasonTimeout, host)
			if took := time.Since(start); took != time.Second {
				t.Errorf("took %s", took)
			}
			cancel()
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Minute) // whatever still tries gives up
	})
}

func TestTheIdentitysErrorsPassUnchanged(t *testing.T) {
	t.Parallel()
	failure := secret.Fail(secret.Unavailable, secret.ReasonIdentity, "identity pay: AADSTS700213: …")
	v := open(t, someone(func(context.Context) (azcore.AccessToken, error) { return azcore.AccessToken{}, failure }), fakeVault(nil))
	_, err := read(t, t.Context(), v, "deploy-db")
	told := *failure
	told.Identity = true
	if got := secret.AsError(err); *got != told {
		t.Errorf("got %+v, want it as told, and known as the identity's", got)
	}
	v = open(t, someone(func(context.Context) (azcore.AccessToken, error) { panic("eyJ") }), fakeVault(nil))
	_, err = read(t, t.Context(), v, "deploy-db")
	want(t, err, secret.Internal, secret.ReasonInternal, "panic")
}

// clumsy is an identity that panics before there is a client.
type clumsy struct{ someone }

func (clumsy) Credential(string) azcore.TokenCredential { panic("eyJ") }
func (clumsy) Refused(string, string)                   {}

// Each call has a goroutine of its own, in which a panic that nobody catches ends the process.
func TestAPanicBeforeThereIsAClientIsAFailure(t *testing.T) {
	t.Parallel()
	v := open(t, clumsy{}, fakeVault(nil))
	_, err := read(t, t.Context(), v, "deploy-db")
	want(t, err, secret.Internal, secret.ReasonInternal, "panicked with a string")
	_, failure := v.Key("issuer", strings.Repeat("0", 32)).Public(t.Context())
	want(t, failed(t, failure), secret.Internal, secret.ReasonInternal, "panicked with a string")
}

// One broken identity fails its own vaults only, and Entra's outage is told as such.
func TestABrokenIdentityBreaksItsOwnVaultsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.vault(t)
	w.file += "-gone"
	broken := w.vault(t)
	_, err := read(t, t.Context(), broken, "deploy-db")
	want(t, err, secret.Unavailable, secret.ReasonIdentity, w.file)
	reads(t, good, "deploy-db", value)
	defer w.Fault(emulator.Login(), emulator.Fault{Status: 429, RetryAfter: time.Minute})()
	reads(t, good, "deploy-db", value)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	if err := v.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		fault  emulator.Fault
		kind   secret.Kind
		reason secret.Reason
	}{
		"down":        {emulator.Fault{Status: 503}, secret.Unavailable, secret.ReasonUnavailable},
		"throttled":   {emulator.Fault{Status: 429}, secret.Unavailable, secret.ReasonThrottled},
		"firewall":    {emulator.Fault{Status: 403}, secret.NotFound, secret.ReasonVaultRefused},
		"a portal":    {emulator.Fault{Status: 200, Body: "<html>"}, secret.Garbled, secret.ReasonGarbled},
		"redirect":    {emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/"}, secret.Garbled, secret.ReasonGarbled},
		"foreign":     {emulator.Fault{Kind: emulator.ForeignChallenge}, secret.Garbled, secret.ReasonGarbled},
		"reset":       {emulator.Fault{Kind: emulator.Reset}, secret.Unavailable, secret.ReasonNetwork},
		"no name":     {emulator.Fault{Kind: emulator.UnknownHost}, secret.Unavailable, secret.ReasonNetwork},
		"certificate": {emulator.Fault{Kind: emulator.WrongCertificate}, secret.Unavailable, secret.ReasonIdentity},
	} {
		remove := w.Fault(w.kv.Target(), c.fault)
		err := v.Probe(t.Context())
		remove()
		if e := secret.AsError(err); err == nil || e.Kind != c.kind || e.Reason != c.reason || !strings.Contains(e.Detail, host) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.TokenRequests(""); n != 0 {
		t.Errorf("%d tokens", n)
	}
	if n := w.Count(w.evil.Host(), ""); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}
