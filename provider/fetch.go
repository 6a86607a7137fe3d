package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// question is what a caller asks, and since when.
type question struct {
	door  *door
	key   key
	req   secret.Request
	ref   secret.Ref
	asked time.Time
}

// fetch answers by a read, which it holds on for where the door's breaker will soon let one pass.
func (r *Router) fetch(ctx context.Context, q *question) (secret.Fetched, error) {
	for now := q.asked; ; now = r.options.Now() {
		r.mu.Lock()
		if e := r.entries[q.key]; e != nil && e.serves(buildOf(&q.req), now) { // a read that has ended since
			defer r.mu.Unlock()
			return r.serve(e, secret.HowBuild), nil
		} else if e != nil && e.covers(secret.ArrivalOf(ctx), now) {
			defer r.mu.Unlock()
			return r.serve(e, secret.HowJoined), nil
		}
		f, how, failure := r.board(q, now)
		if failure == nil {
			hasty := !q.door.since.IsZero()
			r.mu.Unlock()
			fetched, err, again := r.wait(ctx, q, f, how, hasty)
			if again && ctx.Err() == nil {
				continue
			}
			return fetched, err
		}
		fetched, err := r.lastResort(q.door, q.key, failure)
		var h hold
		if err != nil {
			h = r.hope(q, now)
		}
		r.mu.Unlock()
		switch {
		case h.length <= 0:
			return fetched, err
		case h.wait(ctx):
		case errors.Is(ctx.Err(), context.Canceled):
			return secret.Fetched{}, q.left()
		default:
			return secret.Fetched{}, err
		}
	}
}

// wait returns what the read brings, or what there is to say when it brings nothing in time.
// hasty means that the door's breaker was open when the read was boarded: then a second is enough, as the last value, if
// it may serve, is no better after fifteen. A read that is given up goes on, and shows when the source is back. again
// means that its caller should board another one: because the breaker opened before the read's turn came, and then he is as
// one who comes now; or because he had joined one that failed him, and has some of his second left.
//
// A second is enough also for who waits for room at a door that is full: either reads end soon, or it will take long.
func (r *Router) wait(ctx context.Context, q *question, f *read, how string, hasty bool) (_ secret.Fetched, failure error, again bool) {
	t := time.NewTimer(r.worth(q, f, hasty))
	defer t.Stop()
	select {
	case <-f.done:
	case <-t.C:
		if !hasty && !r.stuck(f) {
			select {
			case <-f.done:
			case <-ctx.Done():
			}
		}
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.leave(f) // after the value was copied
	if f.ended && f.err == nil {
		return copied(f.fetched, how), nil, false
	}
	err, now := f.err, r.options.Now()
	joined := f.before(q) && now.Before(q.asked.Add(patience)) && ctx.Err() == nil
	switch {
	case f.ended && f.turnedAway:
		q.asked = now
		return secret.Fetched{}, err, true
	case f.ended && joined && passing(err.Reason) && err.Pause == 0: // it says nothing of the source since he asked
		return secret.Fetched{}, err, true
	case f.ended:
	case errors.Is(ctx.Err(), context.Canceled):
		return secret.Fetched{}, q.left(), false
	case ctx.Err() != nil && !f.began.IsZero():
		err = secret.Fail(secret.Late, secret.ReasonTimeout,
			fmt.Sprintf("vault %s: the request's time was up before %s was read", f.key.vault, f.key.name))
	case !f.ended && joined: // it took too long for a door in trouble, be that over or not
		f.givenUp = true
		return secret.Fetched{}, tooLate(f), true
	case !q.door.since.IsZero():
		err = q.door.refusal(now)
	case f.began.IsZero() && r.full(q.door):
		err = q.door.busy()
	case f.began.IsZero():
		err = q.door.crowded()
	default: // it came back, and too late for this one
		err = tooLate(f)
	}
	fetched, failure := r.lastResort(q.door, f.key, err)
	return fetched, failure, false
}

// tooLate is the failure of a caller who waited for a read at a door in trouble as long as is worth it.
func tooLate(f *read) *secret.Error {
	return secret.Fail(secret.Late, secret.ReasonTimeout,
		fmt.Sprintf("vault %s was in trouble, and %s did not come within %s", f.key.vault, f.key.name, patience))
}

// worth is for how long to wait for a read before looking around: while a caller has patience, and where the door is in trouble
// and another began the read, until that counts as failed.
func (r *Router) worth(q *question, f *read, hasty bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := q.asked.Add(patience)
	if given := f.began.Add(trial); hasty && f.before(q) && given.Before(until) {
		until = given
	}
	return until.Sub(r.options.Now())
}

// before tells whether the read had begun when somebody asked.
func (f *read) before(q *question) bool { return !f.began.IsZero() && f.began.Before(q.asked) }

// stuck tells whether a read waits for room at its door.
func (r *Router) stuck(f *read) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.began.IsZero() && r.full(f.door)
}

// left is the failure of a caller who went away.
func (q *question) left() *secret.Error {
	return secret.Fail(secret.Late, secret.ReasonLate,
		fmt.Sprintf("vault %s: the caller went away before %s was read", q.key.vault, q.key.name))
}

// lastResort returns the last value where the door allows it and the failure says no more than that the source can't
// answer now; else the failure. Router.mu is held.
//
// Not while we can't prove who we are: a right that was taken away looks the same as a token endpoint that is down, and
// then the last value would go on serving somebody who has lost it.
func (r *Router) lastResort(d *door, k key, err *secret.Error) (secret.Fetched, error) {
	if passing(err.Reason) && !err.Identity && !d.unidentified {
		now := r.options.Now()
		if e := r.entries[k]; e != nil && now.Sub(e.began) < d.Stale && e.lives(now) {
			return r.serve(e, secret.HowStale), nil
		}
	}
	return secret.Fetched{}, err
}

// passing tells whether a failure says only that the source can't answer now.
// Failures are of three sorts: passing ones let the last value serve; conclusive ones remove it for good; those that
// are ours (busy, late, internal) do neither.
func passing(reason secret.Reason) bool {
	switch reason {
	case secret.ReasonTimeout, secret.ReasonNetwork, secret.ReasonThrottled, secret.ReasonUnavailable:
		return true
	}
	return false
}

// conclusive tells whether a failure says something of the secret or of our right to it, so that nothing older may ever
// serve again.
func conclusive(reason secret.Reason) bool {
	switch reason {
	case secret.ReasonBusy, secret.ReasonLate, secret.ReasonInternal:
		return false
	}
	return !passing(reason)
}
