package secret_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

func TestPatternWithin(t *testing.T) {
	for _, test := range []struct {
		p, other string
		want     bool
	}{
		{"acme/payments-api", "acme/payments-*", true},
		{"acme/payments-*", "acme/payments-*", true},
		{"ACME/Payments-*", "acme/payments-*", true},
		{"acme/payments-*", "acme/*", true},
		{"acme/*", "acme/payments-*", false},
		{"acme/**", "acme/*", false},
		{"acme/*", "acme/**", true},
		{"**", "acme/**", false},
		{"**", "*/**", false}, // one segment is no repository, and a pattern knows nothing of that
		{"**/x", "*/**", true},
		{"**/x", "*/x", false},
		{"a/**/b", "a/*/**", true},
		{"a/**/b", "a/*/*/**", false},
		{"a/**/**/b", "a/*/**/b", true},
		{"a/*/**/b", "a/**/*/b", true},
		{"a*b*c", "a*c", true},
		{"a*c", "a*b*c", false},
		{"a**", "a*", true},
	} {
		p, err := secret.ParseFoldPattern(test.p)
		if err != nil {
			continue // "a**" is refused; nothing to compare
		}
		if got := p.Within(must(secret.ParseFoldPattern(test.other))); got != test.want {
			t.Errorf("%s within %s: %v", test.p, test.other, got)
		}
	}
	exact, folded := must(secret.ParsePattern("main")), must(secret.ParseFoldPattern("main"))
	if !exact.Within(folded) || folded.Within(exact) {
		t.Error("what compares without case takes more than what compares exactly")
	}
	if !(secret.Pattern{}).Within(exact) || exact.Within(secret.Pattern{}) {
		t.Error("the zero pattern matches nothing")
	}
}

// words are enough to tell any two of the drawn patterns apart: the letters that they use, and one more.
var drawSegments = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("ab*")), 1, 3, -1), 1, 4).Draw(t, "segments"), "/")
})

func drawPattern(t *rapid.T, name string) secret.Pattern {
	for {
		if p, err := secret.ParsePattern(drawSegments.Draw(t, name)); err == nil {
			return p
		}
	}
}

func eachWord(depth int, yield func(string)) {
	segments := []string{"a", "b", "c", "ab", "ca", "cc", "bcb", "acb", "aca", "bca"}
	var grow func(prefix string, left int)
	grow = func(prefix string, left int) {
		for _, s := range segments {
			yield(prefix + s)
			if left > 1 {
				grow(prefix+s+"/", left-1)
			}
		}
	}
	grow("", depth)
}

// A yes means that no word is matched by the one and not by the other. A no has a witness: the pattern itself, with a
// letter that neither uses for each "*".
func TestWithinAgainstWords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, other := drawPattern(rt, "p"), drawPattern(rt, "other")
		if p.Within(other) {
			eachWord(3, func(word string) {
				if p.Match(word) && !other.Match(word) {
					rt.Fatalf("%q within %q, but for %q", p, other, word)
				}
			})
			return
		}
		for _, many := range []string{"zz", "zz/zz", "zz/zz/zz", "zz/zz/zz/zz", "zz/zz/zz/zz/zz"} {
			segments := strings.Split(p.String(), "/")
			if witness(segments, many, p, other) {
				return
			}
		}
		rt.Fatalf("%q not within %q, and no word shows it", p, other)
	})
}

// witness looks for a word of p that other does not match, with each "**" either one segment or many.
func witness(segments []string, many string, p, other secret.Pattern) bool {
	for choice := range 1 << strings.Count(p.String(), "**") {
		word, bit := make([]string, len(segments)), 0
		for i, s := range segments {
			word[i] = strings.ReplaceAll(s, "*", "zz")
			if s == "**" {
				word[i] = "zz"
				if choice&(1<<bit) != 0 {
					word[i] = many
				}
				bit++
			}
		}
		if w := strings.Join(word, "/"); p.Match(w) && !other.Match(w) {
			return true
		}
	}
	return false
}

func TestReadPatternWithin(t *testing.T) {
	all := []string{"v/a", "v/a*", "v/**", "v/*b", "v/ab", "w/a", "v/a@*", "v/a@1", "v/a@1*", "v/a/k", "v/a/*", "v/a/k*", "v/*@*/k", "v/a@*/k", "v/A/value", "v/a@*1"}
	var refs []secret.Ref
	for _, s := range []string{"v/a", "v/ab", "v/b", "w/a", "v/x", "v/a@1", "v/a@12", "v/a@2", "v/a@21", "v/a/k", "v/a/kk", "v/a/j", "v/b/k", "v/a@1/k", "v/a@2/j", "v/b@1/k", "v/azz", "v/zzb", "v/a@zz", "v/a@zz1", "v/a@1zz", "v/a/zz", "v/a/kzz"} {
		refs = append(refs, must(secret.ParseRef(s)))
	}
	yes := 0
	for _, p := range reads(all...) {
		for _, other := range reads(all...) {
			want := true
			for _, r := range refs {
				want = want && (!p.Gives(r) || other.Gives(r))
			}
			if got := p.Within(other); got != want {
				t.Errorf("%s within %s: %v", p, other, got)
			}
			if want {
				yes++
			}
		}
	}
	if yes <= len(all) {
		t.Error("nothing lies within anything")
	}
}
