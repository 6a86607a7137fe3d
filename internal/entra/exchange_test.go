package entra_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

func TestManyCallersGetOneToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := get(t, t.Context(), i.Credential("")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.TokenRequests(client); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
	if n := w.Count(login, "/common/"); n != 0 {
		t.Errorf("%d requests for instance discovery", n)
	}
	if s := i.Status(); s.State != entra.Working || s.TokenExpires.IsZero() || s.LastExchange.IsZero() || s.File != w.file || s.Assertion != "file" {
		t.Errorf("the status is %+v", s)
	}
}

func TestTheTenantOfTheChallengeMustBeOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity(func(o *entra.Options) { o.TenantID = "ABCDEF00-2222-4333-8444-555555555555" })
	of := func(tenant string) func(*policy.TokenRequestOptions) {
		return func(o *policy.TokenRequestOptions) { o.TenantID = tenant }
	}
	_, err := w.token(i, of(tenant))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, tenant, "tenant_id")
	_, err = w.token(i, of("evil\n.example"))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "(not a GUID)")
	if n := len(w.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	w.Register(emulator.App{Tenant: "abcdef00-2222-4333-8444-555555555555", ClientID: client})
	_, err = w.token(i, of("abcdef00-2222-4333-8444-555555555555")) // the SDK alone compares with case
	works(t, err)
}

// What Entra answers instead of a token: kind, reason and what the operator reads.
func TestFaultsOfEntra(t *testing.T) {
	t.Parallel()
	shared := newWorld(t)
	evil := shared.Vault("evil.vault.azure.net", tenant)
	token, all := emulator.TokenEndpoint(), emulator.Login()
	for name, c := range map[string]struct {
		target emulator.Target
		fault  emulator.Fault
		kind   secret.Kind
		reason secret.Reason
		detail string
	}{
		"429":              {token, emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, secret.Unavailable, secret.ReasonThrottled, "429"},
		"500":              {token, emulator.Fault{Status: 500, Body: "oops"}, secret.Unavailable, secret.ReasonUnavailable, "500"},
		"503 discovery":    {all, emulator.Fault{Status: 503}, secret.Unavailable, secret.ReasonUnavailable, "AADSTS90033"},
		"403 of a proxy":   {token, emulator.Fault{Status: 403, Body: "<html>blocked"}, secret.Unavailable, secret.ReasonIdentity, "proxy"},
		"reset":            {token, emulator.Fault{Kind: emulator.Reset}, secret.Unavailable, secret.ReasonNetwork, login},
		"unknown host":     {all, emulator.Fault{Kind: emulator.UnknownHost}, secret.Unavailable, secret.ReasonNetwork, "DNS"},
		"old certificate":  {all, emulator.Fault{Kind: emulator.ExpiredCertificate}, secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"another's":        {all, emulator.Fault{Kind: emulator.WrongCertificate}, secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"nobody's":         {all, emulator.Fault{Kind: emulator.UntrustedCertificate}, secret.Unavailable, secret.ReasonIdentity, "certificate"},
		"broken JSON":      {token, emulator.Fault{Kind: emulator.BrokenJSON}, secret.Garbled, secret.ReasonGarbled, "no token"},
		"a web page":       {token, emulator.Fault{Kind: emulator.HTML}, secret.Garbled, secret.ReasonGarbled, "proxy"},
		"a number":         {token, emulator.Fault{Kind: emulator.WrongTypes}, secret.Garbled, secret.ReasonGarbled, "no token"},
		"null":             {token, emulator.Fault{Kind: emulator.NullValue}, secret.Garbled, secret.ReasonGarbled, ""},
		"an empty token":   {token, emulator.Fault{Kind: emulator.EmptyValue}, secret.Garbled, secret.ReasonGarbled, ""},
		"no end":           {token, emulator.Fault{Status: 200, Body: strings.Repeat("x", 2<<20)}, secret.Garbled, secret.ReasonGarbled, "no end"},
		"redirect":         {token, emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/"}, secret.Garbled, secret.ReasonGarbled, "redirect"},
		"redirect at once": {all, emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.vault.azure.net/"}, secret.Garbled, secret.ReasonGarbled, "redirect"},
		"another endpoint": {all, emulator.Fault{Status: 200, Times: 1, Body: `{"issuer":"https://login.microsoftonline.com/` + tenant +
			`/v2.0","authorization_endpoint":"https://evil.vault.azure.net/a","token_endpoint":"https://evil.vault.azure.net/t"}`},
			secret.Garbled, secret.ReasonGarbled, "no assertion goes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := shared.with(t)
			i := w.identity()
			remove := w.Fault(c.target, c.fault)
			_, err := get(t, t.Context(), i.Credential(""))
			want(t, err, c.kind, c.reason, c.detail)
			if s := i.Status(); s.State != entra.Broken || s.Error != err.Error() {
				t.Errorf("the status is %+v", s)
			}
			remove()
			_, err = get(t, t.Context(), i.Credential(""))
			works(t, err)
			if n := w.Count(evil.Host(), ""); n != 0 {
				t.Errorf("%d requests went elsewhere", n)
			}
		})
	}
}

// Each code that the table knows gets a remedy of its own, and an unknown one Microsoft's page.
func TestARefusalNamesItsCodeAndTheRemedy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	remedies := map[string]int{}
	for _, code := range []int{70021, 700211, 700212, 700213, 7002138, 70025, 700016, 700024, 70023, 7000272, 90061, 700027, 50027,
		50013, 700222, 700229, 700223, 70052, 53003, 90002, 50049, 900382, 7000215} {
		remove := w.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Status: 400})
		_, err := w.token(i)
		remove()
		want(t, err, secret.Unavailable, secret.ReasonIdentity, tenant, client)
		_, remedy, _ := strings.Cut(err.Detail, " answered ")
		remedy = remedy[strings.Index(remedy, ":")+1:]
		if strings.Contains(remedy, "login.microsoftonline.com") || remedies[remedy] != 0 {
			t.Errorf("AADSTS%d has no remedy of its own: %s", code, remedy)
		}
		remedies[remedy] = code
		if s := i.Status(); s.Code != fmt.Sprintf("AADSTS%d", code) {
			t.Errorf("the status has code %q, want %d", s.Code, code)
		}
	}
	w.Fault(emulator.TokenEndpoint(), emulator.Fault{Status: 401, Body: `{"error":"x","error_description":"AADSTS123456: eyJhbGciOi"}`})
	_, err := w.token(i)
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "AADSTS123456", "error?code=123456")
}

func TestMismatchesThatEntraFinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for code, assertion := range map[string]emulator.AssertionOptions{
		"AADSTS700213": {Subject: "system:serviceaccount:default:somebody-else"},
		"AADSTS700212": {Audience: "api://another"},
		"AADSTS700024": {IssuedAt: time.Now().Add(-3 * time.Hour)},
	} {
		i := w.identity(func(o *entra.Options) {
			o.AssertionFile, o.Assertion = "", func(context.Context, string) (string, error) { return w.Assertion(assertion), nil }
		})
		_, err := w.token(i)
		want(t, err, secret.Unavailable, secret.ReasonIdentity, code)
		if !strings.Contains(w.log.String(), code) {
			t.Errorf("%s is not in the log", code)
		}
	}
}

// A hung exchange ends by itself, in fake time: no network is involved.
func TestAHangingEntraIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		i, err := entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client, Transport: hang,
			Assertion: func(context.Context, string) (string, error) { return "a.b.c", nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		start := time.Now()
		_, failure := get(t, t.Context(), i.Credential(""))
		want(t, failure, secret.Unavailable, secret.ReasonTimeout, login)
		if took := time.Since(start); took > 13*time.Second {
			t.Errorf("took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, failure = get(t, ctx, i.Credential(""))
		want(t, failure, secret.Late, secret.ReasonTimeout)
	})
}

