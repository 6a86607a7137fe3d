package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Verified is what a whole record says of itself.
type Verified struct {
	Files       []string  // the files read, oldest first
	Lines       uint64    // how many lines they hold; 0 for a record that is still empty
	FirstSeq    uint64    // the first line's number; above 1, the files before it are kept elsewhere and were not read
	First, Last time.Time // of the first and the last line
	Seq         uint64    // the last line's number and hash: to be compared with the head in the log, because
	Hash        string    // a chain whose end was cut off is still a chain
}

// Broken says where a record stops being one.
// Lines behind it may be good or not; they are not looked at, as nothing vouches for them any more.
type Broken struct {
	File string // without its directory
	Line uint64 // in the file, from 1
	Seq  uint64 // the number the line bears, or should bear if it can't be read
	Why  string
}

// Error says it to an auditor.
func (b *Broken) Error() string {
	return fmt.Sprintf("%s line %d (seq %d): %s", b.File, b.Line, b.Seq, b.Why)
}

// Verify reads the record from its oldest rotated file to the end of file as one chain: every line in form, its hash right,
// its number one more than that of the line before, its prev that line's hash. Nothing but the files is needed, and the
// process that writes them may go on meanwhile: what it appends or rotates after the call is not read.
//
// The first line that breaks the chain is returned as a *Broken, with what was good before it; a file that can't be read as
// another error.
func Verify(file string) (Verified, error) {
	current, err := openCurrent(file)
	if err != nil {
		return Verified{}, fmt.Errorf("verify the record: %w", err)
	}
	defer current.Close()
	older, err := olderThan(file, current)
	if err != nil {
		return Verified{}, fmt.Errorf("verify the record: %w", err)
	}
	v := verifier{}
	for _, o := range older {
		if err := v.rotated(o); err != nil {
			return v.result, err
		}
	}
	v.patience = maxPatience
	err = v.file(current, file, 0)
	return v.result, err
}

// A reader beside the writer can find a line half written, or no file at all in the moment of a rotation. It looks again.
const (
	patience    = 5 * time.Millisecond
	maxPatience = 20
)

// openCurrent waits up to a tenth of a second for a file that a rotation has just renamed.
func openCurrent(file string) (f *os.File, err error) {
	for range maxPatience {
		if f, err = os.Open(file); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		time.Sleep(patience)
	}
	return f, err
}

// olderThan lists the rotated files that come before the open one. If that one was itself rotated since it was opened, it
// is in the list, and what comes with it and after it is left out.
func olderThan(file string, current *os.File) ([]rotatedFile, error) {
	older, err := rotatedFiles(file)
	if err != nil {
		return nil, err
	}
	info, err := current.Stat()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(older, func(o rotatedFile) bool {
		there, err := os.Stat(o.name)
		return err == nil && os.SameFile(info, there)
	})
	if at >= 0 {
		older = older[:at]
	}
	return older, nil
}

// verifier follows one chain through its files.
// last is the end of the chain so far, the zero head before the first line.
type verifier struct {
	result   Verified
	last     head
	patience int // how often it may still look again for the rest of a line
}

func (v *verifier) rotated(o rotatedFile) error {
	f, err := os.Open(o.name)
	if err != nil {
		return fmt.Errorf("verify the record: %w", err)
	}
	defer f.Close()
	return v.file(f, o.name, o.first)
}

// file verifies one file. named is the number of its first line as its name says, 0 for the current one.
//
// At each turn everything before line n is good: it is in result, and last is its end.
func (v *verifier) file(f *os.File, name string, named uint64) error {
	v.result.Files = append(v.result.Files, name)
	r := bufio.NewReaderSize(f, maxLine)
	for n := uint64(1); ; n++ {
		line, err := v.readLine(r)
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		e, why := entry{}, ""
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			why = whyLong
		case err == io.EOF:
			why = whyTorn
		case err != nil:
			return fmt.Errorf("verify the record: %s line %d: %w", name, n, err)
		default:
			e, why = parseLine(line[:len(line)-1])
		}
		want := v.wants(&e, named)
		if why != "" {
			return broken(name, n, want, why)
		}
		if why = v.follows(&e, want, named, n == 1); why != "" {
			if at := findSeq(f, want); e.seq > want && at > n {
				why = fmt.Sprintf("lines were moved: here belongs seq %d, which stands in line %d", want, at)
			}
			return broken(name, n, e.seq, why)
		}
		v.accept(&e)
	}
}

func broken(name string, line, seq uint64, why string) error {
	return &Broken{File: filepath.Base(name), Line: line, Seq: seq, Why: why}
}

// readLine returns the next line, newline included; at the end of the file what is left, with io.EOF.
func (v *verifier) readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != io.EOF || len(line) == 0 {
		return line, err
	}
	whole := slices.Clone(line)
	for ; err == io.EOF && v.patience > 0; v.patience-- {
		time.Sleep(patience)
		line, err = r.ReadSlice('\n')
		whole = append(whole, line...)
	}
	return whole, err
}

// wants returns the number that the next line must bear. The first line of all is seq 1, or opens a further file: then the
// chain began in files that are elsewhere.
func (v *verifier) wants(e *entry, named uint64) uint64 {
	switch {
	case v.result.Lines > 0:
		return v.last.seq + 1
	case e.rotate:
		return e.seq
	case 1 < named && named < e.seq:
		return named
	}
	return 1
}

// follows says why a line that is good by itself is not the next one of the chain.
// The number is compared first: "a line is missing" says more than a prev that does not fit, which follows from it.
func (v *verifier) follows(e *entry, want, named uint64, begins bool) string {
	switch {
	case e.seq == want+1:
		return fmt.Sprintf("a line is missing before it: seq %d", want)
	case e.seq > want:
		return fmt.Sprintf("lines are missing before it: seq %d to %d", want, e.seq-1)
	case e.seq < want:
		return fmt.Sprintf("the line is out of its place: here belongs seq %d", want)
	case begins && named != 0 && named != e.seq:
		return fmt.Sprintf("the file's name says that it begins with seq %d", named)
	case v.result.Lines == 0 && e.rotate:
		return ""
	case e.prev != string(v.last.text()):
		return "the line does not follow the one before it: one of the two was replaced"
	}
	return ""
}

// findSeq returns the line of the file that bears the number, 0 if there is none.
// It tells lines that were moved from lines that are gone. It reads the whole file, and only once something is wrong.
func findSeq(f *os.File, seq uint64) uint64 {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0
	}
	r := bufio.NewReaderSize(f, maxLine)
	for n := uint64(1); ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0
		}
		var have uint64
		if _, ok := parseSeq(line, &have); ok && have == seq {
			return n
		}
	}
}

// accept moves the chain's end on to a line that follows.
func (v *verifier) accept(e *entry) {
	if v.result.Lines == 0 {
		v.result.FirstSeq, v.result.First = e.seq, e.at
	}
	v.last = e.head
	v.result.Lines++
	v.result.Last, v.result.Seq, v.result.Hash = e.at, e.seq, string(e.hash[:])
}
