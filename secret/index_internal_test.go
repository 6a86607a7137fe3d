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
		slug := drawSlugText("acme", "Acme", "svc", "abab").Draw(t, "slug")
		yielded := map[entry]int{}
		x.each(slug, func(e entry) { yielded[e]++ })
		for i, p := range patterns {
			n := yielded[entry{int32(i), 0}]
			if n > 1 || n == 0 && p.Match(slug) {
				t.Fatalf("%q yields %q %d times, which matches: %t", slug, p, n, p.Match(slug))
			}
			if first := strings.IndexByte(p.text, '*'); n == 1 && p.Match(slug) && first >= 0 {
				if _, ok := pieceOf(p.text[first : strings.LastIndexByte(p.text, '*')+1]); ok {
					met++
				}
			}
		}
	})
	if met == 0 {
		t.Error("no pattern with a piece in its middle ever matched")
	}
}
