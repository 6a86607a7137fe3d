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
	tolerance  = 5                 // so many failures in a row open it
	patience   = time.Second       // how long a caller waits in all, while it is open
	promising  = patience / 10 * 9 // he waits for a try that is due within this, since it needs some of his patience too
	trial      = patience / 4 * 3  // after which a try counts as failed, while those who wait for it have some left
	firstPause = patience / 2      // between the begin of a try that fails and the next one
	ageShare   = 5                 // such a part of an outage's length so far, where that is more
	longPause  = 4 * time.Second   // and no more than this: a read now and then costs a vault nothing, and a build its secret
	longAsked  = 30 * time.Second  // the longest pause that a source gets by asking for it
)

// breaker keeps callers from waiting for a source that can't answer, and finds out when it can again. It is guarded by
// Router.mu; its zero value is closed.
//
// Closed, every read goes to the source. Open, none does until a pause is over; then it is half-open, and one read is the
// probe. An answer closes it, whoever had asked; a probe without one within three quarters of a second, or with another
// failure, opens it for another pause. A probe that is given up goes on, and what it brings late still counts.
//
// Pauses grow with the outage's age and not with the number of tries: within the first three seconds of trouble, whoever asks in the
// moment in which the source is back waits for the next try, however often it was tried before.
//
// Where all that failed is one secret, that secret may be the trouble: whoever asks for another one is the probe at once,
// even beside that secret's own, and only if his fails as well the source is left alone.
//
// What counts is the source's own trouble. A read that ran out of time has tried three times and costs whoever waits
// for the next one as much, so a single one opens. A source that says "too many requests" lives, and answers others; it
// is left alone only if it asks for that. A refusal is an answer.
type breaker struct {
	since    time.Time     // when it opened; zero: it is closed
	failures int           // in a row
	failure  *secret.Error // the last of them
	name     string        // whose they are
	several  bool          // more than that one's, or the source itself asked to be left alone
	retry    time.Time     // when the next try is
	probe    *read         // the try under way
	answered time.Time     // when the newest read began that was answered, well or not
	news     chan struct{} // closed when a probe has ended; nil if nobody waits for that
}

// admit tells whether a read of that name may begin now, or else when to ask again. For as long as a probe is under way,
// that is when it counts as failed; there may be news before.
func (b *breaker) admit(name string, now time.Time) (ok bool, again time.Time) {
	b.expire(now)
	suspect := b.several || b.name == name
	switch p := b.probe; {
	case b.since.IsZero():
		return true, now
	case p == nil:
		return !suspect || !now.Before(b.retry), b.retry
	case !suspect && p.key.name == b.name:
		return true, now
	default:
		return false, p.began.Add(trial)
	}
}

// expire gives up a probe that takes too long.
func (b *breaker) expire(now time.Time) {
	if p := b.probe; p != nil && now.Sub(p.began) >= trial {
		p.givenUp = true
		b.accuse(p)
		b.reopen(p.began, now)
	}
}

// accuse notes whose read failed.
func (b *breaker) accuse(f *read) {
	b.several = b.several || b.name != f.key.name
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
		if b.failures == 0 {
			b.name = f.key.name
		}
		b.failures += weight
		b.failure = err
		b.accuse(f)
	}
	switch {
	case b.probe == f:
		b.accuse(f)
		b.reopen(began, now)
	case b.since.IsZero() && b.failures >= tolerance:
		b.since = now
		b.reopen(began, now) // for a read that ran out of time the pause is over
	default:
		return
	}
	if asked := now.Add(min(err.Pause, longAsked)); err.Pause > 0 {
		b.several = true // it speaks of all
		if asked.After(b.retry) {
			b.retry = asked
		}
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
	b.failures, b.failure, b.name, b.several = 0, nil, "", false
	b.since, b.retry, b.probe = time.Time{}, time.Time{}, nil
	b.tell()
}

// reopen leaves the source alone after a try without an answer that began then. Pauses count from there, as they are
// between tries.
func (b *breaker) reopen(began, now time.Time) {
	b.retry = began.Add(jittered(min(max(now.Sub(b.since)/ageShare, firstPause), longPause)))
	b.probe = nil
	b.tell()
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
// So an outage of seconds costs nobody his secret who asks when it is over, and in a longer one nobody waits for more than
// a second.
func (r *Router) hope(q *question, now time.Time) hold {
	ok, again := q.door.admit(q.key.name, now)
	left := q.asked.Add(patience).Sub(now)
	switch {
	case ok || r.closed:
		return hold{}
	case q.door.probe != nil:
		return hold{min(left, again.Sub(now)), q.door.listen()}
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
