package issuer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/drone-entra/drone-entra/secret"
)

// Signer is one version of an RSA key. It is safe for concurrent use, keeps to its context, and its errors are
// *secret.Error.
type Signer interface {
	// Public is the version's public key, of 2,048 bits at least. It never changes, and it is asked for at each mint: the
	// Signer remembers it.
	Public(context.Context) (*rsa.PublicKey, error)
	// Sign makes a signature by RSASSA-PKCS1-v1_5 with SHA-256 (RS256, RFC 7518 §3.3) over a SHA-256 digest. The issuer
	// checks each one against Public before a token leaves.
	Sign(ctx context.Context, digest []byte) ([]byte, error)
}

// Key is a key as the configuration lists it. The document lists it from its first day on; it signs from From on, until
// another's From has come.
type Key struct {
	Name   string    // for people, as in sign/drone-issuer@3f2a…
	From   time.Time // zero: the first one
	Signer Signer
}

// Options are what an issuer is made from.
type Options struct {
	URL    string           // `iss`, byte for byte: whether there is a slash at the end counts
	Server string           // which Drone server it speaks for, in every subject: letters, digits, dots and dashes
	Keys   []Key            // in the order of the document
	Now    func() time.Time // time.Now when nil
}

// Issuer mints tokens and knows its documents. It is immutable and safe for concurrent use.
type Issuer struct {
	url, server string
	keys        []Key
	now         func() time.Time
}

const (
	// maxText is the most characters that Entra takes for an issuer, a subject or an audience.
	maxText = 600
	// maxServer is as long as a DNS name may be. A repository's subject then always fits.
	maxServer = 253
	// minModulus is RS256's least modulus in bits (RFC 7518 §3.3).
	minModulus = 2048
)

// New checks the options; the error says what to change. No key is asked for anything.
//
// The URL must be https, without user, query, fragment and empty or dotted segments (OpenID Connect Discovery 1.0 §3), and
// have at most 600 characters, as Entra takes no more. Exactly one key has no From, and no two have the same: at any time
// one key signs.
func New(o Options) (*Issuer, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("the issuer's url %q %w", o.URL, err)
	}
	if len(o.Server) > maxServer || o.Server == "" || strings.ContainsFunc(o.Server, func(r rune) bool { return !letterOrDigit(r) && r != '.' && r != '-' }) {
		return nil, fmt.Errorf("the issuer's server %q: name the Drone server by letters, digits, dots and dashes, %d at most", o.Server, maxServer)
	}
	if err := checkKeys(o.Keys); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Issuer{o.URL, o.Server, slices.Clone(o.Keys), o.Now}, nil
}

// checkURL returns the rest of a sentence that begins with the URL.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return errors.New("must be https://host, perhaps with a port and a path, and without a user")
	case strings.ContainsAny(s, "?#"):
		return errors.New("must have no query and no fragment")
	case len(s) > maxText:
		return fmt.Errorf("is longer than Entra's %d characters", maxText)
	// The others would have to be encoded, and then two spellings of one URL would be two issuers.
	case strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r) && !strings.ContainsRune("-._~:/[]", r) }):
		return errors.New("may have letters, digits and -._~ in its path, and nothing that is encoded")
	}
	path := u.Path + "/"
	if strings.Contains(u.Path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") {
		return errors.New("has an empty or dotted segment in its path, which clients and servers take out")
	}
	return nil
}

func checkKeys(keys []Key) error {
	names := map[int64]string{} // by From
	first := 0
	for _, k := range keys {
		if k.Signer == nil {
			return fmt.Errorf("the issuer's key %s has no signer", k.Name)
		}
		if k.From.IsZero() {
			first++
			continue
		}
		from := k.From.UnixNano()
		if other, ok := names[from]; ok {
			return fmt.Errorf("the issuer's keys %s and %s have the same `from`: give each its own, as one key signs at a time", other, k.Name)
		}
		names[from] = k.Name
	}
	if first != 1 {
		return fmt.Errorf("%d of the issuer's %d keys have no `from`: exactly one must have none, the one that signs until another's time has come", first, len(keys))
	}
	return nil
}

func letterOrDigit(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// Signing is the key that signs now: the one with the latest From that is not in the future.
func (i *Issuer) Signing() Key {
	now, froms := i.now(), make([]time.Time, len(i.keys))
	for j, k := range i.keys {
		froms[j] = k.From
	}
	return i.keys[signingAt(now, froms)]
}

// signingAt is the place of the latest time that is not after now, -1 if there is none. A zero time is before all others.
func signingAt(now time.Time, froms []time.Time) int {
	best := -1
	for j, from := range froms {
		if !from.After(now) && (best < 0 || froms[best].Before(from)) {
			best = j
		}
	}
	return best
}

// KeyID is a key's name in tokens and documents: its SHA-256 thumbprint (RFC 7638) in base64url. It fails for what can't
// sign RS256.
func KeyID(public *rsa.PublicKey) (string, error) {
	if public == nil || public.N == nil || public.N.BitLen() < minModulus || public.E < 3 {
		return "", fmt.Errorf("it is no RSA key of %d bits or more", minModulus)
	}
	print, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", errors.New("it has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(print), nil
}

// public is a key as the documents have it.
func (k *Key) public(ctx context.Context) (jose.JSONWebKey, error) {
	public, err := k.Signer.Public(ctx)
	if err != nil {
		return jose.JSONWebKey{}, secret.AsError(err)
	}
	id, err := KeyID(public)
	if err != nil {
		return jose.JSONWebKey{}, secret.Fail(secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("the issuer's key %s can't be used: %s; make an RSA key", k.Name, err))
	}
	return jose.JSONWebKey{Key: public, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}, nil
}
