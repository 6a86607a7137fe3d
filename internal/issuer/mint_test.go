package issuer_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

// An independent library verifies tokens by what Publish wrote, served over TLS under each way of writing a URL.
func TestTokensVerifyByThePublishedDocuments(t *testing.T) {
	for _, u := range []string{here, here + "/", "https://example.com", "https://example.com/"} {
		t.Run(u, func(t *testing.T) {
			i := newIssuer(t, func(o *issuer.Options) { o.URL = u })
			dir := t.TempDir()
			_, err := i.Publish(t.Context(), dir)
			works(t, err)
			ctx := relying(t, dir, u)
			token := mint(t, i, ask(), push())

			got, err := verify(ctx, u, audience, start.Add(4*time.Minute), token)
			works(t, err)
			if got.Issuer != u || got.Subject != "drone:drone.acme.example:repo:42" || got.Subject != token.Subject ||
				!got.IssuedAt.Equal(start) || !got.Expiry.Equal(start.Add(5*time.Minute)) || !got.Expiry.Equal(token.Expires) {
				t.Errorf("verified as %+v", got)
			}
			_, err = verify(ctx, u, audience, start.Add(5*time.Minute+time.Second), token)
			says(t, err, "expired")
			_, err = verify(ctx, u, "sts.amazonaws.com", start, token)
			says(t, err, "audience")
			other := u + "/"
			if strings.HasSuffix(u, "/") {
				other = strings.TrimSuffix(u, "/")
			}
			_, err = verify(ctx, other, audience, start, token)
			says(t, err, "did not match")
		})
	}
}

// The same without any library of tokens, as RFC 7515 §5.2 and RFC 7518 §3.3 have it.
func TestTheSignatureIsRS256(t *testing.T) {
	i := newIssuer(t)
	b, err := i.KeySet(t.Context())
	works(t, err)
	var set struct {
		Keys []struct{ N, E string } `json:"keys"`
	}
	works(t, json.Unmarshal(b, &set))
	decode := func(s string) []byte {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		works(t, err)
		return raw
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(set.Keys[0].N)), E: int(new(big.Int).SetBytes(decode(set.Keys[0].E)).Int64())}
	text := string(mint(t, i, ask(), push()).Text.Reveal())
	dot := strings.LastIndexByte(text, '.')
	digest := sha256.Sum256([]byte(text[:dot]))
	works(t, rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], decode(text[dot+1:])))
}

func TestNobodyElsesTokenVerifies(t *testing.T) {
	i := newIssuer(t)
	dir := t.TempDir()
	_, err := i.Publish(t.Context(), dir)
	works(t, err)
	ctx := relying(t, dir, here)
	forger := newIssuer(t, func(o *issuer.Options) { o.Keys = []issuer.Key{key(1, time.Time{})} })
	_, err = verify(ctx, here, audience, start, mint(t, forger, ask(), push()))
	says(t, err, "signature")

	genuine := strings.Split(string(mint(t, i, ask(), push()).Text.Reveal()), ".")
	other := strings.Split(string(mint(t, i, ask(), push(func(r *secret.Request) { r.Repo.UID = "43" })).Text.Reveal()), ".")
	mixed := issuer.Token{Text: secret.NewValue([]byte(genuine[0] + "." + other[1] + "." + genuine[2]))}
	_, err = verify(ctx, here, audience, start, mixed)
	says(t, err, "signature")
}

// What a key signed verifies before and after another takes over, by one document.
func TestTokensOfTwoKeys(t *testing.T) {
	now, turn := start, start.Add(48*time.Hour)
	i := newIssuer(t, func(o *issuer.Options) {
		o.Keys, o.Now = []issuer.Key{key(0, time.Time{}), key(1, turn)}, func() time.Time { return now }
	})
	dir := t.TempDir()
	_, err := i.Publish(t.Context(), dir)
	works(t, err)
	ctx := relying(t, dir, here)
	for n, at := range []time.Time{turn.Add(-time.Second), turn} {
		now = at
		token := mint(t, i, ask(), push())
		if token.Key != kid(t, n) {
			t.Errorf("at %s it is signed by %s, want key %d", at, token.Key, n)
		}
		_, err = verify(ctx, here, audience, at.Add(time.Minute), token)
		works(t, err)
	}
}

func TestTheHeader(t *testing.T) {
	token := mint(t, newIssuer(t), ask(), push())
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token.Text.Reveal()), ".")[0])
	works(t, err)
	if want := fmt.Sprintf(`{"alg":"RS256","kid":%q,"typ":"JWT"}`, kid(t, 0)); string(raw) != want || token.Key != kid(t, 0) {
		t.Errorf("%s, want %s", raw, want)
	}
}

