package test

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that is full, in two ways: a limit that the kernel puts on the process, and a file system of its own.
func TestA1TheDiskIsFull(t *testing.T) {
	t.Parallel()
	t.Run("A1 no file may grow", func(t *testing.T) {
		t.Parallel()
		s := startOne(t)
		s.full(t, func() (heal func()) {
			var old unix.Rlimit
			info, err := os.Stat(s.Record)
			if err == nil {
				err = unix.Prlimit(s.child.Process.Pid, unix.RLIMIT_FSIZE, nil, &old)
			}
			if err == nil { // in the middle of the next line
				err = unix.Prlimit(s.child.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(info.Size()) + 100, Max: old.Max}, nil)
			}
			if err != nil {
				t.Skipf("the limit can't be set: %v", err)
			}
			return func() {
				if err := unix.Prlimit(s.child.Process.Pid, unix.RLIMIT_FSIZE, &old, nil); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
	t.Run("A1 no space on the device", func(t *testing.T) {
		t.Parallel()
		dir := directory(t)
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k,mode=700"); err != nil {
			t.Skipf("only root mounts a file system: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		s := startOne(t, func(o *setup) { o.state = dir })
		s.full(t, func() (heal func()) {
			ballast := filepath.Join(dir, "ballast")
			f, err := os.Create(ballast)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = f.Write(make([]byte, 512))
			}
			_ = f.Close()
			return func() { _ = os.Remove(ballast) }
		})
	})
}

// full fills the disk amid good requests: nothing is released without its record; when there is room again, it goes on by
// itself, and the chain is whole.
func (s *server) full(t *testing.T, fill func() (heal func())) {
	t.Helper()
	s.servesOne(t)
	heal := fill()
	n := int64(100)
	ask := func() error {
		n++
		_, err := s.find(push("acme/app").number(n), "shared/ci-token")
		return err
	}
	eventually(t, "a full disk", func() bool { return ask() != nil }) // the last block may still have room
	for range 10 {
		if err := ask(); err == nil {
			t.Fatal("a value left without its record")
		}
		r := s.send(genuine(push("acme/app").number(n).body("shared", "ci-token")).sign(runnerKey, five))
		r.refused(t, http.StatusServiceUnavailable)
	}
	if code, body := get(t, s.URL+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d %s", code, body)
	}
	if code, _ := get(t, s.URL+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d: a restart would not help", code)
	}
	if p := s.status(); p.Ready || p.Record.Problem == "" {
		t.Errorf("/status says %s", p.text)
	}
	released := count(s.events(), "released")
	heal()
	eventually(t, "room for the record", func() bool { return ask() == nil || !s.pause() })
	if code, body := get(t, s.URL+"/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %s", code, body)
	}
	s.servesOne(t)
	if now := count(s.events(), "released"); now < released+2 {
		t.Errorf("%d releases are on record, %d before", now, released)
	}
	s.verify()
}
