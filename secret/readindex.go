package secret

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// source is one way in which a binding gives secrets: a pattern of its read, or a target of its names.
type source struct {
	rule int32
	read int32  // index in Read, if name is empty
	name string // of Names
}

// pattern is what the source gives; exact, if that is a secret as a whole and not its keys.
// b must be the binding that rule is the index of.
func (s source) pattern(b *binding) (read ReadPattern, exact bool) {
	if s.name == "" {
		return b.Read[s.read], false
	}
	target := b.Names[s.name]
	return exactPattern(target), target.Key == ""
}

// readIndex finds the sources of a secret without looking at the others, as index does for repositories: literal names by
// themselves, patterns by what stands before their first "*".
//
// It is made once and read by many goroutines. Without it "who can read this?" would look at every pattern of every
// binding.
type readIndex struct {
	exact, prefix map[string][]source // by vault/name, in lower case where names are
	lengths       []int               // of the prefixes, ascending, distinct
	bindings      []binding
}

func newReadIndex(p *Policy) *readIndex {
	x := &readIndex{exact: map[string][]source{}, prefix: map[string][]source{}, bindings: p.bindings}
	for i := range p.bindings {
		b := &p.bindings[i]
		for j := range b.Read {
			x.add(b.Read[j].vault+"/"+b.Read[j].name, source{rule: int32(i), read: int32(j)})
		}
		for name, target := range b.Names {
			x.add(target.Vault+"/"+target.Name, source{rule: int32(i), name: name})
		}
	}
	for head := range x.prefix {
		x.lengths = append(x.lengths, len(head))
	}
	slices.Sort(x.lengths)
	x.lengths = slices.Compact(x.lengths)
	return x
}

// add files a source under its text or under the part before the first star; an alias holds no star in a binding.
func (x *readIndex) add(text string, s source) {
	if star := strings.IndexByte(text, '*'); star >= 0 {
		x.prefix[text[:star]] = append(x.prefix[text[:star]], s)
	} else {
		x.exact[text] = append(x.exact[text], s)
	}
}

// find returns every source that gives a secret of this name, in some version and some key.
//
// vault compares exactly, name must be in lower case. A look-up costs one map access for each distinct length of a
// prefix.
func (x *readIndex) find(vault, name string) []source {
	text := vault + "/" + name
	found := slices.Clone(x.exact[text])
	for _, n := range x.lengths {
		if n > len(text) {
			break
		}
		for _, s := range x.prefix[text[:n]] {
			if pattern, _ := s.pattern(&x.bindings[s.rule]); glob(pattern.name, name, false) {
				found = append(found, s)
			}
		}
	}
	return found
}

// mapping is one repository pattern of a binding, in a list by which those that may overlap are found.
type mapping struct {
	head string // of the pattern: what stands before its first "*", in lower case
	rule int32
}

// mappings lists for each name who maps it, in order of the patterns' heads.
// A binding with several repository patterns is there several times.
func mappings(p *Policy) map[string][]mapping {
	named := map[string][]mapping{}
	for i := range p.bindings {
		for name := range p.bindings[i].Names {
			for j := range p.bindings[i].Repos {
				named[name] = append(named[name], mapping{head(p.bindings[i].Repos[j].Slug), int32(i)})
			}
		}
	}
	for _, list := range named {
		sortMappings(list)
	}
	return named
}

// heads lists every repository pattern of every binding, in order of its head.
func heads(p *Policy) (list []mapping) {
	for i := range p.bindings {
		for j := range p.bindings[i].Repos {
			list = append(list, mapping{head(p.bindings[i].Repos[j].Slug), int32(i)})
		}
	}
	sortMappings(list)
	return list
}

func sortMappings(list []mapping) {
	slices.SortFunc(list, func(a, b mapping) int { return cmp.Or(strings.Compare(a.head, b.head), cmp.Compare(a.rule, b.rule)) })
}

// head is the text that every slug of the pattern begins with, in lower case: "acme/p" of "Acme/p*", all of a
// literal.
func head(p Pattern) string {
	text, _, _ := strings.Cut(fold(p.text), "*")
	return text
}

// near calls yield for every mapping whose pattern may have a slug in common with p: one head begins with the other.
//
// Two patterns whose heads disagree in some character have no slug in common. So the list, which is sorted by head,
// is searched once for each shorter head, from "" on, and then for all that begin with p's own: "acme/p*" is near "",
// "ac", "acme/" and "acme/pay", not near "acme/q". The same rule may be yielded more than once.
func near(list []mapping, p Pattern, yield func(rule int32)) {
	h := head(p)
	for n := range len(h) + 1 {
		i := sort.Search(len(list), func(i int) bool { return list[i].head >= h[:n] })
		for ; i < len(list) && (list[i].head == h[:n] || n == len(h) && strings.HasPrefix(list[i].head, h)); i++ {
			yield(list[i].rule)
		}
	}
}
