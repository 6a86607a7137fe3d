package config

import (
	"encoding/binary"

	"github.com/drone-entra/drone-entra/secret"
)

// same keeps one copy of what many rules say in the same words: of a hundred thousand bindings most share their events,
// people and secrets with others. It begins anew with each file, since another confinement may refuse the same words.
type same struct {
	when   copies[secret.Condition]
	reads  copies[secret.ReadPattern]
	actors copies[string]
}

// copies are lists that were compiled without a problem, by the words that they were compiled from. Rules share the
// lists, so nobody may change one. The zero value is ready.
type copies[T any] struct {
	lists map[string][]T
	buf   []byte
}

// get returns the list for the words that key appends, compiling them if they are new. Words with a problem are compiled
// each time, as each place has its own.
//
// compile must not come back to the same copies: the key is in buf until it returns. The look-up itself allocates
// nothing.
func (c *copies[T]) get(r *report, key func([]byte) []byte, compile func() []T) []T {
	c.buf = key(c.buf[:0])
	if list, ok := c.lists[string(c.buf)]; ok {
		return list
	}
	before := len(r.found)
	list := compile()
	if len(r.found) == before && !r.full() {
		if c.lists == nil {
			c.lists = map[string][]T{}
		}
		c.lists[string(c.buf)] = list
	}
	return list
}

// key is for lists of people; actors: any never gets that far.
func (a *actors) key(dst []byte) []byte { return appendTexts(dst, &a.texts) }

// key writes events and all their conditions, in the language's order, so that the order in the file makes no
// difference.
func (w *when) key(dst []byte) []byte {
	for i := range w.events {
		c := &w.events[i]
		if !c.ok {
			continue
		}
		dst = appendWord(appendWord(dst, string(c.event)), c.from.value)
		for _, l := range [...]*texts{&c.branches, &c.tags, &c.into, &c.deployTo, &c.cron} {
			dst = appendTexts(dst, l)
		}
	}
	return dst
}

// appendTexts appends a list so that no two lists look the same, whatever their words hold.
//
//	[a, bc]   2 1 a 2 b c
//	[ab, c]   2 2 a b 1 c
//
// With a separator instead of lengths a word that holds the separator could pass for two, and a rule would get
// another's list.
func appendTexts(dst []byte, l *texts) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(l.items)))
	for i := range l.items {
		dst = appendWord(dst, l.items[i].value) // empty where it could not be read
	}
	return dst
}

// appendWord appends a word behind its length in bytes.
func appendWord(dst []byte, word string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(word))), word...)
}
