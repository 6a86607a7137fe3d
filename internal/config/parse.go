package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const maxDepth = 64 // of nesting; the language needs seven

// parse makes the one document of a file into a node tree without surprises, or reports why there is none.
//
// Only the tree is made, never a Go value: aliases are not followed, so a "billion laughs" file costs what its bytes
// cost, and no value is converted before this package has looked at how it was written.
func parse(file int, content []byte, r *report) (*yaml.Node, bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(content), yaml.WithV4Defaults(),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		r.errorf(wholeFile(file), "can't be parsed: %v", err)
		return nil, false
	}
	var document yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF):
		r.errorf(wholeFile(file), `the file is empty: a configuration begins with "version: 1"`)
		return nil, false
	case err != nil:
		syntaxError(file, content, err, r)
		return nil, false
	}
	// A second document would be ignored by a reader of one; somebody may have meant it.
	var second yaml.Node
	switch err := loader.Load(&second); {
	case err == nil:
		at := placeAt(file, second.Line, second.Column)
		r.errorf(at, "a second document: a file holds one; write the other into a file of its own")
		return nil, false
	case !errors.Is(err, io.EOF):
		syntaxError(file, content, err, r)
		return nil, false
	}
	return document.Content[0], true
}

// syntaxError translates what the parser says into what a person can do about it. Where something is never closed, the
// place is where it was opened: the parser notices at the end of the file.
func syntaxError(file int, content []byte, err error, r *report) {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		r.errorf(wholeFile(file), "not YAML: %v", err)
		return
	}
	at := placeAt(file, e.Mark.Line, e.Mark.Column)
	opened := placeAt(file, e.ContextMark.Line, e.ContextMark.Column)
	text, atOpening := explainSyntax(e.Message, charAt(at, content))
	if atOpening && opened.line > 0 {
		at = opened
	}
	r.errorf(at, "%s", text)
}

// explainSyntax returns the text for a parser's message, and whether it is about the place where something was opened
// rather than the one where that was noticed. The parser has no other vocabulary than its messages.
//
// The first match counts, and the order matters: a tab is also a character that can't start a token. A message that a
// newer parser words differently falls through to the last line: the hint is lost, the error is not.
func explainSyntax(message string, c rune) (text string, atOpening bool) {
	is := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case is("exceeded max depth"):
		return fmt.Sprintf("nested deeper than %d levels: nothing here needs that", maxDepth), false
	case is("unknown anchor"):
		return anchorText, false
	case is("cannot start any token") && c == '\t', is("tab"):
		return "not YAML: a tab can't indent; use spaces", false
	case is("cannot start any token"):
		return fmt.Sprintf("not YAML: a value can't begin with %q; quote it", c), false
	case is("mapping values are not allowed"):
		return `not YAML: a ":" where no key can be; look at the indentation, or quote the value`, false
	case is("',' or ']'"):
		return `not YAML: this list has no closing "]", or lacks a "," between two items`, true
	case is("',' or '}'"):
		return `not YAML: this mapping has no closing "}", or lacks a "," between two entries`, true
	case is("unexpected end of stream"):
		return "not YAML: this quote is never closed", true
	case is("unknown escape"):
		return `not YAML: an unknown escape in double quotes; write "\\" for a backslash, or use single quotes`, false
	case is("did not find expected key"), is("'-' indicator"):
		return "not YAML: the indentation does not fit the lines above", false
	case is("expected node content"):
		return `not YAML: a value is missing, or a bracket is never closed`, false
	case is("could not find expected ':'"):
		return `not YAML: a key without a ":"`, false
	case is("incompatible YAML document"), is("directive"):
		return "directives (%YAML, %TAG) have no meaning here: remove the line", false
	}
	return "not YAML: " + message, false
}

const anchorText = "anchors (&) and aliases (*) are not supported: write the value out, or quote it if it begins with & or *"

// inspect reports what a node tree may not hold: what would make one thing mean another somewhere else in the file, or
// a value something else than it looks like.
//
// It reports and changes nothing. The aliases, tags and odd keys that it reports are skipped elsewhere without a word. The
// parser bounds the depth as well; depth guards the recursion here by itself.
func (r *reader) inspect(n *yaml.Node, depth int) {
	switch {
	case depth > maxDepth:
		r.errorf(r.at(n), "nested deeper than %d levels: nothing here needs that", maxDepth)
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.errorf(r.at(n), "%s", anchorText)
	case tagged(n):
		r.errorf(r.at(n), "tags have no meaning here (%s): remove it; quotes make a string", clip(n.Tag))
	}
	if n.Kind == yaml.AliasNode {
		return // what it stands for is inspected where it stands
	}
	if n.Kind == yaml.MappingNode {
		r.inspectKeys(n)
	}
	for _, child := range n.Content {
		r.inspect(child, depth+1)
	}
}

// tagged tells whether a tag was written (!!str, !mine, or ! alone), which would make a value something else than it
// looks like.
func tagged(n *yaml.Node) bool { return n.Tag == "!" || n.Style&yaml.TaggedStyle != 0 }

// inspectKeys reports the keys of a mapping that are none, or are there twice: of two equal keys YAML readers take the
// first, or the last, or neither. Keys compare as text, so 1 and "1" count as one.
func (r *reader) inspectKeys(n *yaml.Node) {
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		switch earlier := first[key.Value]; {
		case key.Kind == yaml.AliasNode: // reported as such
		case key.Kind != yaml.ScalarNode:
			r.errorf(r.at(key), "a key is a plain word, never a list or a mapping")
		case isMerge(key):
			r.errorf(r.at(key), "merge keys (<<) are not supported: write the entries out")
		case earlier != nil:
			r.errorf(r.at(key), "duplicate key %q: it is in line %d already", clip(key.Value), earlier.Line)
		default:
			first[key.Value] = key
		}
	}
}

// isMerge tells whether a key is an unquoted <<, which YAML 1.1 readers replace by the entries of another mapping.
func isMerge(key *yaml.Node) bool { return key.Tag == "!!merge" }
