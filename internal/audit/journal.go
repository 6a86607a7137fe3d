package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// disk is the two calls whose slowness and failure the record is built around.
// Tests put ones in their place that hang, fail or write less.
type disk struct {
	write func(f *os.File, b []byte, at int64) (int, error)
	sync  func(*os.File) error
}

func realDisk() disk { return disk{(*os.File).WriteAt, (*os.File).Sync} }

// journal is the file and the lock beside it. The writer alone appends and rotates; sync may run beside an append.
type journal struct {
	path   string
	holder string // the text in the lock's file
	disk   disk
	log    zerolog.Logger
	now    func() time.Time

	lock *os.File

	mu     sync.Mutex // held while syncing, and by the writer while it replaces file
	file   *os.File
	info   fs.FileInfo  // which file that is, also when it is closed
	first  uint64       // the number of file's first line; the writer's
	size   atomic.Int64 // the writer's; read by sync
	synced int64        // how much of file is synced
}

// open takes the lock, opens the file, sets a torn tail aside and returns the chain's head as the disk has it. fresh tells
// that the file is empty and goes on from a rotated one.
//
// What is cut off is kept in a file beside it: whoever tampers with the
// record must not be able to make us remove the traces.
func (j *journal) open() (h head, fresh bool, err error) {
	dir := filepath.Dir(j.path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return head{}, false, j.problem(fmt.Errorf("there is no directory %s", dir))
	}
	if err := j.takeLock(); err != nil {
		return head{}, false, j.problem(err)
	}
	if j.file, err = openRegular(j.path); err != nil {
		return head{}, false, j.problem(err)
	}
	t, err := readTail(j.file)
	if err == nil && t.good < t.size {
		err = j.tear(t)
	}
	if t.changed {
		j.log.Error().Str("file", j.path).Uint64("seq", t.seq).Msg("the record's last line was changed: run `drone-entra audit verify`")
	}
	if err == nil && t.seq == 0 {
		t.head, err = j.lastRotated()
		fresh = t.seq > 0
		t.first = t.seq + 1
	}
	if err != nil {
		return head{}, false, j.problem(errors.Join(err, j.file.Close()))
	}
	info, err := j.file.Stat()
	if err != nil {
		return head{}, false, j.problem(err)
	}
	if !os.SameFile(info, j.info) {
		j.synced = 0
	}
	j.info, j.first, j.synced = info, t.first, min(j.synced, t.good)
	j.size.Store(t.good)
	return t.head, fresh, nil
}

// problem adds the place and the remedy.
func (j *journal) problem(err error) error {
	return fmt.Errorf(`record %s: %w (the directory must be there and writable for this process: mount a volume, or choose another place with "record: {file: …}")`,
		j.path, err)
}

// takeLock takes the lock unless it is held already; one whose file went from the directory locks nobody out any more.
// It is asked again at each reopen, since somebody may have removed the file while we held it.
func (j *journal) takeLock() error {
	name := j.path + ".lock"
	if j.lock != nil {
		if isAt(j.lock, name, 0) == nil {
			return nil
		}
		_ = j.lock.Close()
		j.lock = nil
	}
	f, err := lock(name, j.holder)
	j.lock = f
	return err
}

// tear sets what stands behind the last good line aside and says so in the log.
func (j *journal) tear(t tail) error {
	aside, err := setAside(j.file, t, j.now())
	if err != nil {
		return fmt.Errorf("set the torn tail aside: %w", err)
	}
	j.log.Error().Str("file", j.path).Str("aside", aside).Int64("bytes", t.size-t.good).Uint64("seq", t.seq).
		Msg("the record's tail was torn and is set aside; the chain goes on from its last good line")
	return nil
}

// lastRotated returns the end of the newest rotated file, the zero head if there is none.
// It is asked when the current file has no line: after a crash amid a rotation, or when somebody moved the file away.
func (j *journal) lastRotated() (head, error) {
	older, err := rotatedFiles(j.path)
	if err != nil || len(older) == 0 {
		return head{}, err
	}
	f, err := os.Open(older[len(older)-1].name)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	t, err := readTail(f)
	return t.head, err
}

