package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Bounds of what is asked of a registry.
const (
	tryLimit  = 5 * time.Second
	maxTries  = 2
	pause     = 200 * time.Millisecond
	maxAnswer = 1 << 20 // bytes

	// maxExpires is the end of the year 9999, in seconds since 1970: the last that RFC 3339 can write, and so the record.
	maxExpires = 253402300799
)

// registry gets a token of an Azure Container Registry (Microsoft's "AAD-OAuth" of the registry's API): Entra's token is
// exchanged for a refresh token, which has all the rights of the identity for three hours, and that one for an access token
// that is limited to repositories and actions. The refresh token leaves only where the configuration asks for all rights.
func (t *Tokens) registry(ctx context.Context, e *Entry, r secret.Request) (made, error) {
	entra, err := e.Identity.Fresh(ctx, r, e.Scope)
	if err != nil {
		return made{}, err
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {e.Registry}, "access_token": {entra.Token}}
	if e.Tenant != "" { // an empty one is another tenant than the registry's
		form.Set("tenant", e.Tenant)
	}
	refresh, err := t.post(ctx, e, "/oauth2/exchange", "refresh_token", form)
	if err != nil {
		return made{}, err
	}
	token := refresh
	if len(e.Scopes) > 0 {
		// In one parameter: RFC 6749 (3.2) lets none stand twice, and containerd does it so.
		token, err = t.post(ctx, e, "/oauth2/token", "access_token", url.Values{
			"grant_type": {"refresh_token"}, "service": {e.Registry}, "scope": {strings.Join(e.Scopes, " ")}, "refresh_token": {refresh},
		})
		if err != nil {
			return made{}, err
		}
	}
	c := read(token)
	if missing := c.missing(e.Scopes); missing != "" {
		return made{}, secret.Fail(secret.NotFound, secret.ReasonVaultRefused, fmt.Sprintf(
			"%s gives identity %s no right to %s: assign AcrPull or AcrPush to it there", e.Registry, e.Identity.Name(), missing))
	}
	var expires time.Time
	switch {
	case c.Expires > maxExpires:
		return made{}, e.fail(secret.Garbled, secret.ReasonGarbled, "its token has an end that no calendar has")
	case c.Expires > 0:
		expires = time.Unix(c.Expires, 0)
	case e.MinLife > 0:
		return made{}, e.fail(secret.Garbled, secret.ReasonGarbled, "its token does not say when it ends, and min_life asks")
	}
	return made{secret.NewValue([]byte(token)), c.name(), expires}, nil
}

// missing is the first of the scopes that the token does not give. A registry leaves out without a word what the identity may
// not do, and the build would fail in the middle of a push. A token that is not of a registry's form and says nothing of its
// rights is believed; a registry's own access token without any gives none.
func (c claims) missing(scopes []string) string {
	if c.Access == nil && c.Grant != "access_token" {
		return ""
	}
	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		for action := range strings.SplitSeq(parts[len(parts)-1], ",") {
			given := false
			for _, a := range c.Access {
				given = given || (a.Type == parts[0] || a.Type == "") && a.Name == parts[1] && (slices.Contains(a.Actions, action) || slices.Contains(a.Actions, "*"))
			}
			if !given {
				return action + " " + parts[1]
			}
		}
	}
	return ""
}

func (e *Entry) fail(k secret.Kind, r secret.Reason, what string) *secret.Error {
	return secret.Fail(k, r, fmt.Sprintf("registry %s: %s", e.Registry, what))
}

// post asks the registry for a token, once more where it can't be reached or is busy and does not ask to be left alone.
func (t *Tokens) post(ctx context.Context, e *Entry, path, field string, form url.Values) (string, error) {
	for try := 1; ; try++ {
		token, again, failure := t.try(ctx, e, path, field, form)
		if failure == nil {
			return token, nil
		}
		if !again || try == maxTries || ctx.Err() != nil {
			return "", failure
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return "", failure
		}
	}
}

// try makes one request, of the host that the configuration names and of no other.
func (t *Tokens) try(ctx context.Context, e *Entry, path, field string, form url.Values) (token string, again bool, failure *secret.Error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+e.Registry+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", false, e.fail(secret.Internal, secret.ReasonInternal, "no request can be made of its name")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := t.http.Do(request)
	if err != nil {
		return "", true, e.unreached(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		failure := e.answered(answer.StatusCode)
		failure.Pause = secret.ParsePause(answer.Header.Get, t.now())
		return "", failure.Kind == secret.Unavailable && failure.Pause <= pause, failure
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return "", true, e.unreached(err)
	}
	defer clear(body)
	var fields map[string]any
	if json.Unmarshal(body, &fields) == nil {
		token, _ = fields[field].(string)
	}
	if !plain(token) {
		return "", false, e.fail(secret.Garbled, secret.ReasonGarbled, "it answered what is no token: is there a proxy in between?")
	}
	return token, false, nil
}

// answered explains a status other than 200.
func (e *Entry) answered(status int) *secret.Error {
	who := "identity " + e.Identity.Name()
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return e.fail(secret.NotFound, secret.ReasonVaultRefused, fmt.Sprintf("%d: it does not let %s in: assign AcrPull or AcrPush to it there, "+
			"and look at the registry's firewall and at whether it is of the identity's tenant", status, who))
	case status == http.StatusNotFound:
		return e.fail(secret.NotFound, secret.ReasonNotFound, "404: there is no registry of that name")
	case status == http.StatusTooManyRequests:
		return e.fail(secret.Unavailable, secret.ReasonThrottled, "429: it is asked for too much, by us or by others")
	case status >= 500:
		return e.fail(secret.Unavailable, secret.ReasonUnavailable, fmt.Sprintf("%d: it is down", status))
	}
	return e.fail(secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("%d: neither a token nor a refusal, and no redirect is followed: is there a proxy in between?", status))
}

// unreached explains why there was no answer that could be read.
func (e *Entry) unreached(err error) *secret.Error {
	var timeout net.Error
	var dns *net.DNSError
	var proxy *secret.ProxyError
	switch {
	case errors.As(err, &proxy):
		return e.fail(secret.Unavailable, proxy.Reason, proxy.Error())
	case errors.As(err, &dns) && !dns.IsTimeout:
		return e.fail(secret.Unavailable, secret.ReasonNetwork, "its name can't be resolved: compare it, and look at the DNS and the private link")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return e.fail(secret.Unavailable, secret.ReasonTimeout, "no answer in time: look at egress rules and at the proxy")
	}
	return e.fail(secret.Unavailable, secret.ReasonNetwork, "the connection, or its certificate, is broken: look at egress rules, at the proxy and at the machine's roots")
}
