package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/secret"
)

const (
	maxWait    = time.Second            // what is waited for the disk at least
	maxBusy    = 10 * time.Second       // what a caller waits for a disk that answers, if he does not say less
	maxPending = 8 << 20                // bytes encoded and not yet written; beyond it callers fail at once
	lazySync   = 500 * time.Millisecond // when what nobody waits for is synced; half of what the package promises
	healEvery  = time.Second
	headEvery  = time.Minute

	defaultMaxBytes = 64 << 20

	kindRotate = "rotate" // the first line of a file that goes on from a rotated one
)

// Options say where and how to keep the record. All but File may be left zero.
type Options struct {
	File     string           // its directory must exist; what belongs to the record lies beside it
	Instance string           // which replica this is, on every line
	MaxBytes int64            // a file that has reached it is rotated; 0 means 64 MiB
	Now      func() time.Time // the clock of the lines; nil means time.Now
	Log      zerolog.Logger   // torn tails, failures, recoveries, the chain's head each minute
}

// Record is the record, open for writing. It is a secret.Recorder.
//
// Callers encode into memory under mu, which is never held while the disk works; one goroutine writes what has come
// together, another syncs it. So a disk that hangs holds up those two and nobody else.
type Record struct {
	opts    Options
	journal *journal
	waiters sync.Pool

	wake, wakeSync     chan struct{}
	closing            chan struct{}
	writerDone, closed chan struct{}
	closeErr           error // set before closed is closed

	mu        sync.Mutex
	end       head   // the last line encoded
	planned   int64  // how long the file is once next is written
	next      *batch // encoded, not yet taken by the writer
	due       *due   // written, not yet taken by the syncer
	durable   head   // the last line synced
	released  releases
	strangers strangers
	lazy      *time.Timer
	lazyArmed bool
	pulse     pulse
	writing   call
	syncing   call
	fault     *secret.Error // why nothing can be recorded now
	ended     bool          // Close was called
}

// batch is what one turn of the writer takes.
// buf holds whole lines in the order of their numbers. Each caller is in one of written and synced, and is answered
// once.
type batch struct {
	buf     []byte
	cuts    []cut
	head    head      // of the last line in buf
	written []*waiter // those who wait for the write only
	synced  []*waiter // those who wait for the sync
	keys    []releaseKey
}

// cut is where in a batch a new file begins, and the number of that file's first line.
type cut struct {
	at    int
	first uint64
}

// due is what one turn of the syncer takes.
// dirty says that something was written since the last sync, also when nobody waits for it.
type due struct {
	dirty  bool
	head   head
	synced []*waiter
	keys   []releaseKey
}

// Open opens the record, verifies its tail and goes on with its chain. A torn tail is set aside in a file beside it. It
// fails, with the remedy, if the directory is missing, the file is not a regular one, can't be written or holds something
// else, or another process holds the lock.
func Open(o Options) (*Record, error) { return open(o, realDisk()) }

func open(o Options, d disk) (*Record, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	file, err := filepath.Abs(o.File)
	if o.File == "" || err != nil {
		return nil, errors.New(`the record has no file: name one with "record: {file: …}"`)
	}
	o.File = file
	j := &journal{path: o.File, holder: holder(o), disk: d, log: o.Log, now: o.Now}
	h, fresh, err := j.open()
	if err != nil {
		if j.lock != nil {
			err = errors.Join(err, j.lock.Close())
		}
		return nil, err
	}
	r := &Record{
		opts: o, journal: j,
		wake: make(chan struct{}, 1), wakeSync: make(chan struct{}, 1),
		closing: make(chan struct{}), writerDone: make(chan struct{}), closed: make(chan struct{}),
		next: &batch{}, due: &due{}, released: newReleases(), strangers: newStrangers(),
		lazy: time.NewTimer(time.Hour),
	}
	r.lazy.Stop()
	r.pulse.timer = time.AfterFunc(time.Hour, r.beat)
	r.pulse.timer.Stop()
	r.resume(h, fresh)
	go r.write()
	go r.sync()
	return r, nil
}

// holder tells the next process who has the lock.
func holder(o Options) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d on %s, instance %q, since %s", os.Getpid(), host, o.Instance, o.Now().UTC().Format(time.RFC3339))
}

// resume sets the chain to go on from h, which is on disk.
func (r *Record) resume(h head, fresh bool) {
	r.end, r.durable, r.planned = h, h, r.journal.size.Load()
	if fresh {
		r.rotateLine()
		signal(r.wake)
	}
}

