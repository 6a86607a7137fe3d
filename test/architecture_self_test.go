package test_test

import (
	"strings"
	"testing"
)

// What the rules of the architecture find, and what they leave alone, on sources that are made up here.
func TestTheRulesFindWhatIsWrong(t *testing.T) {
	ours := func(room string) string { return "package x\nimport _ \"" + module + "/" + room + "\"\n" }
	theirs := func(path string) string { return "package x\nimport _ \"" + path + "\"\n" }
	for _, c := range []struct {
		rule, file, text string
		finds            string // part of the only problem; empty: nothing
	}{
		{"imports", "internal/drone/a.go", ours("secret"), ""},
		{"imports", "internal/drone/a.go", ours("internal/audit"), "internal/drone may not import internal/audit"},
		{"imports", "provider/keyvault/a.go", ours("provider"), "provider/keyvault may not import provider"},
		{"imports", "provider/keyvault/a.go", ours("internal/entra"), "may not import"},
		{"imports", "internal/server/a.go", ours("secret"), "internal/server may not import secret"},
		{"imports", "internal/cli/a.go", ours("internal/emulator"), "may not import"},
		{"imports", "internal/app/a.go", ours("internal/cli"), "may not import"},
		{"imports", "internal/app/a.go", ours("internal/emulator"), ""},
		{"imports", "cmd/drone-entra/main.go", ours("internal/app"), "may not import"},
		{"imports", "internal/app/a.go", ours("test"), "may not import test"},
		{"imports", "internal/util/a.go", "package util", "internal/util is no room of the house"},
		{"imports", "secret/inner/a.go", "package inner", "secret/inner is no room"},
		{"imports", "a.go", "package x", ". is no room"},
		{"imports", "secret/a.go", ours("provider"), "secret may not import provider"},
		{"imports", "secret/a.go", theirs("golang.org/x/sync/errgroup"), "standard library only"},
		{"imports", "secret/a.go", theirs("log/slog"), ""},
		{"imports", "secret/a.go", theirs("os"), "no I/O"},
		{"imports", "secret/a.go", theirs("os/exec"), "no I/O"},
		{"imports", "secret/a.go", theirs("net"), "no I/O"},
		{"imports", "secret/a.go", theirs("net/http"), "no I/O"},
		{"imports", "secret/a.go", theirs("io/ioutil"), "no I/O"},
		{"imports", "secret/a.go", theirs("path/filepath"), "no I/O"},
		{"imports", "secret/a.go", theirs("syscall"), "no I/O"},
		{"imports", "internal/drone/a.go", theirs("os"), ""},
		{"imports", "internal/drone/a.go", theirs("testing"), "for tests only"},
		{"imports", "internal/emulator/a.go", theirs("net/http/httptest"), "for tests only"},
		{"imports", "internal/emulator/a.go", theirs("pgregory.net/rapid"), "for tests only"},
		{"imports", "internal/drone/a_test.go", theirs("testing"), ""},
		{"imports", "internal/drone/a_test.go", ours("internal/drone"), ""},
		{"imports", "internal/drone/a_test.go", ours("internal/emulator"), ""},
		{"imports", "internal/drone/a_test.go", ours("internal/audit"), ""},
		{"imports", "internal/drone/a_test.go", ours("test/load"), "may not import"},
		{"imports", "test/load/a.go", ours("internal/emulator"), ""},
		{"imports", "test/load/a_test.go", ours("internal/cli"), ""},
		{"imports", "test/load/a_test.go", ours("internal/app"), "may not import"},
		{"imports", "test/a_test.go", ours("test/load"), "may not import"},
		{"calls", "internal/drone/a.go", "package x\nfunc init() {}", "init"},
		{"calls", "internal/drone/a.go", "package x\ntype T int\nfunc (T) init() {}", ""},
		{"calls", "internal/drone/a.go", "package x\nfunc f() { os.Exit(1) }", "only main ends"},
		{"calls", "internal/drone/a.go", "package x\nfunc f() { log.Fatalf(``) }", "only main ends"},
		{"calls", "internal/drone/a.go", "package x\nfunc f() { logger.Fatal().Msg(``) }", "only main ends"},
		{"calls", "cmd/drone-entra/main.go", "package main\nfunc main() { os.Exit(1) }", ""},
		{"calls", "internal/drone/a.go", "package x\nfunc f() { http.DefaultTransport = nil }", "shared"},
		{"calls", "internal/drone/a.go", "package x\nvar c = http.DefaultClient", "shared"},
		{"calls", "internal/drone/a.go", "package x\nfunc f() { http.Get(``) }", "shared"},
		{"calls", "internal/drone/a_test.go", "package x\nvar c = http.DefaultClient", ""},
		{"size", "internal/drone/a.go", "package x" + strings.Repeat("\n", maxLines-1), ""},
		{"size", "internal/drone/a.go", "package x" + strings.Repeat("\n", maxLines) + "var a int", "more than 450"},
		{"comments", "a.go", "package x\nfunc F() {}", "F is exported"},
		{"comments", "a.go", "package x\n// F does.\nfunc F() {}", ""},
		{"comments", "a.go", "package x\nfunc f() {}", ""},
		{"comments", "a.go", "package x\ntype T int", "T is exported"},
		{"comments", "a.go", "package x\n// T is.\ntype T int\nfunc (t *T) M() {}", "M is exported"},
		{"comments", "a.go", "package x\n// T is.\ntype T[A any] int\nfunc (t *T[A]) M() {}", "M is exported"},
		{"comments", "a.go", "package x\ntype t int\nfunc (t) Error() string { return `` }", ""},
		{"comments", "a.go", "package x\n// Several.\ntype (\nT int\n)", "T is exported"},
		{"comments", "a.go", "package x\nvar V, w = 1, 2", "V is exported"},
		{"comments", "a.go", "package x\n// The numbers.\nconst (\nA = 1\nB = 2\n)", ""},
		{"comments", "a.go", "package x\nconst (\nA = 1 // one\nB = 2\n)", "B is exported"},
	} {
		problems := rule(t, c.rule)(parse(t, c.file, c.text))
		switch {
		case c.finds == "" && len(problems) > 0:
			t.Errorf("%s, in %s %q: found %q, want nothing", c.rule, c.file, c.text, problems)
		case c.finds != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.finds)):
			t.Errorf("%s, in %s %q: found %q, want %q", c.rule, c.file, c.text, problems, c.finds)
		}
	}
}

