package test_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house, as its tests see it: the rooms and the arrows between them, what stands at the top, what no room may do. A
// new arrow, room or name fails here, and is then either a mistake or a decision that is written down here.

const module = "github.com/drone-entra/drone-entra"

// rooms says which room may import which other room of ours. A package that is not listed is not allowed to be there.
var rooms = map[string][]string{
	"cmd/drone-entra":    {"internal/cli"},
	"secret":             {},
	"provider":           {"secret"},
	"provider/keyvault":  {"secret"},
	"provider/token":     {"secret"},
	"internal/drone":     {"secret"},
	"internal/entra":     {"secret"},
	"internal/issuer":    {"secret"},
	"internal/config":    {"secret"},
	"internal/audit":     {"secret"},
	"internal/telemetry": {"secret"},
	"internal/server":    {},
	"internal/emulator":  {},
	"internal/app": {"secret", "provider", "provider/keyvault", "provider/token", "internal/drone", "internal/entra", "internal/issuer",
		"internal/config", "internal/audit", "internal/telemetry", "internal/server", "internal/emulator"},
	"internal/cli": {"internal/app", "internal/config", "internal/audit", "secret", "internal/drone"},
}

// topLevel is all there may be at the top of the repository, beside dotfiles and what .gitignore names there.
var topLevel = []string{"cmd", "secret", "provider", "internal", "test", "go.mod", "go.sum", "Dockerfile", "README.md",
	"LICENSE", "CHANGELOG.md", "docs", "deploy"}

// impure is what the domain has no business with: whatever reads, writes or listens. Packages below one count as well.
var impure = []string{"os", "net", "io/ioutil", "path/filepath", "syscall", "log", "plugin", "database/sql", "embed", "unsafe"}

// forTestsOnly never gets into the program.
var forTestsOnly = []string{"testing", "net/http/httptest", "net/http/httputil", "github.com/google/go-cmp", "pgregory.net/rapid",
	"go.uber.org/goleak", "github.com/rogpeppe/go-internal", "github.com/coreos/go-oidc", "k8s.io", "sigs.k8s.io", "github.com/Masterminds/sprig",
	"github.com/santhosh-tekuri/jsonschema"}

const maxLines = 450

// source is one parsed file; name is its path from the top, with slashes.
type source struct {
	name string
	file *ast.File
	set  *token.FileSet
}

func (s source) room() string { return path.Dir(s.name) }
func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(n.Pos()).Line)
}

func parse(t *testing.T, name string, text any) source {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{name, file, set}
}

// sources parses every Go file of the repository.
func sources(t *testing.T) (all []source) {
	t.Helper()
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(file) != ".go":
			return nil
		}
		name, err := filepath.Rel("..", file)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all = append(all, parse(t, filepath.ToSlash(name), text))
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("found %d Go files: %v", len(all), err)
	}
	return all
}

// rules are checked on every file; each says what is wrong, with its place.
var rules = []struct {
	name  string
	check func(source) []string
}{
	{"imports", imports},
	{"calls", calls},
	{"size", size},
	{"comments", comments},
}

func TestArchitecture(t *testing.T) {
	all := sources(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, s := range all {
				for _, problem := range rule.check(s) {
					t.Error(problem)
				}
			}
		})
	}
	for _, problem := range append(packageComments(all), unseeded(all)...) {
		t.Error(problem)
	}
}

// imports checks the arrows between rooms, the purity of the domain, and that nothing for tests is in the program.
func imports(s source) (problems []string) {
	known, ok := rooms[s.room()]
	inTest := strings.HasPrefix(s.room()+"/", "test/")
	if !ok && !inTest {
		return []string{fmt.Sprintf("%s: %s is no room of the house", s.name, s.room())}
	}
	for _, i := range s.file.Imports {
		imported, _ := strconv.Unquote(i.Path.Value)
		ours, isOurs := strings.CutPrefix(imported, module+"/")
		problem := ""
		switch {
		case s.isTest() || inTest:
			if isOurs && !allowedInTest(s, ours) {
				problem = "a test here may not import " + ours
			}
		case isOurs && !slices.Contains(known, ours):
			problem = s.room() + " may not import " + ours
		case below(imported, forTestsOnly):
			problem = imported + " is for tests only"
		case s.room() == "secret" && !isStandard(imported):
			problem = "the domain imports the standard library only, not " + imported
		case s.room() == "secret" && below(imported, impure):
			problem = "the domain does no I/O: " + imported
		}
		if problem != "" {
			problems = append(problems, s.at(i)+": "+problem)
		}
	}
	return problems
}

// allowedInTest: a room's tests may wire others in, but nobody imports test/; and what is in test/ sees the program only
// from outside, through the door that main uses.
func allowedInTest(s source, ours string) bool {
	if strings.HasPrefix(s.room()+"/", "test/") {
		return ours == "internal/emulator" || ours == "internal/cli" || ours == "internal/config" || ours == "secret"
	}
	return !strings.HasPrefix(ours+"/", "test/")
}

func below(imported string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") && p != "log" })
}

func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// ambient is the state that everybody in a process shares, by package.
var ambient = map[string][]string{
	"http": {"DefaultClient", "DefaultTransport", "DefaultServeMux", "Get", "Head", "Post", "PostForm", "Handle", "HandleFunc", "ListenAndServe", "ListenAndServeTLS"},
	"flag": {"CommandLine", "Parse"},
}

// calls finds what ends the process behind its caller's back, what everybody shares, and what runs before main.
func calls(s source) (problems []string) {
	if s.isTest() {
		return nil
	}
	command := strings.HasPrefix(s.name, "cmd/")
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				problems = append(problems, s.at(n)+": init runs before anybody asked")
			}
		case *ast.SelectorExpr:
			of, _ := n.X.(*ast.Ident)
			switch {
			case of != nil && slices.Contains(ambient[of.Name], n.Sel.Name):
				problems = append(problems, fmt.Sprintf("%s: %s.%s is shared by the whole process", s.at(n), of.Name, n.Sel.Name))
			case command:
			case of != nil && of.Name == "os" && n.Sel.Name == "Exit", strings.HasPrefix(n.Sel.Name, "Fatal"):
				problems = append(problems, fmt.Sprintf("%s: only main ends the process", s.at(n)))
			}
		}
		return true
	})
	return problems
}

func size(s source) []string {
	lines := s.set.File(s.file.Pos()).LineCount()
	if s.isTest() || lines <= maxLines {
		return nil
	}
	return []string{fmt.Sprintf("%s has %d lines, more than %d", s.name, lines, maxLines)}
}

func TestTopLevel(t *testing.T) {
	ignored, err := os.ReadFile("../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !atHome(e.Name(), string(ignored)) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}

// atHome tells whether a name may be at the top: dotfiles may, and what .gitignore names there with a slash in front.
func atHome(name, ignored string) bool {
	if strings.HasPrefix(name, ".") || slices.Contains(topLevel, name) {
		return true
	}
	for line := range strings.Lines(ignored) {
		if pattern, ok := strings.CutPrefix(strings.TrimSpace(line), "/"); ok {
			if matched, _ := path.Match(pattern, name); matched {
				return true
			}
		}
	}
	return false
}
