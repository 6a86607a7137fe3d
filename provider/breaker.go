package provider

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Bounds of a breaker. They are no options: what is right for one vault is right for all.
const (
	tolerance  = 5                // so many failures in a row open it
	patience   = time.Second      // how long a caller waits in all, while it is open
	promising  = patience * 3 / 4 // he waits for a try that is due within this, since it needs some of his patience too
	firstPause = time.Second      // between the begin of a failure and the next try; doubled with each that fails
	longPause  = 30 * time.Second // the longest, also of those that a source asks for
)

// breaker keeps callers from waiting for a source that can't answer, and finds out when it can again. It is guarded by
// Router.mu; its zero value is closed.
//
// Closed, every read goes to the source. Open, none does until a pause is over; then it is half-open, and one read is the
// probe. An answer closes it, whoever had asked; a probe without one within a second, or with another failure, opens it
// for twice as long. A probe that is given up goes on, and what it brings late still counts.
//
// What counts is the source's own trouble. A read that ran out of time has tried three times and costs whoever waits
// for the next one as much, so a single one opens. A source that says "too many requests" lives, and answers others; it
// is left alone only if it asks for that. A refusal is an answer.
type breaker struct {
	since    time.Time     // when it opened; zero: it is closed
	failures int           // in a row
	failure  *secret.Error // the last of them
	pause    time.Duration // before the next try
	retry    time.Time     // when that is
	probe    *read         // the try under way
	answered time.Time     // when the newest read began that was answered, well or not
	news     chan struct{} // closed when a probe has ended; nil if nobody waits for that
}

// admit tells whether a read may begin now, or else when to ask again; the zero time: when there is news.
// A probe that has taken a second counts as failed.
func (b *breaker) admit(now time.Time) (ok bool, again time.Time) {
	if b.since.IsZero() {
		return true, now
	}
	if p := b.probe; p != nil {
		if p.began.IsZero() || now.Sub(p.began) < patience {
			return false, time.Time{}
		}
		b.reopen(p.began)
	}
	return !now.Before(b.retry), b.retry
}

// learn takes from the end of a read how the source does. began is when the source was asked.
//
// For example: read A began, then read B. B is answered, then A times out. The source does not hang, since it answered
// somebody who asked later; had A timed out first and B after it, it would.
func (b *breaker) learn(f *read, began time.Time, err *secret.Error, now time.Time) {
	if err == nil || conclusive(err.Reason) {
		if began.After(b.answered) {
			b.answered = began
		}
		b.close()
		return
	}
	weight := weigh(err)
	if weight > 0 && !began.Before(b.answered) {
		b.failures += weight
		b.failure = err
	}
	switch {
	case b.probe == f:
		b.reopen(began)
	case b.since.IsZero() && b.failures >= tolerance:
		b.since, b.pause = now, firstPause
		b.retry = began.Add(jittered(b.pause)) // for a read that ran out of time that is over
	default:
		return
	}
	if asked := now.Add(min(err.Pause, longPause)); asked.After(b.retry) {
		b.retry = asked
	}
}

// weigh tells how much of the tolerance a failure takes.
func weigh(err *secret.Error) int {
	switch err.Reason {
	case secret.ReasonTimeout, secret.ReasonLate:
		return tolerance
	case secret.ReasonNetwork, secret.ReasonUnavailable:
		return 1
	case secret.ReasonThrottled:
		if err.Pause > 0 {
			return 1
		}
	}
	return 0
}

// jittered spreads tries, so that replicas don't make theirs at once: between a half of d and d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// close lets every read pass.
func (b *breaker) close() {
	b.failures, b.failure = 0, nil
	b.since, b.retry, b.probe = time.Time{}, time.Time{}, nil
	b.tell()
}

// reopen ends a probe without an answer that began then. Pauses count from there, as they are between tries.
func (b *breaker) reopen(began time.Time) {
	b.pause = min(2*b.pause, longPause)
	b.retry = began.Add(jittered(b.pause))
	b.probe = nil
	b.tell()
}

// abandon takes back a probe that was never begun. Whoever comes next may try.
func (b *breaker) abandon(f *read) {
	if b.probe == f {
		b.probe = nil
		b.tell()
	}
}

// tell wakes those who wait for a probe.
func (b *breaker) tell() {
	if b.news != nil {
		close(b.news)
		b.news = nil
	}
}

// listen returns what is closed when there is news.
func (b *breaker) listen() <-chan struct{} {
	if b.news == nil {
		b.news = make(chan struct{})
	}
	return b.news
}

// refusal is what a caller is told whose read may not begin: the last failure, since when, and until when.
// It keeps that failure's kind and reason, so that the last value serves or does not as it would after the failure itself.
func (d *door) refusal(now time.Time) *secret.Error {
	again := "now"
	if now.Before(d.retry) {
		again = "at " + d.retry.UTC().Format(time.RFC3339)
	}
	e := *d.failure
	e.Detail = fmt.Sprintf("vault %s has not answered since %s and is left alone; it is tried again %s (it said last: %s)",
		d.alias, d.since.UTC().Format(time.RFC3339), again, d.failure.Detail)
	return &e
}

// hold is how long a caller waits for a door, and what ends that early.
type hold struct {
	length time.Duration
	news   <-chan struct{}
}

// hope returns how long it is worth to hold on: for a probe as long as the caller has patience, for the next try
// if it is due so soon that some patience is left for its answer. Router.mu is held.
//
// So an outage that is over within a second costs nobody his secret, and in a longer one nobody waits for more than that.
func (r *Router) hope(q *question, now time.Time) hold {
	ok, again := q.door.admit(now)
	switch left := q.asked.Add(patience).Sub(now); {
	case ok || r.closed || q.door.reads >= r.options.InFlight:
		return hold{}
	case again.IsZero():
		return hold{left, q.door.listen()}
	case again.Sub(q.asked) <= promising:
		return hold{again.Sub(now), q.door.listen()}
	}
	return hold{}
}

// wait returns false if ctx ended.
func (h hold) wait(ctx context.Context) bool {
	t := time.NewTimer(h.length)
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.news:
	case <-ctx.Done():
		return false
	}
	return true
}
