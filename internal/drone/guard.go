// Package drone is Drone's wire: it proves that a request comes from a runner of ours, reads it so that it can mean one
// thing only, hands it to whoever answers that call, and writes the answer as runners expect it.
//
// What it trusts: the shared keys of its pools, and its clock. What it does not trust: everything else, until the whole
// body is proven to be what a holder of a key signed just now. drone-go's own handler verifies the HMAC and nothing more
// (neither digest nor date, whichever headers the sender chose), so the guard is ours.
package drone

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// minKey is the shortest shared key, in bytes: a runner decrypts answers under the key's first 32, and a shorter one
// can be guessed from one captured request.
const minKey = 32

// Key is one shared key of a pool of runners. Several keys of one pool are active at once while it rotates.
type Key struct {
	Pool, ID string
	Secret   []byte
}

// Options say how strict a Guard is.
type Options struct {
	Keys    []Key
	Skew    time.Duration    // how far a Date may lie from now, either way
	MaxBody int64            // bytes
	Repeats int              // equal requests within the window before they are refused
	Now     func() time.Time // the clock
	Memory  *Memory          // nil: one of its own
}

// Guard decides whether a request comes from a runner that holds a key. It is safe for concurrent use.
// Its keys are those of all pools in one list: a request does not say which pool it comes from, as keyId is "hmac-key"
// in every runner. Which key fits is what tells the pool.
type Guard struct {
	keys    []key
	skew    time.Duration
	maxBody int64
	now     func() time.Time
	repeats int
	memory  *Memory
}

// NewGuard refuses a key that is too short, and two that can't be told apart: a request, or who opens its answer, could
// then be of either pool. The errors name keys by pool and id.
//
// Two keys that differ only behind their 32nd byte verify apart and yet seal alike: each of the two pools could open
// the other's answers.
func NewGuard(o Options) (*Guard, error) {
	if len(o.Keys) == 0 {
		return nil, errors.New("no runner can prove itself: there is no key; set pools in the configuration, or DRONE_SECRET")
	}
	g := &Guard{skew: o.Skew, maxBody: o.MaxBody, now: o.Now, repeats: o.Repeats, memory: o.Memory}
	if g.memory == nil {
		g.memory = NewMemory(o.Now)
	}
	seen := map[string]Key{}
	for _, k := range o.Keys {
		if len(k.Secret) < minKey {
			return nil, fmt.Errorf("the key %q of pool %q has %d bytes, at least %d are needed: make one with `openssl rand -hex 32`",
				k.ID, k.Pool, len(k.Secret), minKey)
		}
		made := newKey(k)
		for _, mark := range made.marks(k) {
			if other, ok := seen[mark]; ok {
				return nil, fmt.Errorf("the key %q of pool %q is the same as the key %q of pool %q, or begins with the same %d bytes, which seal the answers: give each its own",
					k.ID, k.Pool, other.ID, other.Pool, minKey)
			}
			seen[mark] = k
		}
		g.keys = append(g.keys, made)
	}
	return g, nil
}

// signedHeaders are the five that every drone-go since 1.4.1 signs, and no request is believed without.
var signedHeaders = [...]string{"accept", "accept-encoding", "content-type", "date", "digest"}

// proof is what a request's head established. The body is proven only once its digest is compared.
//
// key is nil until the signature is verified; from then on a failure comes with it, so that the record can name the
// pool whose clock is wrong. accept names the call, digest is what the body must hash to, mac tells equal requests.
type proof struct {
	key    *key
	accept string
	digest [sha256.Size]byte
	mac    [sha256.Size]byte
}

// head proves a request's head, in this order: the form of what was signed, the MAC, the date, the form of the digest. It reads
// nothing of the body. skew is the Date's distance from now where that is what was wrong.
//
// The MAC is asked before the date, so that only a holder of a key can be said to have a wrong clock. The algorithm and
// the list of headers come before the MAC, because the sender chooses them: `headers="date"` alone would be a valid
// signature of nothing that counts.
func (g *Guard) head(r *http.Request) (p proof, skew time.Duration, failure *secret.Error) {
	s, failure := readSignature(r.Header)
	if failure != nil {
		return proof{}, 0, failure
	}
	copy(p.mac[:], s.mac)
	date, failure := single(r.Header, "Date", secret.ReasonDate)
	if failure != nil {
		return proof{}, 0, failure
	}
	digest, failure := single(r.Header, "Digest", secret.ReasonDigest)
	if failure != nil {
		return proof{}, 0, failure
	}
	if p.accept, failure = single(r.Header, "Accept", secret.ReasonAccept); failure != nil {
		return proof{}, 0, failure
	}
	text, failure := s.signed(r)
	if failure != nil {
		return proof{}, 0, failure
	}
	if p.key = g.verify(text, s.mac); p.key == nil {
		return proof{}, 0, unproven(secret.ReasonKey, "no active key of any pool made this signature")
	}
	// RFC 9110's preferred form only, which drone-go writes; the two obsolete ones are refused.
	at, err := time.Parse(http.TimeFormat, date)
	if err != nil {
		return p, 0, unproven(secret.ReasonDate, "the Date is not in HTTP's format")
	}
	if skew = at.Sub(g.now()); skew.Abs() > g.skew {
		return p, skew, unproven(secret.ReasonDate, fmt.Sprintf("the Date is %s off: look at the clocks", skew.Round(time.Second)))
	}
	if p.digest, failure = readDigest(digest); failure != nil {
		return p, 0, failure
	}
	return p, 0, nil
}

// verify finds the key that made the MAC. Every key is tried, each compared in constant time.
// It does not stop at the one that fits: how long it takes does not tell which key that was.
func (g *Guard) verify(text, mac []byte) (found *key) {
	var sum [sha256.Size]byte
	for i := range g.keys {
		if hmac.Equal(g.keys[i].mac(sum[:0], text), mac) {
			found = &g.keys[i]
		}
	}
	return found
}

// readDigest reads `SHA-256=<base64>` (RFC 3230), the only form that drone-go sends.
// Strict base64 of exactly the right length leaves one spelling for each sum. MD5 and SHA-1, which RFC 3230 also knows,
// can be collided and are refused.
func readDigest(header string) (sum [sha256.Size]byte, failure *secret.Error) {
	algorithm, encoded, _ := strings.Cut(header, "=")
	if strings.ToLower(algorithm) != "sha-256" { // no more than ASCII folds to it
		return sum, unproven(secret.ReasonDigest, "the Digest is not SHA-256")
	}
	if len(encoded) != base64.StdEncoding.EncodedLen(len(sum)) {
		return sum, unproven(secret.ReasonDigest, "the Digest is no SHA-256 sum")
	}
	var room [sha256.Size + 1]byte // base64 counts its padding as a byte to come
	n, err := base64.StdEncoding.Strict().Decode(room[:], []byte(encoded))
	if err != nil || n != len(sum) {
		return sum, unproven(secret.ReasonDigest, "the Digest is no SHA-256 sum")
	}
	return [sha256.Size]byte(room[:len(sum)]), nil
}

// single returns the one value of a header.
// single returns the one value of a header, whose name is in canonical form. Where there are two, a proxy before us may
// have looked at the other one, so several are an error and not a choice.
func single(h http.Header, name string, reason secret.Reason) (string, *secret.Error) {
	switch values := h[name]; len(values) {
	case 1:
		return values[0], nil
	case 0:
		return "", unproven(reason, "there is no "+name+" header")
	default:
		return "", unproven(reason, "there are several "+name+" headers")
	}
}

func unproven(reason secret.Reason, detail string) *secret.Error {
	return secret.Fail(secret.Unproven, reason, detail)
}
