package app

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
)

const reloadable = `version: 1
identities: {default: {tenant_id: 72f988bf-0000-4000-8000-000000000001, client_id: 3f2a4c55-0000-4000-8000-000000000002, assertion: {file: /nowhere}}}
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings: [{id: NAME, repos: ["acme/app"], read: ["shared/x"]}]
record: {file: DIR/audit.jsonl}
listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0"}
`

// memory is where a sync never waits for a disk that others keep busy.
const memory = "/dev/shm"

// edited writes the configuration with its one binding called so.
func edited(t *testing.T, file, name string) {
	t.Helper()
	text := strings.NewReplacer("NAME", name, "DIR", filepath.Dir(file)).Replace(reloadable)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newApp(t *testing.T, afterLoad func()) (a *App, file string) {
	t.Helper()
	dir, err := os.MkdirTemp(memory, "drone-entra-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file = filepath.Join(dir, "drone-entra.yaml")
	edited(t, file, "first")
	c, problems := config.Load([]string{file})
	if c == nil {
		t.Fatal(problems)
	}
	if afterLoad != nil {
		edited(t, file, "between")
	}
	a, err = New(c, Env{
		Getenv: func(name string) string {
			return map[string]string{"DRONE_SECRET": "0123456789abcdef0123456789abcdef"}[name]
		},
		Log: io.Discard, Paths: []string{file},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	return a, file
}

func (a *App) inForce() string { return a.current.Load().config.Rules.Bindings[0].ID }

// An edit between the reading of the files and the moment from which they are followed counts at the next look.
func TestAnEditDuringTheStartIsNotLost(t *testing.T) {
	a, _ := newApp(t, func() {})
	if a.inForce() != "first" {
		t.Fatalf("%s is in force", a.inForce())
	}
	if a.follow(false); a.inForce() != "between" {
		t.Errorf("%s is in force after a look", a.inForce())
	}
}

// The same for one that comes while a new configuration is put in force: what counts as seen is what was read.
func TestAnEditDuringAReloadIsNotLost(t *testing.T) {
	a, file := newApp(t, nil)
	a.env.Adapt = func(*config.Config) { a.env.Adapt = nil; edited(t, file, "third") } // right after the files were read
	edited(t, file, "second")
	a.follow(false) // reads the second and sees that the files changed meanwhile
	a.follow(false)
	if a.inForce() != "third" {
		t.Errorf("%s is in force", a.inForce())
	}
}

// A record that can't be written keeps a new configuration out only for so long.
func TestAReloadThatTheRecordRefusedIsTriedAgain(t *testing.T) {
	a, file := newApp(t, nil)
	kept := filepath.Dir(a.current.Load().config.Record.File)
	edited(t, file, "second")
	if err := os.Rename(filepath.Join(kept, "audit.jsonl"), filepath.Join(kept, "moved")); err != nil { // the record fails at its next sync
		t.Fatal(err)
	}
	if a.follow(false); a.inForce() != "first" || a.reload.problem() == nil {
		t.Fatalf("%s is in force without a record", a.inForce())
	}
	if err := os.Rename(filepath.Join(kept, "moved"), filepath.Join(kept, "audit.jsonl")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // it heals each second
		if a.follow(false); a.inForce() == "second" {
			return
		}
	}
	t.Errorf("%s is in force, though the record is there again", a.inForce())
}
