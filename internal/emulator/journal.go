package emulator

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// journalLimit is how many requests are remembered; older ones are forgotten.
const journalLimit = 1 << 16

// Seen is one request that reached the emulator, in the order of arrival. It never has a token, a query, or a body.
type Seen struct {
	Time   time.Time // of arrival, by the emulator's clock
	Host   string    // lower case, without a port
	Method string
	Path   string // cut at 512 bytes
	Status int    // 0 while the request is unanswered, and for ever when the connection broke
	Token  bool   // it bore an Authorization header
	Client string // the client ID it was proven to come from, or that it claimed before Entra; empty otherwise
}

// journal is a ring of the latest requests.
//
// Request n is at n % journalLimit. changed is nil while nobody waits; it is closed, and forgotten, at the next
// arrival.
type journal struct {
	mu      sync.Mutex
	ring    []Seen
	next    uint64 // the number of the next request
	since   uint64 // the first that was not forgotten on demand
	changed chan struct{}
}

// arrive notes a request before it is answered, so that one that hangs is seen, and returns its number for finish.
func (j *journal) arrive(at time.Time, host string, r *http.Request) uint64 {
	entry := Seen{Time: at, Host: host, Method: r.Method, Path: cut(r.URL.Path), Token: len(r.Header["Authorization"]) > 0}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < journalLimit {
		j.ring = append(j.ring, entry)
	} else {
		j.ring[j.next%journalLimit] = entry
	}
	j.next++
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	return j.next - 1
}

// finish adds what was answered. A number that was overwritten by a later request is left alone.
func (j *journal) finish(number uint64, out *response) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next-number > journalLimit {
		return // overwritten meanwhile
	}
	entry := &j.ring[number%journalLimit]
	entry.Status, entry.Client = out.status, cut(out.client)
}

// cut bounds what a request can make the journal remember.
func cut(s string) string { return strings.Clone(s[:min(len(s), 512)]) }

// each calls f for every remembered request, oldest first. The caller holds the lock.
func (j *journal) each(f func(Seen)) {
	first := j.since
	if j.next > journalLimit {
		first = max(first, j.next-journalLimit)
	}
	for n := first; n < j.next; n++ {
		f(j.ring[n%journalLimit])
	}
}

func (j *journal) count(host, prefix string) int {
	n := 0
	j.each(func(s Seen) {
		if s.matches(host, prefix) {
			n++
		}
	})
	return n
}

func (s Seen) matches(host, prefix string) bool {
	return (host == "" || strings.EqualFold(s.Host, host)) && hasPrefixFold(s.Path, prefix)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Requests are those that came since the start or the last Forget, oldest first, 65536 at most.
func (e *Emulator) Requests() []Seen {
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	var all []Seen
	e.journal.each(func(s Seen) { all = append(all, s) })
	return all
}

// Count is how many of [Emulator.Requests] went to the host (any, when empty) and to a path with the prefix. Both
// compare without case.
func (e *Emulator) Count(host, prefix string) int {
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	return e.journal.count(host, prefix)
}

// TokenRequests is how many of [Emulator.Requests] asked Entra for a token of the client ID, whatever the answer;
// of any client when it is empty. Tokens from the metadata service do not count.
func (e *Emulator) TokenRequests(clientID string) int {
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	n := 0
	e.journal.each(func(s Seen) {
		if strings.HasSuffix(s.Path, tokenPath) && (clientID == "" || s.Client == clientID) {
			n++
		}
	})
	return n
}

// Forget empties the list of requests, so that what follows can be counted by itself.
func (e *Emulator) Forget() {
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	e.journal.since = e.journal.next
}

// Await blocks until Count(host, prefix) is at least n, so that a test knows that its requests are under way. It
// returns the context's error when that ends first.
func (e *Emulator) Await(ctx context.Context, n int, host, prefix string) error {
	for {
		e.journal.mu.Lock()
		enough := e.journal.count(host, prefix) >= n
		if !enough && e.journal.changed == nil {
			e.journal.changed = make(chan struct{})
		}
		changed := e.journal.changed
		e.journal.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
