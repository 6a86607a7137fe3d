package emulator_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// reader reads db, which is there; the first read has already gone well, so that a token is at hand.
func reader(t *testing.T) (*emulator.Emulator, *emulator.Vault, func(context.Context) (azsecrets.GetSecretResponse, error)) {
	t.Helper()
	e, v := world(t)
	v.Set("db", "hunter2")
	c := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{}))
	read := func(ctx context.Context) (azsecrets.GetSecretResponse, error) { return c.GetSecret(ctx, "db", "", nil) }
	if _, err := read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e, v, read
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func answered(status int, code string) func(error) bool {
	return func(err error) bool {
		failed, ok := errors.AsType[*azcore.ResponseError](err)
		return ok && failed.StatusCode == status && failed.ErrorCode == code
	}
}

func TestAFaultIsSeenByTheRealClientAndGoesAway(t *testing.T) {
	for name, c := range map[string]struct {
		fault emulator.Fault
		seen  func(error) bool
	}{
		"500 by default":        {emulator.Fault{}, answered(500, "InternalServerError")},
		"503":                   {emulator.Fault{Status: 503}, answered(503, "InternalServerError")},
		"429":                   {emulator.Fault{Status: 429, RetryAfter: 20 * time.Second}, answered(429, "Throttled")},
		"403":                   {emulator.Fault{Status: 403}, answered(403, "Forbidden")},
		"404":                   {emulator.Fault{Status: 404}, answered(404, "SecretNotFound")},
		"401":                   {emulator.Fault{Status: 401}, answered(401, "Unauthorized")},
		"a body of one's own":   {emulator.Fault{Status: 418, Body: `{"error":{"code":"Teapot"}}`}, answered(418, "Teapot")},
		"reset":                 {emulator.Fault{Kind: emulator.Reset}, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		"foreign challenge":     {emulator.Fault{Kind: emulator.ForeignChallenge}, mentions("challenge resource")},
		"broken JSON":           {emulator.Fault{Kind: emulator.BrokenJSON}, mentions("unexpected end of JSON")},
		"HTML":                  {emulator.Fault{Kind: emulator.HTML}, mentions("invalid character '<'")},
		"wrong types":           {emulator.Fault{Kind: emulator.WrongTypes}, mentions("cannot unmarshal number")},
		"expired certificate":   {emulator.Fault{Kind: emulator.ExpiredCertificate}, expired},
		"wrong certificate":     {emulator.Fault{Kind: emulator.WrongCertificate}, as[x509.HostnameError]},
		"untrusted certificate": {emulator.Fault{Kind: emulator.UntrustedCertificate}, as[x509.UnknownAuthorityError]},
		"unknown host":          {emulator.Fault{Kind: emulator.UnknownHost}, as[*net.DNSError]},
	} {
		t.Run(name, func(t *testing.T) {
			e, v, read := reader(t)
			remove := e.Fault(v.Target(), c.fault)
			for range 2 {
				if _, err := read(t.Context()); err == nil || !c.seen(err) {
					t.Errorf("the client saw %v (%T)", err, err)
				}
			}
			remove()
			remove() // a second time does no harm
			if got, err := read(t.Context()); err != nil || *got.Value != "hunter2" {
				t.Errorf("once the fault is gone: %v", err)
			}
		})
	}
}

func mentions(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

func expired(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

func TestNullAndEmptyValuesArriveAsSuch(t *testing.T) {
	e, v, read := reader(t)
	remove := e.Fault(v.Target(), emulator.Fault{Kind: emulator.NullValue})
	if got, err := read(t.Context()); err != nil || got.Value != nil || got.ID == nil {
		t.Errorf("null: got %v, %v", got.Value, err)
	}
	remove()
	e.Fault(v.Target(), emulator.Fault{Kind: emulator.EmptyValue})
	if got, err := read(t.Context()); err != nil || got.Value == nil || *got.Value != "" {
		t.Errorf("empty: got %v, %v", got.Value, err)
	}
}

func TestAnOddChallengeHasNoPath(t *testing.T) {
	// The real client panics on it, which is why the fault exists; so it is looked at by hand.
	e, v, _ := reader(t)
	e.Fault(v.Target(), emulator.Fault{Kind: emulator.OddChallenge})
	status, challenge, _ := bare(t, e, v, "")
	if status != 401 || !strings.Contains(challenge, `authorization="login.microsoftonline.com"`) {
		t.Errorf("got %d with %q", status, challenge)
	}
}

func TestARedirectLeadsElsewhere(t *testing.T) {
	e, v, read := reader(t)
	e.Handle("elsewhere.example", http.NotFoundHandler())
	e.Fault(v.Target(), emulator.Fault{Kind: emulator.Redirect, Location: "https://elsewhere.example/secrets/db/"})
	if _, err := read(t.Context()); err == nil {
		t.Error("the answer of another host was taken")
	}
	for _, seen := range e.Requests() {
		if seen.Host == "elsewhere.example" && seen.Token {
			t.Error("net/http took the token along to another host")
		}
	}
	if e.Count("elsewhere.example", "/secrets/") != 1 {
		t.Error("the redirect was not followed")
	}
}

func TestAHangingAnswerEndsWithTheClient(t *testing.T) {
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Hold} {
		t.Run(kind.String(), func(t *testing.T) {
			e, v, read := reader(t)
			remove := e.Fault(v.Target(), emulator.Fault{Kind: kind})
			e.Forget()
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := read(ctx)
				failed <- err
			}()
			if err := e.Await(t.Context(), 1, v.Host(), "/secrets/db"); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			remove()
			if _, err := read(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.HangBody, emulator.Hold, emulator.Drip, emulator.Delay} {
		t.Run(kind.String(), func(t *testing.T) {
			e, v, read := reader(t)
			e.Fault(v.Target(), emulator.Fault{Kind: kind, Wait: time.Hour})
			e.Forget()
			failed := make(chan error, 1)
			go func() {
				_, err := read(context.WithoutCancel(t.Context()))
				failed <- err
			}()
			if err := e.Await(t.Context(), 1, v.Host(), "/secrets/db"); err != nil {
				t.Fatal(err)
			}
			e.Close()
			if err := <-failed; err == nil {
				t.Error("an answer came from a closed emulator")
			}
		})
	}
}

func TestWhatIsHeldIsAnsweredOnceTheFaultIsRemoved(t *testing.T) {
	e, v, read := reader(t)
	remove := e.Fault(v.Secret("DB"), emulator.Fault{Kind: emulator.Hold})
	e.Forget()
	type answer struct {
		value string
		err   error
	}
	answers := make(chan answer, 3)
	for range cap(answers) {
		go func() {
			got, err := read(context.WithoutCancel(t.Context()))
			if err != nil {
				answers <- answer{err: err}
				return
			}
			answers <- answer{value: *got.Value}
		}()
	}
	if err := e.Await(t.Context(), 3, v.Host(), "/secrets/db"); err != nil {
		t.Fatal(err)
	}
	for _, seen := range e.Requests() {
		if seen.Status != 0 {
			t.Errorf("answered too early: %+v", seen)
		}
	}
	remove()
	for range cap(answers) {
		if got := <-answers; got != (answer{value: "hunter2"}) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestASlowAnswerIsStillTheRightOne(t *testing.T) {
	for _, kind := range []emulator.Kind{emulator.Delay, emulator.Drip} {
		e, v, read := reader(t)
		e.Fault(v.Target(), emulator.Fault{Kind: kind, Wait: time.Microsecond})
		if got, err := read(t.Context()); err != nil || *got.Value != "hunter2" {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func TestTimesLimitsAFault(t *testing.T) {
	e, v, read := reader(t)
	for _, fault := range []emulator.Fault{
		{Status: 503, Times: 2}, {Kind: emulator.BrokenJSON, Times: 2}, {Kind: emulator.WrongCertificate, Times: 2}, {Kind: emulator.UnknownHost, Times: 2},
	} {
		e.Fault(v.Target(), fault)
		for range 2 {
			if _, err := read(t.Context()); err == nil {
				t.Errorf("%v: it was spent too early", fault.Kind)
			}
		}
		if _, err := read(t.Context()); err != nil {
			t.Errorf("%v: a third time: %v", fault.Kind, err)
		}
	}
}

func TestAFaultHitsItsTargetOnly(t *testing.T) {
	e, v := world(t)
	v.Set("db", "hunter2")
	v.Set("db-two", "hunter3")
	other := e.Vault("kv-other.vault.azure.net", tenant)
	other.Allow(client)
	other.Set("db", "hunter4")
	c := credential(t, e, emulator.AssertionOptions{})
	e.Fault(v.Secret("db"), emulator.Fault{Status: 503})
	if _, err := secrets(t, e, v, c).GetSecret(t.Context(), "db", "", nil); err == nil {
		t.Error("the secret itself was not hit")
	}
	if _, err := secrets(t, e, v, c).GetSecret(t.Context(), "db-two", "", nil); err != nil {
		t.Errorf("a name that begins alike: %v", err)
	}
	if _, err := secrets(t, e, other, c).GetSecret(t.Context(), "db", "", nil); err != nil {
		t.Errorf("another vault: %v", err)
	}
}

func TestOfTwoFaultsTheNewestCounts(t *testing.T) {
	e, v, read := reader(t)
	e.Fault(v.Target(), emulator.Fault{Status: 503})
	remove := e.Fault(v.Target(), emulator.Fault{Status: 502})
	_, err := read(t.Context())
	if !answered(502, "InternalServerError")(err) {
		t.Errorf("the newest: got %v", err)
	}
	remove()
	_, err = read(t.Context())
	if !answered(503, "InternalServerError")(err) {
		t.Errorf("the older one: got %v", err)
	}
}

func TestThrottlingSaysWhenToComeBack(t *testing.T) {
	e, v, _ := reader(t)
	e.Fault(v.Target(), emulator.Fault{Status: 429, RetryAfter: 1500 * time.Millisecond, Header: http.Header{"x-ms-region": {"emulator"}}})
	answer, err := (&http.Client{Transport: e.Transport()}).Get(v.URL() + "/secrets/db/?api-version=2026-04-01")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.Header.Get("Retry-After") != "2" || answer.Header.Get("x-ms-region") != "emulator" || !json.Valid(body) {
		t.Errorf("got %v with %s", answer.Header, body)
	}
}

func TestEntraFails(t *testing.T) {
	e, _ := world(t)
	failed := func(fault emulator.Fault) error {
		defer e.Fault(emulator.TokenEndpoint(), fault)()
		_, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), vaultScope())
		return err
	}
	for code, want := range map[int]int{53003: 400, 700016: 400, 700213: 401, 123456: 400} {
		err := failed(emulator.Fault{AADSTS: code})
		if answer := refusalOf(t, err); answer.Codes[0] != code || strings.Contains(answer.Description, "%") {
			t.Errorf("AADSTS%d: got %+v", code, answer)
		}
		if got, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); !ok || got.RawResponse.StatusCode != want {
			t.Errorf("AADSTS%d: want the status %d", code, want)
		}
	}
	if answer := refusalOf(t, failed(emulator.Fault{Status: 503})); answer.Codes[0] != 90033 {
		t.Errorf("503: got %+v", answer)
	}
	for _, kind := range []emulator.Kind{emulator.Reset, emulator.BrokenJSON, emulator.HTML, emulator.WrongTypes, emulator.NullValue, emulator.EmptyValue} {
		if failed(emulator.Fault{Kind: kind}) == nil {
			t.Errorf("%v gave a token", kind)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	defer e.Fault(emulator.Login(), emulator.Fault{Kind: emulator.Hang})()
	if _, err := credential(t, e, emulator.AssertionOptions{}).GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}); err == nil {
		t.Error("a hanging Entra gave a token")
	}
}

func TestAChallengeCanBeStated(t *testing.T) {
	e, v, _ := reader(t)
	const claims = `Bearer error="insufficient_claims", claims="e30="`
	e.Fault(v.Target(), emulator.Fault{Status: 401, Header: http.Header{"Www-Authenticate": {claims}}})
	if status, challenge, _ := bare(t, e, v, ""); status != 401 || challenge != claims {
		t.Errorf("got %d with %q", status, challenge)
	}
}

func TestTheMetadataServiceFails(t *testing.T) {
	e, _ := world(t)
	e.ManagedIdentity("77777777-0005-4222-8333-444455556666", tenant)
	e.Fault(emulator.Metadata(), emulator.Fault{Status: 500})
	_, err := machine(t, e, "77777777-0005-4222-8333-444455556666").GetToken(t.Context(), vaultScope())
	if err == nil || e.Count("169.254.169.254", "/metadata") == 0 {
		t.Errorf("got %v", err)
	}
}
