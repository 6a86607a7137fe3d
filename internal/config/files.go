package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

const maxFile = 64 << 20 // bytes; a file of rules is a thousandth of it

// expand lists the files that the paths stand for: a file itself, a directory's *.yaml and *.yml in order of name. What
// can't be listed gets a problem in the report. Files are told apart by their cleaned names; no link is followed for
// that.
func expand(paths []string, r *report) (names []string) {
	if len(paths) == 0 {
		r.fileError("configuration", "no file is named: give one with --config")
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case path == "":
			r.fileError(`""`, "an empty path names no file: give one with --config")
		case err != nil:
			r.fileError(path, "%s", remedy(err))
		case info.IsDir():
			names = append(names, directory(path, r)...)
		default:
			names = append(names, path)
		}
	}
	return distinct(names, r)
}

// directory lists a directory's *.yaml and *.yml. None at all is an error: a mount that failed would otherwise look
// like a configuration without rules.
func directory(path string, r *report) (names []string) {
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		r.fileError(path, "%s", remedy(err))
		return nil
	}
	for _, entry := range entries {
		// Hidden files are editors' and Kubernetes' own (..data, ..2026_11_01): the same content under another name.
		name := entry.Name()
		if ext := filepath.Ext(name); !strings.HasPrefix(name, ".") && (ext == ".yaml" || ext == ".yml") {
			names = append(names, filepath.Join(path, name))
		}
	}
	if names == nil {
		r.fileError(path, "the directory holds no *.yaml or *.yml file (subdirectories are not searched)")
	}
	return names
}

// distinct drops, with an error, a file that was named before. It refuses names with control characters as well: one
// with a line feed could forge the line "# FILE …" that separates files where they are kept as one, and any of them
// could forge a line of what is printed.
func distinct(names []string, r *report) (once []string) {
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
			r.fileError(name, "a file's name is not empty and holds no control character: rename it")
			continue
		}
		clean := filepath.Clean(name)
		if seen[clean] {
			r.fileError(name, "the file is named twice: name it once")
			continue
		}
		seen[clean] = true
		once = append(once, name)
	}
	return once
}

// fileError reports a problem of a file that is not read. It takes the next index for the name, so every problem has a
// file, also one that nobody could open.
func (r *report) fileError(name, format string, args ...any) {
	r.names = append(r.names, name)
	r.errorf(wholeFile(len(r.names)-1), format, args...)
}

// readFile reads one regular file of at most maxFile bytes. The error's text is for people and has the remedy. Links
// are followed, as Kubernetes mounts each file of a ConfigMap as one.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, errors.New(remedy(err))
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, errors.New("not a regular file: name a file, or a directory of *.yaml files")
	}
	if info.Size() > maxFile {
		return nil, tooBig()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.New(remedy(err))
	}
	defer f.Close()
	// The size may be that of another moment, and 0 for what the kernel makes up: the limit holds while reading, too.
	// One byte more tells a file that is too big from one that just fits.
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, errors.New(remedy(err))
	}
	if len(content) > maxFile { // it grew
		return nil, tooBig()
	}
	return content, nil
}

func tooBig() error {
	return fmt.Errorf("the file is bigger than %d MiB: split the rules over several files", maxFile>>20)
}

// remedy says what went wrong with a file and what to do. The operation and the path of a PathError are left out: the
// problem has the file's name already.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return `no such file: name another, or write a first one with "drone-entra init"`
	case errors.Is(err, fs.ErrPermission):
		return "can't be read: give this process's user read access"
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Sprintf("can't be read: %v", err)
}
