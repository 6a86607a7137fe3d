package test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone/drone-go/drone"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// vaultReads counts what the vault was asked for with a token: the first request of a client has none, and only asks for the challenge.
func (f *faulty) vaultReads(name string) (n int) {
	for _, r := range f.Emulator.Requests() {
		if r.Host == name+".vault.azure.net" && r.Token && strings.HasPrefix(r.Path, "/secrets/") {
			n++
		}
	}
	return n
}

// pipeline asks as a runner does: for each of 20 steps, each of its five secrets, one after the other. It returns what came, by
// secret, and complains where a step got anything else than the one before.
func (f *faulty) pipeline(t *testing.T, b build, vault, door string) (values [5]string) {
	t.Helper()
	for step := range 20 {
		for i := range values {
			value, err := f.find(b, fmt.Sprintf("%s/s%d", door, i))
			if err != nil || step > 0 && value != values[i] {
				t.Fatalf("step %d, secret %d of %s: got %q, %v, and %q before", step, i, vault, value, err, values[i])
			}
			values[i] = value
		}
	}
	return values
}

// A pipeline of 20 steps with five secrets is a hundred requests and five reads; the next build reads each afresh.
func TestAPipelineCostsOneReadPerSecret(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	var want [5]string
	for i := range want {
		f.fill(fmt.Sprintf("kv-faulty/s%d", i))
		want[i] = f.valueAt(t, fmt.Sprintf("kv-faulty/s%d", i))
	}
	costs := func(b build, reads int, says string) {
		t.Helper()
		before, events := f.vaultReads("kv-faulty"), len(f.events())
		if got := f.pipeline(t, b, "kv-faulty", "strict"); got != want {
			t.Errorf("%s: got %q, want %q", says, got, want)
		}
		if n := f.vaultReads("kv-faulty") - before; n != reads {
			t.Errorf("%s: %d reads, want %d", says, n, reads)
		}
		hows := map[string]int{}
		for _, e := range f.events()[events:] {
			hows[e.Outcome+" "+e.How]++
		}
		if hows["released fetched"] != reads || hows["released build"] != 100-reads {
			t.Errorf("%s: on record are %v", says, hows)
		}
	}
	first, second := f.next(), f.next()
	costs(first, 5, "the first build")
	costs(second, 5, "the second build")
	old := want
	for i := range want {
		want[i] = fmt.Sprintf("canary-rotated-%d", i)
		f.Vault("kv-faulty").Set(fmt.Sprintf("s%d", i), want[i])
	}
	now := want
	want = old
	costs(second, 0, "the second build, amid which the secrets are rotated")
	want = now
	costs(f.next(), 5, "the third build, after the rotation")
	if tokens := f.Emulator.TokenRequests(clientID); tokens != 1 {
		t.Errorf("%d tokens were asked for", tokens)
	}
}

// quantile sorts.
func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[int(float64(len(took)-1)*q)]
}

// With one read at a time for each vault, one that hangs takes nothing from another.
func TestV10AHangingVaultWithOneReadInFlight(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors+"limits: {in_flight: 1, drain: 1s}\n")
	f.fill("kv-faulty/db")
	latency := func() (all []time.Duration) {
		for range 200 {
			b, start := f.next(), time.Now()
			f.finds(t, b, "shared/ci-token", f.valueAt(t, "kv-shared/ci-token"))
			all = append(all, time.Since(start))
		}
		return all
	}
	before := latency()
	remove := f.Emulator.Fault(f.Vault("kv-faulty").Target(), emulator.Fault{Kind: emulator.Hold})
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for worker := range 10 {
		asking.Go(func() {
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
					_, _ = f.find(push("acme/app").number(int64(worker+1)*1_000_000+n), fmt.Sprintf("strict/none-%d", worker))
				}
			}
		})
	}
	if err := f.Emulator.Await(t.Context(), 1, "kv-faulty.vault.azure.net", "/secrets/none"); err != nil {
		t.Fatal(err)
	}
	beside := latency()
	t.Logf("p99 %s alone, %s beside a vault that hangs", quantile(before, 0.99), quantile(beside, 0.99))
	// What hangs would keep everybody waiting, and what else the machine does some of them.
	if was, is := quantile(before, 0.5), quantile(beside, 0.5); is > 10*was+50*time.Millisecond {
		t.Errorf("the median went from %s to %s", was, is)
	}
	close(stop)
	remove()
	asking.Wait()
	f.heals(t, "strict/db", "kv-faulty/db")
}

