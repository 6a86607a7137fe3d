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
//
// It is built once, by add and then seal, and only read afterwards, by any number of goroutines. It may yield too
// much, never too little: a rule that it passed over would be a deny that nobody heard.
type index struct {
	exact map[string][]entry
	ends  map[string]*bucket // by both ends of a pattern, see endsKey
	pairs []lengths          // of ends, distinct
}

// bucket is the patterns that share both ends.
//
// In a company where every team writes "acme/*-team7-*", all patterns share their ends; without the pieces each
// look-up would have to try them all.
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

// add files the patterns of a rule, whose number is its place in the policy. Nil repos are every repository, which
// only a deny may mean.
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

// addPattern files a pattern with a "*", in lower case, under what stands before the first and behind the last one.
// For example, "acme/*-svc-*" goes under "acme/" and "", and there under the piece "vc-".
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
// A pipeline's author does not choose the slug, but a holder of a pool's key could claim any.
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
//
// It does not allocate for slugs of usual length: the buffers are on the stack, and a map look-up by string(bytes)
// makes no copy.
func (x *index) each(slug string, yield func(entry)) {
	var room [256]byte
	folded := appendFold(room[:0], slug)
	for _, e := range x.exact[string(folded)] {
		yield(e)
	}
	var keyRoom [256]byte
	for _, l := range x.pairs {
		// The ends of a pattern must not overlap in the slug: "ab*ba" does not match "aba".
		if l.head+l.tail > len(folded) {
			continue
		}
		middle := len(folded) - l.tail
		if b := x.ends[string(endsKey(keyRoom[:0], folded[:l.head], folded[middle:]))]; b != nil {
			b.each(folded[l.head:middle], yield)
		}
	}
}

// each yields the patterns of the bucket that may match what stands between the ends. A piece that occurs twice in
// the middle counts once.
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
