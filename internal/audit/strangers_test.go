package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

func unproven(reason secret.Reason, remote string) secret.Event {
	return secret.Event{Kind: secret.EventUnproven, Outcome: secret.Refused, Reason: reason, Caller: secret.Caller{Remote: remote}}
}

// told is what the record says of unproven requests: a line each, as "reason remote count".
func told(t *testing.T, r *Record) (all []string) {
	t.Helper()
	b, err := os.ReadFile(r.opts.File)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l struct {
			Kind, Reason, Remote string
			Count                int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "unproven" {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s %d", l.Reason, l.Remote, l.Count), " 0"))
		}
	}
	return all
}

func TestUnprovenAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &slowDisk{}, nil)
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			if got := told(t, r); strings.Join(got, ", ") != strings.Join(lines, ", ") {
				t.Errorf("got  %v\nwant %v", got, lines)
			}
		}
		send := func(n int, reason secret.Reason, remote string) {
			for range n {
				if err := r.Record(t.Context(), unproven(reason, remote)); err != nil {
					t.Fatal(err)
				}
			}
		}
		send(500, secret.ReasonKey, "10.0.0.1")
		want("key 10.0.0.1")
		send(2, secret.ReasonDate, "10.0.0.1")
		want("key 10.0.0.1", "date 10.0.0.1")
		time.Sleep(countEvery)
		want("key 10.0.0.1", "date 10.0.0.1", "key 10.0.0.1 499", "date 10.0.0.1 1")
		time.Sleep(2 * countEvery)
		synctest.Wait()
		send(1, secret.ReasonDate, "10.0.0.1") // after a silence: a first one again
		want("key 10.0.0.1", "date 10.0.0.1", "key 10.0.0.1 499", "date 10.0.0.1 1", "date 10.0.0.1")
		send(3, secret.ReasonDate, "10.0.0.1")
		end(t, r)
		want("key 10.0.0.1", "date 10.0.0.1", "key 10.0.0.1 499", "date 10.0.0.1 1", "date 10.0.0.1", "date 10.0.0.1 3")
		if _, err := Verify(r.opts.File); err != nil {
			t.Error(err)
		}
	})
}

// However many addresses send however much, table and record stay small, and nothing goes uncounted.
func TestUnprovenAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDisk{}
		r := start(t, d, nil)
		const rounds, remotes = 3, 5000
		for range rounds {
			for i := range remotes {
				_ = r.Record(t.Context(), unproven(secret.ReasonSignature, fmt.Sprintf("2001:db8::%x", i)))
			}
			r.mu.Lock()
			n := len(r.strangers.counts)
			r.mu.Unlock()
			if n > maxStrangers+1 {
				t.Errorf("%d pairs in memory", n)
			}
			time.Sleep(countEvery)
			synctest.Wait()
		}
		if n := d.syncs.Load(); n > rounds*10 {
			t.Errorf("%d syncs", n)
		}
		end(t, r)
		total, lines := 0, told(t, r)
		for _, l := range lines {
			n := 1 // a first one
			if f := strings.Fields(l); len(f) == 3 {
				_, _ = fmt.Sscan(f[2], &n)
			}
			total += n
		}
		if total != rounds*remotes || len(lines) > rounds*(maxFirsts+maxCounts+1) {
			t.Errorf("%d lines account for %d of %d", len(lines), total, rounds*remotes)
		}
	})
}

// While the record can't be written the counts wait in memory.
func TestUnprovenWhileFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDisk{}
		r := start(t, d, nil)
		d.failSync.Store(true)
		_, _ = took(t, r, releaseOf(1, "v1"))
		for range 5 {
			if d, err := took(t, r, unproven(secret.ReasonKey, "10.0.0.1")); d != 0 || err != nil {
				t.Errorf("%v, %v", d, err)
			}
		}
		time.Sleep(3 * countEvery)
		synctest.Wait()
		d.failSync.Store(false)
		time.Sleep(2 * countEvery)
		synctest.Wait()
		end(t, r)
		if got := told(t, r); len(got) != 1 || got[0] != "key 10.0.0.1 5" {
			t.Errorf("got %v", got)
		}
	})
}
