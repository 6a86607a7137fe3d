package secret

import "bytes"

// What is said of a value that a runner's log masking does not cover.
const (
	noteJSON  = "it looks like a whole JSON document: logs mask it line by line and not the values inside; ask for a key of it"
	noteShort = "a line of it is one character long, which logs do not mask"
)

// uncovered tells what a runner leaves unmasked of a value that it got: it masks the value line by line, each without the
// blanks around it, and passes over lines of one byte. It is on every release's way: it reads the value once at most and
// does not allocate.
//
// For example, "ab\n c \n" has the line "c", which a log shows. It is a note and no refusal: masking is a courtesy of
// the runner, and a build that means to print a secret can.
func uncovered(value []byte) (note string) {
	trimmed := bytes.TrimSpace(value)
	if len(trimmed) > 1 && trimmed[0] == '{' && trimmed[len(trimmed)-1] == '}' {
		return noteJSON
	}
	for more := true; more; {
		var line []byte
		line, trimmed, more = bytes.Cut(trimmed, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 1 {
			return noteShort
		}
	}
	return ""
}
