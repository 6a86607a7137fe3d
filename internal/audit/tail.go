package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// tail is the end of a file of the record.
type tail struct {
	head
	first   uint64 // the number of the file's first line; 0 if it has none
	good    int64  // where the last good line ends
	size    int64
	changed bool // that line's hash is not right
}

var errNoRecord = errors.New("it holds something that is not a record: move it away, or choose another place")

// readTail finds the last line that is whole and in form. A crash can leave behind it a piece of a line, or the zeros of
// blocks that never came. A line in form whose hash is wrong is no crash's work: it stays where it is, the chain goes on
// from the hash it states, and Verify names it, as it does what is wrong before.
//
// It reads backwards in windows that grow eightfold, so that a start does not read the whole file; a tail longer than a
// window is a rare one.
func readTail(f *os.File) (t tail, err error) {
	info, err := f.Stat()
	if err != nil {
		return tail{}, err
	}
	t.size = info.Size()
	for window := int64(2 * maxLine); ; window *= 8 {
		from := max(0, t.size-window)
		buf := make([]byte, t.size-from)
		if _, err := f.ReadAt(buf, from); err != nil && err != io.EOF {
			return tail{}, err
		}
		if last, why, end := lastGood(buf, from == 0); end > 0 {
			t.head, t.good, t.changed = last, from+int64(end), why != ""
			t.first, err = firstSeq(f)
			return t, err
		}
		if from > 0 {
			continue
		}
		if len(buf) > maxLine || bytes.IndexByte(buf, '\n') >= 0 {
			return tail{}, errNoRecord
		}
		return t, nil
	}
}

// lastGood returns the last line in form, what is wrong with its hash, and where it ends, newline included. The first line
// in buf counts only if buf begins where the file does: elsewhere it is half a line.
func lastGood(buf []byte, whole bool) (h head, why string, end int) {
	end = bytes.LastIndexByte(buf, '\n')
	for end >= 0 {
		start := bytes.LastIndexByte(buf[:end], '\n')
		if start < 0 && !whole {
			break
		}
		if e, why := parseLine(buf[start+1 : end]); e.seq > 0 {
			return e.head, why, end + 1
		}
		end = start
	}
	return head{}, "", 0
}

// firstSeq reads the number of a file's first line, which its name will bear once it is rotated. Whether that line is
// otherwise good is not asked: a change in it must not stop the service, and Verify names it.
func firstSeq(f *os.File) (seq uint64, err error) {
	front := make([]byte, 64) // less than the shortest line
	_, err = f.ReadAt(front, 0)
	if _, ok := parseSeq(front, &seq); err != nil || !ok {
		return 0, fmt.Errorf("its first line has no number: %w", errNoRecord)
	}
	return seq, nil
}

// setAside moves what stands behind the last good line into a file of its own and cuts it off. The copy is synced
// before the cut, so that a crash between the two loses nothing.
//
// Nothing is thrown away: a tail may be the only trace of an event whose caller was told "unrecorded".
func setAside(f *os.File, t tail, at time.Time) (aside string, err error) {
	aside = f.Name() + ".torn-" + at.UTC().Format("20060102T150405.000000000Z")
	to, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, io.NewSectionReader(f, t.good, t.size-t.good))
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(err, os.Remove(aside))
	}
	if err := f.Truncate(t.good); err != nil {
		return "", err
	}
	return aside, errors.Join(f.Sync(), syncDir(filepath.Dir(aside)))
}
