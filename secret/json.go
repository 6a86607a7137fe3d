package secret

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What is here reads documents that are known to be JSON, in valid UTF-8, and so can't fail over their form. It copies
// nothing but what it returns as a value.

// found is a member of a JSON object: the last of that name, and how many there are. raw is a part of the document.
type found struct {
	raw   []byte
	times int
}

// walk follows a key's names from object to object. Nothing is found where a name is missing or has no object.
func walk(object []byte, key string) (at found) {
	if !strings.Contains(key, ".") {
		return found{}
	}
	at = found{object, 1}
	for name := range strings.SplitSeq(key, ".") {
		next, ok := member(at.raw, name)
		if !ok || name == "" || next.times == 0 {
			return found{}
		}
		if at = next; at.times > 1 {
			return at
		}
	}
	return at
}

// member finds a name in a document that is one JSON object; not ok if it is something else.
func member(document []byte, name string) (m found, ok bool) {
	rest := blank(document)
	if rest[0] != '{' {
		return found{}, false
	}
	for rest = blank(rest[1:]); rest[0] != '}'; {
		n := stringEnd(rest)
		matches := named(rest[:n], name)
		rest = blank(blank(rest[n:])[1:]) // behind the colon
		n = valueEnd(rest)
		if matches {
			m.raw = rest[:n]
			m.times++
		}
		if rest = blank(rest[n:]); rest[0] == ',' {
			rest = blank(rest[1:])
		}
	}
	return m, true
}

// blank passes over what JSON counts as white space.
func blank(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// named tells whether a quoted name, as it is written, is the one looked for.
func named(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	var s string
	return json.Unmarshal(quoted, &s) == nil && s == name // names are no secrets
}

// stringEnd is where the string ends that b begins with.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd is where the value ends that b begins with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			continue
		default: // a number or a word
			i += wordEnd(b[i:]) - 1
		}
		if depth <= 0 {
			return i + 1
		}
	}
	return len(b)
}

// wordEnd is where the number, or true, false or null, ends that b begins with.
func wordEnd(b []byte) int {
	if n := bytes.IndexAny(b, ",]} \t\r\n"); n >= 0 {
		return n
	}
	return len(b)
}

// scalar returns a copy of the bytes of a JSON string, number or boolean.
func scalar(raw []byte) (value []byte, problem string) {
	switch raw[0] {
	case '{', '[', 'n':
		return nil, "the key's value is an object, a list or null: name a key that holds a string, a number or a boolean"
	case '"':
		value, ok := unquote(raw)
		switch {
		case !ok:
			return nil, "the key's value is no valid JSON string"
		case len(value) == 0:
			return nil, "the key's value is empty" // a runner would take it for "no such secret"
		}
		return value, ""
	}
	return bytes.Clone(raw), ""
}

// unescaped is what stands for a character behind a backslash.
var unescaped = [...]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote returns the text of a JSON string, which is never longer than it is written. Half a surrogate pair makes it not
// ok: decoders make U+FFFD of it, a value that nobody stored.
func unquote(quoted []byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(quoted))
	for b := quoted[1 : len(quoted)-1]; len(b) > 0; {
		if b[0] != '\\' {
			text = append(text, b[0])
			b = b[1:]
			continue
		}
		if b[1] != 'u' {
			text = append(text, unescaped[b[1]])
			b = b[2:]
			continue
		}
		r := hex4(b)
		b = b[6:]
		if utf16.IsSurrogate(r) {
			if r = utf16.DecodeRune(r, hex4(b)); r == utf8.RuneError {
				clear(text)
				return nil, false
			}
			b = b[6:]
		}
		text = utf8.AppendRune(text, r)
	}
	return text, true
}

// hex4 reads the \uXXXX that b begins with; 0 if it begins with something else.
func hex4(b []byte) (r rune) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	for _, c := range b[2:6] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10 // in upper case as in lower
		}
		r = r<<4 | rune(c)
	}
	return r
}
