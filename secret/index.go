package secret

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// index finds the rules for a repository without looking at the others: literal slugs by themselves, patterns by what
// stands before their first "*", behind their last, and by a piece of what stands between. A look-up costs one map access
// for each distinct pair of the lengths of both ends, and where patterns have more literal text than that, one for each
// three characters of the slug, however many patterns there are.
type index struct {
	exact map[string][]entry
	ends  map[string]*bucket // by both ends of a pattern, see endsKey
	pairs []lengths          // of ends, distinct
}

// bucket is the patterns that share both ends.
type bucket struct {
	plain  []entry
	pieces map[piece][]entry // those whose middle has a piece, which the slug must have then
}

// piece is three characters of a pattern's middle, in lower case.
type piece [3]byte

// lengths are those of a pattern's literal ends.
type lengths struct{ head, tail int }

// entry is one repository pattern of one rule; repo is -1 where the rule names no repository and means all.
type entry struct{ rule, repo int32 }

// endsKey joins both ends of a pattern by a byte that no slug holds.
func endsKey(dst, head, tail []byte) []byte {
	return append(append(append(dst, head...), 0), tail...)
}

func (x *index) add(rule int, repos []RepoPattern) {
	if x.exact == nil {
		x.exact, x.ends = map[string][]entry{}, map[string]*bucket{}
	}
	if repos == nil {
		x.addPattern("*", entry{int32(rule), -1})
	}
	for i, repo := range repos {
		e, text := entry{int32(rule), int32(i)}, fold(repo.Slug.text)
		if repo.Slug.literal {
			x.exact[text] = append(x.exact[text], e)
		} else {
			x.addPattern(text, e)
		}
	}
}

func (x *index) addPattern(pattern string, e entry) {
	first, last := strings.IndexByte(pattern, '*'), strings.LastIndexByte(pattern, '*')
	key := string(endsKey(nil, []byte(pattern[:first]), []byte(pattern[last+1:])))
	b := x.ends[key]
	if b == nil {
		b = &bucket{}
		x.ends[key] = b
	}
	p, ok := pieceOf(pattern[first : last+1])
	if !ok {
		b.plain = append(b.plain, e)
		return
	}
	if b.pieces == nil {
		b.pieces = map[piece][]entry{}
	}
	b.pieces[p] = append(b.pieces[p], e)
}

// maxSlug is the longest slug, in bytes, that any rule is about. No forge has such a one; a look-up's time grows with it.
const maxSlug = 1024

// pieceOf takes the end of the longest literal between the stars, where names of one family differ most.
func pieceOf(middle string) (p piece, ok bool) {
	longest := ""
	for literal := range strings.SplitSeq(middle, "*") {
		if len(literal) > len(longest) {
			longest = literal
		}
	}
	if len(longest) < len(p) {
		return piece{}, false
	}
	return piece([]byte(longest[len(longest)-len(p):])), true
}

// seal makes the index ready, once everything was added.
func (x *index) seal() {
	seen := map[lengths]bool{}
	for key := range x.ends {
		head := strings.IndexByte(key, 0)
		seen[lengths{head, len(key) - head - 1}] = true
	}
	x.pairs = slices.Collect(maps.Keys(seen))
}

// each calls yield for every pattern that may match the slug, once and in no order; a pattern with a "*" is
// still to be matched.
func (x *index) each(slug string, yield func(entry)) {
	var room [256]byte
	folded := appendFold(room[:0], slug)
	for _, e := range x.exact[string(folded)] {
		yield(e)
	}
	var keyRoom [256]byte
	for _, l := range x.pairs {
		if l.head+l.tail > len(folded) {
			continue
		}
		middle := len(folded) - l.tail
		if b := x.ends[string(endsKey(keyRoom[:0], folded[:l.head], folded[middle:]))]; b != nil {
			b.each(folded[l.head:middle], yield)
		}
	}
}

func (b *bucket) each(middle []byte, yield func(entry)) {
	for _, e := range b.plain {
		yield(e)
	}
	if b.pieces == nil {
		return
	}
	for i := 0; i+len(piece{}) <= len(middle); i++ {
		entries := b.pieces[piece(middle[i:])]
		if entries == nil || bytes.Index(middle, middle[i:i+len(piece{})]) < i { // seen before
			continue
		}
		for _, e := range entries {
			yield(e)
		}
	}
}

// appendFold appends s in ASCII lower case.
func appendFold(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = append(dst, lower(s[i]))
	}
	return dst
}
