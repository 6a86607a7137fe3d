package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// replays loads what is kept of a configuration and compares it with the original.
func replays(t interface {
	Helper()
	Fatalf(string, ...any)
}, cfg *config.Config) {
	t.Helper()
	again, problems := config.Replay(cfg.Content, cfg.Files[0].Name)
	if again == nil {
		t.Fatalf("%v\nfor\n%s", problems, cfg.Content)
	}
	if again.SHA256 != cfg.SHA256 || !bytes.Equal(again.Content, cfg.Content) {
		t.Fatalf("kept\n%s\nreplayed\n%s", cfg.Content, again.Content)
	}
	if diff := cmp.Diff(cfg.Rules, again.Rules, cmp.AllowUnexported(secret.Pattern{}, secret.ReadPattern{})); diff != "" && len(cfg.Files) == 1 {
		t.Fatalf("%s", diff)
	}
	if len(cfg.Files) != len(again.Files) || len(cfg.Rules.Bindings) != len(again.Rules.Bindings) {
		t.Fatalf("%d files and %d bindings, replayed %d and %d",
			len(cfg.Files), len(cfg.Rules.Bindings), len(again.Files), len(again.Rules.Bindings))
	}
}

func TestReplay(t *testing.T) {
	sample, _ := config.Load([]string{"testdata/sample.yaml"})
	replays(t, sample)
	for _, content := range []string{
		"version: 1",
		"version: 1\r\n# CRLF\r\n",
		"# a comment\n#FILE x\n # FILE y\n# FILED\nversion: 1\n",
		"---\nversion: 1\n...\n",
	} {
		cfg, _ := loads(t, content)
		replays(t, cfg)
	}
	paths := write(t, "main.yaml", platform+"# no line feed", "payments.yaml", "version: 1\nbindings: [{id: a, repos: [acme/payments-x], read: [pay-prod/x]}]")
	for _, order := range [][]string{paths, {paths[1], paths[0]}} {
		cfg, problems := config.Load(order)
		if cfg == nil {
			t.Fatal(problems)
		}
		replays(t, cfg)
		again, _ := config.Replay(cfg.Content, "kept")
		if at := again.Rules.Bindings[1].At; at != paths[1]+":2" {
			t.Errorf("the place of its time is lost: %s", at)
		}
	}
}

// A confinement holds in a replay as well: a kept configuration means what it meant.
func TestReplayConfines(t *testing.T) {
	kept := "# FILE dir/main.yaml\n" + platform + "# FILE dir/payments.yaml\nversion: 1\nbindings: [{id: a, repos: [other/x], read: [pay-prod/x]}]\n"
	if cfg, problems := config.Replay([]byte(kept), "kept"); cfg != nil || !strings.Contains(problems.String(), "dir/payments.yaml:2:28   error") {
		t.Errorf("%v", problems)
	}
}

// What Load could not have kept is not replayed.
func TestReplayRefuses(t *testing.T) {
	for _, kept := range []string{
		"", "# FILE a\nversion: 1\n# FILE a\nversion: 1\n", "# FILE a\nversion: 1\n# FILE ./a\nversion: 1\n", "# FILE \nversion: 1\n",
		"# FILE a", "# FILE a\n# FILE b\nversion: 1\n", "# FILE a\tb\nversion: 1\n", "version: 1\n# FILE a\nversion: 1\n",
	} {
		if cfg, problems := config.Replay([]byte(kept), "kept"); cfg != nil || problems.Errors() == 0 {
			t.Errorf("%q: %v", kept, problems)
		}
	}
}

func TestNoFileHoldsTheMark(t *testing.T) {
	for _, content := range []string{
		"# FILE x\nversion: 1\n", "version: 1\n# FILE \n", "version: 1\r\n# FILE x\r\n",
		"version: 1\nlog: {level: |\n debug\n# FILE x\n }\n",
	} {
		cfg, problems := config.Load(write(t, "c.yaml", content))
		if cfg != nil || len(problems) != 1 || !strings.Contains(problems[0].Text, `a line that begins with "# FILE"`) || problems[0].Line == 0 {
			t.Errorf("%q: %v", content, problems)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a\nb.yaml")
	if err := os.WriteFile(path, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, problems := config.Load([]string{dir}); cfg != nil || !strings.Contains(problems.String(), "holds no control character") {
		t.Errorf("%v", problems)
	}
}

// Whatever the comments of several files look like, they are told apart again.
func TestReplayRoundTrip(t *testing.T) {
	lines := []string{"# FILE", "#FILE a", " # FILE a", "# file a", "", "#", "# FILEa", "#\tFILE x", "# FIL"}
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var paths []string
		for _, name := range []string{"a.yaml", "b c.yaml", "# FILE c.yaml"}[:rapid.IntRange(1, 3).Draw(rt, "files")] {
			comments := strings.Join(rapid.SliceOf(rapid.SampledFrom(lines)).Draw(rt, "comments"), "\n")
			tail := rapid.SampledFrom([]string{"", "\n", "\n\n", "\n# FILE"}).Draw(rt, "tail")
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(comments+"\nversion: 1"+tail), 0o600); err != nil {
				rt.Fatal(err)
			}
			paths = append(paths, path)
		}
		cfg, problems := config.Load(paths)
		if cfg == nil {
			rt.Fatal(problems)
		}
		replays(rt, cfg)
	})
}
