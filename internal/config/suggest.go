package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Suggestions are a courtesy and must not cost more than the file is worth.
const (
	maxSuggestWord  = 64
	maxSuggestWords = 2000
)

// didYouMean is `: did you mean "x"?` for the nearest of the candidates, or else the text.
func didYouMean(word string, candidates []string, otherwise string) string {
	if best := nearest(word, candidates); best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return otherwise
}

// nearest returns the candidate that word is most probably a misspelling of, or "". Among equally near ones the first in
// the alphabet wins, so that the same file gives the same text every time.
//
// A third of the letters may be wrong, and one in any case: "branchs" and "branch" become "branches", "br" becomes
// nothing.
func nearest(word string, candidates []string) string {
	if len(word) > maxSuggestWord || len(candidates) > maxSuggestWords {
		return ""
	}
	// distance is one more than is allowed, so the first that is near enough wins over "".
	best, distance := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		d := edits(plain(word), plain(c))
		if d < distance || d == distance && best != "" && c < best {
			best, distance = c, d
		}
	}
	return best
}

// plain removes what people mix up most: case, and dashes for underscores.
func plain(s string) string { return strings.ReplaceAll(fold(s), "-", "_") }

// fold is s in ASCII lower case, the way in which logins compare. strings.ToLower would do more: it makes a k of the
// Kelvin sign U+212A, and so one name of two.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// edits counts the insertions, deletions, changes and swaps of neighbours that make a into b. It is the optimal string
// alignment distance, over bytes: a letter outside of ASCII counts for more, which is good enough for a hint. The
// caller has bounded a.
func edits(a, b string) int {
	if len(b) > maxSuggestWord {
		return len(b)
	}
	var older, old []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	// row, old and older are those of i, i-1 and i-2; row[j] is the distance from a[:i] to b[:j].
	for i := 1; i <= len(a); i++ {
		older, old, row = old, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// oneOf lists the choices for people: a, b or c.
func oneOf(choices []string) string { return joined(choices, "or") }

// joined lists words for people, with the given word in front of the last one.
func joined(words []string, last string) string {
	if len(words) == 0 {
		return ""
	}
	n := len(words) - 1
	if n == 0 {
		return words[0]
	}
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// sortedKeys lists a map's keys in a fixed order.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
