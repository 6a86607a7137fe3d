package emulator

import (
	"fmt"
	"os"
	"path/filepath"
)

// ProjectToken writes a good assertion for the subject (DefaultSubject when empty) to the path. See [Project].
func (e *Emulator) ProjectToken(path, subject string) error {
	return Project(path, e.Assertion(AssertionOptions{Subject: subject}))
}

// Project writes content to the path as the kubelet projects a token into a pod: the path is a symbolic link through
// a directory link ..data to a fresh directory, and replacing it swaps ..data in one rename, so that a reader sees the
// old content or the new and nothing between. The directory is made when missing, with mode 0700, the file has mode
// 0600. One path in a directory: what else was projected there goes. The error says what could not be written.
func Project(path, content string) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("emulator: making the directory of the token %s: %w", path, err)
	}
	fresh, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return fmt.Errorf("emulator: making a directory beside the token %s: %w", path, err)
	}
	if err := os.WriteFile(filepath.Join(fresh, name), []byte(content), 0o600); err != nil {
		return fmt.Errorf("emulator: writing the token %s: %w", path, err)
	}
	return swap(dir, name, filepath.Base(fresh))
}

// swap points ..data to the fresh directory and removes the one it pointed to.
// A symbolic link can't be changed in place, so a new one is made beside it and renamed over the old.
func swap(dir, name, fresh string) error {
	data, next := filepath.Join(dir, "..data"), filepath.Join(dir, fresh+"_link")
	old, _ := os.Readlink(data) // none the first time
	if err := os.Symlink(fresh, next); err != nil {
		return fmt.Errorf("emulator: linking the token: %w", err)
	}
	if err := os.Rename(next, data); err != nil {
		return fmt.Errorf("emulator: replacing the token: %w", err)
	}
	link := filepath.Join(dir, name)
	if _, err := os.Lstat(link); os.IsNotExist(err) {
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
			return fmt.Errorf("emulator: linking the token: %w", err)
		}
	}
	if old == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, old))
}
