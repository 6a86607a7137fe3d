package load

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// BenchmarkPolicy prints what the number of bindings costs: loading, memory, and a decision, in the mix that the load test
// serves and where every binding is a pattern of one organisation.
func BenchmarkPolicy(b *testing.B) {
	for b.Loop() {
		fmt.Printf("\n%-10s %9s %10s %10s %14s %10s %14s %10s %10s\n", "mix", "bindings", "load", "heap MiB", "decision p50", "p99", "allocs/denial", "access", "readers")
		for _, mix := range []mix{realistic, worst} {
			for _, n := range []int{100, 1_000, 10_000, 100_000} {
				measurePolicy(b, mix, n)
			}
		}
		fmt.Println()
	}
}

type mix struct {
	name    string
	binding func(i int) (repos string)
	repos   []string // of requests
}

var realistic = mix{"realistic", realisticRepos, []string{
	"organisation-7/service-3", "organisation-150/service-40", "organisation-7/other", "elsewhere/app", "organisation-199/service-20-canary",
}}

var worst = mix{"one org", worstRepos, []string{"acme/payments-service-7", "acme/my-team-8-payments", "acme/team-9-payments", "acme/no-such-thing"}}

// worstRepos has a star wherever there can be one.
func worstRepos(i int) string {
	return fmt.Sprintf([]string{`"acme/*-service-%d"`, `"acme/*-team-%d-*"`, `"acme/team-%d-*"`}[i%3], i)
}

func measurePolicy(b *testing.B, m mix, n int) {
	file := filepath.Join(b.TempDir(), "drone-entra.yaml")
	if err := os.WriteFile(file, rules(m.binding, n), 0o600); err != nil {
		b.Fatal(err)
	}
	before := heap()
	began := time.Now()
	c, problems := config.Load([]string{file})
	if c == nil {
		b.Fatal(problems[0])
	}
	policy, err := secret.NewPolicy(c.Rules)
	if err != nil {
		b.Fatal(err)
	}
	load := time.Since(began)
	c.Forget() // as serve does once it has kept the files beside the record
	used := float64(heap()-before) / (1 << 20)

	var took []time.Duration
	for i := range 2000 {
		r := decisionRequest(m.repos[i%len(m.repos)], i)
		began := time.Now()
		for range 8 { // one alone is near the clock's own grain
			policy.Decide(r)
		}
		took = append(took, time.Since(began)/8)
	}
	slices.Sort(took)
	denial := decisionRequest(m.repos[len(m.repos)-1], 1)
	access, readers := measureSurvey(b, policy, m.repos[0])
	fmt.Printf("%-10s %9d %10s %10.1f %14s %10s %14.0f %10s %10s\n", m.name, n, load.Round(time.Millisecond), used,
		took[len(took)/2], took[len(took)*99/100], testing.AllocsPerRun(100, func() { policy.Decide(denial) }),
		access.Round(10*time.Microsecond), readers.Round(10*time.Microsecond))
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), fmt.Sprintf("ns/decision-%s-%d", map[string]string{"realistic": "mix", "one org": "worst"}[m.name], n))
	if n == bindings {
		tellOnly(1, "a decision among 10,000 bindings, "+m.name, fmt.Sprintf("p50 %s, p99 %s", took[len(took)/2], took[len(took)*99/100]))
	}
	runtime.KeepAlive(c)
}

// measureSurvey times both questions of an auditor, the second time they are asked: the first builds their indexes.
func measureSurvey(b *testing.B, policy *secret.Policy, repo string) (access, readers time.Duration) {
	survey := secret.NewSurvey(policy)
	for range 2 {
		began := time.Now()
		if _, err := survey.Access(repo, ""); err != nil {
			b.Fatal(err)
		}
		access, began = time.Since(began), time.Now()
		if _, err := survey.Readers("rare/token-1"); err != nil {
			b.Fatal(err)
		}
		readers = time.Since(began)
	}
	return access, readers
}

// decisionRequest is granted for even i where a binding names the repository, and denied for its branch else.
func decisionRequest(slug string, i int) secret.Request {
	ref := "refs/heads/main"
	if i%2 == 1 {
		ref = "refs/heads/feature"
	}
	return secret.Request{
		Path: "load", Name: "secret-1", Pool: secret.DefaultPool,
		Repo:  secret.Repo{UID: "1", Slug: slug, DefaultBranch: "main"},
		Build: secret.Build{Number: 1, Event: "push", Ref: ref, Trigger: "@hook", Sender: "alice"},
	}
}

// heap is what is in use after everything dead is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
