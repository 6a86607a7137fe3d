package audit

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/drone-entra/drone-entra/secret"
)

// releaseKey stands for what makes a release a repeat of another: pool, repository, build, secret
// and version. It is half a SHA-256: what a collision could gain is a line synced a second later.
type releaseKey [16]byte

// keyOf hashes the release, using scratch for the bytes.
// The length stands before each string, so that ("ab","c") and ("a","bc") differ.
func keyOf(scratch []byte, e *secret.Event) (releaseKey, []byte) {
	b := scratch[:0]
	for _, s := range [...]string{e.Caller.Pool, e.Request.Repo.UID, e.Request.Repo.Slug, e.Secret, e.Version} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendVarint(b, e.Request.Build.Number)
	sum := sha256.Sum256(b)
	return releaseKey(sum[:16]), b
}

const maxReleases = 64 << 10 // of one generation

// releases remembers which releases are synced: the last 64 Ki of them at least, twice that at most. One that was
// forgotten is merely synced again. The keys hold no pointers, so the garbage collector does not walk them.
type releases struct{ young, old map[releaseKey]struct{} }

func newReleases() releases {
	return releases{young: map[releaseKey]struct{}{}, old: map[releaseKey]struct{}{}}
}

func (t *releases) has(k releaseKey) bool {
	if _, ok := t.young[k]; ok {
		return true
	}
	_, ok := t.old[k]
	return ok
}

// add is called once the lines are synced, and not before: a repeat of a line that never reached the disk would be no
// repeat.
func (t *releases) add(keys []releaseKey) {
	for _, k := range keys {
		if len(t.young) >= maxReleases {
			clear(t.old)
			t.young, t.old = t.old, t.young
		}
		t.young[k] = struct{}{}
	}
}
