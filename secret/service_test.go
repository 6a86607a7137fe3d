package secret_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/secret"
)

// fetch and record are sources and records of one method each.
type fetch func(context.Context, secret.Request, secret.Grant) (secret.Fetched, error)

func (f fetch) Fetch(ctx context.Context, r secret.Request, g secret.Grant) (secret.Fetched, error) {
	return f(ctx, r, g)
}

type record func(context.Context, secret.Event) error

func (f record) Record(ctx context.Context, e secret.Event) error { return f(ctx, e) }

// desk is a service under test with everything that it was seen to do.
type desk struct {
	secret.Service
	events []secret.Event
	asked  []secret.Grant
	source secret.Fetched // what the source gives
	wrong  error          // or what it fails with
	failed error          // what the record fails with
}

func newDesk(t *testing.T) *desk {
	b := binding("b")
	b.Read = reads("shared/**", "shared/pinned@*")
	b.Names = names("lone", "shared/json/k")
	deny := secret.Deny{ID: "no-root", Scope: secret.Scope{Read: denyReads("*/root")}}
	d := &desk{source: good(nil)}
	d.Service = secret.Service{
		Policy: given(t, secret.Rules{Bindings: []secret.Binding{b}, Denies: []secret.Deny{deny}}).p,
		Config: "c0ffee", Now: func() time.Time { return noon },
		Fetcher: fetch(func(_ context.Context, _ secret.Request, g secret.Grant) (secret.Fetched, error) {
			d.asked = append(d.asked, g)
			return d.source, d.wrong
		}),
		Recorder: record(func(_ context.Context, e secret.Event) error {
			d.events = append(d.events, e)
			return d.failed
		}),
	}
	return d
}

var caller = secret.Caller{ID: "req-1", Remote: "192.0.2.1", Pool: "default", Key: "2026-11", Repeat: 2}

// find asks and checks what holds for every outcome: one event that says how it ended, a value or an error of ours, and the
// canary in the value only.
func (d *desk) find(t *testing.T, r secret.Request) (secret.Value, *secret.Error) {
	t.Helper()
	value, err := d.Find(context.Background(), caller, r)
	if len(d.events) != 1 {
		t.Fatalf("%d events on record, want exactly one", len(d.events))
	}
	e := d.events[0]
	if e.Kind != secret.EventSecret || e.Caller != caller || e.Config != "c0ffee" {
		t.Errorf("the event is %+v", e)
	}
	if diff := cmp.Diff(r, e.Request); diff != "" {
		t.Errorf("the event's request differs: %s", diff)
	}
	unseen(t, "the event", fmt.Sprintf("%+v", e))
	if err == nil {
		if e.Outcome != secret.Released || e.Reason != "" || value.Len() == 0 {
			t.Errorf("released %d bytes, but the event is %s %q", value.Len(), e.Outcome, e.Reason)
		}
		return value, nil
	}
	var ours *secret.Error
	if !errors.As(err, &ours) || value.Len() != 0 {
		t.Fatalf("the error is %T, with %d bytes released", err, value.Len())
	}
	unseen(t, "the error", fmt.Sprintf("%v %+v %#v %s", err, err, ours, ours.Detail))
	return value, ours
}

func TestFindReleasesWhatIsOnRecord(t *testing.T) {
	d := newDesk(t)
	value, err := d.find(t, ask(t, "acme/app push main"))
	if err != nil || string(value.Reveal()) != canary {
		t.Fatalf("%q, %v", value.Reveal(), err)
	}
	e := d.events[0]
	if e.Secret != "shared/db" || e.Binding != "b" || e.Version != "8f2c" || e.Identity != "pay" || e.How != secret.HowFetched || e.DeniedBy != "" {
		t.Errorf("the event is %+v", e)
	}
	if len(d.asked) != 1 || d.asked[0] != (secret.Grant{Ref: secret.Ref{Vault: "shared", Name: "db"}, Binding: "b"}) {
		t.Errorf("the source was asked for %+v", d.asked)
	}
}

func TestFindReleasesOneKeyAndClearsTheWhole(t *testing.T) {
	d := newDesk(t)
	d.source.Value = secret.NewValue([]byte(`{"k":"inner","other":"` + canary + `"}`))
	value, err := d.find(t, ask(t, "acme/app push main name=lone"))
	if err != nil || string(value.Reveal()) != "inner" || d.events[0].Secret != "shared/json/k" {
		t.Errorf("%q, %v, %+v", value.Reveal(), err, d.events[0])
	}
	if string(d.source.Value.Reveal()) != strings.Repeat("\x00", d.source.Value.Len()) {
		t.Error("the whole document is left in memory")
	}
}

