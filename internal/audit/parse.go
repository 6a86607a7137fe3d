package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// entry is what the chain needs of a line.
type entry struct {
	head   // the line's own number and hash
	at     time.Time
	prev   string
	rotate bool // the first line of a file that goes on from another
}

// What can be wrong with a line by itself.
const (
	whyChanged = "the line was changed: its hash does not match"
	whyNoHash  = "the line was changed: it does not end in its hash"
	whyForm    = "the line was changed: its hash matches, but it is not in the record's form"
	whyLong    = "the line was changed: it is longer than any line of a record"
	whyTorn    = "the line is torn: the file ends inside it"
)

// parseLine reads one line without its newline. A line that is not as appendLine wrote it gives a reason. Its hash is asked
// first, so that whatever was changed in the line is told as a change of the line. The entry has the hash that the line
// states; it is zero if the line is not even in the record's form.
func parseLine(line []byte) (e entry, why string) {
	body, stated, ok := cutHash(line, `,"hash":"`, `"}`)
	if !ok {
		return entry{}, whyNoHash
	}
	var computed [2 * sha256.Size]byte
	sum := sha256.Sum256(body)
	hex.Encode(computed[:], sum[:])
	if string(stated) != string(computed[:]) {
		why = whyChanged
	}
	copy(e.hash[:], stated)
	if e.parseFront(body) && e.parsePrev(body) && jsontext.Value(line).IsValid() {
		return e, why
	}
	if why == "" {
		why = whyForm
	}
	return entry{}, why
}

// cutHash splits text at its last member, which is the name given and a hash, and what ends it.
//
// For example (`{"v":1,…,"prev":"","hash":"<64 digits>"}`, `,"hash":"`, `"}`) gives `{"v":1,…,"prev":""` and the
// digits.
func cutHash(text []byte, name, end string) (before, hash []byte, ok bool) {
	text, ok = bytes.CutSuffix(text, []byte(end))
	at := len(text) - 2*sha256.Size
	if !ok || at < 0 {
		return nil, nil, false
	}
	before, ok = bytes.CutSuffix(text[:at], []byte(name))
	return before, text[at:], ok
}

// parseFront reads v, seq, time and whether the line opens a further file.
func (e *entry) parseFront(body []byte) bool {
	rest, ok := parseSeq(body, &e.seq)
	if !ok {
		return false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"time":"`))
	at, rest, found := bytes.Cut(rest, []byte{'"'})
	if !ok || !found {
		return false
	}
	// Free text can't imitate this: its quotes are escaped.
	e.rotate = bytes.Contains(rest, []byte(`,"kind":"`+kindRotate+`",`))
	var err error
	e.at, err = time.Parse(timeFormat, string(at))
	return err == nil
}

// parseSeq reads the front that every line has and returns what stands behind the number. A seq of 0 is none.
func parseSeq(line []byte, seq *uint64) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(line, []byte(`{"v":1,"seq":`))
	digits, _, found := bytes.Cut(rest, []byte{','})
	if !ok || !found {
		return nil, false
	}
	var err error
	*seq, err = strconv.ParseUint(string(digits), 10, 64)
	return rest[len(digits):], err == nil && *seq > 0
}

// parsePrev reads the last member before the hash. It is empty in the first line of a chain alone, which is for follows
// to judge.
func (e *entry) parsePrev(body []byte) bool {
	if bytes.HasSuffix(body, []byte(`,"prev":""`)) {
		return true
	}
	_, prev, ok := cutHash(body, `,"prev":"`, `"`)
	e.prev = string(prev)
	return ok
}