func TestWhatIsSaidOfAToken(t *testing.T) {
	i := newIssuer(t, func(o *issuer.Options) { o.Now = at(start.Add(300 * time.Millisecond)) })
	a := ask()
	a.Form, a.Lifetime = issuer.Environment, 10*time.Minute+900*time.Millisecond
	token := mint(t, i, a, push(promoted("eu:prod")))
	if !token.Issued.Equal(start) || !token.Expires.Equal(start.Add(10*time.Minute)) {
		t.Errorf("it lives from %s to %s", token.Issued, token.Expires)
	}
	claims := payload(t, token)
	if claims["iat"] != float64(start.Unix()) || claims["nbf"] != claims["iat"] || claims["exp"] != float64(start.Unix()+600) ||
		claims["jti"] != token.ID || claims["sub"] != token.Subject || token.Subject != "drone:drone.acme.example:repo:42:environment:eu%3Aprod" {
		t.Errorf("%v", claims)
	}
	if id, err := base64.RawURLEncoding.DecodeString(token.ID); err != nil || len(id) != 16 {
		t.Errorf("%q is no id of 128 bits", token.ID)
	}
	if again := mint(t, i, a, push(promoted("eu:prod"))); again.ID == token.ID {
		t.Error("two tokens have one id")
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", token, token, token, token.Text); strings.Contains(shown, "eyJ") {
		t.Errorf("it shows in %s", shown)
	}
}

// A number beyond 2^53 is not rounded.
func TestHugeBuildNumbers(t *testing.T) {
	token := mint(t, newIssuer(t), ask(), push(func(r *secret.Request) { r.Build.Number = 1<<63 - 1 }))
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token.Text.Reveal()), ".")[1])
	works(t, err)
	var c struct {
		Number json.Number `json:"build_number"`
	}
	works(t, json.Unmarshal(raw, &c))
	if c.Number != "9223372036854775807" {
		t.Errorf("got %s", c.Number)
	}
}

func TestASignerThatFails(t *testing.T) {
	denied := secret.Fail(secret.Unavailable, secret.ReasonVaultRefused, "the signing key's vault refuses us")
	denied.Identity = true
	for name, c := range map[string]struct {
		signer memory
		kind   secret.Kind
		reason secret.Reason
		says   string
	}{
		"signing":            {memory{PrivateKey: private()[0], failed: denied}, secret.Unavailable, secret.ReasonVaultRefused, "refuses us"},
		"signing, wrapped":   {memory{PrivateKey: private()[0], failed: fmt.Errorf("once more: %w", denied)}, secret.Unavailable, secret.ReasonVaultRefused, "refuses us"},
		"signing, no reason": {memory{PrivateKey: private()[0], failed: errors.New("token eyJ")}, secret.Internal, secret.ReasonInternal, "unclassified"},
		"its key":            {memory{PrivateKey: private()[0], hidden: denied}, secret.Unavailable, secret.ReasonVaultRefused, "refuses us"},
		"with another's key": {memory{PrivateKey: private()[0], shows: &private()[1].PublicKey}, secret.Garbled, secret.ReasonGarbled, "another version"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, func(o *issuer.Options) { o.Keys[0].Signer = &c.signer })
			token, err := i.Mint(t.Context(), ask(), push())
			fails(t, err, c.kind, c.reason, c.says)
			if strings.Contains(err.Error(), "eyJ") || token.Text.Len() > 0 {
				t.Errorf("%v, and a token of %d bytes", err, token.Text.Len())
			}
			if c.reason == secret.ReasonVaultRefused && !secret.AsError(err).Identity {
				t.Error("that it is about our identity got lost")
			}
		})
	}
}

func TestKeysThatAreTooSmall(t *testing.T) {
	small := private()[0].PublicKey
	small.E = 1
	i := newIssuer(t, func(o *issuer.Options) { o.Keys[0].Signer = &memory{PrivateKey: private()[0], shows: &small} })
	_, err := i.Mint(t.Context(), ask(), push())
	fails(t, err, secret.Garbled, secret.ReasonGarbled, "sign/drone-issuer@a", "2048")
	_, err = i.KeySet(t.Context())
	fails(t, err, secret.Garbled, secret.ReasonGarbled, "sign/drone-issuer@a")
}

func TestTheSignerHasTheCallersContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newIssuer(t).Mint(ctx, ask(), push())
	fails(t, err, secret.Internal, secret.ReasonInternal) // memory's error says no more; a real Signer's is its own
}

func TestWhatCantBeAsked(t *testing.T) {
	i := newIssuer(t)
	for _, c := range []func(*issuer.Ask){
		func(a *issuer.Ask) { a.Audience = "" },
		func(a *issuer.Ask) { a.Audience = strings.Repeat("a", 601) },
		func(a *issuer.Ask) { a.Audience = "a\nb" },
		func(a *issuer.Ask) { a.Audience = "a\xff" },
		func(a *issuer.Ask) { a.Lifetime = 0 },
		func(a *issuer.Ask) { a.Lifetime = -time.Hour },
		func(a *issuer.Ask) { a.Lifetime = time.Second - 1 },
		func(a *issuer.Ask) { a.Lifetime = issuer.MaxLifetime + 1 },
		func(a *issuer.Ask) { a.Form = "" },
	} {
		a := ask()
		c(&a)
		_, err := i.Mint(t.Context(), a, push())
		fails(t, err, secret.Internal, secret.ReasonInternal)
	}
	a := ask()
	a.Form = issuer.Environment
	_, err := i.Mint(t.Context(), a, push())
	fails(t, err, secret.Denied, secret.ReasonDeployTo)
}
