package secret

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawSlugText draws from few words, so that heads, tails and middles meet, and repeat within one slug.
func drawSlugText(words ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var segments []string
		for range rapid.IntRange(2, 3).Draw(t, "segments") {
			segments = append(segments, strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 5).Draw(t, "words"), ""))
		}
		return strings.Join(segments, "/")
	})
}

// Whatever matches, the index yields, and each pattern once.
func TestIndexYieldsWhatMatches(t *testing.T) {
	met := 0
	rapid.Check(t, func(t *rapid.T) {
		var patterns []Pattern
		for _, text := range rapid.SliceOfN(drawSlugText("acme", "svc", "abab", "*", "*", "*"), 1, 30).Draw(t, "patterns") {
			if p, err := ParseSlugPattern(text); err == nil {
				patterns = append(patterns, p)
			}
		}
		var x index
		for i, p := range patterns {
			x.add(i, []RepoPattern{{Slug: p}})
		}
		x.seal()
		for _, slug := range rapid.SliceOfN(drawSlugText("acme", "Acme", "svc", "abab"), 20, 40).Draw(t, "slugs") {
			yielded := map[entry]int{}
			x.each(slug, func(e entry) { yielded[e]++ })
			for i, p := range patterns {
				n, matches := yielded[entry{int32(i), 0}], p.Match(slug)
				if n > 1 || n == 0 && matches {
					t.Fatalf("%q yields %q %d times, which matches: %t", slug, p, n, matches)
				}
				if matches && hasPiece(p) {
					met++
				}
			}
		}
	})
	if met == 0 {
		t.Error("no pattern with a piece in its middle ever matched")
	}
}

func hasPiece(p Pattern) bool {
	first := strings.IndexByte(p.text, '*')
	if first < 0 {
		return false
	}
	_, ok := pieceOf(p.text[first : strings.LastIndexByte(p.text, '*')+1])
	return ok
}

// A slug of a megabyte is no repository's, and costs no more than a look.
func TestAnOverlongSlugIsNobodys(t *testing.T) {
	read, err := ParseRead("v/**")
	if err != nil {
		t.Fatal(err)
	}
	slug, err := ParseSlugPattern("*/payments-*")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPolicy(Rules{
		Vaults:   []Vault{{Alias: "v", Host: "h"}},
		Bindings: []Binding{{ID: "b", Scope: Scope{Repos: []RepoPattern{{Slug: slug}}, Read: []ReadPattern{read}}}},
		Denies:   []Deny{{ID: "d", Scope: Scope{Repos: []RepoPattern{{Slug: slug}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	p.candidates(&Request{Repo: Repo{Slug: "a/payments-" + strings.Repeat("ts-", maxSlug/3)}}, func(entry) { looked++ })
	long := Request{Path: "v", Name: "x", Pool: DefaultPool, Repo: Repo{UID: "1", Slug: "a/payments-" + strings.Repeat("x", maxSlug)}}
	if d := p.Decide(long); d.Reason != ReasonRepo || looked != 0 {
		t.Errorf("denied for %q after %d looks", d.Reason, looked)
	}
}
