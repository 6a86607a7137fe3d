package provider_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// from is a build of the repository with that uid.
func from(uid string) secret.Request {
	r := of(1)
	r.Repo.UID = uid
	return r
}

// drained uses up what a door of that rate lets pass at once.
func drained(r *provider.Router, alias string, rate int) {
	for i := range 2 * rate {
		ask(r, from("drain"), fmt.Sprintf("%s/drain-%d", alias, i))
	}
}

// crowd has each repository ask for so many secrets at once, in this order, and returns what to wait for.
func crowd(t *testing.T, r *provider.Router, order []string) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i, uid := range order {
		wg.Go(func() {
			if got := ask(r, from(uid), fmt.Sprintf("shared/%s-%d", uid, i)); !strings.HasPrefix(got, "fetched ") {
				t.Errorf("%s: %s", uid, got)
			}
		})
		synctest.Wait() // in this order
	}
	return &wg
}

// served returns whose reads the source saw, from read number n on.
func served(s *source, n int) (uids []string) {
	for _, c := range s.seen()[n:] {
		uid, _, _ := strings.Cut(c.key, "-")
		uids = append(uids, uid)
	}
	return uids
}

// Whatever is asked, the source sees no more than the rate and the burst.
func TestTheSourceIsAskedNoFasterThanItBears(t *testing.T) {
	check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(1, 20).Draw(rt, "rate")
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{Burst: 2 * rate, Rate: rate})
		defer r.Close()
		var wg sync.WaitGroup
		for i, gap := range rapid.SliceOfN(rapid.IntRange(0, 300), 1, 150).Draw(rt, "gaps") {
			time.Sleep(time.Duration(max(0, gap-200)) * time.Millisecond)
			wg.Go(func() { ask(r, from(fmt.Sprint(i%7)), fmt.Sprintf("shared/s%d", i)) })
		}
		wg.Wait()
		calls := s.seen()
		for i := range calls {
			for j := i; j < len(calls); j++ {
				took := calls[j].began.Sub(calls[i].began)
				if n, most := j-i+1, 2*float64(rate)*(1+math.Floor(took.Seconds()/10))+float64(rate)*took.Seconds()+1+1e-6; float64(n) > most {
					rt.Fatalf("%d reads in %s at %d in ten seconds and %d a second beyond", n, took, 2*rate, rate)
				}
			}
		}
	})
}

// Repositories take turns: of any two that wait, neither is ahead of the other by more than one read, and one that comes
// late waits for one read of each of the others.
func TestRepositoriesTakeTurns(t *testing.T) {
	check(t, func(rt *rapid.T) {
		const rate = 5 // so that all is over before the next burst, which begins all at once
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{Burst: 2 * rate, Rate: rate})
		defer r.Close()
		drained(r, "shared", rate)
		order := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "a", "b", "b", "c", "d"}), 1, 40).Draw(rt, "order")
		wg := crowd(t, r, order)
		time.Sleep(time.Duration(rapid.IntRange(0, 10).Draw(rt, "later"))*time.Second/rate + time.Millisecond)
		before := s.reads()
		late := crowd(t, r, []string{"late"})
		late.Wait()
		synctest.Wait()
		for uid, n := range count(served(s, before)) {
			if n > 1 {
				rt.Errorf("who came late waited for %d reads of %s", n, uid)
			}
		}
		wg.Wait()
		left := count(order)
		done := map[string]int{}
		for _, uid := range served(s, 2*rate) {
			done[uid]++
			left[uid]--
			for other := range left {
				if other != "late" && uid != "late" && left[other] > 0 && done[uid] > done[other]+1 {
					rt.Fatalf("%s had %d reads when %s, which waits, had %d: %v", uid, done[uid], other, done[other], served(s, 2*rate))
				}
			}
		}
	})
}

func count(uids []string) map[string]int {
	n := map[string]int{}
	for _, uid := range uids {
		n[uid]++
	}
	return n
}

