package provider_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

func TestABuildIsServedFromItsOwnReadForAMinute(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/ci-token"), "fetched value-0")
		time.Sleep(59 * time.Second)
		want(t, ask(r, of(1), "shared/ci-token"), "build value-0")
		want(t, ask(r, of(1), "shared/ci-token/password"), "build value-0") // one entry for all of a secret's keys
		time.Sleep(time.Second)
		want(t, ask(r, of(1), "shared/ci-token"), "fetched value-1")
		wantReads(t, s, 2)
	})
}

func TestOtherBuildsReadAfresh(t *testing.T) {
	other := func(change func(*secret.Request)) secret.Request {
		r := of(1)
		change(&r)
		return r
	}
	for name, req := range map[string]secret.Request{
		"number": of(2),
		"uid":    other(func(r *secret.Request) { r.Repo.UID = "43" }),
		"slug":   other(func(r *secret.Request) { r.Repo.Slug = "acme/other" }),
		"pool":   other(func(r *secret.Request) { r.Pool = "prod" }),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
				want(t, ask(r, of(1), "shared/ci-token"), "fetched value-0")
				want(t, ask(r, req, "shared/ci-token"), "fetched value-1")
				want(t, ask(r, req, "shared/ci-token"), "build value-1")
				want(t, ask(r, of(1), "shared/ci-token"), "fetched value-2") // marked with the last build it was read for
			})
		})
	}
}

func TestNameVersionAndSubjectAreSeparateEntries(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.subject = func(r secret.Request) string { return r.Repo.DefaultBranch }
		elsewhere := of(1)
		elsewhere.Repo.DefaultBranch = "somebody else"
		for _, q := range []struct {
			req secret.Request
			ref string
		}{{of(1), "shared/a"}, {of(1), "shared/b"}, {of(1), "shared/a@0123/password"}, {elsewhere, "shared/a"}} {
			if got := ask(r, q.req, q.ref); !strings.HasPrefix(got, "fetched ") {
				t.Errorf("%s: %s", q.ref, got)
			}
		}
		if got := s.calls[2].key; got != "a@0123 " {
			t.Errorf("the source was asked for %q", got)
		}
	})
}

func TestCallersJoinAReadThatBeganLessThanASecondAgo(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = 3 * time.Second
		var answers [4]string
		var wg sync.WaitGroup
		for i, wait := range []time.Duration{0, 999, 1000, 1500} {
			wg.Go(func() {
				time.Sleep(wait * time.Millisecond)
				answers[i] = ask(r, of(int64(i)), "shared/ci-token")
			})
		}
		wg.Wait()
		for i, w := range []string{"fetched value-0", "joined value-0", "fetched value-1", "joined value-1"} {
			want(t, answers[i], w)
		}
	})
}

func TestTenThousandCallersShareOneRead(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = 500 * time.Millisecond
		var wg sync.WaitGroup
		for i := range 10_000 {
			wg.Go(func() {
				if got := ask(r, of(int64(i)), "shared/ci-token"); !strings.HasSuffix(got, " value-0") {
					t.Error(got)
				}
			})
		}
		wg.Wait()
		wantReads(t, s, 1)
	})
}

func TestTheFirstCallerMayLeave(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = time.Second
		ctx, cancel := context.WithCancel(context.Background())
		first := make(chan string)
		go func() { first <- describe(r.Fetch(ctx, of(1), grant("shared/ci-token"))) }()
		synctest.Wait()
		second := make(chan string)
		go func() { second <- ask(r, of(2), "shared/ci-token") }()
		synctest.Wait()
		cancel()
		want(t, <-first, "late late")
		want(t, <-second, "joined value-0")
		want(t, ask(r, of(1), "shared/ci-token"), "build value-0") // the read was his, and it was finished for him
	})
}

func TestEachCallerOwnsItsBytes(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = 10 * time.Millisecond
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				f, err := r.Fetch(context.Background(), of(1), grant("shared/ci-token"))
				want(t, describe(f, err)[len(f.How):], " value-0")
				f.Value.Clear() // as the service does after each answer
			})
		}
		wg.Wait()
		want(t, ask(r, of(1), "shared/ci-token"), "build value-0")
		if !bytes.Equal(s.handed[0], make([]byte, len("value-0"))) {
			t.Error("the bytes that the source gave were not overwritten after the last caller")
		}
	})
}