// Ten times what a vault bears: who can't be served hears so soon, whoever is served is so within seconds, and afterwards all is
// as before.
func TestR2TenTimesTheLoad(t *testing.T) {
	t.Parallel()
	const inFlight, together, each = 4, 40, 5
	f := startFaulty(t, doors+fmt.Sprintf("limits: {in_flight: %d, drain: 1s}\n", inFlight))
	f.fill("kv-faulty/db")
	for worker := range together {
		f.fill(fmt.Sprintf("kv-faulty/w%d", worker))
	}
	f.expect(t, f.next(), "strict/db", gets("kv-faulty/db"))
	remove := f.Emulator.Fault(f.Vault("kv-faulty").Target(), emulator.Fault{Kind: emulator.Delay, Wait: 100 * time.Millisecond})
	var mu sync.Mutex
	answers := map[int][]time.Duration{}
	var asking sync.WaitGroup
	for worker := range together {
		asking.Go(func() {
			for n := range each {
				b, ref, start := push("acme/app").number(int64(1000+worker*each+n)), fmt.Sprintf("strict/w%d", worker), time.Now()
				value, err := f.find(b, ref)
				status := http.StatusOK
				if refusal, ok := errors.AsType[*drone.Error](err); ok {
					status = refusal.Code
				} else if err != nil || value != f.valueAt(t, fmt.Sprintf("kv-faulty/w%d", worker)) {
					t.Errorf("%s: got %q, %v", ref, value, err)
				}
				mu.Lock()
				answers[status] = append(answers[status], time.Since(start))
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	remove()
	for status, took := range answers {
		t.Logf("%d: %d answers, p50 %s, p99 %s", status, len(took), quantile(took, 0.5), quantile(took, 0.99))
		if slow := quantile(took, 0.99); slow > patience/4 { // a second, on a machine that does nothing else
			t.Errorf("%d: a hundredth took longer than %s", status, slow)
		}
	}
	if n := len(answers[http.StatusOK]) + len(answers[http.StatusTooManyRequests]); n != together*each || len(answers[http.StatusOK]) == 0 {
		t.Errorf("of %d, %d were served and %d refused as busy", together*each, len(answers[http.StatusOK]), len(answers[http.StatusTooManyRequests]))
	}
	if door := f.status().Vaults["strict"].Door; door.State != "closed" {
		t.Errorf("the door is %+v", door)
	}
	f.expect(t, f.next(), "strict/db", gets("kv-faulty/db"))
	f.good(t)
}

// Once a vault is back after some seconds, whoever asks is served, and within about a second.
func TestV1TheFirstToAskAfterAnOutageIsServed(t *testing.T) {
	t.Parallel()
	for _, kind := range []emulator.Fault{{Kind: emulator.Reset}, {Status: http.StatusServiceUnavailable}, {Kind: emulator.UnknownHost}, {Kind: emulator.Hold}} {
		t.Run("V1 "+kind.Kind.String(), func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, doors)
			f.fill("kv-faulty/db", "kv-faulty/other")
			f.promptly(t, func() error {
				f.heals(t, "strict/db", "kv-faulty/db")
				remove := f.Emulator.Fault(f.Vault("kv-faulty").Target(), kind)
				var asking sync.WaitGroup
				down, first := time.Now(), f.builds+1
				f.builds += 8_000
				for worker := range int64(8) {
					asking.Go(func() {
						for n := first + 1000*worker; time.Since(down) < 3*time.Second; n++ {
							_, _ = f.find(push("acme/app").number(n), []string{"strict/db", "strict/other"}[worker%2])
							time.Sleep(50 * time.Millisecond)
						}
					})
				}
				time.Sleep(time.Until(down.Add(3 * time.Second)))
				remove()
				back := time.Now()
				value, err := f.find(f.next(), "strict/db")
				t.Logf("%v after %s", err, time.Since(back))
				if err == nil && value != f.valueAt(t, "kv-faulty/db") {
					t.Errorf("got %q", value)
				}
				asking.Wait()
				return err
			})
		})
	}
}

// promptly tries what the program promises to whoever asks a vault in trouble and can give him a second for. On a machine
// that is busy with other things a good answer can take longer than that: so one failure is none if a vault that nothing is
// wrong with answers slowly as well, and it is tried again.
func (f *faulty) promptly(t *testing.T, try func() error) {
	t.Helper()
	for range 3 {
		err := try()
		if err == nil {
			return
		}
		start := time.Now()
		for range 5 {
			f.good(t)
		}
		if took := time.Since(start) / 5; took < 25*time.Millisecond {
			t.Fatalf("%v, while another vault answers in %s", err, took)
		}
	}
	t.Log("the machine is too busy to tell")
}

// One secret hangs, is asked for over and over, and drips in the end; the other secrets of its vault come as ever.
func TestV2OneSecretThatHangsLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range []emulator.Kind{emulator.Hang, emulator.Drip} {
		t.Run("V2 "+kind.String(), func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t, doors+hanging)
			f.fill("kv-faulty/bad", "kv-faulty/good")
			f.Emulator.Fault(f.Vault("kv-faulty").Secret("bad"), emulator.Fault{Kind: kind})
			for range 2 {
				f.promptly(t, func() error {
					f.nothing(t, f.next(), "strict/bad")
					f.nothing(t, f.next(), "strict/bad")
					value, err := f.find(f.next(), "strict/good")
					if err == nil && value != f.valueAt(t, "kv-faulty/good") {
						t.Errorf("got %q", value)
					}
					return err
				})
			}
		})
	}
}
