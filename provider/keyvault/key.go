package keyvault

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/drone-entra/drone-entra/secret"
)

// Sizes of RSA keys in bits. RS256 wants 2048 at least (RFC 7518, 3.3), and Key Vault makes none above 4096.
const (
	minKeyBits = 2048
	maxKeyBits = 4096
)

// Key is one version of one RSA key of the vault, for signing. The private half stays in Key Vault. It is safe for
// concurrent use.
//
// The version is part of it, since a key that is rotated in Key Vault would else sign with what nobody has published yet.
type Key struct {
	vault         *Vault
	name, version string

	mu     sync.Mutex
	public *rsa.PublicKey // nil until it was asked for
}

// Key names a version of a key of the vault; it asks nobody for anything yet. A name or a version that Key Vault can't
// have makes every use of the Key fail.
func (v *Vault) Key(name, version string) *Key { return &Key{vault: v, name: name, version: version} }

// thing is the key as errors speak of it.
func (k *Key) thing() thing { return keyAt(k.vault, k.name, k.version) }

func keyAt(v *Vault, name, version string) thing {
	t := thing{wording: ofKeys(), name: fmt.Sprintf("key %s/%s", v.alias, name), pinned: version != ""}
	if t.pinned {
		t.name += "@" + version
	}
	return t
}

// Public is the public half: an RSA key of 2048 to 4096 bits. Key Vault is asked until it has answered once. The error is
// an *secret.Error; it comes within ctx.
func (k *Key) Public(ctx context.Context) (*rsa.PublicKey, error) {
	k.mu.Lock()
	known := k.public
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, failure := within(ctx, k.vault, k.thing(), func(c *azkeys.Client) (*rsa.PublicKey, *secret.Error) {
		if failure := k.named(); failure != nil {
			return nil, failure
		}
		resp, err := c.GetKey(ctx, k.name, k.version, nil)
		if err != nil {
			return nil, k.vault.refused(ctx, c, k.thing(), err)
		}
		return k.accept(resp.Key)
	})
	if failure != nil {
		return nil, failure
	}
	k.remember(made)
	return made, nil
}

func (k *Key) remember(public *rsa.PublicKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.public = public
}

// named tells whether Key Vault can have such a key. What else went into a path would be a question about something else.
func (k *Key) named() *secret.Error {
	if !keyName(k.name) || !plain(k.version) {
		return k.vault.failOf(k.thing(), secret.Internal, secret.ReasonInternal, "a key is named by its name and one of its versions, both of them")
	}
	return nil
}

// accept takes a key only if it is whole, about what was asked and fit for RS256. Every pointer in the SDK's answer may be
// nil, and its numbers have no bounds.
func (k *Key) accept(answer *azkeys.JSONWebKey) (*rsa.PublicKey, *secret.Error) {
	garbled := func(what string) (*rsa.PublicKey, *secret.Error) {
		return nil, k.vault.failOf(k.thing(), secret.Garbled, secret.ReasonGarbled, what)
	}
	if answer == nil || answer.KID == nil || answer.Kty == nil {
		return garbled("it answered without a key, or without its id or type")
	}
	if _, ok := k.vault.versionOf(string(*answer.KID), "keys", k.name, k.version); !ok {
		return garbled("it answered with another key than the one that was asked for")
	}
	if *answer.Kty != azkeys.KeyTypeRSA && *answer.Kty != azkeys.KeyTypeRSAHSM {
		return garbled("it is no RSA key: tokens are signed with RS256, so name one of type RSA or RSA-HSM in the configuration")
	}
	modulus, exponent := new(big.Int).SetBytes(answer.N), new(big.Int).SetBytes(answer.E)
	if bits := modulus.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return garbled(fmt.Sprintf("it is an RSA key of %d bits: name one of %d to %d bits in the configuration", bits, minKeyBits, maxKeyBits))
	}
	// The bounds are crypto/rsa's own.
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 || modulus.Bit(0) == 0 {
		return garbled("its modulus or its exponent is no RSA key's")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

// Sign returns the RS256 signature of a SHA-256 digest (RSASSA-PKCS1-v1_5; RFC 7518, 3.3). It was verified against Public, so
// that nothing leaves which those who know the public key would refuse. The error is an *secret.Error; it comes within ctx.
func (k *Key) Sign(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != sha256.Size {
		return nil, k.vault.failOf(k.thing(), secret.Internal, secret.ReasonInternal, fmt.Sprintf("a digest of SHA-256 has %d bytes, not %d", sha256.Size, len(digest)))
	}
	public, err := k.Public(ctx)
	if err != nil {
		return nil, err
	}
	digest = bytes.Clone(digest) // the call may outlast this one
	made, failure := within(ctx, k.vault, k.thing(), func(c *azkeys.Client) ([]byte, *secret.Error) {
		algorithm := azkeys.SignatureAlgorithmRS256
		resp, err := c.Sign(ctx, k.name, k.version, azkeys.SignParameters{Algorithm: &algorithm, Value: digest}, nil)
		if err != nil {
			return nil, k.vault.refused(ctx, c, k.thing(), err)
		}
		return k.verified(public, digest, resp.KeyOperationResult)
	})
	if failure != nil {
		return nil, failure
	}
	return made, nil
}

// verified is the signature if it is this key's. If it is not, one of the two answers was wrong, and the public half is
// asked for again the next time.
func (k *Key) verified(public *rsa.PublicKey, digest []byte, answer azkeys.KeyOperationResult) ([]byte, *secret.Error) {
	if answer.KID == nil {
		return nil, k.vault.failOf(k.thing(), secret.Garbled, secret.ReasonGarbled, "it signed without saying with which key")
	}
	if _, ok := k.vault.versionOf(string(*answer.KID), "keys", k.name, k.version); !ok {
		return nil, k.vault.failOf(k.thing(), secret.Garbled, secret.ReasonGarbled, "it signed with another key than the one that was asked for")
	}
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, answer.Result) != nil {
		k.remember(nil)
		return nil, k.vault.failOf(k.thing(), secret.Garbled, secret.ReasonGarbled, "its signature does not verify with the key's public half")
	}
	return answer.Result, nil
}

