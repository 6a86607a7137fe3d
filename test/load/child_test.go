package load

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is the program as the Dockerfile builds it.
var built struct {
	sync.Once
	dir, path string
	err       error
}

func binary(b testing.TB) string {
	b.Helper()
	built.Do(func() { built.err = build() })
	if built.err != nil {
		b.Fatal(built.err)
	}
	return built.path
}

// build runs the Dockerfile's own line, so that what is measured is what is shipped.
func build() (err error) {
	if built.dir, err = os.MkdirTemp("", "load-program-"); err != nil {
		return err
	}
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "RUN ")
		if !ok || !strings.Contains(command, "go build ") {
			continue
		}
		built.path = filepath.Join(built.dir, "drone-entra")
		run := exec.Command("sh", "-euc", strings.ReplaceAll(command, "/out/", built.dir+"/"))
		run.Dir, run.Env = "../..", append(os.Environ(), "VERSION=load")
		if out, err := run.CombinedOutput(); err != nil {
			return fmt.Errorf("building the program: %w\n%s", err, out)
		}
		return nil
	}
	return fmt.Errorf("the Dockerfile has no line that builds the program")
}

// child is the program as a process of its own.
type child struct {
	address string
	command *exec.Cmd
	log     *addressLog
	ended   chan struct{}
	ready   time.Duration // from before its start
}

// startChild runs `serve` with what configure makes for its directory, and returns once it is ready.
func startChild(b *testing.B, configure func(dir string) []byte) *child {
	b.Helper()
	w, path, dir := azure(b), binary(b), b.TempDir()
	file := filepath.Join(dir, "drone-entra.yaml")
	if err := os.WriteFile(file, configure(dir), 0o600); err != nil {
		b.Fatal(err)
	}
	c := &child{command: exec.Command(path, "serve", "--config", file), log: newAddressLog(), ended: make(chan struct{})}
	c.command.Env = []string{"HOME=" + dir, "TMPDIR=" + dir}
	for name, text := range w.environment {
		c.command.Env = append(c.command.Env, name+"="+text)
	}
	c.command.Dir, c.command.Stdout, c.command.Stderr = dir, io.Discard, c.log
	began := time.Now()
	if err := c.command.Start(); err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.command.Wait(); close(c.ended) }()
	b.Cleanup(func() { c.stop(b) })
	select {
	case c.address = <-c.log.address:
	case <-c.ended:
		b.Fatalf("it ended with %v: %s", c.command.ProcessState, c.log.text())
	case <-time.After(patience):
		b.Fatalf("it did not start: %s", c.log.text())
	}
	for !c.isReady() {
		if time.Since(began) > patience {
			b.Fatalf("it is not ready: %s", c.log.text())
		}
		time.Sleep(time.Millisecond)
	}
	c.ready = time.Since(began)
	return c
}

func (c *child) isReady() bool {
	answer, err := http.Get("http://" + c.address + "/readyz")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// stop ends it as an orchestrator does, and returns how long that took. A second call does nothing.
func (c *child) stop(b *testing.B) time.Duration {
	b.Helper()
	began := time.Now()
	_ = c.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = c.command.Process.Kill()
		b.Error("it does not end")
	}
	if code := c.command.ProcessState.ExitCode(); code != 0 {
		b.Errorf("it ended with %d: %s", code, c.log.text())
	}
	return time.Since(began)
}

// verify checks the record of a child that has ended, as an auditor does.
func (c *child) verify(b *testing.B) {
	b.Helper()
	out, err := exec.Command(c.command.Path, "audit", "verify", "--file", filepath.Join(c.command.Dir, "audit.jsonl")).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("unbroken")) {
		b.Errorf("`audit verify`: %v\n%s", err, out)
	}
}
