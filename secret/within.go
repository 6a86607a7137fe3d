package secret

import (
	"slices"
	"strings"
)

// Within tells whether other matches everything that p matches: what a confined file may say is decided by it.
//
// It is exact. A "*" takes anything, so a pattern lies within another exactly if the other matches it with each "*" read as
// a letter of its own that only another "*" can take; a "**" is as many segments of such a letter as one likes. (For "**"
// in great numbers on both sides the answer may be a no that is too careful, never a wrong yes.)
//
// For example, acme/* lies within **, and */** within **/*, which says the same; ** lies not within */**, for **
// takes a single segment, too.
func (p Pattern) Within(other Pattern) bool {
	if len(p.segments) == 0 {
		return true // it matches nothing
	}
	if len(p.segments)+len(other.segments) > maxSegments {
		return false // nobody's repository; and a hostile one must not cost more than it is worth
	}
	if p.fold && !other.fold {
		return p.text == other.text && strings.Trim(p.text, "*/") == ""
	}
	// at[j] is 1 where other's first j segments may have been used up so far.
	w := within{p: p.segments, other: other.segments, fold: other.fold, seen: map[string]bool{}}
	start := make([]byte, len(other.segments)+1)
	start[0] = 1
	return w.from(0, start)
}

// within walks through p while it keeps the set of places where the other pattern can be meanwhile.
//
// It is the usual walk through a nondeterministic automaton: other is the automaton, p is the text.
type within struct {
	p, other []string
	fold     bool
	seen     map[string]bool // places walked from already
}

// What Within looks at before it says no.
const (
	maxSegments = 256    // of both patterns
	maxWithin   = 10_000 // sets of places
)

// from tells whether the other pattern, being at any of the places in at, takes all of p from segment i on.
//
// A set that was walked from before is not walked again. The loop ends: a "**" of the other pattern stays where it is
// and every other place moves on, so the sets settle.
func (w *within) from(i int, at []byte) bool {
	if i == len(w.p) {
		return at[len(w.other)] == 1
	}
	key := string(at) + string(rune(i))
	if w.seen[key] {
		return true // or it would have failed by now
	}
	if !slices.Contains(at, 1) || len(w.seen) >= maxWithin {
		return false
	}
	w.seen[key] = true
	next := w.step(at, w.p[i])
	if !w.from(i+1, next) {
		return false
	}
	for w.p[i] == "**" && !slices.Equal(next, at) { // one segment more
		at, next = next, w.step(next, "**")
		if !w.from(i+1, next) {
			return false
		}
	}
	return true
}

// step is where the other pattern can be after one segment. For "**" that is a segment of which nothing is known, as for "*".
func (w *within) step(at []byte, segment string) []byte {
	if segment == "**" {
		segment = "*"
	}
	next := make([]byte, len(at))
	for j, here := range at[:len(w.other)] {
		switch {
		case here == 0:
		case w.other[j] == "**":
			next[j], next[j+1] = 1, 1
		case glob(w.other[j], segment, w.fold):
			next[j+1] = 1
		}
	}
	return next
}

// Within tells whether other gives everything that p gives.
func (p ReadPattern) Within(other ReadPattern) bool {
	return glob(other.vault, p.vault, false) && glob(other.name, p.name, false) &&
		p.versionWithin(other) && (!other.keyed || p.keyed && glob(other.key, p.key, false))
}

// versionWithin is Within for versions: "@*" takes the current version in, "@abc" does not.
func (p ReadPattern) versionWithin(other ReadPattern) bool {
	if !p.pinned { // the current version alone
		return !other.pinned || glob(other.version, "", false)
	}
	return other.pinned && glob(other.version, p.version, false)
}
