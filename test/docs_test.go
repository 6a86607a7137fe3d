package test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What keeps the documents in step with the program: tables, names of tests, links, command lines and examples.

const (
	readme       = "README.md"
	architecture = "docs/architecture.md"
	threats      = "docs/threat-model.md"
)

// written reads one of our documents, by its path from the top.
func written(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// section is what stands under a heading, up to the next one of its rank.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("there is no heading %q", heading)
	}
	rank, _, _ := strings.Cut(heading, " ")
	before, _, _ := strings.Cut(after, "\n"+rank+" ")
	return before
}

// firstColumn returns what stands in `code` at the beginning of each row of the tables in text.
func firstColumn(text string) (names []string) {
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, row[1])
	}
	slices.Sort(names)
	return names
}

// goFile is a Go file of the repository as far as the documents speak of it.
type goFile struct {
	dir     string // from the top, with slashes
	test    bool
	imports []string
	text    string
}

func goFiles(t *testing.T) (all []goFile) {
	t.Helper()
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".go":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := goFile{dir: strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "../"), test: strings.HasSuffix(file, "_test.go"), text: string(text)}
		for _, i := range parsed.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			f.imports = append(f.imports, name)
		}
		all = append(all, f)
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("found %d Go files: %v", len(all), err)
	}
	return all
}

// The table of dependencies has every module that our code imports, tests included, and no other.
func TestDependenciesAreDocumented(t *testing.T) {
	var modules []string
	for _, line := range regexp.MustCompile(`(?m)^\s*(?:require\s+)?(\S+) v\S+`).FindAllStringSubmatch(written(t, "go.mod"), -1) {
		modules = append(modules, line[1])
	}
	imported := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, name := range f.imports {
			of := ""
			for _, m := range modules {
				if (name == m || strings.HasPrefix(name, m+"/")) && len(m) > len(of) {
					of = m
				}
			}
			if of != "" {
				imported[of] = true
			}
		}
	}
	if len(imported) < 5 {
		t.Fatalf("our code imports only %v", imported)
	}
	documented := firstColumn(section(t, written(t, architecture), "## Dependencies"))
	inStep(t, architecture+", Dependencies", documented, imported)
}

// The house has every directory with Go files, and no other.
func TestEveryRoomIsDocumented(t *testing.T) {
	rooms := map[string]bool{}
	for _, f := range goFiles(t) {
		rooms[f.dir] = true
	}
	inStep(t, architecture+", The house", firstColumn(section(t, written(t, architecture), "## The house")), rooms)
}

func inStep(t *testing.T, where string, documented []string, real map[string]bool) {
	t.Helper()
	for i, name := range documented {
		if !real[name] {
			t.Errorf("%s lists %s, which the code doesn't have", where, name)
		}
		if i > 0 && documented[i-1] == name {
			t.Errorf("%s lists %s twice", where, name)
		}
	}
	for name := range real {
		if !slices.Contains(documented, name) {
			t.Errorf("%s doesn't list %s", where, name)
		}
	}
}

// Every test that a document names exists, and each row of the threats names one.
func TestNamedTestsExist(t *testing.T) {
	declared := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`).FindAllStringSubmatch(f.text, -1) {
			declared[d[1]] = f.test
		}
	}
	for _, name := range documentNames(t) {
		for _, named := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(written(t, name), -1) {
			if !declared[named] {
				t.Errorf("%s names %s, which is no test", name, named)
			}
		}
	}
	rows := 0
	for row := range strings.Lines(section(t, written(t, threats), "## Threats")) {
		if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| threat |") {
			continue
		}
		rows++
		if !regexp.MustCompile("`(Test|Fuzz)").MatchString(row) {
			t.Errorf("%s: no test shows %s", threats, row)
		}
	}
	if rows < 20 {
		t.Errorf("%s has %d threats", threats, rows)
	}
}

// documentNames lists what people read, by path from the top.
func documentNames(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for i, name := range names {
		names[i] = strings.TrimPrefix(filepath.ToSlash(name), "../")
	}
	return append(names, readme, "CHANGELOG.md")
}

// link is [text](target) where the target is in the repository.
var link = regexp.MustCompile(`\]\(([^):\s]*)\)`)

