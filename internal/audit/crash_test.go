package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

// The test binary runs itself again as the process that is killed or limited.
const (
	childFile = "AUDIT_TEST_CHILD_FILE"
	childTask = "AUDIT_TEST_CHILD_TASK"
)

func runChild(t *testing.T, file, task string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childFile+"="+file, childTask+"="+task)
	return cmd
}

func child(file, task string) int {
	r, err := audit.Open(audit.Options{File: file, MaxBytes: 20000})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if task == "full" {
		return childFull(r, file)
	}
	var mu sync.Mutex // one acknowledgement a line
	for g := range int64(8) {
		go func() {
			for i := g; ; i += 8 {
				e := release(i / 3) // two of three are repeats
				e.Caller.ID = strconv.FormatInt(i, 10)
				if r.Record(context.Background(), e) == nil {
					mu.Lock()
					fmt.Println(e.Caller.ID)
					mu.Unlock()
				}
			}
		}()
	}
	select {}
}

// S2, A4: whatever was acknowledged before a kill -9 is on record, and the record goes on.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	file := place(t)
	acknowledged := map[string]bool{}
	for range 3 {
		cmd := runChild(t, file, "load")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		for range 300 {
			id, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err, id)
			}
			acknowledged[id] = true
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(in)
		for id := range strings.Lines(string(rest)) {
			if strings.HasSuffix(id, "\n") {
				acknowledged[id] = true
			}
		}
		_ = cmd.Wait()
		shut(t, open(t, audit.Options{File: file}))
		verified(t, file)
	}
	onRecord := map[string]bool{}
	for _, f := range verified(t, file).Files {
		for _, line := range lines(t, f) {
			if id, ok := parse(t, line)["id"].(string); ok {
				onRecord[id+"\n"] = true
			}
		}
	}
	for id := range acknowledged {
		if !onRecord[id] {
			t.Errorf("acknowledged and not on record: %s", id)
		}
	}
}

// childFull lets the disk be full, as far as this process can tell, and then not.
func childFull(r *audit.Record, file string) int {
	limit := func(n uint64) {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			panic(err)
		}
		l.Cur = n
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			panic(err)
		}
	}
	if err := r.Record(context.Background(), release(1)); err != nil {
		fmt.Println("before:", err)
		return 1
	}
	info, err := os.Stat(file)
	if err != nil {
		panic(err)
	}
	limit(uint64(info.Size()) + 100) // room for a piece of a line
	if err := r.Record(context.Background(), release(2)); err == nil || secret.AsError(err).Reason != secret.ReasonUnrecorded {
		fmt.Println("full:", err)
		return 1
	}
	if r.Healthy() == nil {
		fmt.Println("healthy on a full disk")
		return 1
	}
	limit(1 << 30)
	for r.Record(context.Background(), release(3)) != nil {
		<-time.After(10 * time.Millisecond) // until it heals alone; the parent's deadline ends it
	}
	return 0
}

// A1: a full disk refuses every release; with room again the record heals alone and its chain holds.
func TestFullDisk(t *testing.T) {
	file := place(t)
	if out, err := runChild(t, file, "full").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if v := verified(t, file); v.Lines != 2 {
		t.Errorf("%d lines, want the first and the third", v.Lines)
	}
	if torn := match(t, filepath.Dir(file), "audit.jsonl.torn-*"); len(torn) != 1 {
		t.Errorf("torn tails set aside: %v", torn)
	}
}

