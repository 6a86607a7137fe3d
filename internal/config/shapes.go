package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// value is one spot of the language. It reads itself from a node and reports what does not fit. Reading it again, as a
// duplicate key makes it do, forgets what was there. It never panics, whatever the node is.
type value interface {
	read(r *reader, n *yaml.Node)
}

// head is what every value has: where it stands, whether it is there at all, and whether it could be read.
//
// set without ok is a value that was written and is wrong: whoever builds on it neither takes it nor calls it missing,
// as that would be a second problem for one mistake.
type head struct {
	place
	set, ok bool
}

func (h *head) header() *head { return h }

// begin notes the place and tells whether the node can be read; an alias and a tag have been reported already.
func (h *head) begin(r *reader, n *yaml.Node) bool {
	*h = head{place: r.at(n), set: true}
	return n.Kind != yaml.AliasNode && !tagged(n)
}

// field is one key of a mapping. Its value is a spot in the shape that it belongs to, so reading the field fills the
// shape.
type field struct {
	key      string
	into     value
	required bool
}

const (
	required = true
	optional = false
)

// shape is a mapping with a closed set of keys. fields is called for each reading and returns the same keys each time.
type shape interface {
	header() *head
	what() string // "a binding", for texts
	fields() []field
}

// refuser is a shape that knows why some keys are not part of it; its reason goes before any guess.
type refuser interface{ refuses(key string) string }

// namer is a shape whose keys have a better name than "key".
type namer interface{ noun() string }

// reader reads the nodes of one file. One goroutine uses it, from a file's root to its leaves.
type reader struct {
	*report
	file       int
	key        string      // the key whose value is read
	conditions []condition // room for one when
}

func (r *reader) at(n *yaml.Node) place { return placeAt(r.file, n.Line, n.Column) }

// object reads a mapping into a shape: every key is one of its fields, every required field is there.
//
// The shape is ok if its keys are: what is wrong inside of a field is that field's matter. A misspelt key stands for
// the one that was meant, so "branchs" is one problem and not two.
func (r *reader) object(n *yaml.Node, into shape) {
	h := into.header()
	if !h.begin(r, n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(h.place, "%s", r.notMapping(n, into))
		return
	}
	h.ok = true
	fields := into.fields()
	outer := r.key
	var meant []string // keys that are there, misspelt
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || isMerge(key) {
			continue // reported by inspect
		}
		if f := find(fields, key.Value); f != nil {
			r.key = f.key
			f.into.read(r, n.Content[i+1])
		} else {
			h.ok = false
			meant = append(meant, r.unknownKey(key, into, fields))
		}
	}
	r.key = outer
	for _, f := range fields {
		if f.required && !present(n, f.key) && !slices.Contains(meant, f.key) {
			h.ok = false
			r.errorf(h.place, "%s needs %q", into.what(), f.key)
		}
	}
}

// notMapping words that a mapping belongs here.
func (r *reader) notMapping(n *yaml.Node, into shape) string {
	return fmt.Sprintf("%s is a mapping (with %s); this is %s", into.what(), joined(keysOf(into.fields()), "and"), described(n))
}

// unknownKey reports a key and returns the one that was probably meant. A reason that the shape knows goes before a
// guess by spelling, as "key" under a runner's key is no misspelling.
func (r *reader) unknownKey(key *yaml.Node, into shape, fields []field) (meant string) {
	if r.full() {
		r.errorf(r.at(key), "unknown key")
		return ""
	}
	noun, keys := "key", keysOf(fields)
	if namer, ok := into.(namer); ok {
		noun = namer.noun()
	}
	meant = nearest(key.Value, keys)
	hint := fmt.Sprintf("%s has %s", into.what(), joined(keys, "and"))
	if meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	}
	if refuser, ok := into.(refuser); ok {
		if why := refuser.refuses(key.Value); why != "" {
			hint = why
		}
	}
	r.errorf(r.at(key), "unknown %s %q: %s", noun, clip(key.Value), hint)
	return meant
}

// keysOf lists the keys in the order of the fields, which is the one of the texts.
func keysOf(fields []field) (keys []string) {
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	return keys
}

// find returns the field of that key, or nil. Keys are compared exactly: no case is folded.
func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// present tells whether a key is there, whatever its value is like.
func present(n *yaml.Node, key string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// item is a pointer to T that is a value, so that lists and dictionaries can make their elements.
type item[T any] interface {
	*T
	value
}

// maxAtOnce bounds the room that a list takes before its elements are known to be worth it.
const maxAtOnce = 200_000

// list is a list of values with at least one element. An empty list is an error: in one place it would mean nothing and
// in another everything.
type list[T any, P item[T]] struct {
	head
	items []T
}

func (l *list[T, P]) read(r *reader, n *yaml.Node) {
	l.items = nil
	switch {
	case !l.begin(r, n):
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		r.errorf(l.place, "%q is empty: leave it out, or write a list", r.key)
	case n.Kind == yaml.ScalarNode:
		r.errorf(l.place, "%q is a list: write [%s]", r.key, quoted(n))
	case n.Kind != yaml.SequenceNode:
		r.errorf(l.place, "%q is a list; this is %s", r.key, described(n))
	case len(n.Content) == 0:
		r.errorf(l.place, "%q is an empty list, which says nothing: leave it out, or write what you mean", r.key)
	default:
		l.ok = true
		l.items = make([]T, 0, min(len(n.Content), maxAtOnce))
		for i, child := range n.Content {
			if r.full() { // hopeless, and maybe huge
				r.dropped = true
				return
			}
			l.items = append(l.items, *new(T))
			P(&l.items[len(l.items)-1]).read(r, child)
			n.Content[i] = nil // a big file's tree need not live beside what is made of it
		}
	}
}

// dict is a mapping from names that the operator chooses, with at least one entry. The entries keep the file's order,
// so that problems come in it.
type dict[T any, P item[T]] struct {
	head
	entries []entry[T]
}

// entry is one name and what stands behind it. An entry whose name could not be read stays in the list, with name.ok
// false.
type entry[T any] struct {
	name  text
	value T
}

func (d *dict[T, P]) read(r *reader, n *yaml.Node) {
	d.entries = nil
	if !d.begin(r, n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(d.place, "%q is a mapping from names; this is %s", r.key, described(n))
		return
	}
	if len(n.Content) == 0 {
		r.errorf(d.place, "%q is an empty mapping, which says nothing: leave it out, or write what you mean", r.key)
		return
	}
	d.ok = true
	outer := r.key
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if r.full() {
			r.dropped = true
			return
		}
		if key.Kind != yaml.ScalarNode || isMerge(key) {
			continue // reported by inspect
		}
		d.entries = append(d.entries, entry[T]{})
		e := &d.entries[len(d.entries)-1]
		e.name.read(r, key)
		r.key = key.Value
		P(&e.value).read(r, n.Content[i+1])
		r.key = outer
	}
}
