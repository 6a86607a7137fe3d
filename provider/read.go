package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// read is one question to a Source, and all who wait for the answer: first for its turn, then for the source.
// Once begun it ends by itself, within the Router's Timeout, whether or not anybody still waits. The value is cleared with
// the last of them.
type read struct {
	*question               // of whoever asked first
	build     build         // whom it is for
	done      chan struct{} // closed once ended

	// guarded by Router.mu
	began      time.Time // zero while it waits for its turn
	ctx        context.Context
	cancel     context.CancelFunc
	hedge      *time.Timer // before a second attempt; nil if there is to be none
	attempts   int         // under way
	places     []place     // where it waits
	waiting    int
	ended      bool
	givenUp    bool           // it took too long for a door in trouble
	turnedAway bool           // it ended without having begun, because the door's breaker had opened
	fetched    secret.Fetched // the waiting callers' own copy; the cache has another
	err        *secret.Error
}

// young tells whether somebody who asks now may join: nobody gets a value that may be older than his question by more
// than joinWindow, and nobody waits for what counts as failed, since the source may be back.
func (f *read) young(now time.Time) bool {
	return f.began.IsZero() || now.Sub(f.began) < joinWindow && !f.givenUp
}

// active is the reads of one key that wait or are under way: a second one comes when the first has taken a second.
type active struct {
	latest *read // the one that may be joined
	reads  int
	known  time.Time // when the newest read began that told something for good; what older ones bring is no news
}

// leave is called by each who waited. The last one clears the value; a read that has not begun is not made for nobody.
// Router.mu is held.
func (r *Router) leave(f *read) {
	f.waiting--
	switch {
	case f.waiting > 0:
	case f.ended:
		f.fetched.Value.Clear()
	case f.began.IsZero():
		f.door.queue.leave(f)
		r.refuse(f, f.door.crowded())
	}
}

// board joins the read of that key, or makes one that begins now or when its turn comes. Router.mu is held.
//
// It returns a read in which the caller is counted already, so that he must leave it, or an error.
func (r *Router) board(q *question, now time.Time) (*read, string, *secret.Error) {
	d, a := q.door, r.active[q.key]
	switch {
	case r.closed:
		return nil, "", errClosed()
	case a != nil && a.latest != nil && a.latest.young(now):
		r.ride(a.latest, q)
		return a.latest, secret.HowJoined, nil
	}
	if ok, _ := d.admit(q.key.name, now); !ok {
		return nil, "", d.refusal(now)
	}
	if d.since.IsZero() && r.full(d) && r.hopeless(d, q.repository()) {
		return nil, "", d.busy()
	}
	f := &read{question: q, build: buildOf(&q.req), done: make(chan struct{}), waiting: 1}
	if !r.enter(f, now) {
		return nil, "", d.crowded()
	}
	return f, secret.HowFetched, nil
}

// ride joins a read. If that waits for its turn, it takes that of the caller's repository, too. Router.mu is held.
func (r *Router) ride(f *read, q *question) {
	f.waiting++
	if !f.began.IsZero() {
		return
	}
	if _, displaced := f.door.queue.join(f, q.repository()); displaced != nil {
		r.refuse(displaced, displaced.door.crowded())
	}
}

// enter begins the read or has it wait for its turn. It returns false if there is no room. Where the door's breaker is
// open, the read is the probe, which waits for nothing: it is one a second at most, and all hangs on it. Router.mu is held.
func (r *Router) enter(f *read, now time.Time) bool {
	d := f.door
	probes := !d.since.IsZero()
	begins := probes || !r.full(d) && d.queue.pass(now)
	var displaced *read
	if !begins {
		var ok bool
		if ok, displaced = d.queue.join(f, f.repository()); !ok {
			return false
		}
		d.queued++
	}
	a := r.active[f.key]
	if a == nil {
		a = &active{}
		r.active[f.key] = a
	}
	a.latest = f
	a.reads++
	if probes {
		d.probe = f
	}
	if displaced != nil {
		r.refuse(displaced, displaced.door.crowded())
	}
	switch {
	case begins:
		r.begin(f, now)
	case !r.full(d): // else nobody's turn has come by this
		r.serveQueue(d.queue)
	}
	return true
}

