package audit

import (
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// cutAt shortens s to at most limit bytes without splitting a rune.
func cutAt(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	end := limit
	for end > limit-utf8.UTFMax && end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end], true
}

// appendQuote appends s as a JSON string. Beyond what JSON demands it escapes whatever does not print: DEL, the C1
// controls, line separators, bidirectional and zero-width marks. An auditor's terminal then shows what is there, and
// nothing acts. Invalid UTF-8 becomes U+FFFD.
//
// For example a right-to-left override (U+202E) in a branch's name becomes \u202e, and U+E0001 \udb40\udc01.
func appendQuote(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if plain(r, size) {
			i += size
			continue
		}
		dst = append(dst, s[from:i]...)
		dst = appendEscape(dst, r)
		i += size
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// plain tells whether the rune stands for itself.
// size tells U+FFFD itself, three bytes long, from a byte that is no UTF-8, which decodes to the same rune.
func plain(r rune, size int) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != '"' && r != '\\' && r != 0x7f
	}
	return unicode.IsPrint(r) && (r != utf8.RuneError || size > 1)
}

func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, `\n`...)
	case '\t':
		return append(dst, `\t`...)
	case '\r':
		return append(dst, `\r`...)
	}
	if r > 0xffff { // JSON escapes are UTF-16
		r -= 0x10000
		return appendUnit(appendUnit(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	return appendUnit(dst, r)
}

// appendUnit writes one UTF-16 unit, \u and four digits.
func appendUnit(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
