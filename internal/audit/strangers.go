package audit

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Bounds of what requests that nobody proved can cost. They need no key, so whoever reaches the port can send them from
// as many addresses as an IPv6 network has.
const (
	maxStrangers   = 1024             // (reason, address) pairs told apart
	countEvery     = 10 * time.Second // one line for each pair at most
	maxFirsts      = 32               // lines at once for new pairs, in one countEvery
	maxCounts      = 32               // lines with counts, in one countEvery: the largest; the rest are added up
	maxBudget      = 512              // lines in a burst
	refill         = 2                // and each countEvery after it: some six megabytes a day, however long it lasts
	maxRemote      = 64
	othersRemote   = "others"
	firstLineAlone = 0 // the count of a pair that has its line and sent nothing since
)

type stranger struct {
	reason secret.Reason
	remote string
}

// strangers counts unproven requests since the last line about the same reason and address.
// A pair in counts has its line already, or is to get one with its count. Record.mu guards it.
type strangers struct {
	counts map[stranger]uint64
	firsts int
	budget int // lines that may still be written
}

func newStrangers() strangers { return strangers{counts: map[stranger]uint64{}, budget: maxBudget} }

// network is what an address stands for: in IPv6 everybody has a whole /64 of them.
func network(remote string) string {
	address, err := netip.ParseAddr(remote)
	if err != nil || address.Unmap().Is4() {
		remote, _ = cutAt(remote, maxRemote)
		return remote
	}
	prefix, _ := address.Prefix(64) // 64 bits are in range
	return prefix.String()
}

// stranger puts an unproven request on record: in a line if it is the first of its kind, else in the next count.
// It never waits for the disk: else whoever sends unproven requests could slow releases.
func (r *Record) stranger(e *secret.Event) {
	s := stranger{e.Reason, network(e.Caller.Remote)}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.strangers
	_, known := t.counts[s]
	switch {
	case !known && len(t.counts) >= maxStrangers:
		t.counts[stranger{e.Reason, othersRemote}]++
	case known || t.firsts >= maxFirsts || t.budget <= 0 || r.unable() != nil:
		t.counts[s]++
	default:
		t.counts[s] = firstLineAlone
		t.firsts++
		t.budget--
		r.line(r.factsOf(e, 0))
		signal(r.wake)
	}
}

// countStrangers writes a line with the count for each pair that was heard of since the last time, the largest first,
// and forgets the others. While the record can't be written, the counts go on growing.
func (r *Record) countStrangers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil || r.hangs() {
		return
	}
	t := &r.strangers
	t.firsts, t.budget = 0, min(maxBudget, t.budget+refill)
	heard := t.heard()
	for i, s := range heard {
		switch {
		case s.remote == othersRemote:
		case i < maxCounts && t.budget > refill: // the rest is for the others
			r.countLine(s)
		default:
			t.counts[stranger{s.reason, othersRemote}] += t.counts[s]
			delete(t.counts, s)
		}
	}
	for s, n := range t.counts {
		if s.remote == othersRemote && n > 0 && t.budget > 0 {
			r.countLine(s)
		}
	}
	signal(r.wake)
}

// heard drops the pairs that were silent and returns the rest, loudest first.
// A silent pair makes room for a new one, which then gets a line of its own again, if there is budget.
func (t *strangers) heard() []stranger {
	heard := make([]stranger, 0, len(t.counts))
	for s, n := range t.counts {
		if n == firstLineAlone {
			delete(t.counts, s)
			continue
		}
		heard = append(heard, s)
	}
	slices.SortFunc(heard, func(a, b stranger) int {
		return cmp.Or(cmp.Compare(t.counts[b], t.counts[a]), cmp.Compare(a.remote, b.remote), cmp.Compare(a.reason, b.reason))
	})
	return heard
}

// countLine writes the count since the last line about the pair, and starts over; mu is held.
func (r *Record) countLine(s stranger) {
	e := secret.Event{Kind: secret.EventUnproven, Outcome: secret.Refused, Reason: s.reason, Caller: secret.Caller{Remote: s.remote}}
	r.line(r.factsOf(&e, r.strangers.counts[s]))
	r.strangers.budget--
	r.strangers.counts[s] = firstLineAlone
}