// A repository that floods a vault delays another by one read for each of its own, and takes no room from it.
func TestAFloodDelaysOthersByOneReadEach(t *testing.T) {
	// With room for all reads at once, so that the rate alone is what they wait for.
	bubble(t, provider.Options{InFlight: 10_000, Burst: 600, Rate: 60, Queue: 1000}, 0, func(t *testing.T, r *provider.Router, s *source) {
		ctx, cancel := context.WithTimeout(t.Context(), 18*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var mu sync.Mutex
		flood := map[string]int{}
		for i := range 1_700 {
			wg.Go(func() {
				got := describe(r.Fetch(ctx, from("flood"), grant(fmt.Sprintf("shared/flood-%d", i))))
				mu.Lock()
				defer mu.Unlock()
				flood[strings.Fields(got)[0]]++
			})
		}
		synctest.Wait()
		if n := r.Doors()["shared"].Waiting; n != 1000 {
			t.Errorf("%d reads wait", n)
		}
		start := time.Now()
		wg.Go(func() {
			for i := range 20 {
				if got := ask(r, from("other"), fmt.Sprintf("shared/other-%d", i)); !strings.HasPrefix(got, "fetched ") {
					t.Error(got)
				}
			}
			if took := time.Since(start); took > 20*2*time.Second/60+20*time.Millisecond {
				t.Errorf("20 reads took %s", took)
			}
		})
		wg.Wait()
		if flood["fetched"] < 1_600-20 || flood["fetched"]+flood["busy"] != 1_700 {
			t.Errorf("of the flood became %v", flood)
		}
		if n := r.Doors()["shared"]; n.Waiting != 0 || n.Reads != 0 {
			t.Errorf("left over: %+v", n)
		}
	})
}

func TestDoorsOfOneHostShareItsLimit(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		shared bool
	}{{"kv.vault.azure.net", "kv.vault.azure.net", true}, {"kv.vault.azure.net", "other.vault.azure.net", false}, {"", "", false}} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{}
			r := provider.NewRouter(map[string]provider.Door{"a": {Source: s, Host: c.a}, "b": {Source: s, Host: c.b}}, provider.Options{Burst: 4, Rate: 2})
			defer r.Close()
			drained(r, "a", 2)
			took := timed(func() { ask(r, of(1), "b/x") })
			if waited := took > 0; waited != c.shared || took > 600*time.Millisecond {
				t.Errorf("%q and %q: the second door took %s", c.a, c.b, took)
			}
		})
	}
}

func TestWhoseTurnDoesNotComeInTimeIsToldBusy(t *testing.T) {
	bubble(t, provider.Options{Burst: 2, Rate: 1}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		drained(r, "shared", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		took := timed(func() {
			_, err := r.Fetch(ctx, of(1), grant("shared/a"))
			want(t, describe(secret.Fetched{}, err), "busy busy")
			if !strings.Contains(err.Error(), "vault shared: more is asked of it than 2 reads in ten seconds and 1 a second beyond; 1 wait for their turn") {
				t.Error(err)
			}
		})
		if took != 500*time.Millisecond {
			t.Errorf("took %s", took)
		}
		time.Sleep(time.Minute)
		wantReads(t, s, 2) // it is not made for nobody
		if n := r.Doors()["shared"].Waiting; n != 0 {
			t.Errorf("%d reads wait", n)
		}
	})
}

// Who joins a read in another's long line brings it forward to where his own would be.
func TestAJoinedReadTakesTheBetterTurn(t *testing.T) {
	bubble(t, provider.Options{Burst: 2, Rate: 1}, 0, func(t *testing.T, r *provider.Router, s *source) {
		drained(r, "shared", 1)
		wg := crowd(t, r, strings.Fields("a a a a a a"))
		took := timed(func() { want(t, ask(r, from("b"), "shared/a-5"), "joined value-3") })
		if took > 2*time.Second+10*time.Millisecond {
			t.Errorf("took %s", took)
		}
		wg.Wait()
		wantReads(t, s, 2+6)
	})
}

func TestTheQueueIsBoundedAndShared(t *testing.T) {
	bubble(t, provider.Options{Burst: 2, Rate: 1, Queue: 4}, 0, func(t *testing.T, r *provider.Router, s *source) {
		drained(r, "shared", 1)
		answers := make(chan string, 10)
		put := func(uid, name string) {
			go func() { answers <- name + " " + ask(r, from(uid), "shared/"+name) }()
			synctest.Wait()
		}
		for i := range 4 {
			put("a", fmt.Sprintf("a-%d", i))
		}
		put("a", "a-4")
		want(t, <-answers, "a-4 busy busy") // it has all the room already
		put("b", "b-0")
		want(t, <-answers, "a-3 busy busy") // the last of the longest line gives way
		put("b", "b-1")
		want(t, <-answers, "a-2 busy busy")
		put("b", "b-2")
		want(t, <-answers, "b-2 busy busy") // and no line gives more than it has over another
		if n := r.Doors()["shared"].Waiting; n != 4 {
			t.Errorf("%d reads wait", n)
		}
		var order []string
		for range 4 {
			name, _, _ := strings.Cut(<-answers, " ")
			order = append(order, name)
		}
		want(t, strings.Join(order, " "), "a-0 b-0 a-1 b-1")
	})
}

