package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// read is one call of a Source under way, and all who wait for it.
// It ends by itself, within the Router's Timeout, whether or not anybody still waits. The value is cleared with the
// last of them.
type read struct {
	key   key
	build build // whom it was begun for
	began time.Time
	done  chan struct{} // closed once ended

	// guarded by Router.mu
	waiting int
	ended   bool
	fetched secret.Fetched // the waiting callers' own copy; the cache has another
	err     *secret.Error
}

// active is the reads of one key that are under way: a second one begins when the first has taken a second.
// So nobody joins a read
// whose value may be older than his question by more than joinWindow.
type active struct {
	latest  *read // the one that may be joined
	running int
	known   time.Time // when the newest read began that told something for good; what older ones bring is no news
}

// leave is called by each who waited. The last one clears the value. Router.mu is held.
func (f *read) leave() {
	f.waiting--
	if f.ended && f.waiting == 0 {
		f.fetched.Value.Clear()
	}
}

// board joins the read under way or begins one. Router.mu is held.
//
// It returns a read in which the caller is counted already, so that he must leave it, or an error. A door at its limit
// says whether it is busy or in trouble: the former passes, the latter lets the last value serve.
func (r *Router) board(q *question, now time.Time) (*read, string, *secret.Error) {
	d, a := q.door, r.active[q.key]
	switch {
	case r.closed:
		return nil, "", secret.Fail(secret.Unavailable, secret.ReasonInternal, "the configuration that this request came under is closed")
	case a != nil && a.latest != nil && now.Sub(a.latest.began) < joinWindow:
		a.latest.waiting++
		return a.latest, secret.HowJoined, nil
	}
	ok, _ := d.admit(now)
	full := d.reads >= r.options.InFlight
	switch {
	case !ok || full && !d.since.IsZero():
		return nil, "", d.refusal(now)
	case full:
		return nil, "", secret.Fail(secret.Busy, secret.ReasonBusy,
			fmt.Sprintf("vault %s: %d reads are under way, which is the limit", d.alias, d.reads))
	}
	return r.begin(q, now), secret.HowFetched, nil
}

// begin starts a read, the probe of a door whose breaker is open. Router.mu is held.
func (r *Router) begin(q *question, now time.Time) *read {
	a := r.active[q.key]
	if a == nil {
		a = &active{}
		r.active[q.key] = a
	}
	f := &read{key: q.key, build: buildOf(&q.req), began: now, done: make(chan struct{}), waiting: 1}
	if !q.door.since.IsZero() {
		q.door.probe = f
	}
	a.latest = f
	a.running++
	q.door.reads++
	r.reading.Go(func() { r.run(q, f) })
	return f
}

// run reads, detached from whoever asked first.
// ctx hangs on the Router: a first caller who goes away must not fail those who joined him.
func (r *Router) run(q *question, f *read) {
	ctx, cancel := context.WithTimeout(r.ctx, r.options.Timeout)
	defer cancel()
	fetched, err := get(ctx, q.door.Source, q.req, q.ref)

	r.mu.Lock()
	defer r.mu.Unlock()
	q.door.reads--
	q.door.unidentified = err != nil && err.Identity
	q.door.learn(f, f.began, err, r.options.Now())
	r.conclude(q.door, f, fetched, err)
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
func (r *Router) conclude(d *door, f *read, fetched secret.Fetched, err *secret.Error) {
	a := r.active[f.key]
	a.running--
	if a.latest == f {
		a.latest = nil
	}
	if a.running == 0 {
		delete(r.active, f.key)
	}
	if f.began.Before(a.known) || err != nil && !conclusive(err.Reason) {
		return
	}
	a.known = f.began
	if old := r.entries[f.key]; old != nil {
		r.remove(old)
	}
	if err == nil && !r.closed {
		r.keep(f, fetched, max(buildWindow, d.Stale))
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