// append writes the batch, one write(2) for what goes into one file.
//
// After an error it is unknown how much of the batch is in the file; reopen finds out, and nobody was told that it was
// written.
func (j *journal) append(b *batch) error {
	from := 0
	for _, c := range b.cuts {
		if err := j.write(b.buf[from:c.at]); err != nil {
			return err
		}
		if err := j.rotate(c.first); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		from = c.at
	}
	return j.write(b.buf[from:])
}

// write puts b behind what is there. Its own count of the size says where, not the end of the file, so that what a
// failed write left behind is not built upon.
func (j *journal) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	at := j.size.Load()
	if info, err := j.file.Stat(); err != nil || info.Size() < at {
		return errors.Join(err, errCut) // to write on would fill the gap with zeros
	}
	n, err := j.disk.write(j.file, b, at)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		j.size.Store(at + int64(n))
	}
	return err
}

// rotate gives the file its lasting name and goes on in a new one.
//
// The order allows for a crash at any moment: what is renamed is synced, the name it gets is free, and between rename
// and the new file there is no current file, which open and the readers both know how to take.
func (j *journal) rotate(first uint64) error {
	if err := j.sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	older := rotatedName(j.path, j.first)
	if _, err := os.Lstat(older); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way: move it away", older)
	}
	if err := os.Rename(j.path, older); err != nil {
		return err
	}
	f, err := openRegular(j.path) // syncs the directory as well
	if err != nil {
		return err
	}
	_ = j.file.Close() // synced above
	if j.info, err = f.Stat(); err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.first, j.synced = f, first, 0
	j.size.Store(0)
	return nil
}

// sync makes everything durable that was written before the call. What is durable in a file that was removed or replaced
// is lost all the same, so it looks whether the file is still in its place.
//
// It may run beside an append: size is read before the sync, so what is appended meanwhile does not count as synced.
func (j *journal) sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	size := j.size.Load()
	err := j.disk.sync(j.file)
	if err == nil {
		err = isAt(j.file, j.path, size)
	}
	if err == nil {
		j.synced = size
	}
	return err
}

var errCut = errors.New("the file was cut")

// isAt tells whether the open file is still the one at path, and no shorter than size.
func isAt(f *os.File, path string, size int64) error {
	open, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !os.SameFile(open, there):
		return errors.New("the file was replaced")
	case there.Size() < size:
		return errCut
	}
	return nil
}

// reopen starts over after a failure. It returns what open does, once that is durable.
// The lock stays held throughout. The caller is the writer, so nothing is appended meanwhile.
func (j *journal) reopen() (head, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.file.Close()
	h, fresh, err := j.open()
	if err != nil {
		return head{}, false, err
	}
	if err = j.rewrite(); err == nil {
		err = j.disk.sync(j.file)
	}
	if err != nil {
		return head{}, false, j.problem(err)
	}
	j.synced = j.size.Load()
	return h, fresh, nil
}

// rewrite writes once more what is in the file and was never synced. After a failed fsync(2) Linux takes those pages for
// clean: they read well, and a second fsync succeeds without a word although they never reached the disk.
func (j *journal) rewrite() error {
	buf := make([]byte, maxLine)
	for at, end := j.synced, j.size.Load(); at < end; {
		n, err := j.file.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err == nil {
			_, err = j.disk.write(j.file, buf[:n], at)
		}
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// close gives the file and the lock back.
func (j *journal) close() error {
	return errors.Join(j.file.Close(), j.lock.Close())
}

// continueAt makes the file, whose own lines end earlier, go on behind h.
// A rotation later on names the file by that number.
func (j *journal) continueAt(h head) {
	if j.size.Load() == 0 {
		j.first = h.seq + 1
	}
}
