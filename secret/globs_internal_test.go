package secret

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What two patterns have in common is another union of patterns: it matches a text if and only if both do.

func drawGlob(t *rapid.T, name string) string {
	s := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*", "ab"}), 1, 4).Draw(t, name), "")
	for strings.Contains(s, "**") {
		s = strings.ReplaceAll(s, "**", "*")
	}
	return s
}

func TestCommonGlobsMatchWhatBothMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawGlob(t, "a"), drawGlob(t, "b")
		common := commonGlobs(a, b)
		for range 20 {
			s := rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 1, 7, -1).Draw(t, "text")
			in := false
			for _, g := range common {
				in = in || glob(g, s, false)
			}
			if both := glob(a, s, false) && glob(b, s, false); in != both {
				t.Fatalf("%q and %q have %q in common; of %q they say %v, it says %v", a, b, common, s, both, in)
			}
		}
	})
}

func drawPattern(t *rapid.T, name string) Pattern {
	segments := rapid.SliceOfN(rapid.SampledFrom([]string{"**", "*", "a", "a*", "*b", "**", "b"}), 1, 4).Draw(t, name)
	p, err := ParseFoldPattern(strings.Join(segments, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCommonPatternsMatchWhatBothMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPattern(t, "a"), drawPattern(t, "b")
		common := commonPatterns(a, b)
		for range 20 {
			s := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "c", "A"}), 1, 6).Draw(t, "text"), "/")
			if both := a.Match(s) && b.Match(s); matchAny(common, s) != both {
				t.Fatalf("%q and %q have %v in common; of %q they say %v", a, b, common, s, both)
			}
		}
	})
}

// A generic text is matched by a pattern only if everything is that its template stands for.
func TestAGenericTextStandsForAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell, other := drawPattern(t, "cell"), drawPattern(t, "other")
		for _, template := range cell.templates(6) {
			generic := strings.ReplaceAll(template, "*", anything)
			if !cell.Match(generic) {
				t.Fatalf("%q does not match its own %q", cell, generic)
			}
			if !other.Match(generic) {
				continue
			}
			for _, word := range []string{"a", "b", "ab", "ba", "c", "zz"} {
				if s := strings.ReplaceAll(template, "*", word); !other.Match(s) {
					t.Fatalf("%q matches %q, but not %q", other, generic, s)
				}
			}
		}
	})
}

// Where somebody wrote a dozen stars, the answer is bounded, not the patience of who asks.
func TestManyStarsEnd(t *testing.T) {
	a, b := strings.Repeat("*a", 12)+"*", strings.Repeat("*b", 12)+"*"
	if n := len(commonGlobs(a, b)); n == 0 || n > mostGlobs {
		t.Errorf("%d globs", n)
	}
	p, _ := ParsePattern(strings.Repeat("**/a/", 8) + "**")
	if n := len(p.templates(5)); n != 5 {
		t.Errorf("%d templates", n)
	}
}

// Many stars and nothing in common: the alignments are not tried one by one.
func TestManyStarsThatNeverMeetEnd(t *testing.T) {
	a, b := strings.Repeat("**/a/", 12)+"x", strings.Repeat("**/b/", 12)+"y"
	p, errP := ParseSlugPattern(a)
	q, errQ := ParseSlugPattern(b)
	if errP != nil || errQ != nil {
		t.Fatal(errP, errQ)
	}
	if common := commonPatterns(p, q); common != nil {
		t.Errorf("%q and %q have %v in common", a, b, common)
	}
	if common := commonGlobs(strings.Repeat("*a", 20)+"x", strings.Repeat("*b", 20)+"y"); common != nil {
		t.Errorf("in common are %q", common)
	}
}
