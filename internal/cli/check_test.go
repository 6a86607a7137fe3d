package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/cli"
	"github.com/drone-entra/drone-entra/internal/config"
)

// run runs one command in a directory of its own, if dir is not empty.
func run(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if dir != "" {
		t.Chdir(dir)
	}
	var out, err bytes.Buffer
	code = cli.Main(t.Context(), cli.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Getenv: func(string) string { return "" },
	})
	return code, out.String(), err.String()
}

// directory holds one file, drone-entra.yaml.
func directory(t *testing.T, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "drone-entra.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const mixed = `version: 1
vaults: {shared: {url: https://kv-shared.vault.azure.net}, idle: {url: https://kv-idle.vault.azure.net}}
bindings:
  - {id: ci, repos: ["acme/*"], read: ["shared/ci-*"]}
expect:
  - {repo: acme/app, event: push, decision: deny}
`

const (
	failed = `drone-entra.yaml:6:5    error    expected deny, and ci allows shared/ci-x to acme/app, push refs/heads/main` + "\n"
	idle   = `drone-entra.yaml:2:60   warning  vault "idle" is not used: no binding reads from it` + "\n"
	open   = `drone-entra.yaml:4:22   note     whoever may create a repository that acme/* matches gets what ci gives; with a slug and its uid, only that repository does` + "\n"
)

func TestCheckText(t *testing.T) {
	dir := directory(t, mixed)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"check"}, idle + failed + "1 binding, 0 denies, 1 expectation · 1 error, 1 warning\n"},
		{[]string{"check", "--notes"}, idle + open + failed + "1 binding, 0 denies, 1 expectation · 1 error, 1 warning, 1 note\n"},
	} {
		if code, out, _ := run(t, dir, test.args...); code != 1 || out != test.want {
			t.Errorf("%q: exit %d\n%s", test.args, code, out)
		}
	}
}

// Warnings fail where --strict asks for it; notes never do.
func TestCheckStrict(t *testing.T) {
	warned := directory(t, mixed[:strings.Index(mixed, "expect:")])
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"check"}, 0}, {[]string{"check", "--strict"}, 1}, {[]string{"check", "--strict", "--sarif"}, 1}, {[]string{"check", "--json"}, 0},
		{[]string{"check", "--json", "--sarif"}, 2},
	} {
		if code, out, _ := run(t, warned, test.args...); code != test.code {
			t.Errorf("%q: exit %d, want %d\n%s", test.args, code, test.code, out)
		}
	}
	noted := directory(t, strings.Replace(mixed[:strings.Index(mixed, "expect:")], ", idle: {url: https://kv-idle.vault.azure.net}", "", 1))
	if code, out, _ := run(t, noted, "check", "--strict", "--notes"); code != 0 || !strings.Contains(out, "0 warnings, 1 note\n") {
		t.Errorf("a note fails: exit %d\n%s", code, out)
	}
}

func TestCheckJSON(t *testing.T) {
	code, out, _ := run(t, directory(t, mixed), "check", "--json")
	var answer struct {
		Loaded                         bool
		SHA256                         string
		Bindings, Denies, Expectations int
		Errors, Warnings, Notes        int
		Problems                       []struct {
			File, Severity, Rule, Text string
			Line, Column               int
		}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	if code != 1 || !answer.Loaded || len(answer.SHA256) != 64 || answer.Bindings != 1 || answer.Expectations != 1 ||
		answer.Errors != 1 || answer.Warnings != 1 || answer.Notes != 1 || len(answer.Problems) != 3 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if p := answer.Problems[2]; p.File != "drone-entra.yaml" || p.Line != 6 || p.Column != 5 || p.Severity != "error" || p.Rule != "expectation" || p.Text == "" {
		t.Errorf("%+v", p)
	}
	if code, out, _ := run(t, directory(t, "version: 1\n"), "check", "--json"); code != 0 || !strings.Contains(out, `"problems": []`) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// sarif decodes strictly: what is not in the specification's part that we use is a mistake.
func sarif(t *testing.T, out string) (results []map[string]any, rules []any) {
	t.Helper()
	var log struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string `json:"name"`
					Rules []any  `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			ColumnKind string           `json:"columnKind"`
			Results    []map[string]any `json:"results"`
		} `json:"runs"`
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "/sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("%s", out)
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name != "drone-entra" || run.ColumnKind != "unicodeCodePoints" || run.Results == nil {
		t.Errorf("%s", out)
	}
	return run.Results, run.Tool.Driver.Rules
}

// keys checks that an object has these keys and no other, and returns it.
func keys(t *testing.T, v any, want ...string) map[string]any {
	t.Helper()
	object, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%v is no object", v)
	}
	for key := range object {
		if !slices.Contains(want, key) {
			t.Errorf("an unknown property %q", key)
		}
	}
	for _, key := range want {
		if object[key] == nil {
			t.Errorf("no %q in %v", key, object)
		}
	}
	return object
}

func TestCheckSARIF(t *testing.T) {
	code, out, _ := run(t, directory(t, mixed), "check", "--sarif")
	results, rules := sarif(t, out)
	if code != 1 || len(results) != 3 || len(rules) != len(config.Checks()) {
		t.Fatalf("exit %d\n%s", code, out)
	}
	for _, rule := range rules {
		r := keys(t, rule, "id", "shortDescription", "defaultConfiguration")
		keys(t, r["shortDescription"], "text")
		level := keys(t, r["defaultConfiguration"], "level")["level"]
		if !slices.Contains([]any{"error", "warning", "note"}, level) {
			t.Errorf("level %v", level)
		}
	}
	for i, want := range []struct {
		rule, level  string
		line, column float64
	}{{"unused-vault", "warning", 2, 60}, {"open-namespace", "note", 4, 22}, {"expectation", "error", 6, 5}} {
		r := keys(t, results[i], "ruleId", "ruleIndex", "level", "message", "locations")
		index := int(r["ruleIndex"].(float64))
		if r["ruleId"] != want.rule || r["level"] != want.level || rules[index].(map[string]any)["id"] != want.rule {
			t.Errorf("want %+v, got %v", want, r)
		}
		if text := keys(t, r["message"], "text")["text"].(string); len(text) < 10 {
			t.Errorf("message %q", text)
		}
		at := keys(t, keys(t, r["locations"].([]any)[0], "physicalLocation")["physicalLocation"], "artifactLocation", "region")
		region := keys(t, at["region"], "startLine", "startColumn")
		if keys(t, at["artifactLocation"], "uri")["uri"] != "drone-entra.yaml" || region["startLine"] != want.line || region["startColumn"] != want.column {
			t.Errorf("want %+v, got %v", want, at)
		}
	}
}

// Files are named as a review of the repository knows them, whatever the command line called them.
func TestCheckSARIFNamesFiles(t *testing.T) {
	dir := directory(t, mixed)
	spaced := filepath.Join(dir, "our rules", "a b:c.yaml")
	if err := os.MkdirAll(filepath.Dir(spaced), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spaced, []byte("version: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "x.yaml")
	for name, want := range map[string]string{
		filepath.Join(dir, "drone-entra.yaml"): "drone-entra.yaml",
		"./drone-entra.yaml":                   "drone-entra.yaml",
		spaced:                                 "our%20rules/a%20b:c.yaml",
		"our rules/../none.yaml":               "none.yaml",
		elsewhere:                              "file://" + elsewhere,
	} {
		_, out, _ := run(t, dir, "check", "--sarif", name)
		results, _ := sarif(t, out)
		if len(results) == 0 {
			t.Errorf("nothing about %s", name)
			continue
		}
		at := results[0]["locations"].([]any)[0].(map[string]any)["physicalLocation"].(map[string]any)
		if uri := at["artifactLocation"].(map[string]any)["uri"]; uri != want {
			t.Errorf("%s is called %v, want %s", name, uri, want)
		}
		if region := at["region"]; (region == nil) != strings.HasSuffix(want, "/x.yaml") && (region == nil) != (want == "none.yaml") {
			t.Errorf("%s: region %v", name, region)
		}
	}
}
