package test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// secretText is a value that is nowhere else: n letters and digits, none of which JSON escapes.
func secretText(n int) string {
	text := ""
	for len(text) < n {
		text += rand.Text()
	}
	return text[:n]
}

// memory opens what the program holds in memory, which takes root: the program is not dumpable.
func (s *server) memory(t *testing.T) *os.File {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", s.child.Process.Pid))
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("the memory of the program can't be read without CAP_SYS_PTRACE: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	return mem
}

// copies counts how often a text lies in the memory that the program may write to. A copy that was overwritten in part
// counts as well: of three pieces of the text, the one that is found most often decides. A piece is longer than what a
// processor has in its registers while it copies, since the kernel and Go's runtime save those when they interrupt it; by
// itself, such a scrap lies there until the next interruption. around shows what lies before.
func (s *server) copies(t *testing.T, text string) (n int, around []string) {
	t.Helper()
	size := min(len(text), 300)
	mem := s.memory(t)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.child.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	middle := (len(text) - size) / 2
	counts, read, room := [3]int{}, 0, []byte(nil)
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		room = slices.Grow(room[:0], int(to-from))
		got, _ := mem.ReadAt(room[:to-from], int64(from)) // nothing of a mapping that went away, or of a device
		block := room[:got]
		read += got
		for i, at := range []int{0, middle, len(text) - size} {
			piece := []byte(text[at : at+size])
			here := bytes.Count(block, piece)
			if counts[i] += here; here > 0 {
				found := bytes.Index(block, piece)
				around = append(around, fmt.Sprintf("piece %d at %x: %q", i, from+uint64(found), block[max(0, found-60):found]))
			}
		}
	}
	if read < 1<<20 {
		t.Fatalf("no more than %d bytes of memory could be read", read)
	}
	return max(counts[0], counts[1], counts[2]), around
}

// A search that finds nothing must be able to find something: the runners' key is in memory for as long as it is needed.
func TestASearchOfMemoryFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	key := secretText(64)
	s := start(t, doors, env("DRONE_SECRET", key), askingWith(key), withoutRace())
	if n, _ := s.copies(t, key); n == 0 {
		t.Error("the key that the program verifies requests with is not found in its memory")
	}
	if n, _ := s.copies(t, secretText(64)); n != 0 {
		t.Errorf("a text that nobody has told the program is found %d times", n)
	}
}

// What /proc shows of a process belongs to its user, or to root where nobody but root may look into it: so the program runs
// as nobody here where the tests run as root.
func TestNobodyOfItsUserLooksIntoTheProgram(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	program, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	path, config := filepath.Join(dir, "drone-entra"), filepath.Join(dir, "drone-entra.yaml")
	text := "version: 1\nlisten: {address: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nrecord: {file: " + dir + "/audit.jsonl}\n" + doors
	if err := errors.Join(os.WriteFile(path, program, 0o700), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	user := uint32(os.Getuid())
	if user == 0 {
		user = 65534
		for _, name := range []string{dir, path, config} {
			if err := os.Chown(name, int(user), int(user)); err != nil {
				t.Skipf("no other user can be had: %v", err)
			}
		}
	}
	s := &server{t: t, out: newOutput(), exited: make(chan struct{}), child: exec.Command(path, "serve", "--config", config)}
	s.child.Dir, s.child.Stdout, s.child.Stderr = dir, s.out, s.out
	s.child.Env = []string{"DRONE_SECRET=" + runnerKey, "AZURE_TENANT_ID=" + tenantID, "AZURE_CLIENT_ID=" + clientID,
		"AZURE_FEDERATED_TOKEN_FILE=" + dir + "/token", "HTTPS_PROXY=http://127.0.0.1:1", "GOTRACEBACK=crash", "GORACE=" + raceOptions}
	if os.Getuid() == 0 {
		s.child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	if err := s.child.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.child.Wait(); close(s.exited); s.out.wake() }()
	t.Cleanup(func() { _ = s.child.Process.Kill(); s.wait() })
	s.await("listening")
	for _, name := range []string{"environ", "mem", "maps"} {
		info, err := os.Stat(fmt.Sprintf("/proc/%d/%s", s.child.Process.Pid, name))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("%s belongs to user %d, so that another process of that user can read it", name, owner)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.child.Process.Pid))
	if err != nil || !regexp.MustCompile(`(?m)^Max core file size +0 +0 +bytes`).Match(limits) {
		t.Errorf("a core dump may be written: %v\n%s", err, limits)
	}
	s.signal(syscall.SIGABRT) // the Go runtime prints its goroutines, and with "crash" asks for a dump
	s.wait()
	if status := s.child.ProcessState.Sys().(syscall.WaitStatus); status.CoreDump() || !status.Signaled() {
		t.Errorf("it ended with %v, a dump written: %t", status, status.CoreDump())
	}
	if printed := s.out.String(); !strings.Contains(printed, "goroutine ") || strings.Contains(printed, runnerKey) {
		t.Errorf("it printed the key, or no trace:\n%s", printed)
	}
}

