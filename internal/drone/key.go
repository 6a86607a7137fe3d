package drone

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"sync"
)

// key is a Key made ready: to verify requests, and to seal their answers.
type key struct {
	pool, id string
	hashes   *sync.Pool // of keyed HMACs: keying one costs as much as a whole verification
	aead     cipher.AEAD
}

// newKey copies the secret, which stays its owner's. It expects what NewGuard checks, at least minKey bytes: AES-256
// then takes the first 32 and neither panic can happen.
func newKey(k Key) key {
	bytes := append([]byte(nil), k.Secret...)
	block, err := aes.NewCipher(bytes[:minKey])
	if err != nil {
		panic("drone: AES refused a key of 32 bytes")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("drone: GCM refused AES")
	}
	return key{k.Pool, k.ID, &sync.Pool{New: func() any { return hmac.New(sha256.New, bytes) }}, aead}
}

// mac appends the HMAC-SHA256 of text to dst.
// Each call takes a keyed HMAC of its own from the pool, so any number may run at once.
func (k *key) mac(dst, text []byte) []byte {
	h := k.hashes.Get().(hash.Hash)
	h.Reset()
	h.Write(text)
	dst = h.Sum(dst)
	k.hashes.Put(h)
	return dst
}

// marks are what must differ between any two keys: the bytes that seal, and what verifies. The second is seen by its
// result, since HMAC (RFC 2104) pads a short key with zeros and hashes a long one, so that unequal keys can be the same.
func (k *key) marks(of Key) [2]string {
	return [2]string{"seals " + string(of.Secret[:minKey]), "verifies " + string(k.mac(nil, []byte("mark")))}
}

// seal encrypts an answer the way every runner decrypts it when it sees `Content-Encoding: aesgcm`: AES-256-GCM under the
// first 32 bytes of the shared key, the 12-byte nonce in front.
func (k *key) seal(plain []byte) []byte {
	sealed := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	_, _ = rand.Read(sealed) // never fails: crypto/rand ends the program instead
	return k.aead.Seal(sealed, sealed, plain, nil)
}
