package provider

import (
	"container/list"
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// queue keeps the reads of one host below its limit, for all doors that lead there, and lets repositories take turns while
// there are more than that. It is guarded by Router.mu.
//
// A repository has one line, in the order of its asking; the first of each line goes, then the next of each. So whoever
// asks for ten thousand secrets at once costs every other repository the time of one read for each of its own. A read
// that several repositories wait for stands in all of their lines, and goes where its turn comes first.
type queue struct {
	pace   *pace
	room   int // places in all lines
	lines  map[repository]*line
	turns  *list.List // of *line, none of them empty, the next one first
	places int
	timer  *time.Timer // set while somebody waits
}

// repository is whose turn it is. The pool is part of it, as only its key proves the repository; and so is the alias, lest
// those who wait for room at one stand before those who ask at another.
type repository struct{ pool, uid, alias string }

type line struct {
	of    repository
	reads *list.List // of *read
	turn  *list.Element
}

func (q *question) repository() repository {
	return repository{q.req.Pool, q.req.Repo.UID, q.door.alias}
}

// place is where a read stands.
type place struct {
	line *line
	at   *list.Element
}

func newQueue(o *Options) *queue {
	return &queue{
		pace: newPace(o.Burst, o.Rate), room: o.Queue,
		lines: map[repository]*line{}, turns: list.New(),
	}
}

// pass has a read begin now, if it may and nobody waits for that.
func (q *queue) pass(now time.Time) bool { return q.places == 0 && q.pace.take(now) }

// join puts the read at the end of the repository's line, unless it stands there already. Where there is no room, the
// longest line loses its last place to a shorter one. displaced is the read that so lost its only place, else nil.
func (q *queue) join(f *read, of repository) (ok bool, displaced *read) {
	for _, p := range f.places {
		if p.line.of == of {
			return true, nil
		}
	}
	l := q.lines[of]
	own := 0
	if l != nil {
		own = l.reads.Len()
	}
	if q.places >= q.room {
		longest := q.longest(own)
		if longest == nil {
			return false, nil
		}
		last := longest.reads.Back().Value.(*read)
		q.give(last, longest)
		displaced = last
	}
	if l == nil {
		l = &line{of: of, reads: list.New()}
		l.turn = q.turns.PushBack(l)
		q.lines[of] = l
	}
	f.places = append(f.places, place{l, l.reads.PushBack(f)})
	q.places++
	if displaced != nil && len(displaced.places) > 0 { // it stands elsewhere, too
		displaced = nil
	}
	return true, displaced
}

// ahead is about how many reads have their turn before one that a repository adds now.
func (q *queue) ahead(of repository) int {
	own := 0
	if l := q.lines[of]; l != nil {
		own = l.reads.Len()
	}
	return min(q.places, (own+1)*len(q.lines))
}

// longest returns the line that must give a place to one that has so many, nil if that has its fair share.
// The share is compared first: a repository that floods the queue must not make us search it each time.
func (q *queue) longest(own int) *line {
	lines := len(q.lines)
	if own == 0 {
		lines++
	}
	if (own+1)*lines > q.room {
		return nil
	}
	var longest *line
	for _, l := range q.lines {
		if longest == nil || l.reads.Len() > longest.reads.Len() {
			longest = l
		}
	}
	if longest == nil || longest.reads.Len() <= own+1 {
		return nil
	}
	return longest
}

// give takes the read out of that line.
func (q *queue) give(f *read, l *line) {
	for i, p := range f.places {
		if p.line == l {
			q.vacate(p)
			f.places = append(f.places[:i], f.places[i+1:]...)
			return
		}
	}
}

// leave takes the read out of all lines.
func (q *queue) leave(f *read) {
	for _, p := range f.places {
		q.vacate(p)
	}
	f.places = nil
}

func (q *queue) vacate(p place) {
	p.line.reads.Remove(p.at)
	q.places--
	if p.line.reads.Len() == 0 {
		q.turns.Remove(p.line.turn)
		delete(q.lines, p.line.of)
	}
}

// next returns whose turn it is, nil if nobody waits who can be served. The read stays where it is. A line is passed over
// whose door is full: its turn comes when there is room.
func (r *Router) next(q *queue) (*read, *line) {
	for e := q.turns.Front(); e != nil; e = e.Next() {
		l := e.Value.(*line)
		if f := l.reads.Front().Value.(*read); r.closed || !r.full(f.door) || !f.door.since.IsZero() {
			return f, l
		}
	}
	return nil, nil
}

// full tells whether a door has as many reads under way as it may have. Probes are beyond that, as they are few.
//
// Where the reads of all doors are bounded, one may have as many as are left. So one that hangs takes half of them, two take a
// third each, and another always finds some.
func (r *Router) full(d *door) bool {
	if all := r.options.Reads; all > 0 && d.reads >= max(1, all-r.reads) {
		r.scarce = true
		return true
	}
	return d.reads >= r.options.InFlight
}

// makeRoom lets those begin that may have waited for the room of a read that has ended. Router.mu is held.
func (r *Router) makeRoom(d *door) {
	r.serveQueue(d.queue)
	if r.scarce {
		r.scarce = false // who still finds no room says so again
		for _, q := range r.queues {
			if q != d.queue {
				r.serveQueue(q)
			}
		}
	}
}

// hopeless tells whether a read that finds its door full won't have room while its caller has patience, by what reads of that
// door usually take. Then he hears so at once.
func (r *Router) hopeless(d *door, of repository) bool {
	return d.usual*time.Duration(d.queue.ahead(of)/r.options.InFlight+1) > patience
}

// took ends the turn of a line, whose first read was taken.
func (q *queue) took(f *read, l *line) {
	q.turns.MoveToBack(l.turn)
	q.leave(f)
}

// serveQueue begins reads of the queue for as long as they may, and comes again when the next one may.
// A read whose door can't take it any more is told so, and does not count. Router.mu is held.
func (r *Router) serveQueue(q *queue) {
	now := r.options.Now()
	for f, l := r.next(q); f != nil; f, l = r.next(q) {
		if failure := r.barred(f, now); failure != nil {
			q.took(f, l)
			f.turnedAway = !f.door.since.IsZero()
			r.refuse(f, failure)
			continue
		}
		if !q.pace.take(now) {
			if q.timer == nil {
				q.timer = time.AfterFunc(q.pace.wait(now), func() { r.wake(q) })
			}
			return
		}
		q.took(f, l)
		f.door.queued--
		r.begin(f, now)
	}
}

// wake is the timer's.
func (r *Router) wake(q *queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.timer = nil
	r.serveQueue(q)
}

// barred tells why a read whose turn has come may not begin, nil if it may.
func (r *Router) barred(f *read, now time.Time) *secret.Error {
	d := f.door
	switch {
	case r.closed:
		return errClosed()
	case !d.since.IsZero():
		return d.refusal(now)
	}
	return nil
}

// crowded is the failure of a caller whose read could not begin in time, or found no room.
func (d *door) crowded() *secret.Error {
	return secret.Fail(secret.Busy, secret.ReasonBusy,
		fmt.Sprintf("vault %s: more is asked of it than %d reads in ten seconds and %v a second beyond; %d wait for their turn", d.alias, d.queue.pace.burst, d.queue.pace.trickle.Limit(), d.queue.places))
}

func (d *door) busy() *secret.Error {
	return secret.Fail(secret.Busy, secret.ReasonBusy,
		fmt.Sprintf("vault %s: %d reads are under way, which is the limit", d.alias, d.reads))
}

func errClosed() *secret.Error {
	return secret.Fail(secret.Unavailable, secret.ReasonInternal, "the configuration that this request came under is closed")
}
