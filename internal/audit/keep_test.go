package audit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/drone-entra/drone-entra/internal/audit"
)

func TestKeepConfig(t *testing.T) {
	file := place(t)
	r := open(t, audit.Options{File: file})
	content := []byte("version: 1\n")
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	for range 2 {
		must(t, r.KeepConfig(name, content))
	}
	kept := filepath.Join(filepath.Dir(file), "config-"+name+".yaml")
	got, err := os.ReadFile(kept)
	must(t, err)
	info, err := os.Stat(kept)
	must(t, err)
	if string(got) != string(content) || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v", got, info.Mode())
	}
	if left := match(t, filepath.Dir(file), ".config-*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	for _, bad := range []string{"", "../x", name[1:] + "0"} {
		if err := r.KeepConfig(bad, content); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	must(t, os.RemoveAll(filepath.Dir(file)))
	if err := r.KeepConfig(name, content); err == nil {
		t.Error("kept in a directory that is gone")
	}
	must(t, os.Mkdir(filepath.Dir(file), 0o700))
}
