package secret

import (
	"slices"
	"strings"
)

// The intersection of two globs is a union of globs: their literal parts in every order that respects both, overlapping or
// apart. The patterns of people have one or two stars, and the union one or two members.

// mostGlobs bounds the union where somebody wrote a dozen stars. What is beyond is left out.
const mostGlobs = 64

// commonGlobs returns globs of one segment that together match what both match.
func commonGlobs(a, b string) []string {
	switch {
	case a == b:
		return []string{a}
	case strings.IndexByte(a, '*') < 0:
		return only(a, glob(b, a, false))
	case strings.IndexByte(b, '*') < 0:
		return only(b, glob(a, b, false))
	}
	found := alignGlobs(a, b, "", nil)
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
func alignGlobs(a, b, head string, found []string) []string {
	if len(found) >= mostGlobs {
		return found
	}
	starA, starB := strings.HasPrefix(a, "*"), strings.HasPrefix(b, "*")
	switch {
	case a == "" && b == "":
		return append(found, head)
	case starA && starB: // one of them ends first
		return alignGlobs(a, b[1:], head+"*", alignGlobs(a[1:], b, head+"*", found))
	case starA:
		found = alignGlobs(a[1:], b, head, found)
		if b != "" {
			found = alignGlobs(a, b[1:], head+b[:1], found)
		}
		return found
	case starB:
		return alignGlobs(b, a, head, found)
	case a == "" || b == "" || a[0] != b[0]:
		return found
	}
	return alignGlobs(a[1:], b[1:], head+a[:1], found)
}

// commonPatterns returns patterns that together match what both match.
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
	return slices.DeleteFunc(slices.Clone(list), func(p Pattern) bool {
		return slices.ContainsFunc(list, func(q Pattern) bool {
			return q.text != p.text && q.Match(strings.ReplaceAll(p.text, "*", anything)) && !strings.Contains(p.text, "**")
		})
	})
}

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
	for _, segments := range alignSegments(a, b, nil, nil) {
		texts = append(texts, strict(segments)...)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func alignSegments(a, b, head []string, found [][]string) [][]string {
	if len(found) >= mostGlobs {
		return found
	}
	manyA, manyB := len(a) > 0 && a[0] == many, len(b) > 0 && b[0] == many
	switch {
	case len(a) == 0 && len(b) == 0:
		return append(found, slices.Clone(head))
	case manyA && manyB:
		head = append(slices.Clip(head), many)
		return alignSegments(a, b[1:], head, alignSegments(a[1:], b, head, found))
	case manyA:
		found = alignSegments(a[1:], b, head, found)
		if len(b) > 0 {
			found = alignSegments(a, b[1:], append(slices.Clip(head), b[0]), found)
		}
		return found
	case manyB:
		return alignSegments(b, a, head, found)
	case len(a) == 0 || len(b) == 0:
		return found
	}
	for _, segment := range commonGlobs(a[0], b[0]) {
		found = alignSegments(a[1:], b[1:], append(slices.Clip(head), segment), found)
	}
	return found
}

// strict writes loose segments as patterns: a "*" beside many is "**", and many by itself is there or not.
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
