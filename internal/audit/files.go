package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// rotatedName is where the file goes that begins with line first: audit.jsonl becomes audit-000000000001.jsonl.
// Twelve digits and more sort as the numbers do. rotatedFiles compares the numbers all the same.
func rotatedName(file string, first uint64) string {
	ext := filepath.Ext(file)
	return fmt.Sprintf("%s-%012d%s", strings.TrimSuffix(file, ext), first, ext)
}

// rotatedFile is an older part of the chain.
type rotatedFile struct {
	name  string // with its directory
	first uint64 // the number of its first line, as its name says
}

// rotatedFiles lists the older parts beside the file, oldest first.
// What else lies there, such as a torn tail or a kept configuration, has no such name and is passed over.
func rotatedFiles(file string) ([]rotatedFile, error) {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	ext := filepath.Ext(file)
	stem := strings.TrimSuffix(filepath.Base(file), ext) + "-"
	var found []rotatedFile
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), stem)
		digits, ok2 := strings.CutSuffix(digits, ext)
		first, err := strconv.ParseUint(digits, 10, 64)
		if ok && ok2 && err == nil && len(digits) >= 12 {
			found = append(found, rotatedFile{filepath.Join(filepath.Dir(file), e.Name()), first})
		}
	}
	slices.SortFunc(found, func(a, b rotatedFile) int { return int(min(max(int64(a.first-b.first), -1), 1)) })
	return found, nil
}

// syncDir makes the names in a directory durable. Some network file systems can't, and do so by themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// openRegular opens a file to read and write it, and makes it, with mode 0600, if there is none. It follows no link and
// takes nothing but a regular file: a record in a device or a pipe is no record.
// Lstat is for the message; that no link is followed, also one put there in between, O_NOFOLLOW sees to.
func openRegular(file string) (*os.File, error) {
	info, err := os.Lstat(file)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is a %s; a record is a regular file", describe(info.Mode()))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if info == nil {
		if err := syncDir(filepath.Dir(file)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// describe names the kind of file for whoever has to move it away.
func describe(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// lock takes the right to write the record: an flock(2) on a file beside it, which ends with the process that holds it.
// holder is what the next one to try is told.
//
// The kernel lets the lock go when the process ends, however it ends, so no stale file has to be recognised. Only the
// writer needs it: readers look on beside it.
func lock(file, holder string) (*os.File, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		text := make([]byte, 256)
		n, _ := f.ReadAt(text, 0)
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		by := strings.TrimSpace(strings.ToValidUTF8(string(text[:n]), "?"))
		return nil, fmt.Errorf("another process writes it and holds %s (%q): stop that one, or give this one a record of its own", file, by)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(holder+"\n"), 0)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) { // the text is a courtesy
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
