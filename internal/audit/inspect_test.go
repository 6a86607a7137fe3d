package audit_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/audit"
)

// Whoever looks at a record's place changes nothing there, and says what Open would meet.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	s, err := audit.Inspect(file)
	if err != nil || s != (audit.Standing{}) {
		t.Errorf("of an empty directory: %+v, %v", s, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	for name, says := range map[string]string{
		filepath.Join(dir, "nowhere", "audit.jsonl"): "there is no directory",
		dir: "is a directory",
	} {
		if _, err := audit.Inspect(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "link.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Inspect(filepath.Join(dir, "link.jsonl")); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("of a link: %v", err)
	}
}

func TestInspectBesideAWriter(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lists its locks")
	}
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	r, err := audit.Open(audit.Options{File: file, Instance: "one", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.Inspect(file)
	if err != nil || !s.Exists || !s.Held || !strings.Contains(s.Holder, `instance "one"`) {
		t.Errorf("beside a writer: %+v, %v", s, err)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s, err = audit.Inspect(file); err != nil || s.Held || s.Holder != "" {
		t.Errorf("after it: %+v, %v", s, err)
	}
}

func TestInspectWithoutTheRight(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Inspect(filepath.Join(dir, "audit.jsonl")); err == nil || !strings.Contains(err.Error(), "fsGroup") {
		t.Error(err)
	}
}
