package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// KeepConfig keeps a configuration beside the record as config-<sha256>.yaml, so that any decision can be replayed against
// the policy of its time. sum is the lower-case hex SHA-256 of content. The file appears whole and synced or not at all; one
// that is there already stays as it is.
// The hash is computed again rather than believed: a name that lies about its content would make every later replay
// lie.
func (r *Record) KeepConfig(sum string, content []byte) error {
	if have := sha256.Sum256(content); sum != hex.EncodeToString(have[:]) {
		return fmt.Errorf("keep configuration: %q is not the SHA-256 of its content", sum)
	}
	dir, file := filepath.Dir(r.opts.File), KeptConfig(r.opts.File, sum)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := replaceFile(dir, file, content); err != nil {
		return fmt.Errorf("keep configuration %s: %w", file, err)
	}
	return nil
}

// KeptConfig is where a configuration is kept, beside the record.
func KeptConfig(record, sum string) string {
	return filepath.Join(filepath.Dir(record), "config-"+sum+".yaml")
}

// replaceFile writes the file under a name of its own and moves it into place once it is synced. Its mode is 0600.
// A crash before the rename leaves a .config-* file behind, which nothing reads.
func replaceFile(dir, file string, content []byte) error {
	f, err := os.CreateTemp(dir, ".config-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}
