package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

func seeds(t testing.TB) (seeds [][]byte) {
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, content)
	}
	for _, s := range []string{
		"", "\n", "version: 1", "a: &x [*x]\n", "a: |\n x\n---\nb: [", "version: 1\nlog: {level: \"", "? [a]\n: b\n", "# FILE x\nversion: 1\n",
		"version: 1\nfiles: {x.yaml: {repos: [a/b], read: [v/x]}}\n", expecting + "- {read: db, only: [deploy]}\n- {repo: acme/app, decision: deny}\n", "\ufeffa: 1",
		issued, tokens("a: {identity: env, " + scope + "}, b: {audience: x, subject: environment}, c: {identity: vm, registry: a.azurecr.io, repositories: {a/b: [pull]}}"),
		tokens("a: {registry: a.azurecr.io, repositories: any}"),
		"version: 1\ntokens: {A: {audience: x}, a: {audience: x}}\nvaults: {tokens: {url: https://kv-x.vault.azure.net}}\n", "a: \r", "<<: {a: 1}\n",
	} {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}

func TestFuzzSeedsExist(t *testing.T) {
	if n := len(seeds(t)); n < 12 {
		t.Fatalf("FuzzLoad begins with %d seeds", n)
	}
}

// Whatever the file holds: either a configuration that compiles comes back or an error does, and every problem is at a
// place that the file has.
func FuzzLoad(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, problems := config.Load([]string{path})
		if (cfg == nil) != (problems.Errors() > 0) {
			t.Fatalf("a configuration: %v, with\n%v", cfg != nil, problems)
		}
		if cfg != nil {
			if _, err := secret.NewPolicy(cfg.Rules); err != nil {
				t.Errorf("the rules do not compile: %v", err)
			}
			sound(t, cfg)
			replays(t, cfg)
		}
		if checked, more := config.Check([]string{path}); (checked == nil) != (cfg == nil) || len(more) < len(problems) {
			t.Errorf("Load says\n%vand Check\n%v", problems, more)
		}
		lines := bytes.Split(content, []byte("\n"))
		for _, p := range problems {
			if p.Line == 0 && p.Column == 0 {
				continue // the file as a whole
			}
			if p.Line < 1 || p.Line > len(lines) {
				t.Fatalf("no such line: %v", p)
			}
			if width := utf8.RuneCount(lines[p.Line-1]); p.Column < 1 || p.Column > width+1 {
				t.Fatalf("no such column: %v", p)
			}
			if !utf8.ValidString(p.Text) || p.Text == "" {
				t.Fatalf("%q", p.Text)
			}
		}
	})
}

// sound holds of every configuration that is accepted: what is built from it relies on it.
func sound(t *testing.T, cfg *config.Config) {
	t.Helper()
	issued := false
	for name, id := range cfg.Identities {
		places := 0
		for _, stated := range []bool{id.AssertionFile != "", id.AssertionManaged != "", id.Issuer != "", id.Managed} {
			if stated {
				places++
			}
		}
		issued = issued || id.Issuer != ""
		if places > 1 || id.Clients != nil && (id.Issuer == "" || id.ClientID != "") || id.ClientID == "" && id.Clients == nil && name != "default" {
			t.Errorf("identity %+v", id)
		}
	}
	for name, token := range cfg.Tokens {
		asked := token.Audience == ""
		issued = issued || !asked
		if (token.Scope != "") == (token.Registry != "") && asked || !asked && token.Scope+token.Registry != "" || asked != (token.Lifetime == 0) || asked != (token.Subject == "") {
			t.Errorf("token %+v is not of one kind", token)
		}
		if _, known := cfg.Identities[token.Identity]; known != asked || name != token.Name || name != strings.ToLower(name) {
			t.Errorf("token %q: %+v", name, token)
		}
		if (token.Registry != "") != (token.AnyRepository || len(token.Repositories) > 0) {
			t.Errorf("token %+v", token)
		}
	}
	if cfg.Issuer == nil {
		if issued {
			t.Error("something is signed by an issuer that is not there")
		}
		return
	}
	first := 0
	for _, key := range cfg.Issuer.Keys {
		if key.From.IsZero() {
			first++
		}
		v, known := cfg.Vaults[key.Vault]
		if !known || cfg.Identities[v.Identity].Issuer != "" || len(key.Version) != 32 || key.Name == "" {
			t.Errorf("key %+v", key)
		}
	}
	if first != 1 {
		t.Errorf("%d keys sign from the beginning", first)
	}
}

// Whatever is kept: it is one configuration or an error, and what it is taken apart into makes the same again.
func FuzzReplay(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
		f.Add(append([]byte("# FILE a.yaml\nversion: 1\n# FILE b.yaml\n"), seed...))
	}
	f.Fuzz(func(t *testing.T, kept []byte) {
		cfg, problems := config.Replay(kept, "kept")
		if (cfg == nil) != (problems.Errors() > 0) {
			t.Fatalf("a configuration: %v, with\n%v", cfg != nil, problems)
		}
		if cfg == nil {
			return
		}
		names := map[string]bool{}
		for _, file := range cfg.Files {
			names[file.Name] = true
		}
		again, problems := config.Replay(cfg.Content, "kept")
		if again == nil || again.SHA256 != cfg.SHA256 || len(again.Files) != len(cfg.Files) {
			t.Fatalf("%q is taken apart differently the second time: %v", kept, problems)
		}
		if len(names) != len(cfg.Files) {
			t.Errorf("one name twice in %q", kept)
		}
	})
}
