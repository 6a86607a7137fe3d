package provider

import "time"

// State is what a door's breaker does.
type State string

// The states.
const (
	Closed   State = "closed"    // every read goes to the source
	Open     State = "open"      // the source does not answer, and is left alone
	HalfOpen State = "half-open" // one read tries whether it answers again
)

// DoorStatus is what /status shows of a door: counts, times and an operator's text, no secret.
type DoorStatus struct {
	State   State     `json:"state"`
	Since   time.Time `json:"since,omitzero"`    // when it ceased to be closed
	Retry   time.Time `json:"retry,omitzero"`    // when the source is tried again
	Problem string    `json:"problem,omitempty"` // the last failure, if no answer has come since
	Reads   int       `json:"reads"`             // under way
	Waiting int       `json:"waiting"`           // for their turn
	Hedged  uint64    `json:"hedged"`            // second reads where the first took long, since the start
}

// Doors tells how the doors do, by alias.
func (r *Router) Doors() map[string]DoorStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	all := make(map[string]DoorStatus, len(r.doors))
	for alias, d := range r.doors {
		d.expire(now) // a probe may have taken too long since anybody looked
		s := DoorStatus{State: Closed, Since: d.since, Retry: d.retry, Reads: d.reads, Waiting: d.queued, Hedged: d.hedged}
		switch {
		case d.since.IsZero():
		case d.probe != nil:
			s.State = HalfOpen
		default:
			s.State = Open
		}
		if d.failure != nil {
			s.Problem = d.failure.Error()
		}
		all[alias] = s
	}
	return all
}
