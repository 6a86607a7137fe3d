package provider

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Source reads secrets of one vault.
//
// Subject names whom the source would be to Entra for this request; it must be cheap, and equal subjects must see equal
// secrets. Get reads the whole secret (Ref.Key is not its business) and returns within ctx's deadline whatever happens
// upstream: an *secret.Error on failure, else a value that is not empty and that the Router then owns. Both are safe for
// concurrent use.
type Source interface {
	Subject(secret.Request) string
	Get(context.Context, secret.Request, secret.Ref) (secret.Fetched, error)
}

// Door is a vault's alias as the configuration describes it.
type Door struct {
	Source Source
	Stale  time.Duration // how old the last value may be that serves while the source can't answer; zero: never

	// PerBuild says that each build gets a value of its own, such as a token with the build in it: no other build joins its
	// read, is served its value or has it replaced. Stale does not apply.
	PerBuild bool

	// Host is who answers for the vault. Doors of one host share its limit; an empty one is shared with nobody.
	Host string
}

// Options set the Router's bounds. A zero field takes the default in its comment.
type Options struct {
	InFlight int              // reads at once for each door, 64; each door has its own, so that one that hangs starves no other
	Timeout  time.Duration    // of one read, 15 s: less than the 20 s in which a runner is answered
	Entries  int              // values kept, 10,000
	Bytes    int              // of values kept, 64 MiB
	Now      func() time.Time // time.Now

	// Rate is how many reads of one host begin a second, 150, and twice as many at once. Key Vault bears 4,000 in ten
	// seconds for each vault and region, an older text says 2,000, and other replicas and clients have a part in them.
	Rate  int
	Queue int // places of reads that wait for their turn at one host, 2,500: as many as have it within their time
}

// The times of the promises; they are no options because the promises aren't.
const (
	buildWindow = time.Minute // a value serves its build for so long after its read began
	joinWindow  = time.Second // a caller joins a read that began less than this ago
	sweepEvery  = 30 * time.Second
)

// Router is a secret.Fetcher over the doors of one configuration. It is safe for concurrent use.
//
// mu is never held while a source works. What a caller gets is always a copy of its own.
type Router struct {
	options Options
	doors   map[string]*door
	ctx     context.Context // ends with Close; reads hang on it and not on who asked first
	cancel  context.CancelFunc
	reading sync.WaitGroup

	mu      sync.Mutex // guards everything below, and what the comments of door, read and entry say
	closed  bool
	active  map[key]*active
	entries map[key]*entry
	recent  *list.List // of *entry, the last used first
	bytes   int
	sweeper *time.Timer
}

type door struct {
	Door
	alias string
	queue *queue

	// guarded by Router.mu
	breaker
	hedging
	reads        int  // under way
	queued       int  // waiting for their turn
	unidentified bool // the last read to end failed because we could not prove who we are
}

// key tells values apart. The vault is the alias: two aliases of one vault may be opened by two identities.
// version is empty for the current one. subject is part of it because two subjects may have different rights. build is
// that of the request where the door is PerBuild, else empty.
type key struct {
	vault, name, version, subject string
	build                         build
}

// build is whom a value was read for.
// A number counts in its repository only, and a repository only among the runners of
// one pool: their key is all that proves it.
type build struct {
	pool, uid, slug string
	number          int64
}

func buildOf(req *secret.Request) build {
	return build{req.Pool, req.Repo.UID, req.Repo.Slug, req.Build.Number}
}

