package config_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

func TestFilesAreMerged(t *testing.T) {
	paths := write(t,
		"b.yaml", "version: 1\nbindings: [{id: a, repos: [acme/a], read: [shared/x]}]\n",
		"a.yml", "version: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}",
		".hidden.yaml", "not: read", "..data", "not: read", "README.md", "not: read", "c.yaml.bak", "not: read",
	)
	dir := filepath.Dir(paths[0])
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load([]string{dir})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a, b := filepath.Join(dir, "a.yml"), filepath.Join(dir, "b.yaml")
	if len(cfg.Files) != 2 || cfg.Files[0].Name != a || cfg.Files[1].Name != b {
		t.Errorf("%v", cfg.Files)
	}
	want := "# FILE " + a + "\nversion: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}\n" +
		"# FILE " + b + "\nversion: 1\nbindings: [{id: a, repos: [acme/a], read: [shared/x]}]\n"
	if string(cfg.Content) != want {
		t.Errorf("got\n%s", cfg.Content)
	}
	if cfg.SHA256 != fmt.Sprintf("%x", sha256.Sum256(cfg.Content)) {
		t.Error(cfg.SHA256)
	}
	if got := cfg.Rules.Bindings[0].At; got != b+":2" {
		t.Error(got)
	}
	swapped, _ := config.Load([]string{b, a}) // the same files in another order are the same configuration
	if swapped == nil || swapped.SHA256 != cfg.SHA256 {
		t.Error("the order of the arguments changes the configuration's name")
	}
}

func TestOneFileIsKeptAsItIs(t *testing.T) {
	cfg, _ := loads(t, "version: 1 # no line feed at the end")
	if string(cfg.Content) != "version: 1 # no line feed at the end" {
		t.Errorf("%q", cfg.Content)
	}
}

func TestNothingStandsInTwoFiles(t *testing.T) {
	const vault = "{url: https://kv-shared.vault.azure.net}"
	const binding = "{id: x, repos: [acme/a], read: [shared/x]}"
	const vaults = "vaults: {shared: " + vault + "}\n"
	for _, test := range []struct{ a, b, want string }{
		{"vaults: {v: " + vault + "}", "vaults: {v: " + vault + "}", "b.yaml:2:10   error    vault \"v\" is at A:2:10 already"},
		{"identities: {default: {}}", "identities: {default: {}}", "b.yaml:2:14   error    identity \"default\" is at A:2:14 already"},
		{"pools: {p: {keys: [{id: a, env: A}]}}", "pools: {p: {keys: [{id: a, env: B}]}}", "b.yaml:2:9   error    pool \"p\" is at A:2:9 already"},
		{"groups: {g: [a]}", "groups: {g: [b]}", "b.yaml:2:10   error    group \"g\" is at A:2:10 already"},
		{vaults + "bindings: [" + binding + "]", "denies: [{id: x}]", "b.yaml:2:15   error    the id \"x\" is at A:3:17 already: bindings and denies have ids of their own"},
		{"record: {file: /a}", "record: {file: /a}", "b.yaml:2:9   error    \"record\" is at A:2:9 already: only one file has it"},
		{"listen: {}", "listen: {}", "b.yaml:2:9   error    \"listen\" is at A:2:9 already: only one file has it"},
		{"limits: {}", "limits: {}", "b.yaml:2:9   error    \"limits\" is at A:2:9 already: only one file has it"},
		{"log: {}", "log: {}", "b.yaml:2:6   error    \"log\" is at A:2:6 already: only one file has it"},
	} {
		paths := write(t, "a.yaml", "version: 1\n"+test.a, "b.yaml", "version: 1\n"+test.b)
		cfg, problems := config.Load(paths)
		dir := filepath.Dir(paths[0]) + "/"
		var got []string
		for _, p := range problems {
			if !p.Warning {
				got = append(got, strings.ReplaceAll(strings.ReplaceAll(p.String(), dir+"a.yaml", "A"), dir, ""))
			}
		}
		if cfg != nil || len(got) != 1 || got[0] != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

// Each file says its version; what is missing because another file is broken is no problem of its own.
func TestEachFileStandsForItself(t *testing.T) {
	paths := write(t,
		"a.yaml", "vaults: {shared: {url: https://kv-shared.vault.azure.net}}\n",
		"b.yaml", "version: 1\nvaults: [\n",
		"c.yaml", "version: 1\nbindings: [{id: x, repos: [acme/a], read: [elsewhere/x], whn: {}}]\n")
	_, problems := config.Load(paths)
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s:%d %s", filepath.Base(p.File), p.Line, p.Text))
	}
	want := []string{
		`a.yaml:1 a configuration needs "version"`,
		`b.yaml:2 not YAML: a value is missing, or a bracket is never closed`,
		`c.yaml:2 unknown key "whn": did you mean "when"?`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	paths := write(t, "good.yaml", "version: 1\n", "secret.yaml", "version: 1\n")
	dir := filepath.Dir(paths[0])
	pipe, empty := filepath.Join(dir, "pipe.yaml"), filepath.Join(dir, "empty")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		paths []string
		want  string
	}{
		{nil, "no file is named: give one with --config"},
		{[]string{""}, "an empty path names no file"},
		{[]string{filepath.Join(dir, "none.yaml")}, "no such file: name another"},
		{[]string{pipe}, "not a regular file: name a file, or a directory of *.yaml files"},
		{[]string{empty}, "the directory holds no *.yaml or *.yml file"},
		{[]string{paths[0], dir + "/./good.yaml"}, "the file is named twice"},
	} {
		cfg, problems := config.Load(test.paths)
		if cfg != nil || len(problems) != 1 || problems[0].Line != 0 || !strings.Contains(problems[0].Text, test.want) {
			t.Errorf("%q: got %v", test.paths, problems)
		}
	}
	if os.Getuid() == 0 {
		return // root reads everything
	}
	if err := os.Chmod(paths[1], 0); err != nil {
		t.Fatal(err)
	}
	if _, problems := config.Load(paths[1:]); !strings.Contains(problems.String(), "give this process's user read access") {
		t.Error(problems)
	}
}