// A4: a record cut anywhere in its last line opens, loses that line alone, keeps the piece, and goes on.
func TestTornTail(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file}, 2)
	all := lines(t, file)
	whole := append(append([]byte{}, all[0]...), append(all[1], '\n')...)
	tails := map[string][]byte{"zeros": append(whole[:len(all[0]):len(all[0])], make([]byte, 5000)...),
		"rubbish": append(whole[:len(all[0]):len(all[0])], "rubbish\n{}\n"...)}
	for n := 1; n < len(all[1])+1; n++ {
		tails[fmt.Sprint(n)] = whole[:len(all[0])+n]
	}
	for name, content := range tails {
		dir := t.TempDir()
		file := filepath.Join(dir, "audit.jsonl")
		put(t, file, content)
		written(t, audit.Options{File: file}, 1)
		if v := verified(t, file); v.Lines != 2 {
			t.Errorf("%s: %d lines", name, v.Lines)
		}
		torn := match(t, dir, "audit.jsonl.torn-*")
		if len(torn) != 1 {
			t.Fatalf("%s: set aside: %v", name, torn)
		}
		if aside, err := os.ReadFile(torn[0]); err != nil || string(aside) != string(content[len(all[0]):]) {
			t.Errorf("%s: %v, set aside %q", name, err, aside)
		}
	}
}

func TestTornFirstLine(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file}, 1)
	put(t, file, lines(t, file)[0][:100])
	written(t, audit.Options{File: file}, 1)
	if v := verified(t, file); v.Lines != 1 {
		t.Errorf("%+v", v)
	}
}

// A crash between the two halves of a rotation leaves no current file; a changed last line is no torn one.
func TestOpenKeepsEvidence(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file, MaxBytes: 2000}, 7)
	older := match(t, filepath.Dir(file), "audit-*.jsonl")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	written(t, audit.Options{File: file}, 1)
	if v := verified(t, file); len(v.Files) != len(older)+1 {
		t.Errorf("%+v", v)
	}
	put(t, file, []byte(strings.Replace(strings.Join(text(lines(t, file)), ""), `"number":1`, `"number":5`, 1)+"\n"))
	written(t, audit.Options{File: file}, 1)
	wantBroken(t, file, "audit.jsonl", 2, "the line was changed")
}

func text(lines [][]byte) (all []string) {
	for _, l := range lines {
		all = append(all, string(l))
	}
	return all
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, dir, file string)
		want  string
	}{
		{"no directory", func(t *testing.T, dir, _ string) { must(t, os.Remove(dir)) }, "there is no directory"},
		{"a directory", func(t *testing.T, _, file string) { must(t, os.Mkdir(file, 0o700)) }, "directory; a record is a regular file"},
		{"a link", func(t *testing.T, _, file string) { must(t, os.Symlink("elsewhere", file)) }, "symbolic link"},
		{"a link as lock", func(t *testing.T, _, file string) { must(t, os.Symlink("elsewhere", file+".lock")) }, "symbolic link"},
		{"a pipe", func(t *testing.T, _, file string) { must(t, syscall.Mkfifo(file, 0o600)) }, "named pipe"},
		{"something else", func(t *testing.T, _, file string) { put(t, file, []byte("root:x:0:0\nbin:x:1:1\n")) }, "not a record"},
		{"a second writer", func(t *testing.T, _, file string) { open(t, audit.Options{File: file, Instance: "first"}) },
			fmt.Sprintf(`another process writes it and holds %%s.lock ("process %d on`, os.Getpid())},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			must(t, os.Mkdir(dir, 0o700))
			file := filepath.Join(dir, "audit.jsonl")
			tt.setup(t, dir, file)
			_, err := audit.Open(audit.Options{File: file})
			want := strings.ReplaceAll(tt.want, "%s", file)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "record: {file: …}") {
				t.Errorf("got %v, want %q and the remedy", err, want)
			}
		})
	}
	if _, err := audit.Open(audit.Options{}); err == nil {
		t.Error("no file, no error")
	}
}

func TestOpenReadOnlyDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes everywhere")
	}
	file := place(t)
	must(t, os.Chmod(filepath.Dir(file), 0o500))
	if _, err := audit.Open(audit.Options{File: file}); err == nil || !strings.Contains(err.Error(), "mount a volume") {
		t.Errorf("got %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
