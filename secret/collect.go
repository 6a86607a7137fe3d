package secret

import (
	"context"
	"sync"
)

// Item is one of the values that Collect releases, with the reference that it was asked for by.
type Item struct {
	Ref   Ref
	Value Value
}

// Collect releases whatever the request may have of the references, for a call that names none: Drone asks once for the
// credentials of all registries. Each value that is decided for goes on record by itself, as in Find; where there is none,
// one event says so, with the reason of the reference that came nearest.
//
// What can't be had at the moment is left out while something else can; an *Error is returned if nothing can, and none if
// nothing may, whether policy says so, Azure or the state of the secret: the list is empty then. A runner takes an error for
// the end of its search, and an empty list for "ask the next source". The caller owns the values and clears them after use.
func (s *Service) Collect(ctx context.Context, caller Caller, request Request, refs []Ref) ([]Item, error) {
	began := s.Now()
	var may []Request
	var nearest Decision
	for _, ref := range refs {
		request.Path, request.Name = ref.Vault, ref.Name
		d := s.decide(request)
		switch {
		case d.Allowed():
			may = append(may, request)
		case nearest.policy == nil || d.at > nearest.at:
			nearest = d
		}
	}
	if len(may) == 0 {
		event := Event{Kind: EventRegistry, Outcome: DeniedOutcome, Reason: nearest.Reason, Detail: nearest.Why(), Caller: caller,
			Request: nearest.request, Config: s.Config, DeniedBy: nearest.DeniedBy, Took: s.Now().Sub(began)}
		if nearest.Ref != (Ref{}) {
			event.Secret = nearest.Ref.String()
		}
		return nil, s.record(ctx, event)
	}
	return s.each(ctx, caller, may)
}

// decide asks the policy. One that panics has denied.
func (s *Service) decide(r Request) (d Decision) {
	defer func() {
		if recover() != nil {
			d = Decision{Reason: ReasonInternal, policy: s.Policy, request: r}
		}
	}()
	return s.Policy.Decide(r)
}

// each finds all of them side by side: one that hangs must not use up the others' time.
func (s *Service) each(ctx context.Context, caller Caller, requests []Request) (items []Item, err error) {
	values, errs := make([]Value, len(requests)), make([]error, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() { values[i], errs[i] = s.find(ctx, EventRegistry, caller, r) })
	}
	all.Wait()
	for i, r := range requests {
		if errs[i] == nil {
			items = append(items, Item{Ref{Vault: r.Path, Name: r.Name}, values[i]})
		} else if e := AsError(errs[i]); err == nil && e.Kind != Denied && e.Kind != NotFound {
			err = e
		}
	}
	if len(items) > 0 {
		err = nil
	}
	return items, err
}
