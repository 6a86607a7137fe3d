package provider

import (
	"bytes"
	"container/list"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// entry is the last value that was read for a key. Everything in it is guarded by Router.mu.
type entry struct {
	key     key
	build   build     // whom it was last read for
	began   time.Time // when that read began: the value is no newer
	expires time.Time // when nobody may have it any more
	fetched secret.Fetched
	place   *list.Element
}

// serves tells whether the value may be given to b without a read.
// All four parts of a build must be equal: build 412 of one repository is not build 412 of another, and one runner's
// pool has no claim to what was read for another's.
func (e *entry) serves(b build, now time.Time) bool {
	return e.build == b && now.Sub(e.began) < buildWindow && e.lives(now)
}

// covers tells whether the value was read after that time: then it is for whoever asked by then as fresh as a read of his own.
func (e *entry) covers(asked, now time.Time) bool {
	return !asked.IsZero() && e.began.After(asked) && e.lives(now)
}

// lives tells whether the value has as much of its life left as it must have whenever it is given. One that has not is
// read anew: Admit would refuse it, and a new one may do.
func (e *entry) lives(now time.Time) bool {
	return e.fetched.MinLife <= 0 || e.fetched.Expires.Sub(now) >= e.fetched.MinLife
}

// serve gives a copy of the entry's value. Router.mu is held.
func (r *Router) serve(e *entry, how string) secret.Fetched {
	r.recent.MoveToFront(e.place)
	return copied(e.fetched, how)
}

// copied gives each caller bytes of its own, since each clears them after its answer.
// Who had the value read is told what the source says of that, if it says anything: a token is minted, not fetched.
func copied(f secret.Fetched, how string) secret.Fetched {
	f.Value = secret.NewValue(bytes.Clone(f.Value.Reveal()))
	if how != secret.HowFetched || f.How == "" {
		f.How = how
	}
	return f
}

// keep remembers the value of a read for as long as somebody may have it, and makes room for it. Router.mu is held, and
// the key has no entry.
//
// A value larger than the whole cache is served to those who wait for it and then forgotten.
func (r *Router) keep(f *read, began time.Time, fetched secret.Fetched, lifetime time.Duration) {
	size := fetched.Value.Len()
	if size > r.options.Bytes {
		return
	}
	// It ends: the value by itself is within the bound, so an empty cache has room for it.
	for len(r.entries) >= r.options.Entries || r.bytes+size > r.options.Bytes {
		r.remove(r.recent.Back().Value.(*entry))
	}
	e := &entry{key: f.key, build: f.build, began: began, expires: began.Add(lifetime), fetched: copied(fetched, "")}
	e.place = r.recent.PushFront(e)
	r.entries[e.key] = e
	r.bytes += size
	if r.sweeper == nil {
		r.sweeper = time.AfterFunc(sweepEvery, r.sweep)
	}
}

// remove forgets an entry and overwrites its value. Router.mu is held.
func (r *Router) remove(e *entry) {
	delete(r.entries, e.key)
	r.recent.Remove(e.place)
	r.bytes -= e.fetched.Value.Len()
	e.fetched.Value.Clear()
}

// sweep removes what nobody may have any more, so that values don't lie in memory for longer than they are of use.
// It runs only while there are entries: keep starts it, and it stops itself with the last one.
func (r *Router) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	for _, e := range r.entries {
		if !now.Before(e.expires) {
			r.remove(e)
		}
	}
	if r.closed || len(r.entries) == 0 {
		r.sweeper = nil
		return
	}
	r.sweeper.Reset(sweepEvery)
}
