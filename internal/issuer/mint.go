package issuer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/drone-entra/drone-entra/secret"
)

const (
	// AssertionLifetime is how long an assertion for Entra lives. It is exchanged at once; what is left is for clocks that
	// differ.
	AssertionLifetime = 5 * time.Minute
	// MaxLifetime is the longest that a token may live. Entra takes 25 hours at most, and a rotation has to wait for as
	// long as the longest one.
	MaxLifetime = 24 * time.Hour
)

// Ask is what a token is wanted for.
type Ask struct {
	Form     Form          // what its subject names
	Audience string        // whom it is for, 1 to 600 characters
	Lifetime time.Duration // a second to MaxLifetime; parts of a second are cut off
}

// Token is a signed token, and what may be said of it.
type Token struct {
	Text            secret.Value // the compact form; the caller clears it
	ID              string       // jti
	Key             string       // kid
	Subject         string
	Issued, Expires time.Time // in whole seconds
}

// Mint makes a token for the request's build, signed by the key that signs now. Its header has alg RS256, typ JWT and the
// kid, which Entra demands.
//
// Errors are *secret.Error: those of Subject, those of the Signer as they are, Garbled where the Signer does not keep its
// contract, and Internal for an Ask that can't be.
func (i *Issuer) Mint(ctx context.Context, ask Ask, r secret.Request) (Token, error) {
	subject, err := i.Subject(ask.Form, r)
	if err != nil {
		return Token{}, err
	}
	if err := ask.check(); err != nil {
		return Token{}, err
	}
	issued := i.now().UTC().Truncate(time.Second)
	t := Token{ID: newID(), Subject: subject, Issued: issued, Expires: issued.Add(ask.Lifetime.Truncate(time.Second))}
	c := claims{Issuer: i.url, Subject: subject, Audience: ask.Audience, IssuedAt: issued.Unix(), NotBefore: issued.Unix(),
		Expires: t.Expires.Unix(), ID: t.ID, Server: i.server}
	c.facts(&r)
	payload, err := encode(c)
	if err != nil {
		return Token{}, secret.Fail(secret.Internal, secret.ReasonInternal, "a token's claims can't be written")
	}
	key := i.Signing()
	public, err := key.public(ctx)
	if err != nil {
		return Token{}, err
	}
	t.Key = public.KeyID
	text, err := (&signature{ctx: ctx, key: key, public: public}).token(payload)
	if err != nil {
		return Token{}, err
	}
	t.Text = secret.NewValue([]byte(text))
	return t, nil
}

// check finds what no configuration should have let through.
func (a *Ask) check() error {
	switch {
	case a.Audience == "" || len(a.Audience) > maxText || !utf8.ValidString(a.Audience) || strings.ContainsFunc(a.Audience, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("a token's audience must have 1 to %d characters", maxText))
	case a.Lifetime < time.Second || a.Lifetime > MaxLifetime:
		return secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("a token can't live for %s: from a second to %s", a.Lifetime, MaxLifetime))
	}
	return nil
}

// newID is 128 random bits in base64url. crypto/rand.Read never fails.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// encode writes JSON without escaping what only HTML minds: audiences and URLs stay readable.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// signature is one signing, as go-jose's OpaqueSigner: it carries the request's context in and the Signer's error out, both
// of which go-jose's interface has no room for.
type signature struct {
	ctx    context.Context
	key    Key
	public jose.JSONWebKey
	failed error // the *secret.Error that ended it
}

// token signs a payload and writes the compact form.
func (s *signature) token(payload []byte) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: s}, new(jose.SignerOptions).WithType("JWT"))
	if err == nil {
		var signed *jose.JSONWebSignature
		if signed, err = signer.Sign(payload); err == nil {
			var text string
			if text, err = signed.CompactSerialize(); err == nil {
				return text, nil
			}
		}
	}
	if s.failed == nil {
		s.failed = secret.Fail(secret.Internal, secret.ReasonInternal, "a token can't be put together")
	}
	return "", s.failed
}

// Public names the key in the token's header.
func (s *signature) Public() *jose.JSONWebKey { return &s.public }

// Algs is what Entra is tested with, and nothing else.
func (s *signature) Algs() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{jose.RS256} }

// SignPayload has the Signer sign, and checks what it made: a token that no reader of our documents could verify helps
// nobody, and would be explained by Entra as anything but that.
func (s *signature) SignPayload(payload []byte, _ jose.SignatureAlgorithm) ([]byte, error) {
	digest := sha256.Sum256(payload)
	signed, err := s.key.Signer.Sign(s.ctx, digest[:])
	if err != nil {
		s.failed = secret.AsError(err)
		return nil, s.failed
	}
	public, _ := s.public.Key.(*rsa.PublicKey)
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signed) != nil {
		s.failed = secret.Fail(secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("the issuer's key %s signed what its public key does not verify: does its name lead to another version?", s.key.Name))
		return nil, s.failed
	}
	return signed, nil
}
