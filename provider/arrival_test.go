package provider_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

// Builds whose requests came together, and that a busy process gets to one after the other, share a read that began after they
// came: it is as fresh for each as its own would be. Who asks after that has one of his own, so that a rotation is seen.
func TestWhoCameBeforeAReadBeganSharesIt(t *testing.T) {
	bubble(t, provider.Options{}, time.Hour, func(t *testing.T, r *provider.Router, s *source) {
		s.latency = time.Millisecond
		came := secret.WithArrival(t.Context(), time.Now())
		get := func(number int64) string {
			return describe(r.Fetch(came, of(number), grant("shared/a")))
		}
		time.Sleep(time.Millisecond)
		want(t, get(1), "fetched value-0")
		for number := range int64(50) {
			time.Sleep(100 * time.Millisecond)
			want(t, get(number+2), "joined value-0")
		}
		came = secret.WithArrival(t.Context(), time.Now())
		time.Sleep(time.Millisecond)
		want(t, get(60), "fetched value-1")
		want(t, get(61), "joined value-1")
		came = t.Context() // it is not known when
		want(t, get(62), "fetched value-2")

		s.fail = conclusive[0] // nothing old serves after a refusal, whoever came when
		came = secret.WithArrival(t.Context(), time.Now())
		time.Sleep(time.Millisecond)
		for number := range int64(3) {
			want(t, get(70+number), "not found not-found")
		}
		if n := s.reads(); n != 6 { // three that failed
			t.Errorf("%d reads", n)
		}
	})
}

// What is one build's stays its own, whoever came when.
func TestArrivalGivesNoBuildAnothersToken(t *testing.T) {
	perBuild(t, func(t *testing.T, r *provider.Router, _ *source) {
		came := secret.WithArrival(t.Context(), time.Now())
		time.Sleep(time.Millisecond)
		for number := range int64(3) {
			want(t, describe(r.Fetch(came, of(number), grant("tokens/aws"))), fmt.Sprintf("fetched value-%d", number))
		}
	})
}
