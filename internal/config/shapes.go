package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// value is one spot of the language. It reads itself from a node and reports what does not fit.
type value interface {
	read(r *reader, n *yaml.Node)
}

// head is what every value has: where it stands, whether it is there at all, and whether it could be read.
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

// field is one key of a mapping.
type field struct {
	key      string
	into     value
	required bool
}

const (
	required = true
	optional = false
)

// shape is a mapping with a closed set of keys.
type shape interface {
	header() *head
	what() string // "a binding", for texts
	fields() []field
}

// refuser is a shape that knows why some keys are not part of it; its reason goes before any guess.
type refuser interface{ refuses(key string) string }

// namer is a shape whose keys have a better name than "key".
type namer interface{ noun() string }

// reader reads the nodes of one file.
type reader struct {
	*report
	file       int
	key        string      // the key whose value is read
	conditions []condition // room for one when
}

func (r *reader) at(n *yaml.Node) place { return placeAt(r.file, n.Line, n.Column) }

// object reads a mapping into a shape: every key is one of its fields, every required field is there.
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

func (r *reader) notMapping(n *yaml.Node, into shape) string {
	return fmt.Sprintf("%s is a mapping (with %s); this is %s", into.what(), joined(keysOf(into.fields()), "and"), described(n))
}

// unknownKey reports a key and returns the one that was probably meant.
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

func keysOf(fields []field) (keys []string) {
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	return keys
}

func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

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

// list is a list of values with at least one element.
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

// dict is a mapping from names that the operator chooses, with at least one entry.
type dict[T any, P item[T]] struct {
	head
	entries []entry[T]
}

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