// NewRouter makes a Router over doors, by alias. Close must be called when no request needs it any more.
func NewRouter(doors map[string]Door, o Options) *Router {
	o.InFlight = defaulted(o.InFlight, 64)
	o.Timeout = defaulted(o.Timeout, 15*time.Second)
	o.Entries = defaulted(o.Entries, 10_000)
	o.Bytes = defaulted(o.Bytes, 64<<20)
	o.Rate = defaulted(o.Rate, 150)
	o.Queue = defaulted(o.Queue, 2500)
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Router{
		options: o,
		doors:   make(map[string]*door, len(doors)),
		active:  map[key]*active{},
		entries: map[key]*entry{},
		recent:  list.New(),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	hosts := map[string]*queue{}
	for alias, d := range doors {
		if d.PerBuild {
			d.Stale = 0
		}
		q := hosts[d.Host]
		if q == nil {
			q = newQueue(&r.options)
		}
		if d.Host != "" {
			hosts[d.Host] = q
		}
		r.doors[alias] = &door{Door: d, alias: alias, queue: q}
	}
	return r
}

// defaulted gives otherwise for what is not set; no bound can be zero or less.
func defaulted[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Fetch brings the whole secret that the grant names; How says where it came from. The caller owns the returned bytes and
// clears them. Failures are *secret.Error: the source's own, or its last one while it is left alone; Busy when too many
// reads are under way or wait for their turn; Late when ctx ends first.
//
// The way: what was read for this very build within the last minute; else a read under way that is young enough; else a
// read of one's own; and when that fails in passing, the last value, for as long as the door's Stale says.
func (r *Router) Fetch(ctx context.Context, req secret.Request, grant secret.Grant) (secret.Fetched, error) {
	d := r.doors[grant.Ref.Vault]
	if d == nil {
		return secret.Fetched{}, secret.Fail(secret.Internal, secret.ReasonInternal,
			fmt.Sprintf("no vault has the alias %q, and yet %s was granted", grant.Ref.Vault, grant.Binding))
	}
	k := key{vault: grant.Ref.Vault, name: grant.Ref.Name, version: grant.Ref.Version, subject: d.Source.Subject(req)}
	if d.PerBuild {
		k.build = buildOf(&req)
	}
	now := r.options.Now()
	if fetched, ok := r.remembered(k, buildOf(&req), now); ok {
		return fetched, nil
	}
	return r.fetch(ctx, &question{d, k, req, grant.Ref, now})
}

// remembered returns what was read for this build within the last minute.
// It is apart from the rest because most requests end here, and need nothing that the rest allocates.
func (r *Router) remembered(k key, b build, now time.Time) (secret.Fetched, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[k]; e != nil && e.serves(b, now) {
		return r.serve(e, secret.HowBuild), true
	}
	return secret.Fetched{}, false
}

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
		}
		f, how, failure := r.board(q, now)
		if failure == nil {
			hasty := !q.door.since.IsZero()
			r.mu.Unlock()
			fetched, err, again := r.wait(ctx, q, f, how, hasty)
			if again {
				q.asked = r.options.Now()
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
// means that the breaker opened before the read's turn came: then its caller is as one who comes now.
func (r *Router) wait(ctx context.Context, q *question, f *read, how string, hasty bool) (_ secret.Fetched, failure error, again bool) {
	var enough <-chan time.Time
	if hasty {
		t := time.NewTimer(q.asked.Add(patience).Sub(r.options.Now()))
		defer t.Stop()
		enough = t.C
	}
	select {
	case <-f.done:
	case <-enough:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.leave(f) // after the value was copied
	if f.ended && f.err == nil {
		return copied(f.fetched, how), nil, false
	}
	err := f.err
	switch {
	case f.ended && f.turnedAway:
		return secret.Fetched{}, err, true
	case f.ended:
	case errors.Is(ctx.Err(), context.Canceled):
		return secret.Fetched{}, q.left(), false
	case f.began.IsZero() && !q.door.since.IsZero():
		err = q.door.refusal(r.options.Now())
	case f.began.IsZero():
		err = q.door.crowded()
	case ctx.Err() != nil:
		err = secret.Fail(secret.Late, secret.ReasonTimeout,
			fmt.Sprintf("vault %s: the request's time was up before %s was read", f.key.vault, f.key.name))
	default:
		err = secret.Fail(secret.Late, secret.ReasonTimeout,
			fmt.Sprintf("vault %s was in trouble, and %s did not come within %s", f.key.vault, f.key.name, patience))
	}
	fetched, failure := r.lastResort(q.door, f.key, err)
	return fetched, failure, false
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

// Close ends the reads under way, waits for them and clears every value. A Fetch after it fails.
// It waits for as long as sources take to notice; Source.Get promises to return when its context ends. Values that
// callers still hold are theirs.
func (r *Router) Close() {
	r.mu.Lock()
	r.closed = true
	for _, d := range r.doors {
		d.tell()              // who holds on for a probe
		r.serveQueue(d.queue) // which ends for who waits there
		if d.queue.timer != nil {
			d.queue.timer.Stop()
		}
	}
	r.mu.Unlock()
	r.cancel()
	r.reading.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		r.remove(e)
	}
	if r.sweeper != nil {
		r.sweeper.Stop()
	}
}