func TestEveryLinkResolves(t *testing.T) {
	for _, name := range documentNames(t) {
		text := written(t, name)
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(l[1], "#")
			at := name
			if file != "" {
				at = path.Join(path.Dir(name), file)
			}
			content, err := os.ReadFile("../" + at)
			switch {
			case err != nil:
				t.Errorf("%s links to %s: %v", name, l[1], err)
			case anchor != "" && !slices.Contains(anchors(string(content)), anchor):
				t.Errorf("%s links to %s: there is no such heading", name, l[1])
			}
		}
	}
}

// anchors are the names that a forge gives to the headings of a document.
func anchors(text string) (names []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// commandLine is a line of a shell, or code in a sentence, that runs our program; its first group is what follows the name.
var commandLine = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:go run \./cmd/|\./)?drone-entra( .*)?$`)

// Every command of the program that the README and the document about identities write down exists, with each of its flags.
func TestCommandsOfTheReadmeExist(t *testing.T) {
	known := commandsOf(t)
	lines := 0
	for _, code := range codeOf(written(t, readme) + written(t, "docs/identities.md")) {
		match := commandLine.FindStringSubmatch(code)
		if match == nil {
			continue
		}
		lines++
		words := strings.Fields(match[1])
		command := ""
		for name := range known {
			if strings.HasPrefix(" "+strings.Join(words, " ")+" ", " "+name+" ") {
				command = name
			}
		}
		if command == "" && len(words) > 0 {
			t.Errorf("%q: there is no such command", code)
			continue
		}
		for _, word := range words {
			flag, _, _ := strings.Cut(word, "=")
			if strings.HasPrefix(flag, "--") && flag != "--help" && !slices.Contains(known[command], flag) {
				t.Errorf("%q: %s has no flag %s", code, command, flag)
			}
		}
	}
	if lines < 8 {
		t.Errorf("found only %d command lines", lines)
	}
}

// commandsOf asks the program for its commands and their flags.
func commandsOf(t *testing.T) map[string][]string {
	t.Helper()
	_, list, _ := strings.Cut(help(t), "\nCommands:\n")
	commands := map[string][]string{}
	for _, name := range regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z]+)*)  +\S`).FindAllStringSubmatch(list, -1) {
		commands[name[1]] = regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(help(t, strings.Fields(name[1])...), -1)
	}
	if len(commands) < 5 {
		t.Fatalf("the program has only the commands %v", commands)
	}
	return commands
}

func help(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(binary(t), append(command, "--help")...).Output()
	if err != nil {
		t.Fatalf("%s --help: %v", command, err)
	}
	return string(out)
}

// codeOf returns the lines of a document's blocks, those that a backslash continues as one, and what stands in backticks
// in its sentences.
func codeOf(text string) (lines []string) {
	inside, line := false, ""
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "```"):
			inside = !inside
		case inside && strings.HasSuffix(l, `\`):
			line += strings.TrimSuffix(l, `\`)
		case inside:
			lines, line = append(lines, line+l), ""
		default:
			for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(l, -1) {
				lines = append(lines, code[1])
			}
		}
	}
	return lines
}

// Whole configurations in the README pass `check`.
func TestConfigurationsOfTheReadmeLoad(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```yaml\n(version: 1\n.*?)^```$").FindAllStringSubmatch(written(t, readme), -1)
	if len(blocks) == 0 {
		t.Fatal("there is none")
	}
	for _, block := range blocks {
		file := filepath.Join(t.TempDir(), "drone-entra.yaml")
		if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(binary(t), "check", file).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("0 errors, 0 warnings")) {
			t.Errorf("%v\n%s%s", err, out, block[1])
		}
	}
}

// The README explains every reason that can stand in a record.
func TestEveryReasonIsExplained(t *testing.T) {
	table := section(t, written(t, readme), "## When a secret does not come")
	reasons := regexp.MustCompile(`(?m)^\s*Reason\w+\s+(?:Reason\s+)?= "([a-z_-]+)"`).FindAllStringSubmatch(written(t, "secret/kind.go"), -1)
	if len(reasons) < 20 {
		t.Fatalf("found only %d reasons", len(reasons))
	}
	for _, r := range reasons {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + r[1] + "`[^|]*\\|").MatchString(table) {
			t.Errorf("%s doesn't explain the reason %s", readme, r[1])
		}
	}
}
