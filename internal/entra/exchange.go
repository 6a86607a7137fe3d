package entra

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/drone-entra/drone-entra/secret"
)

// Bounds of one exchange, retries included. They leave Key Vault some of the 20 s in which a runner is answered.
// Without the bound on exchanges that hang, an assertion's source that does would leave one goroutine more for each
// request, as long as it hangs.
const (
	federatedLimit = 12 * time.Second
	managedLimit   = 8 * time.Second // the SDK alone would try for more than a minute
	grace          = 250 * time.Millisecond
	maxAtOnce      = 16 // exchanges for tokens that are kept, and as many for those that are not
	maxHanging     = 16 // exchanges that were given up and have not ended
)

// exchangeInTurn is exchange for a token that is kept. Where each repository is a subject of its own, many of them ask at
// once after a start: who comes later waits for his turn, for as long as one exchange may take at most.
func (i *Identity) exchangeInTurn(subject string, opts policy.TokenRequestOptions, r secret.Request) (azcore.AccessToken, *secret.Error) {
	ctx, cancel := context.WithTimeout(i.ctx, federatedLimit)
	defer cancel()
	switch err := i.turns.Acquire(ctx, 1); {
	case i.ctx.Err() != nil:
		return azcore.AccessToken{}, i.unreached(context.Canceled)
	case err != nil:
		return azcore.AccessToken{}, i.crowded()
	}
	defer i.turns.Release(1)
	return i.exchange(subject, opts, r)
}

// crowded is the failure of an exchange whose turn did not come.
func (i *Identity) crowded() *secret.Error {
	return secret.Fail(secret.Busy, secret.ReasonBusy, fmt.Sprintf("%s: %d exchanges are under way, and none ended in time", i, maxAtOnce))
}

// exchange gets a token from Entra within the identity's limit. The SDK runs in a goroutine of its own, because some of
// its locks, and whoever makes the assertion, may not look at the context.
// It returns within limit and grace, also when that goroutine does not; hanging then counts it until it ends.
//
// The request is whom the assertion is made for, where that is our own issuer's.
func (i *Identity) exchange(subject string, opts policy.TokenRequestOptions, r secret.Request) (azcore.AccessToken, *secret.Error) {
	if i.Broken() {
		return azcore.AccessToken{}, i.broken
	}
	if i.hanging.Load() >= maxHanging {
		return azcore.AccessToken{}, secret.Fail(secret.Unavailable, secret.ReasonTimeout,
			fmt.Sprintf("%s: %d exchanges hang: look at where its assertion comes from", i, maxHanging))
	}
	limit := federatedLimit
	if i.options.Managed {
		limit = managedLimit
	}
	ctx, cancel := context.WithTimeout(secret.WithRequest(i.ctx, r), limit)
	defer cancel()
	type outcome struct {
		token azcore.AccessToken
		err   *secret.Error
	}
	// Room for one, so that a goroutine which nobody waits for any more can end.
	done := make(chan outcome, 1)
	var over atomic.Bool // set by whichever comes first: its end, or that it is given up
	go func() {
		token, err := i.ask(ctx, subject, opts)
		if err != nil && subject != "" {
			err.Detail += " (the assertion's subject is " + subject + ")"
		}
		done <- outcome{token, err}
		if !over.CompareAndSwap(false, true) {
			i.hanging.Add(-1)
		}
	}()
	select {
	case o := <-done:
		return o.token, o.err
	case <-ctx.Done():
	}
	// What honours the context returns now, and knows more about the cause.
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case o := <-done:
		return o.token, o.err
	case <-late.C:
	}
	i.hanging.Add(1) // before it is given up, so that it never counts too few
	if !over.CompareAndSwap(false, true) {
		i.hanging.Add(-1)
		o := <-done
		return o.token, o.err
	}
	return azcore.AccessToken{}, secret.Fail(secret.Unavailable, secret.ReasonTimeout, fmt.Sprintf("%s: no token within %s", i, limit))
}

// Pauses before an exchange is made again that Entra refused as it refuses one whose federated credential was made just
// now. Not every node of Entra's knows of it at once, so that it may be accepted and then refused for some minutes
// (Microsoft's "Important considerations and restrictions for federated identity credentials"). The SDK tries no refusal again.
var propagation = [...]time.Duration{300 * time.Millisecond, time.Second}