// A read whose turn comes when the vault has died is not made; its caller is as one who comes just then.
func TestTheQueueOfADeadVault(t *testing.T) {
	for _, dead := range []bool{true, false} {
		bubble(t, provider.Options{Burst: 2, Rate: 1}, 0, func(t *testing.T, r *provider.Router, s *source) {
			drained(r, "shared", 1)
			s.set(func(s *source) { s.latency, s.fail = 10*time.Millisecond, passing[0] })
			answers := make(chan string, 10)
			for i := range 6 {
				go func() { answers <- ask(r, of(1), fmt.Sprintf("shared/s%d", i)) }()
				synctest.Wait()
			}
			for s.reads() == 2 {
				time.Sleep(time.Millisecond)
			}
			if !dead {
				s.set(func(s *source) { s.fail = nil })
			}
			want(t, <-answers, "late timeout")
			if state := r.Doors()["shared"].State; state == provider.Closed {
				t.Error(state)
			}
			took := timed(func() {
				for range 5 {
					if got := <-answers; strings.HasPrefix(got, "fetched ") == dead {
						t.Errorf("dead: %t, and yet %s", dead, got)
					}
				}
			})
			least, reads, most := 2+1+5, 2+1+5, 5*time.Second
			if dead {
				least, reads, most = 2+1+2, 2+1+5, time.Second // each of another secret, until it is clear that it is not the secret
			}
			if n := s.reads(); n < least || n > reads {
				t.Errorf("%d reads, want %d to %d", n, least, reads)
			}
			if took > most+10*time.Millisecond {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestCloseEndsWhatWaitsForItsTurn(t *testing.T) {
	bubble(t, provider.Options{Burst: 2, Rate: 1}, 0, func(t *testing.T, r *provider.Router, s *source) {
		drained(r, "shared", 1)
		answer := make(chan string)
		go func() { answer <- ask(r, of(1), "shared/waits") }()
		synctest.Wait()
		r.Close()
		want(t, <-answer, "unavailable internal")
		wantReads(t, s, 2)
	})
}

// The books are kept: whatever comes, goes, joins and is displaced, nothing is left behind and nobody is forgotten.
func TestTheQueueForgetsNobody(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := &source{latency: 50 * time.Millisecond}
		r := provider.NewRouter(map[string]provider.Door{"a": {Source: s, Host: "kv"}, "b": {Source: s, Host: "kv"}},
			provider.Options{Burst: 10, Rate: 5, Queue: rapid.IntRange(1, 12).Draw(rt, "room"), InFlight: 3})
		defer r.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := map[string]int{}
		n := rapid.IntRange(1, 80).Draw(rt, "callers")
		for range n {
			uid := rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(rt, "uid")
			ref := rapid.SampledFrom([]string{"a/", "b/"}).Draw(rt, "door") + rapid.StringMatching(`[a-h]`).Draw(rt, "name")
			patience := time.Duration(rapid.IntRange(1, 4000).Draw(rt, "patience")) * time.Millisecond
			s.set(func(s *source) {
				s.fail = rapid.SampledFrom([]error{nil, nil, nil, passing[1], conclusive[0]}).Draw(rt, "fault")
			})
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				var got string
				took := timed(func() { got = describe(r.Fetch(ctx, from(uid), grant(ref))) })
				if took > patience {
					rt.Errorf("waited for %s of %s", took, patience)
				}
				mu.Lock()
				defer mu.Unlock()
				answers[strings.Fields(got)[0]]++
			})
			time.Sleep(time.Duration(rapid.IntRange(0, 300).Draw(rt, "pause")) * time.Millisecond)
		}
		wg.Wait()
		time.Sleep(time.Second)
		total := 0
		for k := range maps.Values(answers) {
			total += k
		}
		if total != n || !provider.Idle(r) {
			rt.Errorf("%d callers had the answers %v; idle: %v; %+v", n, answers, provider.Idle(r), r.Doors())
		}
	})
}

// A read may still wait for its turn when its door has come to be in trouble; who joins it then waits with it.
func TestWhoJoinsAWaitingReadOfADoorInTroubleWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &source{hang: true}, &source{}
		r := provider.NewRouter(map[string]provider.Door{"bad": {Source: bad, Host: "kv"}, "good": {Source: good, Host: "kv"}}, provider.Options{Burst: 2, Rate: 1})
		defer r.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		post := func(ref string) { wg.Go(func() { ask(r, of(1), ref) }); synctest.Wait() }
		post("bad/hangs")
		time.Sleep(14*time.Second + 900*time.Millisecond)
		for i := range 4 { // two take the tokens, and two wait for the next ones
			post(fmt.Sprintf("good/s%d", i))
		}
		post("bad/waits")
		time.Sleep(150 * time.Millisecond)
		if d := r.Doors()["bad"]; d.State != provider.Open || d.Waiting != 1 {
			t.Fatalf("%+v", d)
		}
		var got string
		took := timed(func() { got = ask(r, of(2), "bad/waits") })
		if got != "late timeout" || took > 2*time.Second { // one for the read's turn, and one for the door
			t.Errorf("%s after %s", got, took)
		}
	})
}