// Record puts the event on record and returns once it is durable (see the package comment), or else an *secret.Error of
// kind Unavailable and ReasonUnrecorded: nothing may leave then, although the line may yet reach the disk. It does so a
// second after the disk stopped to answer, and at once while it does not answer or fails.
//
// While the disk answers, and many callers or a busy machine are all that takes time, it waits until the context's deadline.
// Whether the context has ended is not looked at: an event is no less due because its caller went away.
func (r *Record) Record(ctx context.Context, e secret.Event) error {
	if e.Kind == secret.EventUnproven {
		r.stranger(&e)
		return nil
	}
	w := r.newWaiter()
	release := e.Kind == secret.EventSecret && e.Outcome == secret.Released
	if release {
		w.key, w.scratch = keyOf(w.scratch, &e)
	}
	w.scratch = appendFacts(w.scratch[:0], r.opts.Instance, 0, &e)
	if err := r.enqueue(w, release); err != nil {
		r.done(w)
		return err
	}
	w.timer.Reset(maxWait)
	return r.wait(ctx, w)
}

// enqueue makes a line of the facts that w has, and leaves w with those who wait for it.
//
// Line and waiter go into the same batch under one lock: a waiter can't be answered for a batch without his line.
// Whether a release is a repeat is asked here, of what is synced already. One that is still on its way to the disk does
// not count.
func (r *Record) enqueue(w *waiter, release bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.unable(); err != nil {
		return err
	}
	r.line(w.scratch)
	switch {
	case release && r.released.has(w.key):
		r.next.written = append(r.next.written, w)
	case release:
		r.next.keys = append(r.next.keys, w.key)
		fallthrough
	default:
		r.next.synced = append(r.next.synced, w)
	}
	signal(r.wake)
	return nil
}

// line makes the chain's next line of an event's facts; mu is held. A file that has reached its size ends before it.
func (r *Record) line(facts []byte) {
	if r.planned >= r.opts.MaxBytes {
		r.next.cuts = append(r.next.cuts, cut{len(r.next.buf), r.end.seq + 1})
		r.planned = 0
		r.rotateLine()
	}
	r.encode(facts)
}

// rotateLine opens a further file. With it Verify can tell a file whose predecessors were moved away from one whose first
// lines were removed.
func (r *Record) rotateLine() {
	r.encode(r.factsOf(&secret.Event{Kind: kindRotate, Outcome: secret.Started, Detail: "goes on from the file before"}, 0))
}

// factsOf are those of an event that nobody waits for.
func (r *Record) factsOf(e *secret.Event, count uint64) []byte {
	return appendFacts(nil, r.opts.Instance, count, e)
}

// encode appends the line to the next batch and moves the chain's end on; mu is held, or encoding would leave gaps.
func (r *Record) encode(facts []byte) {
	b := r.next
	before := len(b.buf)
	b.buf = appendLine(b.buf, &r.end, r.opts.Now(), facts)
	b.head = r.end
	r.planned += int64(len(b.buf) - before)
}

// unable says why nothing can be recorded now; mu is held.
//
// A disk that hangs tells nothing by itself, so how long its call takes is looked at. Callers then fail at once rather than
// after a second each.
func (r *Record) unable() *secret.Error {
	switch {
	case r.ended:
		return r.unrecorded(errors.New("it is closed"))
	case r.fault != nil:
		return r.fault
	case r.hangs():
		return r.unrecorded(errors.New("the disk does not answer"))
	case len(r.next.buf) >= maxPending:
		return r.unrecorded(errors.New("the disk is too slow for what comes in"))
	}
	return nil
}

// unrecorded is the one error that a Recorder gives: "no record, no secret" rests on it.
func (r *Record) unrecorded(err error) *secret.Error {
	return secret.Fail(secret.Unavailable, secret.ReasonUnrecorded, fmt.Sprintf("the record %s can't be written: %v", r.opts.File, err))
}

// Healthy returns nil while the record can be written, else why not.
// It is what /readyz asks: a replica that can't record can't release anything.
func (r *Record) Healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.unable(); err != nil {
		return err
	}
	return nil
}

// Head returns the number and hash of the last line that is synced: 0 and "" for an empty record.
// An auditor compares it with the file's last line: a cut tail shows in no other way.
func (r *Record) Head() (seq uint64, hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durable.seq, string(r.durable.text())
}

// Close writes the counts of unproven requests, syncs, logs the chain's head and gives the lock back. From its call on
// nothing more is recorded. It returns when that is done or ctx ends, whichever is first; a disk that hangs can't be
// told to stop, so the rest then happens when it answers.
func (r *Record) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.closing)
	}
	r.mu.Unlock()
	select {
	case <-r.closed:
		return r.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close the record %s: the disk does not answer: %w", r.opts.File, ctx.Err())
	}
}
