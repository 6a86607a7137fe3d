package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// manyBindings writes a configuration of n bindings as a big installation has them: half of them the shortest kind, the
// others with events, people and names of their own.
func manyBindings(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\nvaults:\n  shared: {url: https://kv-shared.vault.azure.net}\n  prod: {url: https://kv-prod.vault.azure.net}\n" +
		"groups: {deployers: [alice, bob]}\nbindings:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - id: team-%d.service-%d\n    repos: [\"acme-%d/service-%d\"]\n    read: [\"shared/team-%d-*\"]\n", i/100, i, i/100, i, i/100)
		if i%2 == 0 {
			continue
		}
		fmt.Fprintf(&b, "    when:\n      promote: {deploy_to: [production], branches: [main]}\n      tag: {tags: [\"v*\"]}\n"+
			"    actors: [deployers, lead-%d]\n    names: {db_password: prod/service-%d/password}\n", i/100, i)
	}
	return b.String()
}

// BenchmarkLoad reads a file of many bindings and compiles them. heap-MiB is what configuration and policy keep alive after a
// collection: neither the file's bytes nor its node tree.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(manyBindings(n)), 0o600); err != nil {
				b.Fatal(err)
			}
			before := heap()
			var cfg *config.Config
			var policy *secret.Policy
			for b.Loop() {
				loaded, problems := config.Load([]string{path})
				if problems.Errors() > 0 || len(loaded.Rules.Bindings) != n {
					b.Fatal(problems)
				}
				compiled, err := secret.NewPolicy(loaded.Rules)
				if err != nil {
					b.Fatal(err)
				}
				loaded.Forget()
				cfg, policy = loaded, compiled
			}
			b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
			runtime.KeepAlive(cfg)
			runtime.KeepAlive(policy)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
