package provider_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// perBuild runs a test in fake time with the door "tokens", which gives each build a value of its own.
func perBuild(t *testing.T, test func(*testing.T, *provider.Router, *source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"tokens": {Source: s, Stale: time.Hour, PerBuild: true}}, provider.Options{})
		defer r.Close()
		test(t, r, s)
	})
}

// others are all who are not build 1 of acme/app in one respect.
func others() map[string]secret.Request {
	all := map[string]secret.Request{}
	for name, change := range map[string]func(*secret.Request){
		"number": func(r *secret.Request) { r.Build.Number = 2 },
		"uid":    func(r *secret.Request) { r.Repo.UID = "43" },
		"slug":   func(r *secret.Request) { r.Repo.Slug = "acme/other" },
		"pool":   func(r *secret.Request) { r.Pool = "prod" },
	} {
		r := of(1)
		change(&r)
		all[name] = r
	}
	return all
}

func TestABuildsOwnValueIsNobodyElses(t *testing.T) {
	for name, other := range others() {
		t.Run(name, func(t *testing.T) {
			perBuild(t, func(t *testing.T, r *provider.Router, s *source) {
				s.latency = 100 * time.Millisecond
				var own, second, foreign string
				var wg sync.WaitGroup
				wg.Go(func() { own = ask(r, of(1), "tokens/aws") })
				synctest.Wait()
				wg.Go(func() { second = ask(r, of(1), "tokens/aws") })
				wg.Go(func() { foreign = ask(r, other, "tokens/aws") })
				wg.Wait()
				want(t, own, "fetched value-0")
				want(t, second, "joined value-0") // the same build's next step
				want(t, foreign, "fetched value-1")
				want(t, ask(r, of(1), "tokens/aws"), "build value-0") // and each keeps his own
				want(t, ask(r, other, "tokens/aws"), "build value-1")
				wantReads(t, s, 2)
			})
		})
	}
}

func TestABuildsOwnValueIsNeverStale(t *testing.T) {
	perBuild(t, func(t *testing.T, r *provider.Router, s *source) {
		want(t, ask(r, of(1), "tokens/aws"), "fetched value-0")
		time.Sleep(time.Minute)
		s.set(func(s *source) { s.fail = passing[1] })
		want(t, ask(r, of(1), "tokens/aws"), "unavailable network")
		time.Sleep(time.Minute)
		if n := provider.Kept(r); n != 0 {
			t.Errorf("%d values are still kept", n)
		}
	})
}

// A value with too little life left is read anew, for its own build and during an outage too.
func TestAValueServesOnlyWhileItLivesLongEnough(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		s.edit = func(f *secret.Fetched) {
			f.MinLife, f.Expires = 10*time.Minute, time.Now().Add(10*time.Minute+30*time.Second)
		}
		want(t, ask(r, of(1), "shared/a"), "fetched value-0")
		time.Sleep(30 * time.Second)
		want(t, ask(r, of(1), "shared/a"), "build value-0") // to the last moment
		time.Sleep(time.Nanosecond)
		want(t, ask(r, of(1), "shared/a"), "fetched value-1")
		time.Sleep(30 * time.Second)
		s.set(func(s *source) { s.fail = passing[1] })
		want(t, ask(r, of(2), "shared/a"), "stale value-1")
		time.Sleep(time.Nanosecond)
		want(t, ask(r, of(2), "shared/a"), "unavailable network")
	})
}

func TestTheSourceSaysHowItCameByTheValue(t *testing.T) {
	perBuild(t, func(t *testing.T, r *provider.Router, s *source) {
		s.edit = func(f *secret.Fetched) { f.How = secret.HowMinted }
		s.latency = 100 * time.Millisecond
		answers := make(chan string)
		for range 2 {
			go func() { answers <- ask(r, of(1), "tokens/aws") }()
			synctest.Wait()
		}
		got := <-answers + ", " + <-answers
		if !strings.Contains(got, "minted value-0") || !strings.Contains(got, "joined value-0") {
			t.Error(got)
		}
		want(t, ask(r, of(1), "tokens/aws"), "build value-0")
	})
}