// ask makes an exchange, again where a federated credential may not be known everywhere yet. It may return a good token and
// a failure: the token is an older one, and the failure is why there is no newer.
func (i *Identity) ask(ctx context.Context, subject string, opts policy.TokenRequestOptions) (azcore.AccessToken, *secret.Error) {
	token, failure := i.askOnce(ctx, subject, opts)
	for _, pause := range propagation {
		if failure == nil || !propagating(code(failure.Detail)) || !sleep(ctx, pause) {
			break
		}
		token, failure = i.askOnce(ctx, subject, opts)
	}
	return token, failure
}

// propagating tells whether a new federated credential is refused with this code by a node that has not heard of it. One that
// is wrong for good is refused so, too: it costs two exchanges more.
func propagating(code string) bool {
	switch code {
	case "AADSTS70021", "AADSTS70025", "AADSTS700211", "AADSTS700213":
		return true
	}
	return false
}

// sleep is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askOnce makes one exchange through the SDK, with a credential of its own: it costs a small request more each hour or so,
// and nobody ever waits for another's lock or meets another's cached token.
func (i *Identity) askOnce(ctx context.Context, subject string, opts policy.TokenRequestOptions) (token azcore.AccessToken, failure *secret.Error) {
	defer func() {
		if p := recover(); p != nil {
			token = azcore.AccessToken{}
			failure = secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("%s: the exchange panicked with a %T", i, p))
		}
	}()
	// The SDK passes the context's values on, to the assertion's callback as to the transport. That is how both report.
	t := &trace{}
	ctx = context.WithValue(ctx, traceKey{}, t)
	client, failure := i.clientOf(secret.RequestOf(ctx))
	if failure != nil {
		return token, failure
	}
	c, err := i.sdk(client, subject)
	if err != nil {
		return token, secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("%s: the SDK refuses its configuration", i))
	}
	token, err = c.GetToken(ctx, opts)
	switch {
	case err != nil:
		return azcore.AccessToken{}, i.classify(ctx, err, t)
	case token.Token == "":
		return azcore.AccessToken{}, secret.Fail(secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("%s: the token that came is empty", i))
	case !i.options.Now().Before(token.ExpiresOn):
		return azcore.AccessToken{}, secret.Fail(secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("%s: the token that came is out of date already, "+
			"or this machine's clock is ahead: set the clock by NTP, and look for a proxy in between that answers from memory", i))
	case i.options.Managed && t.failed():
		// MSAL keeps managed identities' tokens for the whole process and hides that a refresh failed.
		return token, i.classify(ctx, errHidden, t)
	}
	return token, nil
}

// sdk makes the SDK's credential. Its defaults are not good enough here: a managed identity would be asked six times
// again, for over a minute, and a federated one would first ask login.microsoftonline.com whether the authority is one
// of Microsoft's, which cloudOf knows. AdditionallyAllowedTenants stays empty, as a second guard behind GetToken's.
func (i *Identity) sdk(client, subject string) (azcore.TokenCredential, error) {
	o := policy.ClientOptions{
		Cloud:     i.cloud,
		Transport: i.client,
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if i.options.Managed {
		o.Retry = policy.RetryOptions{MaxRetries: 2, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 2 * time.Second, TryTimeout: 2 * time.Second}
		m := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
		if i.options.ClientID != "" {
			m.ID = azidentity.ClientID(i.options.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(m)
	}
	// The SDK tries again after 408, 429, 500, 502, 503, 504 and broken connections, and not after a refusal with an AADSTS
	// code, which is why ask does.
	o.Retry = policy.RetryOptions{MaxRetries: 2, RetryDelay: 300 * time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 8 * time.Second}
	return azidentity.NewClientAssertionCredential(i.options.TenantID, client,
		func(ctx context.Context) (string, error) { return i.assert(ctx, subject) },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true})
}

// assert gets the assertion and remembers why it could not: the SDK flattens errors into text.
func (i *Identity) assert(ctx context.Context, subject string) (string, error) {
	assertion, err := i.options.Assertion(ctx, subject)
	if err == nil {
		return assertion, nil
	}
	e := secret.AsError(err)
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		t.set(func() { t.assertion = e })
	}
	return "", e
}

type traceKey struct{}

// trace is what happened during one exchange, as far as the SDK would not say.
// The SDK tries several times, so what the last try met is what counts. It has a lock because an exchange that was
// given up may still write while classify reads.
type trace struct {
	mu        sync.Mutex
	assertion *secret.Error
	transport error // of the last try
	status    int   // of the last try; zero when it had no answer
}

func (t *trace) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// failed tells whether the last try brought no success.
func (t *trace) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.transport != nil || t.status >= 300
}
