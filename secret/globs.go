package secret

import (
	"slices"
	"strings"
)

// The intersection of two globs is a union of globs: their literal parts in every order that respects both, overlapping or
// apart. The patterns of people have one or two stars, and the union one or two members.

// mostGlobs bounds the union where somebody wrote a dozen stars. What is beyond is left out. Whether two patterns meet
// at all is always exact; what is left out beyond the bound can only cost a part of a union.
const mostGlobs = 64

// rests remembers which rests of two patterns, by their lengths, have nothing in common. Without it the alignments of
// two patterns with many stars would be tried one by one, exponentially many of them.
type rests map[[2]int]bool

// commonGlobs returns globs of one segment that together match what both match.
//
// For example, "ci-*" and "*-prod" have "ci-*-prod" and "ci-prod" in common: in the second one, both take the same
// dash. Both are needed, since neither is within the other. A glob that another one of the result covers is left out,
// as is the empty text, which is no segment.
func commonGlobs(a, b string) []string {
	switch {
	case a == b:
		return []string{a}
	case strings.IndexByte(a, '*') < 0:
		return only(a, glob(b, a, false))
	case strings.IndexByte(b, '*') < 0:
		return only(b, glob(a, b, false))
	}
	// Two stars beside each other arise where one glob's star meets the other's; they mean no more than one.
	found := alignGlobs(a, b, "", nil, rests{})
	for i := range found {
		for strings.Contains(found[i], "**") {
			found[i] = strings.ReplaceAll(found[i], "**", "*")
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return slices.DeleteFunc(slices.Clone(found), func(s string) bool {
		covered := func(t string) bool { return t != s && glob(t, strings.ReplaceAll(s, "*", anything), false) }
		return s == "" || slices.ContainsFunc(found, covered)
	})
}

func only(s string, ok bool) []string {
	if !ok {
		return nil
	}
	return []string{s}
}

// alignGlobs appends to found each way in which the rest of both globs can match the same text, after head.
func alignGlobs(a, b, head string, found []string, dead rests) []string {
	rest := [2]int{len(a), len(b)}
	if len(found) >= mostGlobs || dead[rest] {
		return found
	}
	before := len(found)
	found = alignNext(a, b, head, found, dead)
	dead[rest] = len(found) == before
	return found
}

func alignNext(a, b, head string, found []string, dead rests) []string {
	starA, starB := strings.HasPrefix(a, "*"), strings.HasPrefix(b, "*")
	switch {
	case a == "" && b == "":
		return append(found, head)
	// Both stars run on together until one ends; which one is tried both ways.
	case starA && starB: // one of them ends first
		return alignGlobs(a, b[1:], head+"*", alignGlobs(a[1:], b, head+"*", found, dead), dead)
	// a's star is empty from here on, or takes the next character of b.
	case starA:
		found = alignGlobs(a[1:], b, head, found, dead)
		if b != "" {
			found = alignGlobs(a, b[1:], head+b[:1], found, dead)
		}
		return found
	case starB:
		found = alignGlobs(a, b[1:], head, found, dead)
		if a != "" {
			found = alignGlobs(a[1:], b, head+a[:1], found, dead)
		}
		return found
	case a == "" || b == "" || a[0] != b[0]:
		return found
	}
	return alignGlobs(a[1:], b[1:], head+a[:1], found, dead)
}

// commonPatterns returns patterns that together match what both match.
//
// For example, "acme/**" and "**/api" have "acme/api" and "acme/**/api" in common. The result is nil if they have
// nothing in common. Both patterns must compare alike, with case or without.
func commonPatterns(a, b Pattern) (list []Pattern) {
	switch {
	case a.text == b.text:
		return []Pattern{a}
	case a.literal && !b.Match(a.text), b.literal && !a.Match(b.text):
		return nil
	case a.literal:
		return []Pattern{a}
	case b.literal:
		return []Pattern{b}
	}
	for _, text := range commonSegments(a.loose(), b.loose()) {
		if p, err := parsePattern(text, a.fold); err == nil {
			list = append(list, p)
		}
	}
	// What another pattern of the list covers is left out. One with "**" is kept: a single generic text can't stand
	// for it.
	return slices.DeleteFunc(slices.Clone(list), func(p Pattern) bool {
		return slices.ContainsFunc(list, func(q Pattern) bool {
			return q.text != p.text && q.Match(strings.ReplaceAll(p.text, "*", anything)) && !strings.Contains(p.text, "**")
		})
	})
}

// "**" means one or more segments, which is awkward to align: "one" can meet anything, while "or more" can be empty.
// So each is written as two parts for the time of the comparison, and put together again at the end.
// A loose pattern has many in the place of "**": any number of segments, also none. "**" is a "*" and many. doubleStar is
// the pattern's own "**" while both are about.
const (
	many       = "**"
	doubleStar = "**|"
)

// loose spells "**" as a "*" and many.
func (p Pattern) loose() (list []string) {
	for _, segment := range p.segments {
		if segment == "**" {
			list = append(list, "*")
		}
		list = append(list, segment)
	}
	return list
}

// commonSegments aligns two loose patterns and writes what they have in common as patterns.
func commonSegments(a, b []string) []string {
	var texts []string
	for _, segments := range alignSegments(a, b, nil, nil, rests{}) {
		texts = append(texts, strict(segments)...)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// alignSegments is alignGlobs one level up: many takes segments as "*" takes characters, and two plain segments meet
// in each glob that they have in common. head is clipped before it grows, since several branches of the search share
// it.
func alignSegments(a, b, head []string, found [][]string, dead rests) [][]string {
	rest := [2]int{len(a), len(b)}
	if len(found) >= mostGlobs || dead[rest] {
		return found
	}
	before := len(found)
	found = alignNextSegments(a, b, head, found, dead)
	dead[rest] = len(found) == before
	return found
}

func alignNextSegments(a, b, head []string, found [][]string, dead rests) [][]string {
	manyA, manyB := len(a) > 0 && a[0] == many, len(b) > 0 && b[0] == many
	switch {
	case len(a) == 0 && len(b) == 0:
		return append(found, slices.Clone(head))
	case manyA && manyB:
		head = append(slices.Clip(head), many)
		return alignSegments(a, b[1:], head, alignSegments(a[1:], b, head, found, dead), dead)
	case manyA:
		found = alignSegments(a[1:], b, head, found, dead)
		if len(b) > 0 {
			found = alignSegments(a, b[1:], append(slices.Clip(head), b[0]), found, dead)
		}
		return found
	case manyB:
		found = alignSegments(a, b[1:], head, found, dead)
		if len(a) > 0 {
			found = alignSegments(a[1:], b, append(slices.Clip(head), a[0]), found, dead)
		}
		return found
	case len(a) == 0 || len(b) == 0:
		return found
	}
	for _, segment := range commonGlobs(a[0], b[0]) {
		found = alignSegments(a[1:], b[1:], append(slices.Clip(head), segment), found, dead)
	}
	return found
}

// strict writes loose segments as patterns: a "*" beside many is "**", and many by itself is there or not.
//
// For example, a, many, b becomes "a/b" and "a/**/b", while acme, *, many becomes "acme/**" alone.
func strict(segments []string) []string {
	for i, segment := range segments {
		if segment != many {
			continue
		}
		rest := slices.Delete(slices.Clone(segments), i, i+1)
		switch {
		case i > 0 && (segments[i-1] == "*" || segments[i-1] == doubleStar):
			rest[i-1] = doubleStar
			return strict(rest)
		case i < len(rest) && rest[i] == "*":
			rest[i] = doubleStar
			return strict(rest)
		case i < len(rest) && rest[i] == many: // many beside many is one
			return strict(rest)
		}
		there := slices.Clone(segments)
		there[i] = doubleStar
		return append(strict(rest), strict(there)...)
	}
	return []string{strings.ReplaceAll(strings.Join(segments, "/"), doubleStar, "**")}
}
