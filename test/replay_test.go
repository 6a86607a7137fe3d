package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// `explain` answers from the record by the configuration of the time, whatever is configured now.
func TestARequestIsExplainedFromTheRecord(t *testing.T) {
	t.Parallel()
	s := startReloadable(t)
	refused := s.expect(t, push("acme/app").branch("dev").number(41), "shared/ci-token", denied("ref"))
	released := s.expect(t, push("acme/app").number(42), "shared/ci-token", gets("kv-reload/ci-token"))
	s.expect(t, push("acme/app").number(42), "shared/other", denied("read"))
	s.edit(t, "acme/app", "acme/elsewhere", true) // nobody would get anything by this one
	s.configured(t, 2)
	s.Vault("kv-reload").Delete("ci-token")

	explain := func(code int, what string, texts ...string) {
		t.Helper()
		got, out := command(t, "explain", "--file", s.Record, what)
		if got != code {
			t.Errorf("explain %s ends with %d, want %d:\n%s", what, got, code, out)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("explain %s does not say %q:\n%s", what, text, out)
			}
		}
	}
	explain(1, refused.ID, "DENIED  shared/ci-token to acme/app, push refs/heads/dev by alice", "reason: ref",
		"ref: wants main, got refs/heads/dev", "first would allow it with   when: {push: {branches: [main, dev]}}")
	explain(0, released.ID, "ALLOWED", "binding: first")
	explain(1, "acme/app#42", "ALLOWED", "DENIED  shared/other", released.ID)
	explain(1, "acme/APP#41", "reason: ref") // a forge knows no case
	explain(1, "acme/app#43", "has nothing about the build acme/app#43")
	explain(1, "0123456789abcdef", "has nothing about the request")
	explain(2, "acme/app#next", "names no build")

	var answers []struct {
		ID       string
		Agrees   bool
		Decision struct {
			Reason string
			Checks []struct{ Predicate, Want string }
		}
	}
	if _, out := command(t, "explain", "--json", "--file", s.Record, refused.ID); json.Unmarshal([]byte(out), &answers) != nil ||
		len(answers) != 1 || !answers[0].Agrees || answers[0].Decision.Reason != "ref" || len(answers[0].Decision.Checks) == 0 {
		t.Errorf("--json gives %s", out)
	}

	kept := filepath.Join(filepath.Dir(s.Record), "config-"+refused.Config+".yaml")
	content, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	for text, spoil := range map[string]func() error{
		"was altered": func() error { return os.WriteFile(kept, append(content, "# more\n"...), 0o600) },
		"is missing":  func() error { return os.Remove(kept) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		explain(1, refused.ID, text)
		if err := os.WriteFile(kept, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	explain(1, refused.ID, "reason: ref")
}

// The record keeps the beginning of an overlong text only, and says so instead of deciding about something else.
func TestACutRequestIsNotReplayed(t *testing.T) {
	t.Parallel()
	s := startReloadable(t)
	e := s.nothing(t, push("acme/app"), "shared/"+strings.Repeat("x", 300))
	code, out := command(t, "explain", "--file", s.Record, e.ID)
	if code != 1 || !strings.Contains(out, "keeps only the beginning") || strings.Contains(out, "DENIED") {
		t.Errorf("ends with %d: %s", code, out)
	}
	// What came after policy is told apart from it.
	s.Vault("kv-reload").Delete("ci-token")
	e = s.nothing(t, push("acme/app"), "shared/ci-token")
	if _, out := command(t, "explain", "--file", s.Record, e.ID); !strings.Contains(out, "DENIED") || !strings.Contains(out, "reason: not-found; the policy allowed it by first") {
		t.Errorf("a secret that is not there: %s", out)
	}
}