func rule(t *testing.T, name string) func(source) []string {
	t.Helper()
	for _, r := range rules {
		if r.name == name {
			return r.check
		}
	}
	t.Fatalf("there is no rule %s", name)
	return nil
}

func TestPackageCommentsAreCounted(t *testing.T) {
	file := func(name, text string) source { return parse(t, name, text) }
	with, without := "// Package x is.\npackage x", "package x"
	for _, c := range []struct {
		files []source
		fine  bool
	}{
		{[]source{file("x/a.go", with), file("x/b.go", without)}, true},
		{[]source{file("x/a.go", without), file("x/b.go", without)}, false},
		{[]source{file("x/a.go", with), file("x/b.go", with)}, false},
		{[]source{file("x/a.go", without), file("x/b_test.go", with)}, false},
	} {
		if problems := packageComments(c.files); (len(problems) == 0) != c.fine {
			t.Errorf("found %q", problems)
		}
	}
}

func TestFuzzTargetsWithoutSeedsAreFound(t *testing.T) {
	const helpers = "\nfunc seeded(f *testing.F) { f.Add(1) }\nfunc blank(f *testing.F) { g.Add(1) }\nfunc twice(f *testing.F) { seeded(f) }"
	for body, seeded := range map[string]bool{
		"f.Fuzz(nil)": false, "f.Add(1); f.Fuzz(nil)": true, "for range 3 { f.Add(1) }; f.Fuzz(nil)": true, "g.Add(1); f.Fuzz(nil)": false,
		"seeded(f); f.Fuzz(nil)": true, "twice(f)": true, "blank(f); f.Fuzz(nil)": false, "seeded(g); f.Fuzz(nil)": false, "other(f)": false,
	} {
		problems := unseeded([]source{
			parse(t, "x/a_test.go", "package x\nfunc FuzzA(f *testing.F) { "+body+" }"),
			parse(t, "x/b_test.go", "package x"+helpers),
			parse(t, "y/c_test.go", "package y\nfunc other(f *testing.F) { f.Add(1) }"),
		})
		if (len(problems) == 0) != seeded {
			t.Errorf("%s: found %q", body, problems)
		}
	}
}

func TestWhatBelongsAtTheTop(t *testing.T) {
	const ignored = "# built\n/drone-entra\n/audit*.jsonl\n*.prof\n"
	for name, want := range map[string]bool{
		"cmd": true, "README.md": true, ".ci": true, ".git": true, "docs": true, "drone-entra": true, "audit-1.jsonl": true,
		"pkg": false, "util": false, "main.go": false, "cpu.prof": false, "DESIGN.md": false, "readme.md": false,
	} {
		if atHome(name, ignored) != want {
			t.Errorf("%s: at home %t, want %t", name, !want, want)
		}
	}
}
