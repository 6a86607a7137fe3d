package provider

import (
	"container/list"
	"context"
	"fmt"
	"strings"
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
	InFlight int              // reads at once for each door, 64, and a few tries of one that is in trouble; each has its own, so that one that hangs starves no other
	Reads    int              // at once through all doors, 0 for any number; a door has no more of them than are left for others
	Timeout  time.Duration    // of one read, 15 s: less than the 20 s in which a runner is answered
	Entries  int              // values kept, 10,000
	Bytes    int              // of values kept, 64 MiB
	Now      func() time.Time // time.Now

	// Burst is how many reads of one host begin at will within any ten seconds, 3,000, and Rate how many a second beyond those,
	// 60: 3,600 in all, of the 4,000 that Key Vault bears in ten seconds for each vault and region. Other replicas and clients
	// have a part in those; what is too much then, Key Vault says, and the breaker heeds it.
	Burst, Rate int
	Queue       int // places of reads that wait for their turn at one host, 4,000: about as many as have it within their time
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
	queues  []*queue
	ctx     context.Context // ends with Close; reads hang on it and not on who asked first
	cancel  context.CancelFunc
	reading sync.WaitGroup

	mu      sync.Mutex // guards everything below, and what the comments of door, read and entry say
	closed  bool
	active  map[key]*active
	entries map[key]*entry
	recent  *list.List // of *entry, the last used first
	reads   int        // under way through all doors
	scarce  bool       // a read did not begin since others took too many
	bytes   int
	sweeper *time.Timer
}

type door struct {
	Door
	alias string
	queue *queue
	named map[string]*door // of one name each, instead of this one

	// guarded by Router.mu
	breaker
	hedging
	reads        int  // under way
	queued       int  // waiting for their turn
	unidentified bool // the last read to end failed because we could not prove who we are
}

// key tells values apart. The vault is the alias: two aliases of one vault may be opened by two identities.
// version is empty for the current one. subject is part of it because two subjects may have different rights. build names
// that of the request where the door is PerBuild, else it is empty; it is text since each lookup hashes all of a key.
type key struct{ vault, name, version, subject, build string }

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

// text names the build, and no other.
func (b *build) text() string { return fmt.Sprintf("%q %q %q %d", b.pool, b.uid, b.slug, b.number) }

// NewRouter makes a Router over doors, by alias. A door of the name "alias/name" beside that of the alias leads to that one
// secret instead of it: where what an alias gives comes from several sources, the trouble of one is not that of another.
// Close must be called when no request needs it any more.
func NewRouter(doors map[string]Door, o Options) *Router {
	o.InFlight = defaulted(o.InFlight, 64)
	o.Timeout = defaulted(o.Timeout, 15*time.Second)
	o.Entries = defaulted(o.Entries, 10_000)
	o.Bytes = defaulted(o.Bytes, 64<<20)
	o.Burst = defaulted(o.Burst, 3000)
	o.Rate = defaulted(o.Rate, 60)
	o.Queue = defaulted(o.Queue, 4000)
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
			r.queues = append(r.queues, q)
		}
		if d.Host != "" {
			hosts[d.Host] = q
		}
		r.doors[alias] = &door{Door: d, alias: alias, queue: q, named: map[string]*door{}}
	}
	for full, d := range r.doors {
		if alias, name, ok := strings.Cut(full, "/"); ok && r.doors[alias] != nil {
			r.doors[alias].named[name] = d
		}
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
// clears them. Failures are *secret.Error: the source's own, or its last one while it is left alone; Busy when reads are
// under way or wait for their turn in such numbers that his does not come; Late when ctx ends first.
//
// The way: what was read for this very build within the last minute; else a read under way that is young enough; else a
// read of one's own; and when that fails in passing, the last value, for as long as the door's Stale says.
func (r *Router) Fetch(ctx context.Context, req secret.Request, grant secret.Grant) (secret.Fetched, error) {
	d := r.doors[grant.Ref.Vault]
	if d == nil {
		return secret.Fetched{}, secret.Fail(secret.Internal, secret.ReasonInternal,
			fmt.Sprintf("no vault has the alias %q, and yet %s was granted", grant.Ref.Vault, grant.Binding))
	}
	if named := d.named[grant.Ref.Name]; named != nil {
		d = named
	}
	k := key{vault: grant.Ref.Vault, name: grant.Ref.Name, version: grant.Ref.Version, subject: d.Source.Subject(req)}
	b := buildOf(&req)
	if d.PerBuild {
		k.build = b.text()
	}
	now := r.options.Now()
	// Most requests end here, so this needs nothing of what the rest allocates.
	r.mu.Lock()
	if e := r.entries[k]; e != nil && e.serves(b, now) {
		defer r.mu.Unlock()
		return r.serve(e, secret.HowBuild), nil
	}
	r.mu.Unlock()
	return r.fetch(ctx, &question{d, k, req, grant.Ref, now})
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
