package entra

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/secret"
)

// Pauses between exchanges that fail, while nobody has a token. They double, and no two replicas go in step.
const (
	firstPause  = time.Second
	longestWait = time.Minute
)

// Keep has a token for the scope from now on: it is fetched at once and renewed before it is needed, off any request's way,
// until Close. A failure is told as any other is, and tried again. Called again for a scope, it does nothing; nor does it for
// an identity whose subject is each request's, as nobody knows yet who will ask. One that is broken tells so.
func (i *Identity) Keep(scope string) {
	if i.Broken() {
		i.note(azcore.AccessToken{}, i.broken)
		return
	}
	if i.options.Subjects != nil {
		return
	}
	l := i.Credential("").(*credential).lane(scope)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept {
		l.kept = true
		go l.keep(i.ctx)
	}
}

// Settled tells whether each token that is kept has been fetched, or could not be: whether it is worth waiting for.
func (i *Identity) Settled() bool {
	i.mu.Lock()
	c := i.credentials[""]
	i.mu.Unlock()
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		l.mu.Lock()
		settled := !l.kept || l.token.Token != "" || l.failed != nil
		l.mu.Unlock()
		if !settled {
			return false
		}
	}
	return true
}

// keep renews the token until ctx ends.
func (l *lane) keep(ctx context.Context) {
	pause := firstPause
	for wait := time.Duration(0); sleep(ctx, wait); {
		token, failure := l.renew(ctx)
		if failure == nil {
			wait, pause = l.due(token), firstPause
			continue
		}
		wait, pause = pause+jitter(pause/2), min(2*pause, longestWait)
	}
}

// renew makes an exchange, or waits for the one that a request has begun. It counts as a failure that no newer token came.
func (l *lane) renew(ctx context.Context) (azcore.AccessToken, *secret.Error) {
	l.mu.Lock()
	if l.under == nil {
		l.begin(policy.TokenRequestOptions{Scopes: []string{l.scope}, EnableCAE: true}, secret.Request{}, l.identity.options.Now())
	}
	e := l.under
	l.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.failed
}

// due is how long to wait with the next renewal.
//
// For a token of 70 minutes: between minute 58 and minute 65. Where Entra says when to renew, it is then or up to five minutes
// later. Never sooner than refreshAgain: a managed identity's token is the machine's own for hours.
func (l *lane) due(t azcore.AccessToken) time.Duration {
	now := l.identity.options.Now()
	spread := min(refreshEarly, t.ExpiresOn.Sub(now)/10)
	at := t.ExpiresOn.Add(-refreshEarly - jitter(spread))
	if on := t.RefreshOn.Add(jitter(spread)); !t.RefreshOn.IsZero() && on.Before(at) {
		at = on
	}
	return max(at.Sub(now), refreshAgain)
}

// jitter is a random time below d, so that replicas that were started together do not ask together.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
