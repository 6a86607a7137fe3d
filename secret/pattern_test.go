package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"main", []string{"main"}, []string{"", "Main", "mainx", "xmain", "main/", "/main", "main\n", "a/main", "*"}},
		{"*", []string{"a", "main", "a b", "ü", "*"}, []string{"", "a/b", "/", "a/", "/a"}},
		{"release/*", []string{"release/1", "release/*"}, []string{"release", "release/", "release/a/b", "x/release/1", "release//a"}},
		{"v*", []string{"v", "v1", "v1.2"}, []string{"xv", "V1", "v/1"}},
		{"*-*", []string{"-", "a-b", "a-b-c"}, []string{"ab", "a/-"}},
		{"a*b*c", []string{"abc", "axbxc", "abbcc", "abcbc"}, []string{"acb", "ab/c", "abcb"}},
		{"**", []string{"a", "a/b", "a/b/c"}, []string{"", "/", "a/", "/a", "a//b"}},
		{"a/**", []string{"a/b", "a/b/c"}, []string{"a", "a/", "b/a", "a//b"}},
		{"**/a", []string{"b/a", "a/a", "a/b/a"}, []string{"a", "a/b", "/a"}},
		{"a/**/b", []string{"a/x/b", "a/x/y/b", "a/b/b"}, []string{"a/b", "a/x", "x/a/x/b"}},
		{"**/**", []string{"a/b", "a/b/c"}, []string{"a"}},
		{"**/a/**/b", []string{"x/a/x/b", "x/a/a/x/b", "a/a/a/b"}, []string{"a/x/b", "x/a/b"}},
		{"**/*-x", []string{"a/b-x", "a/b/c-x"}, []string{"b-x", "a/b-x/c"}},
	} {
		p := must(secret.ParsePattern(c.pattern))
		if p.String() != c.pattern || p.Literal() == strings.Contains(c.pattern, "*") {
			t.Errorf("%q reads as %q, literal %v", c.pattern, p, p.Literal())
		}
		for _, s := range c.yes {
			if !p.Match(s) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if p.Match(s) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	for _, s := range []string{
		"", "a?", "[a]", "{a,b}", "!a", `a\b`, "a]", "a}", "/", "a/", "/a", "a//b", "a**", "**a", "a/b**/c", "***", "a b", "a\tb", "a\n", "a\x00", "a\x7f",
	} {
		if p, err := secret.ParsePattern(s); err == nil {
			t.Errorf("%q is taken as the pattern %q", s, p)
		}
		if _, err := secret.ParseSlugPattern(s); err == nil {
			t.Errorf("%q is taken as a slug's pattern", s)
		}
	}
	for _, s := range []string{"acme", "*", "acme-*"} {
		if _, err := secret.ParseSlugPattern(s); err == nil {
			t.Errorf("%q is taken as a slug's pattern, and matches no slug", s)
		}
	}
}

func TestPatternsFoldASCIIOnly(t *testing.T) {
	for _, text := range []string{"Acme/Kiosk", "Acme/K*"} {
		folded, exact := must(secret.ParseFoldPattern(text)), must(secret.ParsePattern(text))
		if !folded.Match("aCME/kIOSK") || exact.Match("aCME/kIOSK") || !exact.Match("Acme/Kiosk") {
			t.Errorf("%q folds wrongly", text)
		}
		if folded.Match("acme/\u212aiosk") || folded.Match("acme/KIOſK") && text == "Acme/Kiosk" {
			t.Errorf("%q matches a look-alike", text)
		}
	}
	var zero secret.Pattern
	for _, s := range []string{"", "a", "a/b"} {
		if zero.Match(s) {
			t.Errorf("the zero Pattern matches %q", s)
		}
	}
}

func TestAPatternOfStarsIsNoWayToBurnTime(t *testing.T) {
	segment := must(secret.ParsePattern(strings.Repeat("*a", 60) + "b"))
	if segment.Match(strings.Repeat("a", 20_000)) {
		t.Error("matched without the b")
	}
	segments := must(secret.ParsePattern(strings.Repeat("**/a/", 30) + "b"))
	if segments.Match(strings.TrimSuffix(strings.Repeat("a/", 5_000), "/")) {
		t.Error("matched without the b")
	}
	p := must(secret.ParsePattern("release/*/a*b/**"))
	if n := testing.AllocsPerRun(100, func() { p.Match("release/x/aab/c/d") }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
}

// seeded adds the seeds and fails a fuzz target that has none.
func seeded(f *testing.F, seeds [][2]string) {
	if len(seeds) == 0 {
		f.Fatal("a fuzz target without seeds tests nothing")
	}
	for _, s := range seeds {
		f.Add(s[0], s[1])
	}
}

func FuzzPattern(f *testing.F) {
	seeded(f, [][2]string{
		{"main", "main"}, {"release/*", "release/a/b"}, {"**", "a/b"}, {"a/**/b", "a/x/y/b"}, {"**/a/**", "a/a/a"}, {"*a*b", "aabb"}, {"K*", "\u212a"},
		{"**/*", "a//b"}, {"a/*", "a/"}, {"*/**/*", "a/b/c"}, {"A/B", "a/b"}, {"*", ""}, {"**/a/**/a", "x/a/a/a"},
	})
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 24 || len(s) > 40 {
			t.Skip("the naive matcher tries everything")
		}
		exact, err := secret.ParsePattern(pattern)
		folded, errFolded := secret.ParseFoldPattern(pattern)
		if (err == nil) != (errFolded == nil) {
			t.Fatalf("%q: one parser takes it: %v, %v", pattern, err, errFolded)
		}
		if err != nil {
			if exact.Match(s) || folded.Match(s) {
				t.Fatalf("the refused pattern %q matches %q", pattern, s)
			}
			return
		}
		if got, want := exact.Match(s), naive(pattern, s, false); got != want {
			t.Fatalf("%q, %q: %v, want %v", pattern, s, got, want)
		}
		if got, want := folded.Match(s), naive(pattern, s, true); got != want {
			t.Fatalf("folded %q, %q: %v, want %v", pattern, s, got, want)
		}
		if exact.Match(s) && !folded.Match(s) || !strings.Contains(pattern, "*") && exact.Match(s) != (pattern == s) {
			t.Fatalf("%q, %q: exact %v, folded %v", pattern, s, exact.Match(s), folded.Match(s))
		}
	})
}
