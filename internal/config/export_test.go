package config

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
		*keys = append(*keys, SchemaKey{path, f.into.kind(), f.required})
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
