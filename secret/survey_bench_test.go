package secret_test

import (
	"fmt"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// The answers about a policy as a whole at the sizes of one team and of a large company: wanted at 100,000 bindings are 50 ms
// for each, once the policy is loaded.

var sizes = []int{1000, 100_000}

func BenchmarkNewSurvey(b *testing.B) {
	for _, n := range sizes {
		p := crowd(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				secret.NewSurvey(p)
			}
		})
		b.Run(fmt.Sprint(n, " with the index of secrets"), func(b *testing.B) {
			for b.Loop() {
				if _, err := secret.NewSurvey(p).Readers("v3/nobody-reads-this"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAccess(b *testing.B) {
	for _, n := range sizes {
		s := secret.NewSurvey(crowd(b, n))
		for _, slug := range []string{"org3/repo4", "org3/team3-x", "nobody/knows"} {
			b.Run(fmt.Sprint(n, " ", slug), func(b *testing.B) {
				count(b, func() ([]secret.Line, error) { return s.Access(slug, "") })
			})
		}
	}
}

func BenchmarkReaders(b *testing.B) {
	for _, n := range sizes {
		s := secret.NewSurvey(crowd(b, n))
		for _, asked := range []string{"v3/app-203", "v3/ci-token", "v3/root-1"} {
			b.Run(fmt.Sprint(n, " ", asked), func(b *testing.B) {
				count(b, func() ([]secret.Line, error) { return s.Readers(asked) })
			})
		}
	}
}

// count runs a question and reports how many lines its answer has.
func count(b *testing.B, question func() ([]secret.Line, error)) {
	if _, err := question(); err != nil { // also makes the index
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		lines, _ := question()
		n = len(lines)
	}
	b.ReportMetric(float64(n), "lines")
}

// The difference that one more deny makes.
func BenchmarkDiff(b *testing.B) {
	rules := secret.Rules{Vaults: theVaults}
	for i := range 10_000 {
		rules.Bindings = append(rules.Bindings, secret.Binding{ID: fmt.Sprint(i), Scope: secret.Scope{
			Repos: repos(fmt.Sprintf("org%d/app%d", i%100, i)), Read: reads("v1/ci-*", fmt.Sprintf("v2/app-%d", i)),
		}})
	}
	older := compiled(b, rules)
	rules.Denies = []secret.Deny{{ID: "d", Scope: secret.Scope{Read: denyReads("*/*-77")}}}
	newer := compiled(b, rules)
	for b.Loop() {
		if len(secret.Diff(older, newer)) == 0 {
			b.Fatal("no difference")
		}
	}
}