func TestTheReadHasItsOwnDeadline(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.hang = true
		start := time.Now()
		want(t, ask(r, of(1), "shared/ci-token"), "late timeout")
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// While a door hangs, nobody waits for it for longer than a second, and the first read that is answered heals it.
func TestAHangingDoorAnswersFast(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.hang = true
		want(t, ask(r, of(1), "shared/ci-token"), "late timeout")
		for range 20 {
			start := time.Now()
			want(t, ask(r, of(1), "shared/ci-token"), "late timeout")
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %s", took)
			}
			time.Sleep(2 * time.Second)
		}
		s.set(func(s *source) { s.hang, s.value = false, "well" })
		time.Sleep(30 * time.Second)
		want(t, ask(r, of(1), "shared/ci-token"), "fetched well")
		time.Sleep(time.Minute)
		s.set(func(s *source) { s.latency = 2 * time.Second })
		want(t, ask(r, of(1), "shared/ci-token"), "fetched well") // healed: patience is back
	})
}

func TestOneHangingDoorLeavesTheOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, works := &source{hang: true}, &source{}
		r := provider.NewRouter(map[string]provider.Door{"hangs": {Source: hangs}, "works": {Source: works}}, provider.Options{InFlight: 2})
		defer r.Close()
		for _, ref := range []string{"hangs/a", "hangs/b"} {
			go ask(r, of(1), ref)
		}
		synctest.Wait()
		want(t, ask(r, of(1), "hangs/c"), "busy busy")
		start := time.Now()
		want(t, ask(r, of(1), "works/a"), "fetched value-0")
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

// What an alias gives may come from several sources; then one that hangs leaves the others alone, too.
func TestASecretMayHaveADoorOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, works, rest := &source{hang: true}, &source{value: "works"}, &source{value: "rest"}
		r := provider.NewRouter(map[string]provider.Door{
			"tokens/acr": {Source: hangs}, "tokens/arm": {Source: works}, "tokens": {Source: rest}, "elsewhere/arm": {Source: hangs},
		}, provider.Options{})
		defer r.Close()
		want(t, ask(r, of(1), "tokens/acr"), "late timeout")
		want(t, ask(r, of(1), "tokens/arm"), "fetched works")
		want(t, ask(r, of(1), "tokens/arm/expires"), "build works")
		want(t, ask(r, of(1), "tokens/acr2"), "fetched rest")
		want(t, ask(r, of(1), "elsewhere/arm"), "internal internal") // without a door of the alias there is none
		all := r.Doors()
		if all["tokens/acr"].State != provider.Open || all["tokens"].State != provider.Closed || all["tokens/arm"].State != provider.Closed {
			t.Errorf("%+v", all)
		}
	})
}

func TestWaitersDoNotCountAsWork(t *testing.T) {
	bubble(t, provider.Options{InFlight: 1}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = 2 * time.Second
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got := ask(r, of(1), "shared/a"); !strings.HasSuffix(got, " value-0") {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		want(t, ask(r, of(1), "shared/b"), "busy busy")
		wg.Wait()
		want(t, ask(r, of(1), "shared/b"), "fetched value-1")
	})
}

func TestAnUnknownAliasIsABugOfOurs(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "elsewhere/a"), "internal internal")
	})
}

func TestAnEmptyValueIsGarbled(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		s.edit = func(f *secret.Fetched) { f.Value = secret.NewValue(nil) }
		want(t, ask(r, of(1), "shared/a"), "garbled garbled")
	})
}

func TestAPanicIsContainedAndItsValueNotPrinted(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.panics = "s3cr3t"
		_, err := r.Fetch(context.Background(), of(1), grant("shared/a"))
		want(t, describe(secret.Fetched{}, err), "internal internal")
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the panic's value is in %q", err)
		}
		s.set(func(s *source) { s.panics = nil })
		want(t, ask(r, of(1), "shared/a"), "fetched value-1")
	})
}

func TestAnUnclassifiedErrorLosesItsText(t *testing.T) {
	bubble(t, provider.Options{}, 0, func(t *testing.T, r *provider.Router, s *source) {
		s.fail = context.DeadlineExceeded
		want(t, ask(r, of(1), "shared/a"), "internal internal")
	})
}

func TestCloseEndsReadsAndRefusesMore(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "shared/kept"), "fetched value-0")
		s.hang = true
		answer := make(chan string)
		go func() { answer <- ask(r, of(1), "shared/a") }()
		synctest.Wait()
		bytes := provider.Bytes(r)
		r.Close()
		want(t, <-answer, "late timeout")
		if got := strings.Trim(string(bytes[0]), "\x00"); len(bytes) != 1 || got != "" {
			t.Errorf("the kept bytes were not overwritten: %q", got)
		}
		want(t, ask(r, of(1), "shared/kept"), "unavailable internal")
	})
}

// The copy, and the func in which a Value hides it.
func TestAHitAllocatesNothingButItsCopy(t *testing.T) {
	s := &source{}
	r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s}}, provider.Options{})
	defer r.Close()
	req, g := of(1), grant("shared/ci-token")
	got := testing.AllocsPerRun(100, func() {
		if _, err := r.Fetch(context.Background(), req, g); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations", got)
	}
}
