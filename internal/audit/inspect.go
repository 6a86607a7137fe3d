package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Standing is how a record's place looks to who may not touch it.
type Standing struct {
	Exists bool   // the file is there
	Held   bool   // a process that this one can see holds the lock
	Holder string // what that process wrote of itself; safe to print
}

// Inspect says whether a record could be opened there, and opens nothing for writing: it takes no lock, makes no file and
// changes none, so that it may be asked beside a running writer. Whether the disk has room it can't tell. The error names the
// place and the remedy.
//
// What Open does with the lock can't be tried: even a shared one, for a moment, would make an extension fail that starts just
// then. So the kernel's list of locks is read (proc_locks(5)), where there is one; a holder in another container does not show.
func Inspect(file string) (s Standing, err error) {
	file, err = filepath.Abs(file)
	if err != nil {
		return s, errors.New(`the record has no file: name one with "record: {file: …}"`)
	}
	dir := filepath.Dir(file)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return s, fmt.Errorf("the record %s: there is no directory %s: make it, or mount the volume there", file, dir)
	}
	s.Held, s.Holder = held(file + ".lock")
	for _, name := range []string{file, file + ".lock"} {
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return s, fmt.Errorf("the record %s: it can't be looked at: give the directory to the user of the extension", name)
		case !info.Mode().IsRegular():
			return s, fmt.Errorf("the record %s: it is a %s, and a record is a regular file: name another file under record", name, describe(info.Mode()))
		case unix.Access(name, unix.R_OK|unix.W_OK) != nil:
			return s, fmt.Errorf("the record %s: this user may not write it: run as the user of the extension, or give it the file", name)
		}
		s.Exists = s.Exists || name == file
	}
	if unix.Access(dir, unix.W_OK|unix.X_OK) != nil {
		return s, fmt.Errorf("the record %s: this user may not write in %s, or it is read-only: give it to the user of the extension (fsGroup in a pod), and mount it to be written", file, dir)
	}
	return s, nil
}

// held looks for the lock in the kernel's list, by the number of its file and by its device, or by the process that wrote its
// name there: some file systems, as overlayfs and btrfs, show another device in the list than stat(2) does.
//
//	1: FLOCK  ADVISORY  WRITE 4711 00:1a:12 0 EOF
func held(name string) (bool, string) {
	info, err := os.Lstat(name)
	if err != nil {
		return false, ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	list, err := os.Open("/proc/locks")
	if err != nil || !ok {
		return false, ""
	}
	defer list.Close()
	holder := holderOf(name)
	device, process := uint64(stat.Dev), 0
	_, _ = fmt.Sscanf(holder, "process %d ", &process)
	at := fmt.Sprintf("%02x:%02x:%d", unix.Major(device), unix.Minor(device), stat.Ino)
	for lines := bufio.NewScanner(list); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" {
			continue
		}
		if fields[5] == at || process > 0 && fields[4] == strconv.Itoa(process) && strings.HasSuffix(fields[5], fmt.Sprintf(":%d", stat.Ino)) {
			return true, holder
		}
	}
	return false, ""
}

// holderOf reads what a holder wrote of itself, and leaves nothing of it that does something to a terminal.
func holderOf(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, 256)
	n, _ := f.Read(text)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(text[:n]))
}
