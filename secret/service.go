package secret

import (
	"context"
	"errors"
	"time"
)

// Service answers requests for secrets: decide, fetch, admit, record, release, in one straight line. It is immutable and
// safe for concurrent use; a reload makes a new one.
//
// Every field but Config and Reserve must be set.
type Service struct {
	Policy   *Policy
	Fetcher  Fetcher
	Recorder Recorder
	Config   string           // SHA-256 of the configuration in force, for the record
	Now      func() time.Time // the clock that validity is judged by
	Reserve  time.Duration    // kept back from ctx's deadline for the record, so that a slow source still leaves a trace
}

// Find releases the value that the request may have, or returns an *Error. Exactly one event goes on record first; if that
// fails nothing is released. The caller owns the Value and clears it after use.
//
// A panic at any station is caught, recorded as internal, and its value dropped: it may hold a secret.
//
// A caller who went away is no reason to skip the record: a value that was read is a fact.
func (s *Service) Find(ctx context.Context, caller Caller, request Request) (Value, error) {
	return s.find(ctx, EventSecret, caller, request)
}

func (s *Service) find(ctx context.Context, kind EventKind, caller Caller, request Request) (value Value, err error) {
	began := s.Now()
	event := Event{Kind: kind, Outcome: Failed, Caller: caller, Request: request, Config: s.Config}
	f, err := s.obtain(ctx, &event)
	if err != nil {
		e := AsError(err)
		event.Reason, event.Detail = e.Reason, e.Detail
		if e.Kind == Denied || e.Kind == NotFound {
			event.Outcome = DeniedOutcome
		}
		err = e
	} else {
		event.Outcome = Released
	}
	event.Took = s.Now().Sub(began)
	if failure := s.record(ctx, event); failure != nil {
		f.Value.Clear()
		return Value{}, failure
	}
	if err != nil {
		return Value{}, err
	}
	return f.Value, nil
}

// obtain decides, fetches and admits, noting in event what it learns.
func (s *Service) obtain(ctx context.Context, event *Event) (f Fetched, err error) {
	defer func() {
		if recover() != nil {
			f, err = Fetched{}, Fail(Internal, ReasonInternal, "a station panicked")
		}
	}()
	d := s.Policy.Decide(event.Request)
	if d.Ref != (Ref{}) {
		event.Secret = d.Ref.String()
	}
	event.DeniedBy = d.DeniedBy
	if d.Grant == nil {
		return Fetched{}, Fail(Denied, d.Reason, d.Why())
	}
	event.Binding = d.Grant.Binding
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-s.Reserve))
		defer cancel()
	}
	whole, err := s.Fetcher.Fetch(WithArrival(ctx, event.Caller.Arrived), event.Request, *d.Grant)
	if err != nil {
		return Fetched{}, lateness(err)
	}
	event.Version, event.Identity, event.How = whole.Version, whole.Identity, whole.How
	if whole.Form == FormToken {
		event.Expires = whole.Expires
	}
	f, err = s.Policy.Admit(*d.Grant, whole, s.Now())
	// A part was asked for, or nothing may leave: the whole is not needed any more.
	if err != nil || !f.Value.is(whole.Value) {
		whole.Value.Clear()
	}
	event.Detail = f.Note
	return f, err
}

// record puts the event on record, whatever became of the caller: the recorder bounds its own time.
// A panic there counts as "not recorded", so nothing leaves.
func (s *Service) record(ctx context.Context, event Event) (err error) {
	defer func() {
		if recover() != nil {
			err = Fail(Internal, ReasonInternal, "the recorder panicked")
		}
	}()
	if failure := s.Recorder.Record(Lasting(ctx), event); failure != nil {
		return AsError(failure)
	}
	return nil
}

// lateness names a bare context error, which a source may return when the time is up or the caller went away.
func lateness(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Fail(Late, ReasonLate, "no answer within the time")
	}
	return err
}
