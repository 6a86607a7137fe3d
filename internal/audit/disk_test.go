package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/secret"
)

// slowDisk is the real disk with its two calls counted, held up or failing on demand.
type slowDisk struct {
	takes         atomic.Int64 // what a sync takes, in nanoseconds
	writeTakes    atomic.Int64
	syncs, writes atomic.Int64
	failSync      atomic.Bool
	failWrite     atomic.Bool
}

func (d *slowDisk) disk() disk {
	return disk{
		write: func(f *os.File, b []byte, at int64) (int, error) {
			d.writes.Add(1)
			time.Sleep(time.Duration(d.writeTakes.Load()))
			if d.failWrite.Load() {
				n, _ := f.WriteAt(b[:len(b)/2], at)
				return n, errors.New("no space left")
			}
			return f.WriteAt(b, at)
		},
		sync: func(f *os.File) error {
			d.syncs.Add(1)
			time.Sleep(time.Duration(d.takes.Load()))
			if d.failSync.Load() {
				return errors.New("input/output error")
			}
			return nil // in a test nothing but time could tell
		},
	}
}

func slow(takes time.Duration) *slowDisk {
	d := &slowDisk{}
	d.takes.Store(int64(takes))
	return d
}

func start(t *testing.T, d *slowDisk, log *bytes.Buffer) *Record {
	t.Helper()
	o := Options{File: filepath.Join(t.TempDir(), "audit.jsonl")}
	if log != nil {
		o.Log = zerolog.New(log)
	}
	r, err := open(o, d.disk())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func releaseOf(build int64, version string) secret.Event {
	return secret.Event{Kind: secret.EventSecret, Outcome: secret.Released, Secret: "shared/ci", Version: version,
		Caller:  secret.Caller{Pool: "default"},
		Request: secret.Request{Name: "ci", Repo: secret.Repo{UID: "42", Slug: "acme/app"}, Build: secret.Build{Number: build}}}
}

// took is how long recording took, and what came of it.
func took(t *testing.T, r *Record, e secret.Event) (time.Duration, error) {
	t.Helper()
	from := time.Now()
	err := r.Record(t.Context(), e)
	return time.Since(from), err
}

func end(t *testing.T, r *Record) {
	t.Helper()
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsForTheSync(t *testing.T) {
	const sync = 300 * time.Millisecond
	other := func(change func(*secret.Event)) secret.Event {
		e := releaseOf(1, "v1")
		change(&e)
		return e
	}
	tests := []struct {
		name  string
		event secret.Event
		waits bool
	}{
		{"the same release", releaseOf(1, "v1"), false},
		{"the same with another id and place of the value", other(func(e *secret.Event) { e.Caller.ID, e.How = "other", secret.HowBuild }), false},
		{"another build", releaseOf(2, "v1"), true},
		{"another version", releaseOf(1, "v2"), true},
		{"another pool", other(func(e *secret.Event) { e.Caller.Pool = "prod" }), true},
		{"another slug", other(func(e *secret.Event) { e.Request.Repo.Slug = "acme/ap" }), true},
		{"another uid", other(func(e *secret.Event) { e.Request.Repo.UID = "4" }), true},
		{"another secret", other(func(e *secret.Event) { e.Secret = "shared/c" }), true},
		{"shifted fields", other(func(e *secret.Event) { e.Request.Repo.UID, e.Request.Repo.Slug = "42acme", "/app" }), true},
		{"a denial of the same", other(func(e *secret.Event) { e.Outcome = secret.DeniedOutcome }), true},
		{"a start", secret.Event{Kind: secret.EventStart, Outcome: secret.Started}, true},
		{"an unproven one", secret.Event{Kind: secret.EventUnproven, Outcome: secret.Refused}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, slow(sync), nil)
				defer end(t, r)
				if d, err := took(t, r, releaseOf(1, "v1")); err != nil || d != sync {
					t.Fatalf("the first release: %v, %v", d, err)
				}
				d, err := took(t, r, tt.event)
				if err != nil || (d == sync) != tt.waits || (d == 0) == tt.waits {
					t.Errorf("%v, %v", d, err)
				}
			})
		})
	}
}

// A repeat of a release that is only on its way to the disk waits with it; one that does not wait is synced within a second.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := slow(400 * time.Millisecond)
		r := start(t, d, nil)
		defer end(t, r)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if d, err := took(t, r, releaseOf(1, "v1")); err != nil || d < 400*time.Millisecond {
					t.Errorf("%v, %v", d, err)
				}
			})
		}
		all.Wait()
		if _, err := took(t, r, releaseOf(1, "v1")); err != nil {
			t.Fatal(err)
		}
		if seq, _ := r.Head(); seq != 2 {
			t.Errorf("synced up to %d, want 2", seq)
		}
		time.Sleep(time.Second)
		if seq, _ := r.Head(); seq != 3 {
			t.Errorf("synced up to %d after a second, want 3", seq)
		}
	})
}

func TestManyShareOneSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := slow(time.Millisecond)
		r := start(t, d, nil)
		defer end(t, r)
		var all sync.WaitGroup
		for i := range int64(1000) {
			all.Go(func() {
				if err := r.Record(t.Context(), releaseOf(i, "v")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := d.syncs.Load(); n > 20 {
			t.Errorf("%d syncs for 1000 events at once", n)
		}
	})
}

// A2: a sync stalls for 10 s. Who waits is told after one second, who comes then at once; a repeat too. Then it heals.
func TestStalledSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDisk{}
		r := start(t, d, nil)
		defer end(t, r)
		if _, err := took(t, r, releaseOf(1, "v1")); err != nil {
			t.Fatal(err)
		}
		d.takes.Store(int64(10 * time.Second))
		if d, err := took(t, r, releaseOf(2, "v1")); d != time.Second || secret.AsError(err).Reason != secret.ReasonUnrecorded {
			t.Errorf("waiting: %v, %v", d, err)
		}
		for build := range int64(1000) { // build 1 is a repeat
			if d, err := took(t, r, releaseOf(build, "v1")); d != 0 || secret.AsError(err).Kind != secret.Unavailable {
				t.Fatalf("while stalled: %v, %v", d, err)
			}
		}
		if r.Healthy() == nil {
			t.Error("healthy while stalled")
		}
		if _, err := took(t, r, secret.Event{Kind: secret.EventUnproven}); err != nil {
			t.Error(err)
		}
		d.takes.Store(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := r.Healthy(); err != nil {
			t.Error(err)
		}
		if d, err := took(t, r, releaseOf(3, "v1")); d != 0 || err != nil {
			t.Errorf("afterwards: %v, %v", d, err)
		}
	})
}

// A disk that is slow and answers is waited for, until the answer is due.
func TestSlowDiskThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, slow(900*time.Millisecond), nil)
		defer end(t, r)
		var all sync.WaitGroup
		for build, c := range []struct{ due, took time.Duration }{{time.Hour, 900 * time.Millisecond}, {time.Hour, 1700 * time.Millisecond}, {1500 * time.Millisecond, 1500 * time.Millisecond}} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), c.due)
				defer cancel()
				from := time.Now()
				err := r.Record(ctx, releaseOf(int64(build), "v1"))
				if late := c.due == c.took; late != (err != nil) || time.Since(from) != c.took {
					t.Errorf("who is to have his answer in %v waits %v: %v", c.due, time.Since(from), err)
				}
			})
			synctest.Wait()
			if build == 0 {
				time.Sleep(100 * time.Millisecond) // so that the others' lines miss its sync
			}
		}
		all.Wait()
	})
}

// A write can hang as a sync can.
func TestStalledWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDisk{}
		r := start(t, d, nil)
		defer end(t, r)
		d.writeTakes.Store(int64(10 * time.Second))
		for _, want := range []time.Duration{time.Second, 0, 0} {
			if d, err := took(t, r, releaseOf(1, "v1")); d != want || secret.AsError(err).Reason != secret.ReasonUnrecorded {
				t.Errorf("%v, %v, want %v", d, err, want)
			}
		}
		d.writeTakes.Store(0)
		time.Sleep(10 * time.Second)
		if d, err := took(t, r, releaseOf(2, "v1")); d != 0 || err != nil {
			t.Errorf("afterwards: %v, %v", d, err)
		}
	})
}

// What a failed sync left behind reads well and is not on disk: it is written once more before anything follows it.
func TestUnsyncedIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDisk{}
		r := start(t, d, nil)
		defer end(t, r)
		d.failSync.Store(true)
		_, _ = took(t, r, releaseOf(1, "v1"))
		d.failSync.Store(false)
		time.Sleep(2 * time.Second)
		if n := d.writes.Load(); n != 2 {
			t.Errorf("the line was written %d times, want 2", n)
		}
		if seq, _ := r.Head(); seq != 1 || r.Healthy() != nil {
			t.Errorf("head %d, %v", seq, r.Healthy())
		}
	})
}

// A1: writing or syncing fails. Everything is refused, the log says why, and with the cause gone it heals alone. The
// line whose caller was refused may stand there; the chain holds.
func TestFailingDisk(t *testing.T) {
	for name, failing := range map[string]func(*slowDisk) *atomic.Bool{
		"sync":  func(d *slowDisk) *atomic.Bool { return &d.failSync },
		"write": func(d *slowDisk) *atomic.Bool { return &d.failWrite },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, log := &slowDisk{}, &bytes.Buffer{}
				r := start(t, d, log)
				for range 2 { // the second is a repeat
					if _, err := took(t, r, releaseOf(1, "v1")); err != nil {
						t.Fatal(err)
					}
				}
				failing(d).Store(true)
				for build := range int64(3) {
					if d, err := took(t, r, releaseOf(build, "v2")); d != 0 || secret.AsError(err).Reason != secret.ReasonUnrecorded {
						t.Errorf("%v, %v", d, err)
					}
				}
				failing(d).Store(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if _, err := took(t, r, releaseOf(2, "v3")); err != nil {
					t.Error(err)
				}
				end(t, r)
				if v, err := Verify(r.opts.File); err != nil || v.Lines < 3 {
					t.Errorf("%+v, %v", v, err)
				}
				if !strings.Contains(log.String(), "nothing is released") || !strings.Contains(log.String(), "written again") {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}
