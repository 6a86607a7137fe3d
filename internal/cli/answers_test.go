package cli_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The answers about a configuration as a whole, as an auditor reads them: testdata/answers/NAME.golden holds the commands of a
// situation, what they print and their exit codes. `go test -update` writes them anew; read the difference.
func TestAnswersReadWell(t *testing.T) {
	files, _ := filepath.Glob("testdata/answers/*.golden")
	if len(files) < 4 {
		t.Fatalf("only %d golden files", len(files))
	}
	t.Chdir("testdata/answers")
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".golden"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(name, got, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// replay runs each command of a golden file, a line that begins with "$ ".
func replay(t *testing.T, golden string) []byte {
	var b bytes.Buffer
	for line := range strings.SplitSeq(golden, "\n") {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		code, stdout, stderr := run(t, "", strings.Fields(command)...)
		b.WriteString("$ " + command + "\n" + stdout + stderr)
		if code != 0 {
			b.WriteString("exit code " + string(rune('0'+code)) + "\n")
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

func TestAnswersForPrograms(t *testing.T) {
	type answer struct {
		Repo  string
		Lines []struct {
			Secret      string
			ByReference bool `json:"by_reference"`
			Names       []string
			Repos       []struct{ Slug, UID string }
			When        []struct {
				Event         string
				DefaultBranch bool     `json:"default_branch"`
				DeployTo      []string `json:"deploy_to"`
			}
			Actors, Pools []string
			Anybody       bool
			Binding       string
			Except        []struct{ Deny, Withholds string }
			Explain       []string
		}
	}
	t.Chdir("testdata/answers")
	for _, args := range [][]string{
		{"access", "--json", "--config", "organisation.yaml", "acme/api"},
		{"readers", "--json", "--config", "organisation.yaml", "prod/deploy-x"},
	} {
		code, out, problems := run(t, "", args...)
		var a answer
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || len(a.Lines) == 0 {
			t.Fatalf("%v: exit code %d, %v %s", args, code, err, problems)
		}
		found := false
		for _, l := range a.Lines {
			if l.Binding != "deploy-api" || !l.ByReference {
				continue
			}
			found = true
			if l.When[0].Event != "promote" || l.When[0].DefaultBranch || l.When[0].DeployTo[0] != "production" || l.Repos[0].UID != "42" ||
				len(l.Actors) != 1 || l.Actors[0] != "alice" || l.Anybody || l.Pools[0] != "prod" {
				t.Errorf("%v: %+v", args, l)
			}
		}
		for _, l := range a.Lines {
			if code, out, problems := run(t, "", append([]string{"explain", "--config", "organisation.yaml"}, l.Explain...)...); code != 0 {
				t.Errorf("%v: explain %q: exit code %d\n%s%s", args, l.Explain, code, out, problems)
			}
		}
		if !found {
			t.Errorf("%v: no line of deploy-api in %+v", args, a)
		}
	}
}

func TestDiffForPrograms(t *testing.T) {
	t.Chdir("testdata/answers")
	code, out, _ := run(t, "", "diff", "--json", "organisation.yaml", "organisation-new.yaml")
	var a struct {
		Changes []struct {
			Change, Secret, Because string
			Explain                 []string
		}
		Doors []struct{ What, Name, Change string }
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 1 || len(a.Changes) == 0 || len(a.Doors) != 2 {
		t.Fatalf("exit code %d, %v, %+v", code, err, a)
	}
	for _, c := range a.Changes {
		older, _, _ := run(t, "", append([]string{"explain", "--config", "organisation.yaml"}, c.Explain...)...)
		newer, _, _ := run(t, "", append([]string{"explain", "--config", "organisation-new.yaml"}, c.Explain...)...)
		if gained := c.Change == "gained"; gained != (older == 1 && newer == 0) || gained == (older == 0 && newer == 1) {
			t.Errorf("%s %s: explain %q has exit codes %d and %d", c.Change, c.Secret, c.Explain, older, newer)
		}
	}
	if d := a.Doors[0]; d.What != "vault" || d.Name != "prod" || !strings.Contains(d.Change, "365d") {
		t.Errorf("%+v", d)
	}
	code, out, _ = run(t, "", "diff", "--json", "organisation.yaml", "organisation.yaml")
	if code != 0 || json.Unmarshal([]byte(out), &a) != nil || len(a.Changes)+len(a.Doors) != 0 {
		t.Errorf("a configuration differs from itself: exit code %d, %s", code, out)
	}
}

func TestTheMatrixForPrograms(t *testing.T) {
	t.Chdir("testdata/answers")
	code, out, _ := run(t, "", "access", "--json", "--config", "two-drones.yaml")
	var a struct {
		Cells []struct {
			Repo   struct{ Slug string }
			Secret string
			Lines  []struct{ Binding string }
		}
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	var cells []string
	for _, c := range a.Cells {
		for _, l := range c.Lines {
			cells = append(cells, c.Repo.Slug+" "+c.Secret+" "+l.Binding)
		}
	}
	want := []string{
		"acme/* kv/lint both-lint", "acme/app kv/gitea-* gitea-app", "acme/app kv/gitea-token (whole) gitea-app",
		"acme/app kv/github-* github-app", "acme/app kv/github-token (whole) github-app", "acme/app kv/lint both-lint",
	}
	if !slices.Equal(cells, want) {
		t.Errorf("cells %q", cells)
	}
}

func TestAnswersForSpreadsheets(t *testing.T) {
	t.Chdir("testdata/answers")
	for args, width := range map[string]int{
		"access --csv --config organisation.yaml acme/api":       9,
		"readers --csv --config organisation.yaml shared/ci-npm": 9,
		"access --csv --config gitlab.yaml":                      2 + 5,
	} {
		code, out, _ := run(t, "", strings.Fields(args)...)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || code != 0 || len(rows) < 2 || len(rows[0]) != width {
			t.Errorf("%s: exit code %d, %v, %q", args, code, err, rows)
		}
	}
	dir := directory(t, "version: 1\nvaults: {v: {url: https://kv-v.vault.azure.net}}\nbindings:\n  - {id: \"-b\", repos: [\"=cmd/x\"], read: [v/a]}\n")
	_, out, _ := run(t, dir, "access", "--csv", "=cmd/x")
	if !strings.Contains(out, "\n'=cmd/x,,v/a,") || !strings.Contains(out, ",'-b,") {
		t.Errorf("a formula for a spreadsheet: %q", out)
	}
}

func TestWrongQuestions(t *testing.T) {
	t.Chdir("testdata/answers")
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"access --config gitlab.yaml acme":             {2, `"acme" is no repository's slug: write namespace/name`},
		"access --config gitlab.yaml --uid 7":          {2, "--uid is about one repository: name it"},
		"access --config gitlab.yaml --csv --json a/b": {2, "can't be used together"},
		"readers --config gitlab.yaml nope/db":         {1, `no vault has the alias "nope"; the configuration knows data, platform`},
		"readers --config gitlab.yaml data/a/b/c":      {1, "vault/secret[@version][/key]"},
		"diff gitlab.yaml missing.yaml":                {2, "missing.yaml"},
	} {
		code, stdout, stderr := run(t, "", strings.Fields(args)...)
		if code != want.code || stdout != "" || !strings.Contains(stderr, want.text) {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", args, code, stdout, stderr, want.code, want.text)
		}
	}
}
