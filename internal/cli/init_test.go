package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

const guid = "3f2a4c55-1111-4222-8333-444455556666"

// What init writes is a configuration that check has nothing to say about.
func TestInitPassesCheck(t *testing.T) {
	for _, args := range [][]string{
		{"--repo", "acme/app", "--vault", "kv-shared", "--kubernetes"},
		{"--repo", "acme/app", "--vault", "kv-shared"},
		{"--repo", "acme/app", "--vault", "https://KV-Shared.vault.azure.net/", "--vault", "kv-b", "--kubernetes", "--tenant-id", guid, "--client-id", guid},
		{"--repo", "acme/app", "--repo", "acme/on", "--vault", "kv-shared.vault.azure.net", "--vm", "--client-id", guid},
		{"--repo", "acme/group/app", "--vault", "yes", "--kubernetes"},
		{"--repo", "acme/1.10", "--vault", "kv-shared"},
	} {
		dir := t.TempDir()
		code, out, problem := run(t, dir, append([]string{"init"}, args...)...)
		if code != 0 || !strings.Contains(out, "drone-entra.yaml is written. Next:") {
			t.Errorf("%q: exit %d %s%s", args, code, out, problem)
			continue
		}
		if code, out, _ := run(t, dir, "check", "--strict", "--notes"); code != 0 || !strings.Contains(out, "1 binding, 1 deny,") || !strings.HasSuffix(out, "0 errors, 0 warnings, 0 notes\n") {
			content, _ := os.ReadFile("drone-entra.yaml")
			t.Errorf("%q: %s for\n%s", args, out, content)
		}
	}
}

// The commented example holds as well, once its marks are taken away.
func TestInitExampleHolds(t *testing.T) {
	_, out, _ := run(t, t.TempDir(), "init", "--repo", "acme/app", "--vault", "kv-shared", "--out", "-")
	var lines []string
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "  # "); ok && (strings.HasPrefix(rest, "- id:") || strings.HasPrefix(rest, "  ")) {
			line = "  " + rest
		}
		lines = append(lines, strings.TrimPrefix(line, "# listen"))
	}
	cfg, problems := config.Replay([]byte(strings.Replace(strings.Join(lines, ""), ": {address:", "listen: {address:", 1)), "x")
	if cfg == nil || len(problems) > 0 || len(cfg.Rules.Bindings) != 2 || cfg.Listen.Address != ":3000" {
		t.Errorf("%v for\n%s", problems, strings.Join(lines, ""))
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := directory(t, "mine")
	args := []string{"init", "--repo", "acme/app", "--vault", "kv-shared"}
	if code, _, problem := run(t, dir, args...); code != 1 || !strings.Contains(problem, "drone-entra.yaml is there already: name another with --out, or overwrite it with --force") {
		t.Errorf("exit %d %s", code, problem)
	}
	if content, _ := os.ReadFile(filepath.Join(dir, "drone-entra.yaml")); string(content) != "mine" {
		t.Errorf("overwritten: %s", content)
	}
	if code, _, problem := run(t, dir, append(args, "--out", "other.yaml")...); code != 0 {
		t.Errorf("exit %d %s", code, problem)
	}
	if code, _, problem := run(t, dir, append(args, "--force")...); code != 0 {
		t.Errorf("exit %d %s", code, problem)
	}
	if code, _, _ := run(t, dir, "check"); code != 0 {
		t.Error("--force wrote nothing good")
	}
}

// What is no good is said before anything is written; without a terminal nothing is asked.
func TestInitRefuses(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--vault is missing"},
		{[]string{"--vault", "kv-a"}, "--repo is missing"},
		{[]string{"--vault", "kv-a", "--repo", "acme/app", "--vm"}, "--client-id is missing"},
		{[]string{"--vault", "kv-a", "--repo", "acme/app", "--vm", "--client-id", guid, "--tenant-id", guid}, "--tenant-id has no meaning"},
		{[]string{"--vault", "kv-a", "--repo", "acme/app", "--vm", "--kubernetes"}, "can't be used together"},
		{[]string{"--vault", "kv-a", "--repo", "acme"}, "matches no repository"},
		{[]string{"--vault", "http://kv-a", "--repo", "acme/app"}, "is no vault's address"},
		{[]string{"--vault", "kv-a", "--repo", "acme/app", "--client-id", "five"}, "GUID"},
		{[]string{"--vault", "kv-a", "--vault", "kv-a", "--repo", "acme/app"}, "duplicate key"},
		{[]string{"--vault", "kv-a", "--repo", "acme/app\"]\nrecord: {file: x}"}, "no"},
	} {
		dir := t.TempDir()
		code, _, problem := run(t, dir, append([]string{"init"}, test.args...)...)
		if code != 2 || !strings.Contains(problem, test.want) {
			t.Errorf("%q: exit %d %s", test.args, code, problem)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%q: something was written", test.args)
		}
	}
}
