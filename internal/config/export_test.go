package config

import (
	"fmt"
	"strings"
)

// SchemaKey is one key of the language, as the reference must list it.
type SchemaKey struct {
	Path     string // as in bindings[].when.push.branches
	Kind     string
	Required bool
}

// Schema lists every key of the language from the types that read it.
func Schema() []SchemaKey {
	var keys []SchemaKey
	collect("", &file{}, &keys)
	return keys
}

func collect(prefix string, s shape, keys *[]SchemaKey) {
	for _, f := range s.fields() {
		path := prefix + f.key
		*keys = append(*keys, SchemaKey{path, kindOf(f.into), f.required})
		inner := f.into
		for {
			if l, ok := inner.(interface {
				element() value
				step() string
			}); ok {
				inner, path = l.element(), path+l.step()
				continue
			}
			break
		}
		if s, ok := inner.(shape); ok {
			collect(path+".", s, keys)
		}
	}
}

func (l *list[T, P]) element() value { return P(new(T)) }
func (l *list[T, P]) step() string   { return "[]" }
func (d *dict[T, P]) element() value { return P(new(T)) }
func (d *dict[T, P]) step() string   { return ".NAME" }

// kindOf names what belongs in a spot of the language, as the reference has it.
func kindOf(v value) string { return v.(interface{ kind() string }).kind() }

func (*version) kind() string      { return "`1`" }
func (*identity) kind() string     { return "mapping" }
func (*assertion) kind() string    { return "mapping" }
func (*managed) kind() string      { return "mapping" }
func (*issuer) kind() string       { return "mapping" }
func (*issuerKey) kind() string    { return "mapping" }
func (*token) kind() string        { return "mapping" }
func (*vault) kind() string        { return "mapping" }
func (*pool) kind() string         { return "mapping" }
func (*key) kind() string          { return "mapping" }
func (*expectation) kind() string  { return "mapping" }
func (*record) kind() string       { return "mapping" }
func (*listen) kind() string       { return "mapping" }
func (*certificate) kind() string  { return "mapping" }
func (*limits) kind() string       { return "mapping" }
func (*logging) kind() string      { return "mapping" }
func (*binding) kind() string      { return "mapping" }
func (*deny) kind() string         { return "mapping" }
func (*repo) kind() string         { return "string or mapping" }
func (*actors) kind() string       { return "`any`, or list of strings" }
func (*when) kind() string         { return "mapping" }
func (*condition) kind() string    { return "mapping" }
func (l *list[T, P]) kind() string { return "list of " + plural(kindOf(P(new(T)))) }
func (d *dict[T, P]) kind() string { return "mapping from names to " + plural(kindOf(P(new(T)))) }
func (t *text) kind() string       { return "string" }
func (c *choice) kind() string     { return "`" + strings.Join(c.choices, "`, `") + "`" }
func (f *flag) kind() string       { return "boolean" }
func (i *number) kind() string     { return fmt.Sprintf("number from %d to %d", i.min, i.max) }
func (*confinement) kind() string  { return "`unconfined`, or mapping" }
func (*repositories) kind() string { return "`any`, or mapping from names to lists of strings" }

// plural makes a kind's name into that of many.
func plural(kind string) string {
	for one, many := range map[string]string{"string": "strings", "mapping": "mappings", "string or mapping": "strings or mappings"} {
		if kind == one {
			return many
		}
	}
	if rest, ok := strings.CutPrefix(kind, "list of "); ok {
		return "lists of " + rest
	}
	return kind
}