// begin starts a read. Router.mu is held.
// Its context hangs on the Router and on nobody who asked.
func (r *Router) begin(f *read, now time.Time) {
	d := f.door
	f.began = now
	f.ctx, f.cancel = context.WithTimeout(r.ctx, r.options.Timeout)
	d.save()
	if d.slow > 0 && !d.PerBuild {
		f.hedge = time.AfterFunc(d.slow+1, func() { r.hedge(f) }) // longer than that, not as long
	}
	r.attempt(f, now)
}

// refuse ends a read that has not begun and is in no line any more. Router.mu is held.
func (r *Router) refuse(f *read, err *secret.Error) {
	f.door.queued--
	r.retire(r.active[f.key], f)
	f.end(secret.Fetched{}, err)
}

// finish takes what an attempt that began then has brought. The first answer is the read's, good or not; a failure
// that says nothing of the secret is so only if no other attempt is under way. Router.mu is held.
func (r *Router) finish(f *read, began time.Time, fetched secret.Fetched, err *secret.Error) {
	d, now := f.door, r.options.Now()
	switch {
	case f.ended: // by the other attempt
		fetched.Value.Clear()
		return
	case err != nil && !conclusive(err.Reason) && f.attempts > 0:
		return
	}
	f.cancel() // the other attempt
	if f.hedge != nil {
		f.hedge.Stop()
	}
	if err == nil {
		d.observe(now.Sub(f.began))
	}
	d.unidentified = err != nil && err.Identity
	d.learn(f, began, err, now)
	r.conclude(f, began, fetched, err)
	f.end(fetched, err)
}

// end hands out what the read brought. Router.mu is held.
func (f *read) end(fetched secret.Fetched, err *secret.Error) {
	f.fetched, f.err, f.ended = fetched, err, true
	if f.waiting == 0 {
		fetched.Value.Clear()
	}
	close(f.done)
}

// conclude remembers what a read told. A read that began before another which already told something changes nothing.
// Router.mu is held.
//
// For example: read A began before a secret was deleted, read B after it. B says "not found" first; then A brings the
// old value. Those who wait for A get it, but it is not kept. A failure that tells nothing of the secret, such as a
// timeout, leaves what is kept alone; one that does, such as a 403, removes it.
func (r *Router) conclude(f *read, began time.Time, fetched secret.Fetched, err *secret.Error) {
	a := r.active[f.key]
	r.retire(a, f)
	if began.Before(a.known) || err != nil && !conclusive(err.Reason) {
		return
	}
	a.known = began
	if old := r.entries[f.key]; old != nil {
		r.remove(old)
	}
	if err == nil && !r.closed {
		r.keep(f, began, fetched, max(buildWindow, f.door.Stale))
	}
}

// retire takes a read that has ended out of its key's. Router.mu is held.
func (r *Router) retire(a *active, f *read) {
	a.reads--
	if a.latest == f {
		a.latest = nil
	}
	if a.reads == 0 {
		delete(r.active, f.key)
	}
}

// get calls the source and makes of everything it may do wrong a *secret.Error. What a panic carries is not printed: it
// may hold anything.
func get(ctx context.Context, source Source, req secret.Request, ref secret.Ref) (fetched secret.Fetched, failure *secret.Error) {
	defer func() {
		if p := recover(); p != nil {
			fetched = secret.Fetched{}
			failure = secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("vault %s: its source panicked with a %T", ref.Vault, p))
		}
	}()
	ref.Key = ""
	fetched, err := source.Get(ctx, req, ref)
	switch {
	case err != nil:
		return secret.Fetched{}, secret.AsError(err)
	case fetched.Value.Len() == 0:
		return secret.Fetched{}, secret.Fail(secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("vault %s: %s came without a value", ref.Vault, ref.Name))
	}
	return fetched, nil
}
