package entra

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/secret"
)

// Times of a token's life.
const (
	spare        = 5 * time.Second  // a token that ends sooner may end on its way
	refreshEarly = 5 * time.Minute  // before the end, where Entra does not say when to ask for a new one
	refusedAgain = 10 * time.Second // after a refresh began, where the token is refused
	refreshAgain = 30 * time.Second // after a refresh began, while the token is still good; longer than any exchange lasts, its turn included
)

// credential is an azcore.TokenCredential for one (tenant, client, subject). It has a lane for each scope: a scope whose
// exchange hangs holds up no other.
type credential struct {
	identity *Identity
	subject  string
	used     uint64 // guarded by Identity.mu

	mu    sync.Mutex
	lanes map[string]*lane
}

// GetToken returns a token that is valid for some seconds at least, from memory if it can. It returns when ctx ends.
//
// azsecrets asks for the tenant that the vault's challenge names. Whoever answers in the vault's place could so choose
// the tenant to which the assertion goes, if another than our own were not refused here.
func (c *credential) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	own := c.identity.options.TenantID
	switch {
	case len(opts.Scopes) != 1:
		return azcore.AccessToken{}, secret.Fail(secret.Internal, secret.ReasonInternal,
			fmt.Sprintf("%s was asked for a token for %d scopes", c.identity, len(opts.Scopes)))
	case !c.identity.Broken() && own != "" && opts.TenantID != "" && !strings.EqualFold(opts.TenantID, own):
		return azcore.AccessToken{}, secret.Fail(secret.Unavailable, secret.ReasonIdentity,
			fmt.Sprintf("%s: the vault says that it belongs to tenant %s: use an identity of that tenant, or correct tenant_id",
				c.identity, tenantLike(opts.TenantID)))
	}
	if subjects := c.identity.options.Subjects; subjects != nil && c.subject == "" {
		return azcore.AccessToken{}, noSubject(c.identity, subjects, secret.RequestOf(ctx))
	}
	opts.TenantID = "" // it is our own, in our spelling
	return c.lane(opts.Scopes[0]).get(ctx, opts)
}

// noSubject says why a request has no subject, which Identity.Subject could not.
func noSubject(i *Identity, subjects func(secret.Request) (string, error), r secret.Request) *secret.Error {
	if _, err := subjects(r); err != nil {
		e := *secret.AsError(err)
		e.Detail = fmt.Sprintf("%s: %s", i, e.Detail)
		return &e
	}
	return secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("%s was asked for a token without saying for whom", i))
}

// tenantLike prints what a stranger calls a tenant.
func tenantLike(s string) string {
	if guid(s) {
		return s
	}
	return "(not a GUID)"
}

// Refused says that the token of the subject for the scope was not taken where it was shown, as after a revocation, or where
// something gave out a wrong one. It serves on, as others may take it, and a new one is fetched behind the next request, every ten
// seconds at most: else it would be shown for the hour that it lasts.
func (i *Identity) Refused(subject, scope string) {
	i.mu.Lock()
	c := i.credentials[subject]
	i.mu.Unlock()
	if c == nil {
		return
	}
	l := c.lane(scope)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = l.token.Token != ""
}

// lane finds or makes the scope's lane. Callers choose the scopes, but there are few: one for each cloud's Key Vault.
func (c *credential) lane(scope string) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[scope]
	if l == nil {
		l = &lane{identity: c.identity, subject: c.subject, scope: scope}
		c.lanes[scope] = l
	}
	return l
}

// lane holds the token for one scope. The SDK's own caches are not relied on: behind them callers wait for each other
// whatever their contexts say, and for every retry of a refresh although the old token is good.
//
// At most one exchange is the one that callers join; token is the last that came, perhaps out of date.
type lane struct {
	identity       *Identity
	subject, scope string

	mu      sync.Mutex
	token   azcore.AccessToken
	under   *exchange     // the one under way
	tried   time.Time     // when the last one began
	failed  *secret.Error // why the last one brought no new token
	refused bool          // the token was not taken where it was shown
	kept    bool          // somebody renews it
}

// exchange is one attempt to get a token, and all who wait for it.
// It is made by begin and ended by run, which closes done once. Those who wait may go at any time: it goes on for the
// others, and for whoever comes next.
type exchange struct {
	claims string
	done   chan struct{}
	token  azcore.AccessToken // written before done closes
	err    *secret.Error      // written before done closes
}

// get waits for a token as long as ctx lets it; the exchange itself does not end with ctx.
func (l *lane) get(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, e := l.enter(opts, secret.RequestOf(ctx))
	if e == nil {
		return token, nil
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return azcore.AccessToken{}, secret.Fail(secret.Late, secret.ReasonTimeout,
			fmt.Sprintf("%s: no token within the request's time", l.identity))
	}
	if e.err != nil {
		return azcore.AccessToken{}, e.err
	}
	return e.token, nil
}

// enter returns a token, or the exchange to wait for. Claims are Entra's demand for a token other than the one we have.
//
// For a token of an hour and no advice of Entra's on when to renew it: until minute 55 it is served and nothing else
// happens; then it is still served, and a new one is fetched behind it, at most every refreshAgain; in the last 5
// seconds callers wait for the new one. So it is with one that was refused: who else uses it must not lose it.
//
// The request is the one that an assertion is made for, if a new exchange begins.
func (l *lane) enter(opts policy.TokenRequestOptions, r secret.Request) (azcore.AccessToken, *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.identity.options.Now()
	if opts.Claims == "" && now.Before(l.token.ExpiresOn.Add(-spare)) {
		again := ripe(l.token, now) && now.Sub(l.tried) >= refreshAgain
		if again || l.refused && l.under == nil && now.Sub(l.tried) >= refusedAgain {
			l.begin(opts, r, now)
		}
		return l.token, nil
	}
	// One under way with other claims does not answer this demand. It goes on for those who wait for it, and
	// run leaves under alone when it ends.
	if l.under == nil || l.under.claims != opts.Claims {
		l.begin(opts, r, now)
	}
	return azcore.AccessToken{}, l.under
}

// ripe tells whether it is time for a new token.
// RefreshOn is Entra's advice and wins if it comes first; refreshEarly holds with it or without it.
func ripe(t azcore.AccessToken, now time.Time) bool {
	if !t.RefreshOn.IsZero() && !now.Before(t.RefreshOn) {
		return true
	}
	return !now.Before(t.ExpiresOn.Add(-refreshEarly))
}

// begin starts an exchange. lane.mu is held.
// The exchange hangs on the identity's context: a first caller who hangs up fails nobody else.
func (l *lane) begin(opts policy.TokenRequestOptions, r secret.Request, now time.Time) {
	e := &exchange{claims: opts.Claims, done: make(chan struct{})}
	l.under, l.tried = e, now
	go l.run(e, opts, r)
}

// run makes the exchange and keeps what it brings.
func (l *lane) run(e *exchange, opts policy.TokenRequestOptions, r secret.Request) {
	token, err := l.identity.exchangeInTurn(l.subject, opts, r)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under == e {
		l.under = nil
	}
	e.token, e.err, l.failed = token, err, err
	// A failure beside a token means that this token is an older one and no newer could be had: callers get the token,
	// the status gets the failure.
	if token.Token != "" {
		l.token, e.err, l.refused = token, nil, false
	}
	l.identity.note(l.token, err)
	close(e.done)
}
