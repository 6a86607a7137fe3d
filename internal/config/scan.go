package config

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// scan finds characters that programs, or people, would not all read alike, and tells whether the file is fit to be
// parsed. It reports the first of each file: the rest tends to be the same.
//
// The parser would take most of these: a reviewer, or another YAML program in a pipeline's checks, would see other text
// than the one in force. Text that reads differently than it runs is CVE-2021-42574, known as Trojan Source.
func scan(file int, content []byte, r *report) bool {
	at := placeAt(file, 1, 1)
	if bytes.HasPrefix(content, []byte("\ufeff")) {
		r.errorf(at, "the file begins with a byte order mark: save it as UTF-8 without one")
		return false
	}
	for i := 0; i < len(content); {
		c, size := rune(content[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(content[i:])
		}
		if text := objection(c, size, content[i+size:]); text != "" {
			r.errorf(at, "%s", text)
			return false
		}
		at.column++
		if c == '\n' {
			at.line, at.column = at.line+1, 1
		}
		i += size
	}
	if entries(content) > maxEntries {
		r.errorf(wholeFile(file), "the file has more than four million entries: split the rules over several files")
		return false
	}
	return true
}

// maxEntries bounds the memory that a file's node tree takes, some 300 bytes for each.
const maxEntries = 4_000_000

// entries is at least the number of nodes that a parser will make: none begins without one of these in front. It counts
// characters inside of strings and comments, too: too many is fine for a bound, and it takes no parser.
func entries(content []byte) (n int) {
	for _, mark := range []string{"\n", ",", "[", "{", ":", "- ", "? "} {
		n += bytes.Count(content, []byte(mark))
	}
	return n
}

// objection says what is wrong with a character, or nothing. The rest of the file follows it. YAML 1.1 ends a line at
// U+0085, U+2028 and U+2029 and YAML 1.2 does not, so a rule could be in a comment for one of them.
func objection(c rune, size int, rest []byte) string {
	switch {
	case c == '\n' || c == '\t' || c >= ' ' && c < 0x7f:
		return ""
	case c == '\r' && len(rest) > 0 && rest[0] == '\n':
		return ""
	case c == '\r':
		return "a carriage return without a line feed: end lines with a line feed"
	case c == utf8.RuneError && size == 1:
		return "not UTF-8: save the file as UTF-8"
	case c == 0:
		return "a NUL byte: is this a text file?"
	case c < ' ' || c >= 0x7f && c <= 0x9f || c == 0x2028 || c == 0x2029:
		return fmt.Sprintf("the control character %U: remove it", c)
	case c == 0x200b || c == 0xfeff || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069:
		// A reviewer would read another rule than the one that holds.
		return fmt.Sprintf(`the invisible character %U: remove it, or write it as "\u%04x" in double quotes`, c, c)
	}
	return ""
}

// endOf is the place behind the last character of a file; what follows its last line feed is no line.
func endOf(file int, content []byte) place {
	body := bytes.TrimSuffix(content, []byte("\n"))
	last := body[bytes.LastIndexByte(body, '\n')+1:]
	return placeAt(file, 1+bytes.Count(body, []byte("\n")), 1+utf8.RuneCount(last))
}

// charAt returns the character at a place, or 0. It serves the text of one syntax error a file, so it need not be fast.
func charAt(at place, content []byte) rune {
	lines := bytes.SplitN(content, []byte("\n"), int(at.line)+1)
	if at.line < 1 || int(at.line) > len(lines) {
		return 0
	}
	line := lines[at.line-1]
	for i := 1; len(line) > 0; i++ {
		c, size := utf8.DecodeRune(line)
		if i == int(at.column) {
			return c
		}
		line = line[size:]
	}
	return 0
}
