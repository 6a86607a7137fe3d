package secret

import (
	"fmt"
	"strings"
	"unicode"
)

// Pattern is a segment glob, anchored at both ends: "*" stands for any run of characters within one segment (also none),
// "**" alone as a segment for one or more whole segments. There is no other syntax and no escape, which is what keeps
// "who can read this?" exactly answerable. The zero Pattern matches nothing.
//
// Regular expressions were the obvious choice. They are easily left unanchored, people misread them, and whether one
// lies within another is no practical question. Outside this package, only the Parse functions make a Pattern; it is
// immutable.
type Pattern struct {
	text     string
	segments []string
	literal  bool // no "*" anywhere
	fold     bool // compare without ASCII case; segments are in lower case then
}

// ParsePattern reads a pattern that compares exactly: for deploy targets and cron names.
func ParsePattern(s string) (Pattern, error) { return parsePattern(s, false) }

// ParseFoldPattern reads a pattern that compares without ASCII case: for slugs.
func ParseFoldPattern(s string) (Pattern, error) { return parsePattern(s, true) }

// ParseRefPattern reads a pattern that compares exactly, for branches and tags. What Git forbids in their names
// (git-check-ref-format) is refused: it would never match, and is most often a regular expression that somebody hoped for.
func ParseRefPattern(s string) (Pattern, error) {
	if err := noRegexp(s, "^~:", "branch or tag"); err != nil {
		return Pattern{}, err
	}
	return ParsePattern(s)
}

// noRegexp refuses the characters by which a regular expression shows, where no name could hold them anyway.
func noRegexp(s, chars, what string) error {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return fmt.Errorf("%q: no %s holds %q; a pattern is no regular expression: there are only * (within one segment) and ** (whole segments)", s, what, s[i])
	}
	return nil
}

// ParseSlugPattern reads a pattern for repositories, "namespace/name" with subgroups on GitLab. A pattern that could match
// no repository is refused: one of a single segment other than "**", or with characters that no forge takes.
func ParseSlugPattern(s string) (Pattern, error) {
	if err := noRegexp(s, "^$()|", "slug"); err != nil {
		return Pattern{}, err
	}
	p, err := ParseFoldPattern(s)
	if err == nil && len(p.segments) == 1 && p.segments[0] != "**" {
		return Pattern{}, fmt.Errorf("%q matches no repository: write namespace/name, as in %q", s, s+"/*")
	}
	return p, err
}

// parsePattern refuses what would be read in another way elsewhere: "?", "[a-z]", "{a,b}", "!" and "\" mean something
// to a shell, and a person who writes them means that. Taken literally they would match next to nothing, in a deny
// without anybody noticing.
func parsePattern(s string, folded bool) (Pattern, error) {
	if s == "" {
		return Pattern{}, fmt.Errorf("an empty pattern matches nothing: leave it out or name something")
	}
	if i := strings.IndexAny(s, `?[]{}!\`); i >= 0 {
		return Pattern{}, fmt.Errorf("%q: %q has no meaning in a pattern; there are only * (within one segment) and ** (whole segments)", s, s[i])
	}
	p := Pattern{text: s, literal: true, fold: folded}
	for segment := range strings.SplitSeq(s, "/") {
		switch {
		case segment == "":
			return Pattern{}, fmt.Errorf("%q has an empty segment and matches nothing: look at its slashes", s)
		case strings.Contains(segment, "**") && segment != "**":
			return Pattern{}, fmt.Errorf("%q: ** stands alone between slashes; within a segment write one *", s)
		// Unicode's bidirectional controls and zero-width characters can make a rule look like another one.
		case strings.ContainsFunc(segment, func(r rune) bool { return unprintable(r) || !unicode.IsPrint(r) }):
			return Pattern{}, fmt.Errorf("%q holds a blank or an invisible character: nobody who reads the rule would see what it means", s)
		}
		if strings.Contains(segment, "*") {
			p.literal = false
		}
		if folded {
			segment = fold(segment)
		}
		p.segments = append(p.segments, segment)
	}
	return p, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Literal tells whether the pattern names one thing only.
func (p Pattern) Literal() bool { return p.literal }

// Match tells whether the whole of s matches. It does not allocate and takes time bounded by len(pattern) × len(s).
//
// An empty segment in s matches nothing but a literal that holds one, which no parse gives: "acme//app" is not
// "acme/*".
func (p Pattern) Match(s string) bool {
	if p.literal {
		if p.fold {
			return equalFold(p.text, s)
		}
		return p.text == s
	}
	// Invariant: segments[:next] match s[:pos], with the last "**" up to starPos. One step back is enough: an earlier
	// "**" could only take what the later one can take as well.
	// Greedy with one step back to the last "**", as for a single star: what follows it is tried one segment later.
	next, pos := 0, 0
	star, starPos := -1, 0
	for pos <= len(s) {
		segment, end := segmentAt(s, pos)
		switch {
		case segment == "":
			return false
		case next < len(p.segments) && p.segments[next] == "**":
			star, starPos = next, end
			next, pos = next+1, end
		case next < len(p.segments) && glob(p.segments[next], segment, p.fold):
			next, pos = next+1, end
		case star >= 0 && starPos <= len(s):
			_, starPos = segmentAt(s, starPos)
			next, pos = star+1, starPos
		default:
			return false
		}
	}
	return len(p.segments) > 0 && next == len(p.segments)
}

// segmentAt returns the segment of s that begins at pos, and where the next one begins; that is beyond len(s) after the last.
func segmentAt(s string, pos int) (segment string, next int) {
	if i := strings.IndexByte(s[pos:], '/'); i >= 0 {
		return s[pos : pos+i], pos + i + 1
	}
	return s[pos:], len(s) + 1
}

// glob matches one segment, where "*" stands for any run of characters. With folded, the pattern is in lower case.
//
// It works on bytes, which comes to the same in UTF-8, where no character begins inside another. Its time is bounded
// by len(pattern) × len(s), also for "*a*a*a*b" on a long run of a's.
func glob(pattern, s string, folded bool) bool {
	p, i := 0, 0
	star, starI := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, starI = p, i
			p++
		case p < len(pattern) && (pattern[p] == s[i] || folded && pattern[p] == lower(s[i])):
			p++
			i++
		case star >= 0:
			starI++
			p, i = star+1, starI
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchAny tells whether one of the patterns matches.
func matchAny(patterns []Pattern, s string) bool {
	for i := range patterns {
		if patterns[i].Match(s) {
			return true
		}
	}
	return false
}
