package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signingKey is an RSA key that is made when it is first needed, since making one takes longer than a start may.
type signingKey struct{ material func() *keyMaterial }

type keyMaterial struct {
	id      string
	private *rsa.PrivateKey
	signer  jose.Signer
	public  jose.JSONWebKeySet
}

func newSigningKey() *signingKey { return &signingKey{material: sync.OnceValue(makeKey)} }

// Keys are the RSA keys of an issuer and of tenants, made when first needed. Emulators that share them start faster,
// which counts where a test binary starts dozens; a token of one is then genuine to the others, too. The zero value is
// ready to use. Safe for concurrent use.
type Keys struct {
	mu     sync.Mutex
	byName map[string]*signingKey
}

// of is the key of that name, always the same.
func (k *Keys) of(name string) *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byName == nil {
		k.byName = map[string]*signingKey{}
	}
	if k.byName[name] == nil {
		k.byName[name] = newSigningKey()
	}
	return k.byName[name]
}

// makeKey panics when it fails, which crypto/rand promises not to let happen.
func makeKey() *keyMaterial {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Errorf("emulator: making an RSA key: %w", err))
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.RS256), Use: "sig"}
	print, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		panic(fmt.Errorf("emulator: naming an RSA key: %w", err))
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(print[:20])
	m := &keyMaterial{id: key.KeyID, private: private, public: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}}
	m.signer = m.signerAs(jose.RS256, key.KeyID)
	return m
}

// signerAs is a signer whose header says the algorithm and, unless it is empty, the key's name. It panics on an
// algorithm that is not RSA's.
// The signature is the key's whatever the header says, which is what a forger of headers can do, too.
func (m *keyMaterial) signerAs(algorithm jose.SignatureAlgorithm, id string) jose.Signer {
	options := new(jose.SignerOptions).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: m.private}, options)
	if err != nil {
		panic(fmt.Errorf("emulator: signing with %s: %w", algorithm, err))
	}
	return signer
}

// sign writes claims as a compact JWT. They are the emulator's own and always marshal.
func sign(signer jose.Signer, claims any) string {
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic(fmt.Errorf("emulator: signing a token: %w", err))
	}
	return token
}
