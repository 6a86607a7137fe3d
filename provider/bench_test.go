package provider_test

import (
	"context"
	"testing"

	"github.com/drone-entra/drone-entra/provider"
)

// BenchmarkHit is a value from memory, which is what most requests of a pipeline get.
func BenchmarkHit(b *testing.B) {
	r := provider.NewRouter(map[string]provider.Door{"shared": {Source: &source{}}}, provider.Options{})
	defer r.Close()
	req, g := of(1), grant("shared/ci-token")
	for b.Loop() {
		f, err := r.Fetch(context.Background(), req, g)
		if err != nil {
			b.Fatal(err)
		}
		f.Value.Clear()
	}
}
