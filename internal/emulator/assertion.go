package emulator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// maxAssertionLifetime is the longest that Entra accepts (AADSTS70023).
	maxAssertionLifetime = 25 * time.Hour
	// clockSkew is what a token may be early or late by, five minutes as in Microsoft's own libraries.
	clockSkew = 5 * time.Minute
)

// readableAlgorithms can be read in an assertion; only RS256 is then accepted.
func readableAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.HS256, jose.HS384, jose.HS512, jose.EdDSA}
}

// checkAssertion is nil when one of the credentials accepts the assertion.
//
// The credential is matched before the signature is checked, so an operator who mistyped an issuer is told that, and
// not that the issuer's keys can't be fetched. It also means that only the keys of issuers that somebody registered are
// fetched.
func (e *Emulator) checkAssertion(ctx context.Context, assertion, clientID string, credentials []credential) *refusal {
	token, err := jwt.ParseSigned(assertion, readableAlgorithms())
	if err != nil {
		return refuse(50027)
	}
	e.presented.keep(clientID, token)
	var claims jwt.Claims
	if token.UnsafeClaimsWithoutVerification(&claims) != nil || claims.Expiry == nil {
		return refuse(50027)
	}
	if refused := match(claims, clientID, credentials); refused != nil {
		return refused
	}
	if refused := e.checkSignature(ctx, token, claims.Issuer); refused != nil {
		return refused
	}
	return e.checkTime(claims)
}

// match looks for a credential that names the assertion's issuer, subject and audience, byte by byte, and otherwise
// says which of the three was the first to find none.
//
// With the subject "…:Drone" registered and "…:drone" presented it is 7002138: the two differ in case alone.
func match(claims jwt.Claims, clientID string, credentials []credential) *refusal {
	if len(credentials) == 0 {
		return refuse(70025, clientID)
	}
	ofIssuer := keep(credentials, func(c credential) bool { return c.issuer == claims.Issuer })
	if len(ofIssuer) == 0 {
		return refuse(700211, claims.Issuer)
	}
	ofSubject := keep(ofIssuer, func(c credential) bool { return c.anySubject || c.subject == claims.Subject })
	if len(ofSubject) == 0 {
		if len(keep(ofIssuer, func(c credential) bool { return strings.EqualFold(c.subject, claims.Subject) })) > 0 {
			return refuse(7002138, claims.Subject)
		}
		return refuse(700213, claims.Subject)
	}
	if len(keep(ofSubject, func(c credential) bool { return claims.Audience.Contains(c.audience) })) == 0 {
		return refuse(700212, strings.Join(claims.Audience, " "))
	}
	return nil
}

func keep(credentials []credential, condition func(credential) bool) (kept []credential) {
	for _, c := range credentials {
		if condition(c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// checkSignature fetches the issuer's keys, afresh each time, so that a key that was rotated counts at once.
func (e *Emulator) checkSignature(ctx context.Context, token *jwt.JSONWebToken, issuer string) *refusal {
	header := token.Headers[0]
	if header.Algorithm != string(jose.RS256) {
		return refuse(700027)
	}
	keys, err := e.issuerKeys(ctx, issuer)
	if err != nil {
		return refuse(90061)
	}
	named := keys.Key(header.KeyID)
	if header.KeyID == "" || len(named) == 0 {
		return refuse(7000272, header.KeyID)
	}
	if token.Claims(named[0].Key) != nil {
		return refuse(700027)
	}
	return nil
}

// issuerKeys follows the issuer's discovery document to its keys.
// Document and assertion must name the same issuer to the letter, a slash at the end included.
func (e *Emulator) issuerKeys(ctx context.Context, issuer string) (*jose.JSONWebKeySet, error) {
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := e.fetch(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
		return nil, err
	}
	if document.Issuer != issuer {
		return nil, fmt.Errorf("the discovery document of %s is by %s", issuer, document.Issuer)
	}
	keys := new(jose.JSONWebKeySet)
	return keys, e.fetch(ctx, document.Keys, keys)
}

// fetch goes through the emulator's own transport, so faults and the journal see it, and it reaches no real host.
func (e *Emulator) fetch(ctx context.Context, url string, into any) error {
	if !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("%s is not https", url)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := e.upstream.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(into)
}

// checkTime is about iat, nbf and exp.
// The lifetime counts from the earlier of iat and nbf. An assertion without either is not too long.
func (e *Emulator) checkTime(claims jwt.Claims) *refusal {
	now, expiry := e.now(), claims.Expiry.Time()
	from := expiry
	for _, claim := range []*jwt.NumericDate{claims.NotBefore, claims.IssuedAt} {
		if claim != nil && claim.Time().Before(from) {
			from = claim.Time()
		}
	}
	early := claims.NotBefore != nil && now.Add(clockSkew).Before(claims.NotBefore.Time()) ||
		claims.IssuedAt != nil && now.Add(clockSkew).Before(claims.IssuedAt.Time())
	switch {
	case early || now.After(expiry):
		return refuse(700024, instant(now.Unix()), instant(from.Unix()), instant(expiry.Unix()))
	case expiry.Sub(from) > maxAssertionLifetime:
		return refuse(70023)
	}
	return nil
}