// within lets a call of the SDK run in a goroutine of its own, because callers of the SDK wait for each other's tokens
// whatever their contexts say, and returns within ctx. What comes later is dropped.
func within[T any](ctx context.Context, v *Vault, t thing, call func(*azkeys.Client) (T, *secret.Error)) (T, *secret.Error) {
	type outcome struct {
		value   T
		failure *secret.Error
	}
	done := make(chan outcome, 1)
	go func() {
		value, failure := calm(v, t, call)
		done <- outcome{value, failure}
	}()
	select {
	case o := <-done:
		return o.value, o.failure
	case <-ctx.Done():
		var none T
		return none, v.failOf(t, secret.Late, secret.ReasonTimeout, "no answer within the request's time")
	}
}

// calm makes the call with the client of the vault's keys and turns a panic into an error. The client is forgotten then, as
// it may hold a lock. What a panic carries is not printed.
func calm[T any](v *Vault, t thing, call func(*azkeys.Client) (T, *secret.Error)) (value T, failure *secret.Error) {
	var client *azkeys.Client
	defer func() {
		switch p := recover(); {
		case p == nil:
		case client == nil:
			failure = v.failOf(t, secret.Internal, secret.ReasonInternal, fmt.Sprintf("making a client panicked with a %T", p))
		default:
			v.forgetKeys(client)
			var none T
			value = none
			failure = v.failOf(t, secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("its answer made the SDK panic with a %T: is there a proxy in between?", p))
		}
	}()
	client, err := v.keysClient()
	if err != nil {
		return value, v.failOf(t, secret.Internal, secret.ReasonInternal, "the SDK refuses its configuration")
	}
	return call(client)
}

// refused classifies what the SDK returned, and forgets the client after a failure of the credential's: a client goes on
// asking for the token that the last challenge named, right or wrong.
func (v *Vault) refused(ctx context.Context, c *azkeys.Client, t thing, err error) *secret.Error {
	if _, credential := errors.AsType[*secret.Error](err); credential {
		v.forgetKeys(c)
	}
	return v.classify(ctx, "", t, err)
}

// keysClient returns the client of the vault's keys, made at the first use. Keys are used by the identity itself: no
// request of a pipeline stands behind them.
func (v *Vault) keysClient() (*azkeys.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.signing != nil {
		return v.signing, nil
	}
	c, err := azkeys.NewClient(v.url, guard{v, v.identity.Credential("")}, &azkeys.ClientOptions{ClientOptions: v.sdk()})
	if err != nil {
		return nil, err
	}
	v.signing = c
	return c, nil
}

func (v *Vault) forgetKeys(c *azkeys.Client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.signing == c {
		v.signing = nil
	}
}
