package audit

import (
	"context"
	"errors"
	"time"
)

// waiter is a caller that waits for the disk. It is used again, so that waiting allocates nothing.
type waiter struct {
	done    chan error // has room for the one answer, so that nobody waits for a caller who gave up
	timer   *time.Timer
	key     releaseKey
	scratch []byte // what key is the hash of, then what the line says
}

// newWaiter gives a waiter. Its second begins once its line is with the disk's: before that it waits for others' lines.
func (r *Record) newWaiter() *waiter {
	w, ok := r.waiters.Get().(*waiter)
	if !ok {
		return &waiter{done: make(chan error, 1), timer: time.NewTimer(maxWait)}
	}
	return w
}

// wait returns what became of the waiter's line. One that gave up is not used again: its answer is yet to come.
//
// Where thousands ask at once, a second can pass between their lines and the end of a sync that took a millisecond. So what
// ends the wait is a disk that does not answer.
func (r *Record) wait(ctx context.Context, w *waiter) error {
	var latest time.Time
	for {
		select {
		case err := <-w.done:
			r.done(w)
			return err
		case <-w.timer.C:
		}
		if latest.IsZero() {
			latest = time.Now().Add(maxBusy - maxWait)
			if due, ok := ctx.Deadline(); ok && due.Before(latest) {
				latest = due
			}
		}
		select {
		case err := <-w.done: // both were ready
			r.done(w)
			return err
		default:
		}
		switch {
		case r.hanging():
			return r.unrecorded(errors.New("the disk did not answer within a second"))
		case !time.Now().Before(latest):
			return r.unrecorded(errors.New("more is to be recorded than there is time for"))
		}
		w.timer.Reset(min(beatEvery, time.Until(latest)))
	}
}

func (r *Record) hanging() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hangs()
}

// done lets the waiter be used again, unless a hostile event made it large.
func (r *Record) done(w *waiter) {
	w.timer.Stop()
	if cap(w.scratch) <= maxLine {
		r.waiters.Put(w)
	}
}

// answer tells the waiters, and returns the empty slice to be used again.
// No send can block: each has room for one, and each waiter is in one list only.
func answer(waiters []*waiter, err error) []*waiter {
	for _, w := range waiters {
		w.done <- err
	}
	clear(waiters)
	return waiters[:0]
}

// signal wakes whoever reads c, once for all signals that came meanwhile.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is under way already
	}
}
