package provider

import (
	"slices"
	"time"
)

// Bounds of hedging: a second read of the same secret where the first takes longer than nearly all before it, since
// one slow server of a vault's many is then the likeliest cause, and the next answers at once.
const (
	hedgeShare = 0.05                  // how many of a door's reads may have a second one
	hedgeSaved = 5                     // how many may follow each other, where a hundred reads had none
	hedgeSeen  = 20                    // how many reads must have been answered well before
	hedgeLeast = 50 * time.Millisecond // what is never slow
)

// hedging is when a door's reads count as slow, and how many second ones it may still make. It is guarded by Router.mu.
type hedging struct {
	took   [100]time.Duration // how long the last reads took that were answered well, as a ring
	seen   int
	usual  time.Duration // longer than half of them; zero: not known yet
	slow   time.Duration // longer than 95 of 100
	saved  float64       // second reads that may be made
	hedged uint64        // that were made
}

// observe notes how long a read took until it was answered well, of its two attempts together: counted from the winner's
// begin, hedged reads would look fast, and ever more would count as slow.
func (h *hedging) observe(took time.Duration) {
	h.took[h.seen%len(h.took)] = took
	h.seen++
	if h.seen < hedgeSeen || h.seen%10 != 0 { // sorting at each would be waste
		return
	}
	sorted := h.took
	n := min(h.seen, len(sorted))
	slices.Sort(sorted[:n])
	h.usual = sorted[n/2]
	h.slow = max(hedgeLeast, sorted[(n*95+99)/100-1])
}

// save counts a read, which allows a twentieth of a second one.
func (h *hedging) save() { h.saved = min(h.saved+hedgeShare, hedgeSaved) }

// attempt asks the source. A read has one attempt, or two. Router.mu is held.
//
// It is detached from whoever asked first: a caller who goes away must not fail those who joined him.
func (r *Router) attempt(f *read, now time.Time) {
	f.attempts++
	f.door.reads++
	r.reads++
	r.reading.Go(func() {
		fetched, err := get(f.ctx, f.door.Source, f.req, f.ref)
		r.mu.Lock()
		defer r.mu.Unlock()
		f.attempts--
		f.door.reads--
		r.reads--
		r.finish(f, now, fetched, err)
		r.makeRoom(f.door)
	})
}

// hedge makes the second attempt of a read that takes long. It counts like any other, and whoever waits for his turn
// comes first; a vault that is in trouble is not asked twice.
func (r *Router) hedge(f *read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, now := f.door, r.options.Now()
	if r.closed || f.ended || f.waiting == 0 || !d.since.IsZero() ||
		r.full(d) || d.saved < 1 || !d.queue.pass(now) {
		return
	}
	d.saved--
	d.hedged++
	r.attempt(f, now)
}