func TestFindDenies(t *testing.T) {
	for request, want := range map[string]secret.Event{
		"acme/app push dev":                     {Reason: "ref", Secret: "shared/db"},
		"acme/app push main name=shared/root":   {Reason: "deny", Secret: "shared/root", DeniedBy: "no-root"},
		"acme/app push main name=nowhere/db":    {Reason: "name"},
		"acme/app push main path=.. name=x":     {Reason: "name"},
		"acme/app push main name=pinned":        {Reason: "name"},
		"acme/other push main name=shared/db@1": {Reason: "repo", Secret: "shared/db@1"},
	} {
		d := newDesk(t)
		_, err := d.find(t, ask(t, request))
		e := d.events[0]
		if err == nil || err.Kind != secret.Denied || err.Reason != want.Reason || len(d.asked) != 0 {
			t.Errorf("%s: %v, %d upstream calls; want denied for %s and none", request, err, len(d.asked), want.Reason)
		}
		if e.Outcome != secret.DeniedOutcome || e.Reason != want.Reason || e.Secret != want.Secret || e.DeniedBy != want.DeniedBy || e.Binding != "" {
			t.Errorf("%s: the event is %+v", request, e)
		}
	}
}

func TestFindRefusesWhatCameAndIsNoLongerGood(t *testing.T) {
	for reason, change := range map[secret.Reason]func(*secret.Fetched){
		"disabled": func(f *secret.Fetched) { f.Enabled = false },
		"expired":  func(f *secret.Fetched) { f.Expires = noon },
		"not-yet":  func(f *secret.Fetched) { f.NotBefore = noon.Add(1) },
		"key":      nil,
		"garbled":  func(f *secret.Fetched) { f.Value = secret.Value{} },
	} {
		d := newDesk(t)
		d.source = good(change)
		request := "acme/app push main"
		if reason == "key" {
			request += " name=lone"
		}
		_, err := d.find(t, ask(t, request))
		e, outcome := d.events[0], secret.DeniedOutcome
		if reason == "garbled" {
			outcome = secret.Failed
		}
		if err == nil || err.Reason != reason || e.Reason != reason || e.Outcome != outcome || e.Version != "8f2c" || e.Binding != "b" || e.Identity != "pay" {
			t.Errorf("%s: %v, event %+v", reason, err, e)
		}
		if string(d.source.Value.Reveal()) != strings.Repeat("\x00", d.source.Value.Len()) {
			t.Errorf("%s: the refused value is left in memory", reason)
		}
	}
}

func TestFindWhenTheSourceFails(t *testing.T) {
	stranger := errors.New("GET https://kv/ answered " + canary)
	for _, c := range []struct {
		about   string
		wrong   error
		kind    secret.Kind
		reason  secret.Reason
		outcome secret.Outcome
	}{
		{"not found", secret.Fail(secret.NotFound, secret.ReasonNotFound, "x"), secret.NotFound, "not-found", secret.DeniedOutcome},
		{"refused", secret.Fail(secret.NotFound, secret.ReasonVaultRefused, "x"), secret.NotFound, "vault-refused", secret.DeniedOutcome},
		{"throttled", secret.Fail(secret.Unavailable, secret.ReasonThrottled, "x"), secret.Unavailable, "throttled", secret.Failed},
		{"garbled, wrapped", fmt.Errorf("%s: %w", canary, secret.Fail(secret.Garbled, secret.ReasonGarbled, "x")), secret.Garbled, "garbled", secret.Failed},
		{"busy", secret.Fail(secret.Busy, secret.ReasonBusy, "x"), secret.Busy, "busy", secret.Failed},
		{"late", secret.Fail(secret.Late, secret.ReasonTimeout, "x"), secret.Late, "timeout", secret.Failed},
		{"a bare deadline", fmt.Errorf("%s: %w", canary, context.DeadlineExceeded), secret.Late, "late", secret.Failed},
		{"the caller went away", context.Canceled, secret.Late, "late", secret.Failed},
		{"a stranger", stranger, secret.Internal, "internal", secret.Failed},
	} {
		d := newDesk(t)
		d.wrong = c.wrong
		_, err := d.find(t, ask(t, "acme/app push main"))
		e := d.events[0]
		if err == nil || err.Kind != c.kind || err.Reason != c.reason || e.Reason != c.reason || e.Outcome != c.outcome {
			t.Errorf("%s: %v, event %+v", c.about, err, e)
		}
		if e.Secret != "shared/db" || e.Binding != "b" {
			t.Errorf("%s: the event forgets what was granted: %+v", c.about, e)
		}
	}
}