// perConnection is how often a connection to a vault holds its last answer: in the TLS record that it came in, which
// crypto/tls opens in place, and net/http's reader. Nobody can clear them; the next answer overwrites them.
const perConnection = 2

// While a value is remembered there is one copy of it; the read's own, the answer's and what lies between them are gone.
// Once the vault took it back, there is none.
func TestAValueIsInMemoryForAsLongAsItIsOfUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store func(secret string) string // what the vault has
		ask   string                     // the key, with its slash
		kind  []emulator.SecretOption
	}{
		"a text":              {func(s string) string { return s }, "", nil},
		"a key of a document": {func(s string) string { return `{"user":"app","db":{"password":"` + s + `"}}` }, "/db.password", nil},
		"a text in base64": {func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, "",
			[]emulator.SecretOption{emulator.ContentType("text/plain;base64")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, value := startFaulty(t, doors, withoutRace()), secretText(1100)
			v, mark := f.Vault("kv-faulty"), value
			stored := c.store(value)
			v.Set("db", stored, c.kind...)
			first := f.next()
			f.finds(t, first, "strict/db"+c.ask, value)
			f.holds(t, "after the release", []string{mark, stored}, 1+perConnection)

			var asking sync.WaitGroup
			for range 16 {
				asking.Go(func() { f.finds(t, first, "strict/db"+c.ask, value) })
			}
			asking.Wait()
			f.holds(t, "after 16 more at once", []string{mark, stored}, 1+perConnection)

			v.Delete("db")
			f.nothing(t, f.next(), "strict/db"+c.ask)
			f.holds(t, "after the vault took it back", []string{mark, stored}, perConnection)

			for round := 0; round < 20; round++ {
				f.overwrite(t, fmt.Sprint("other-", round), 2*len(stored))
				if n, _ := f.copies(t, stored); n == 0 {
					break
				}
			}
			f.holds(t, "after other answers", []string{mark, stored}, 0)
		})
	}
}

// overwrite has other values of that length read at the same time, so that they pass over every connection to the vault.
func (f *faulty) overwrite(t *testing.T, name string, length int) {
	t.Helper()
	var asking sync.WaitGroup
	for i := range 8 {
		other, value, b := fmt.Sprint(name, "-", i), secretText(length), f.next()
		f.Vault("kv-faulty").Set(other, value)
		asking.Go(func() { f.finds(t, b, "strict/"+other, value) })
	}
	asking.Wait()
}

// holds checks that each text lies in memory no more than so often. An answer can be here a moment before the program has
// cleared its own copy, so it looks again a few times.
func (s *server) holds(t *testing.T, when string, texts []string, most int) {
	t.Helper()
	for _, text := range slices.Compact(texts) {
		n, around := s.copies(t, text)
		for try := 0; n > most && try < 50; try++ {
			time.Sleep(100 * time.Millisecond)
			n, around = s.copies(t, text)
		}
		t.Logf("%s there are %d copies of %.20q…", when, n, text)
		if n > most {
			t.Errorf("%s there are %d copies, more than %d: %s", when, n, most, strings.Join(around, "\n"))
		}
	}
}

// As many large answers at once as clients want: what they leave behind does not add up.
func TestAFloodOfLargeAnswersFitsIntoMemory(t *testing.T) {
	const asks, most = 1500, 128 << 10 // KiB
	s, value := start(t, one, withoutRace()), secretText(25<<10)
	s.Vault("kv-shared").Set("ci-token", value) // as large as Key Vault takes it
	messages := make([]*message, asks)
	for i := range messages {
		messages[i] = genuine(push("acme/app").number(int64(i)).body("shared", "ci-token")).sign(runnerKey, five)
	}
	s.atOnce(t, messages, func(r *http.Response) {
		if got := data(runnerKey, r); got != value {
			t.Errorf("got %.40q", got)
		}
	})
	s.fits(t, most)
}

// kibibytes is what the kernel says of the program's memory: VmHWM is the most that it ever took, VmRSS what it takes now.
func (s *server) kibibytes(t *testing.T, what string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.child.Process.Pid))
	found := regexp.MustCompile(what + `:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || found == nil {
		t.Fatalf("%v in %s", err, status)
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}

// fits checks that the program never took more.
func (s *server) fits(t *testing.T, most int) {
	t.Helper()
	n := s.kibibytes(t, "VmHWM")
	t.Logf("the program took %d KiB of memory", n)
	if n > most || n < 1<<10 {
		t.Errorf("the program took %d KiB of memory, more than %d", n, most)
	}
}