// Whoever makes assertions may hang without looking at the context; nobody waits for longer than the limit, another
// scope is not held up, and once it is well again so are we.
func TestAHangingAssertionHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int32
	asked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	i := w.identity(func(o *entra.Options) {
		o.AssertionFile = ""
		o.Assertion = func(context.Context, string) (string, error) {
			if calls.Add(1) == 1 {
				close(asked)
				<-release
			}
			return w.Assertion(emulator.AssertionOptions{}), nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := get(t, ctx, i.Credential(""))
	want(t, err, secret.Late, secret.ReasonTimeout)
	_, err = w.token(i, func(o *policy.TokenRequestOptions) { o.Scopes = []string{"https://vault.usgovcloudapi.net/.default"} })
	if err != nil && err.Reason != secret.ReasonIdentity { // Entra need not know the resource; it answered
		t.Error(err)
	}
	if calls.Load() != 2 {
		t.Errorf("%d assertions were asked for", calls.Load())
	}
}

func TestAHangingAssertionIsGivenUpAndHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int32
		i, err := entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client,
			Transport: discoveryOnly(),
			Assertion: func(context.Context, string) (string, error) {
				if calls.Add(1) <= 20 {
					<-release
				}
				return "", secret.Fail(secret.Unavailable, secret.ReasonIdentity, "well again")
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		for n := range 18 {
			start := time.Now()
			_, failure := get(t, t.Context(), i.Credential(""))
			want(t, failure, secret.Unavailable, secret.ReasonTimeout)
			if took := time.Since(start); (took > 13*time.Second) || (n >= 16) != (took == 0) {
				t.Errorf("number %d took %s", n, took)
			}
		}
		calls.Store(20)
		close(release)
		synctest.Wait()
		_, failure := get(t, t.Context(), i.Credential(""))
		want(t, failure, secret.Unavailable, secret.ReasonIdentity, "well again")
	})
}

// discoveryOnly answers the OpenID document, and nothing else.
func discoveryOnly() http.RoundTripper {
	const document = `{"issuer":"https://login.microsoftonline.com/` + tenant + `/v2.0",
		"authorization_endpoint":"https://login.microsoftonline.com/` + tenant + `/oauth2/v2.0/authorize",
		"token_endpoint":"https://login.microsoftonline.com/` + tenant + `/oauth2/v2.0/token"}`
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			return nil, errors.New("no further")
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: readCloser{strings.NewReader(document)}}, nil
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestAPanicInTheAssertionIsContained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity(func(o *entra.Options) {
		o.AssertionFile, o.Assertion = "", func(context.Context, string) (string, error) { panic("eyJhbGciOi") }
	})
	_, err := w.token(i)
	want(t, err, secret.Internal, secret.ReasonInternal, "string")
}

func TestSubjectsNeverShareATokenOrAnAssertion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var subjects []string
	i := w.identity(func(o *entra.Options) {
		o.AssertionFile = ""
		o.Assertion = func(_ context.Context, subject string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			subjects = append(subjects, subject)
			return w.Assertion(emulator.AssertionOptions{}), nil
		}
	})
	options := policy.TokenRequestOptions{Scopes: []string{vaults}}
	for _, subject := range []string{"a", "b", "a"} {
		if _, err := i.Credential(subject).GetToken(t.Context(), options); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(subjects, " "); got != "a b" {
		t.Errorf("assertions were made for %q", got)
	}
}

// Who is told to wait says so, and whoever asked for the token leaves us alone for as long.
func TestThePauseThatEntraAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.Fault(emulator.TokenEndpoint(), emulator.Fault{Status: 429, RetryAfter: 20 * time.Second})()
	_, err := w.token(w.identity())
	want(t, err, secret.Unavailable, secret.ReasonThrottled)
	if err.Pause < 19*time.Second || err.Pause > 20*time.Second {
		t.Errorf("a pause of %s", err.Pause)
	}
	_, err = w.token(w.identity(func(o *entra.Options) {
		o.AssertionFile = ""
		o.Assertion = func(context.Context, string) (string, error) {
			e := secret.Fail(secret.Unavailable, secret.ReasonThrottled, "the key is used too much")
			e.Pause = 7 * time.Second
			return "", e
		}
	}))
	want(t, err, secret.Unavailable, secret.ReasonThrottled)
	if err.Pause != 7*time.Second {
		t.Errorf("a pause of %s for the assertion", err.Pause)
	}
	repo, _ := w.perRepo(nil)
	_, err = tokenFor(t, repo, build("1", 1)) // one repository's pause is not that of the others
	want(t, err, secret.Unavailable, secret.ReasonThrottled)
	if err.Pause != 0 {
		t.Errorf("a pause of %s for all repositories", err.Pause)
	}
}
