package drone

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxRemembered bounds each of the two generations of signatures that are remembered.
const maxRemembered = 1 << 16

// repeats counts equal requests. There is no one-time rule: two honest look-ups in one second carry the same signature
// (HMAC is deterministic, Date has a resolution of a second, there is no nonce), and a runner asks once for each step.
// So a repeat is counted for the record, and refused only in absurd numbers.
//
// young has what came since rotatedAt, old the generation before that. What comes again is carried over into young with
// its count, so a signature is known for one window at least after it was last seen, unless maxRemembered others, each
// made with a key, come sooner.
type repeats struct {
	now func() time.Time

	mu        sync.Mutex
	young     map[[sha256.Size]byte]int
	old       map[[sha256.Size]byte]int
	rotatedAt time.Time
}

func newRepeats(now func() time.Time) *repeats {
	return &repeats{now: now, young: map[[sha256.Size]byte]int{}, rotatedAt: now()}
}

// count returns how many equal requests came before this one within the window.
// The first one gets 0. An old generation is dropped as a whole: no entry is ever looked at to be expired.
func (r *repeats) count(mac [sha256.Size]byte, window time.Duration) (before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now().Sub(r.rotatedAt) > window || len(r.young) >= maxRemembered {
		r.old, r.young, r.rotatedAt = r.young, map[[sha256.Size]byte]int{}, r.now()
	}
	before, ok := r.young[mac]
	if !ok {
		before = r.old[mac]
	}
	r.young[mac] = before + 1
	return before
}
