package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// A file that goes under the writer is noticed by the sync, before anybody is told that his line is safe; a gap stays visible.
func TestFileTakenAway(t *testing.T) {
	for name, take := range map[string]func(file string) error{
		"removed": os.Remove,
		"cut":     func(file string) error { return os.Truncate(file, 0) },
		"replaced": func(file string) error {
			return errors.Join(os.Rename(file, file+".old"), os.WriteFile(file, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &slowDisk{}, nil)
				for build := range int64(3) {
					if _, err := took(t, r, releaseOf(build, "v1")); err != nil {
						t.Fatal(err)
					}
				}
				if err := take(r.opts.File); err != nil {
					t.Fatal(err)
				}
				_, err := took(t, r, releaseOf(3, "v1"))
				if name != "cut" && secret.AsError(err).Reason != secret.ReasonUnrecorded {
					t.Errorf("got %v", err)
				}
				time.Sleep(2 * time.Second)
				if _, err := took(t, r, releaseOf(4, "v1")); err != nil {
					t.Error(err)
				}
				end(t, r)
				var b *Broken
				if _, err := Verify(r.opts.File); !errors.As(err, &b) || b.Line != 1 {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A directory that went and came back: the lock is taken anew, so that a second writer is still kept out.
func TestDirectoryTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &slowDisk{}, nil)
		dir := filepath.Dir(r.opts.File)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := took(t, r, releaseOf(1, "v1")); err == nil {
			t.Error("recorded without a directory")
		}
		time.Sleep(5 * time.Second)
		if r.Healthy() == nil {
			t.Error("healthy without a directory")
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := took(t, r, releaseOf(1, "v1")); err != nil {
			t.Error(err)
		}
		if _, err := Open(Options{File: r.opts.File}); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second writer: %v", err)
		}
		end(t, r)
	})
}

func TestHeadGoesToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		r := start(t, &slowDisk{}, log)
		if _, err := took(t, r, releaseOf(1, "v1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		seq, hash := r.Head()
		want := fmt.Sprintf(`"seq":%d,"hash":"%s"`, seq, hash)
		if seq != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("after a minute: %s", log)
		}
		log.Reset()
		end(t, r)
		if !strings.Contains(log.String(), want) {
			t.Errorf("at the end: %s", log)
		}
		if err := r.Record(t.Context(), releaseOf(1, "v1")); secret.AsError(err).Reason != secret.ReasonUnrecorded {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Close keeps to its deadline, and what it began ends when the disk answers.
func TestCloseOnAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := slow(time.Minute)
		r := start(t, d, nil)
		if _, err := took(t, r, releaseOf(1, "v1")); err == nil {
			t.Error("recorded")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		end(t, r)
		if v, err := Verify(r.opts.File); err != nil || v.Lines != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestReleasesAreBounded(t *testing.T) {
	table := newReleases()
	key := func(i int) releaseKey { return releaseKey{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)} }
	const n = 5*maxReleases + 7
	for i := range n {
		table.add([]releaseKey{key(i)})
	}
	if have := len(table.young) + len(table.old); have > 2*maxReleases {
		t.Errorf("%d keys", have)
	}
	if !table.has(key(n-1)) || !table.has(key(n-maxReleases)) || table.has(key(0)) {
		t.Error("the last 64 Ki must be known, the first forgotten")
	}
}

// Whoever comes to look only after his second, because thousands were told at the same time, finds that his line is safe.
func TestAnAnswerThatIsThereCountsAfterTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Record{}
		for range 100 { // select takes any of those that are ready
			w := r.newWaiter()
			w.timer.Reset(maxWait)
			time.Sleep(maxWait)
			w.done <- nil
			if err := r.wait(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		late := r.newWaiter()
		late.timer.Reset(maxWait)
		if err := r.wait(t.Context(), late); err == nil {
			t.Error("nobody answered, and yet the line is told to be safe")
		}
	})
}