func TestNoRecordNoSecret(t *testing.T) {
	for _, failed := range []error{secret.Fail(secret.Unavailable, secret.ReasonUnrecorded, "disk full"), errors.New(canary)} {
		d := newDesk(t)
		d.failed = failed
		_, err := d.find(t, ask(t, "acme/app push main"))
		if want := secret.AsError(failed); err == nil || err.Kind != want.Kind || err.Reason != want.Reason {
			t.Errorf("%v, want %v", err, want)
		}
		if string(d.source.Value.Reveal()) != strings.Repeat("\x00", len(canary)) {
			t.Error("the value that must not leave is left in memory")
		}
		// A denial that can't be recorded is no denial.
		d = newDesk(t)
		d.failed = failed
		if _, err := d.find(t, ask(t, "acme/app push dev")); err == nil || err.Kind != secret.AsError(failed).Kind {
			t.Errorf("a denial off the record: %v, want %v", err, failed)
		}
	}
}

func TestS3PanicsAreCaughtAndTheirValueDropped(t *testing.T) {
	for about, wreck := range map[string]func(*desk){
		"policy": func(d *desk) { d.Policy = nil },
		"source": func(d *desk) {
			d.Fetcher = fetch(func(context.Context, secret.Request, secret.Grant) (secret.Fetched, error) { panic(canary) })
		},
		"source, nil error": func(d *desk) {
			d.Fetcher = fetch(func(context.Context, secret.Request, secret.Grant) (secret.Fetched, error) {
				var e *secret.Error
				panic(e.Detail)
			})
		},
		"no source": func(d *desk) { d.Fetcher = nil },
		"recorder": func(d *desk) {
			d.Recorder = record(func(_ context.Context, e secret.Event) error {
				d.events = append(d.events, e)
				panic(errors.New(canary))
			})
		},
	} {
		d := newDesk(t)
		wreck(d)
		_, err := d.find(t, ask(t, "acme/app push main"))
		if err == nil || err.Kind != secret.Internal {
			t.Errorf("%s: %v, want internal", about, err)
		}
		if e := d.events[0]; about != "recorder" && (e.Reason != secret.ReasonInternal || e.Outcome != secret.Failed) {
			t.Errorf("%s: the event is %s %q", about, e.Outcome, e.Reason)
		}
		next := newDesk(t) // a panic is one request's affair
		if value, err := next.find(t, ask(t, "acme/app push main")); err != nil || value.Len() == 0 {
			t.Errorf("%s: the next request fails: %v", about, err)
		}
	}
}

func TestTheReserveIsKeptForTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		began := time.Now()
		d.Now, d.Reserve = time.Now, 2*time.Second
		d.Fetcher = fetch(func(ctx context.Context, _ secret.Request, _ secret.Grant) (secret.Fetched, error) {
			<-ctx.Done()
			return secret.Fetched{}, fmt.Errorf("GET %s: %w", canary, ctx.Err())
		})
		inner := d.Recorder
		d.Recorder = record(func(ctx context.Context, e secret.Event) error {
			if ctx.Err() != nil || time.Since(began) != 18*time.Second {
				t.Errorf("recorded after %s with a context that is %v", time.Since(began), ctx.Err())
			}
			if due, ok := ctx.Deadline(); !ok || due.Sub(began) != 20*time.Second || ctx.Done() != nil {
				t.Errorf("recorded with a context that ends, or says %v for when the answer is due", due)
			}
			return inner.Record(ctx, e)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := d.Find(ctx, caller, ask(t, "acme/app push main"))
		if e := secret.AsError(err); e.Kind != secret.Late || e.Reason != secret.ReasonLate || strings.Contains(e.Error(), canary) {
			t.Errorf("%v, want late", err)
		}
		if len(d.events) != 1 || d.events[0].Took != 18*time.Second || d.events[0].Outcome != secret.Failed {
			t.Errorf("events %+v, want one that took 18 s", d.events)
		}
	})
}

func TestACallerWhoIsGoneIsStillOnRecord(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	inner := d.Recorder
	d.Recorder = record(func(ctx context.Context, e secret.Event) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return inner.Record(ctx, e)
	})
	if _, err := d.Find(ctx, caller, ask(t, "acme/app push dev")); secret.AsError(err).Kind != secret.Denied || len(d.events) != 1 {
		t.Errorf("%v with %d events, want denied and one", err, len(d.events))
	}
}
