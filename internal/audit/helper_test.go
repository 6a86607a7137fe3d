package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A caller waits a second for the disk, and a busy build machine's can take longer. Only benchmarks want the real one.
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() && flag.Lookup("test.bench").Value.String() == "" {
		os.Setenv("TMPDIR", memory)
	}
	if file := os.Getenv(childFile); file != "" {
		os.Exit(child(file, os.Getenv(childTask)))
	}
	goleak.VerifyTestMain(m)
}

func place(t testing.TB) string { return filepath.Join(t.TempDir(), "audit.jsonl") }

func open(t testing.TB, o audit.Options) *audit.Record {
	t.Helper()
	r, err := audit.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, r) })
	return r
}

func shut(t testing.TB, r *audit.Record) {
	t.Helper()
	if err := r.Close(t.Context()); err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
	_ = r.Close(context.Background())
}

// release is a release of the n-th build of acme/app.
func release(n int64) secret.Event {
	return secret.Event{
		Kind: secret.EventSecret, Outcome: secret.Released, How: secret.HowFetched,
		Caller: secret.Caller{ID: "01J", Remote: "10.0.0.7", Pool: "default", Key: "2026-11"},
		Request: secret.Request{
			Path: "shared", Name: "ci-token", Pool: "default",
			Repo:  secret.Repo{UID: "42", Slug: "acme/app", DefaultBranch: "main"},
			Build: secret.Build{Number: n, Event: "push", Ref: "refs/heads/main", Trigger: "@hook", Sender: "alice"},
		},
		Secret: "shared/ci-token", Version: "8f2c", Binding: "ci", Identity: "default",
		Config: strings.Repeat("c0", 32), Took: 3141593 * time.Nanosecond,
	}
}

func record(t testing.TB, r *audit.Record, events ...secret.Event) {
	t.Helper()
	for _, e := range events {
		if err := r.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// written makes a record of n releases and closes it.
func written(t testing.TB, o audit.Options, n int64) {
	t.Helper()
	r := open(t, o)
	for i := range n {
		record(t, r, release(i+1))
	}
	shut(t, r)
}

func lines(t testing.TB, file string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.SplitAfter(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
}

func parse(t testing.TB, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, line)
	}
	return m
}

func verified(t testing.TB, file string) audit.Verified {
	t.Helper()
	v, err := audit.Verify(file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func match(t testing.TB, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func put(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
