package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// write puts files ("name", "content", …) into a new directory and returns their paths.
func write(t *testing.T, namesAndContents ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(namesAndContents); i += 2 {
		path := filepath.Join(dir, namesAndContents[i])
		if err := os.WriteFile(path, []byte(namesAndContents[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// mark stands in a test's YAML in front of the place where a problem is expected.
const mark = "§"

// marked removes the mark and returns its line and column.
func marked(t *testing.T, yaml string) (clean string, line, column int) {
	t.Helper()
	before, after, ok := strings.Cut(yaml, mark)
	if !ok {
		t.Fatalf("no %s in %q", mark, yaml)
	}
	last := before[strings.LastIndex(before, "\n")+1:]
	return before + after, 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(last)
}

// refuses loads YAML that has exactly one error, at the mark, whose text holds want.
func refuses(t *testing.T, yaml, want string) {
	t.Helper()
	clean, line, column := marked(t, yaml)
	path := write(t, "c.yaml", clean)[0]
	cfg, problems := config.Load([]string{path})
	var errors config.Problems
	for _, p := range problems {
		if !p.Warning {
			errors = append(errors, p)
		}
	}
	if cfg != nil {
		t.Errorf("a configuration came back:\n%s", clean)
	}
	if len(errors) != 1 {
		t.Fatalf("want one error, got\n%vfor\n%s", errors, clean)
	}
	p := errors[0]
	if p.File != path || p.Line != line || p.Column != column {
		t.Errorf("want it at %d:%d, got %v\nfor\n%s", line, column, p, clean)
	}
	if !strings.Contains(p.Text, want) {
		t.Errorf("want %q, got %q", want, p.Text)
	}
}

// loads loads YAML that has no error, and returns the warnings.
func loads(t *testing.T, yaml string) (*config.Config, config.Problems) {
	t.Helper()
	cfg, problems := config.Load(write(t, "c.yaml", yaml))
	if problems.Errors() > 0 || cfg == nil {
		t.Fatalf("\n%vfor\n%s", problems, yaml)
	}
	return cfg, problems
}

func TestSampleLoads(t *testing.T) {
	cfg, problems := config.Load([]string{"testdata/sample.yaml"})
	want := "testdata/sample.yaml:6:3   warning  identity \"vm\" is not used: no vault is opened with it, and no token is asked for with it\n"
	if problems.String() != want {
		t.Fatalf("got\n%v", problems)
	}
	if got := cfg.Summary(); got != "2 bindings, 1 deny, 1 expectation" {
		t.Errorf("Summary: %q", got)
	}
	pay := config.Vault{
		Alias: "pay-prod", URL: "https://kv-pay-prod.vault.azure.net", Host: "kv-pay-prod.vault.azure.net", Identity: "pay",
		MaxAge: 90 * 24 * time.Hour, Stale: 10 * time.Minute, MustExpire: true, At: "testdata/sample.yaml:9",
	}
	if diff := cmp.Diff(pay, cfg.Vaults["pay-prod"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(config.Identity{Name: "default", Cloud: "public", At: "testdata/sample.yaml:4"}, cfg.Identities["default"]); diff != "" {
		t.Error(diff)
	}
	if id := cfg.Identities["vm"]; !id.Managed || id.ClientID != "5d1c0a77-3333-4444-8555-666677778888" {
		t.Errorf("vm: %+v", id)
	}
	keys := []config.Key{
		{ID: "new", File: "/run/secrets/prod-new", At: "testdata/sample.yaml:14"},
		{ID: "old", File: "/run/secrets/prod-old", At: "testdata/sample.yaml:14"},
	}
	if diff := cmp.Diff(keys, cfg.Pools["prod"].Keys); diff != "" {
		t.Error(diff)
	}
	listen := config.Listen{Address: ":3000", CertFile: "/tls/tls.crt", KeyFile: "/tls/tls.key", Encrypt: true}
	if diff := cmp.Diff(listen, cfg.Listen); diff != "" {
		t.Error(diff)
	}
}

// The rules mean what the sample says, as the one evaluator sees them.
func TestSampleDecides(t *testing.T) {
	cfg, _ := config.Load([]string{"testdata/sample.yaml"})
	policy, err := secret.NewPolicy(cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	push := secret.Build{Event: "push", Ref: "refs/heads/main", Trigger: "@hook", Sender: "alice"}
	promote := secret.Build{Event: "promote", Ref: "refs/heads/main", DeployTo: "production", Trigger: "alice"}
	repo := secret.Repo{UID: "42", Slug: "acme/payments-api", DefaultBranch: "main"}
	for _, test := range []struct {
		name, pool string
		build      secret.Build
		binding    string
	}{
		{"shared/ci-token", "default", push, "payments-ci"},
		{"db_password", "prod", promote, "payments-deploy"},
		{"db_password", "default", promote, ""},
		{"shared/root-token", "default", push, ""},
	} {
		d := policy.Decide(secret.Request{Name: test.name, Pool: test.pool, Repo: repo, Build: test.build})
		got := ""
		if d.Grant != nil {
			got = d.Grant.Binding
		}
		if got != test.binding {
			t.Errorf("%s in pool %s: granted by %q, want %q (%s)", test.name, test.pool, got, test.binding, d.Reason)
		}
	}
	if at := cfg.Rules.Bindings[1].At; at != "testdata/sample.yaml:22" {
		t.Errorf("At: %s", at)
	}
}

func TestDefaults(t *testing.T) {
	cfg, problems := loads(t, "version: 1\n")
	if len(problems) > 0 {
		t.Error(problems)
	}
	limits := config.Limits{
		Budget: 20 * time.Second, Skew: 120 * time.Second, Drain: 5 * time.Second, Body: 1 << 20,
		InFlight: 256, Connections: 1024, Repeats: 1000,
	}
	if diff := cmp.Diff(limits, cfg.Limits); diff != "" {
		t.Error(diff)
	}
	if cfg.Record.File != "/var/lib/drone-entra/audit.jsonl" || cfg.Log != (config.Log{}) {
		t.Errorf("%+v %+v", cfg.Record, cfg.Log)
	}
	if cfg.Listen != (config.Listen{Encrypt: true}) {
		t.Errorf("%+v", cfg.Listen)
	}
	if got := cfg.Summary(); got != "0 bindings, 0 denies, 0 expectations" {
		t.Error(got)
	}
}

func TestMistakesGolden(t *testing.T) {
	cfg, problems := config.Load([]string{"testdata/mistakes.yaml"})
	if cfg != nil || problems.Errors() != len(problems) {
		t.Errorf("want errors alone, got %d of %d and a configuration: %v", problems.Errors(), len(problems), cfg != nil)
	}
	const golden = "testdata/mistakes.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(problems.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), problems.String()); diff != "" {
		t.Errorf("-want +got (go test -update writes it):\n%s", diff)
	}
	if strings.Contains(problems.String(), "never-print-me") {
		t.Error("a stored credential was printed")
	}
}

func TestProblemString(t *testing.T) {
	problems := config.Problems{
		{File: "drone-entra.yaml", Line: 14, Column: 7, Text: `unknown key "branchs": did you mean "branches"?`},
		{File: "drone-entra.yaml", Line: 127, Column: 5, Warning: true, Text: "look"},
		{File: "x", Text: "no such file"},
	}
	if got, want := problems[0].String(), `drone-entra.yaml:14:7   error    unknown key "branchs": did you mean "branches"?`; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want := strings.Join([]string{
		`drone-entra.yaml:14:7    error    unknown key "branchs": did you mean "branches"?`,
		`drone-entra.yaml:127:5   warning  look`,
		`x                        error    no such file`, "",
	}, "\n")
	if got := problems.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if problems.Errors() != 2 || problems.Warnings() != 1 {
		t.Error(problems.Errors(), problems.Warnings())
	}
}

// A file can't make the program print for ever.
func TestProblemsAreBounded(t *testing.T) {
	_, problems := config.Load(write(t, "c.yaml", "version: 1\n"+strings.Repeat("x: 1\n", 5000)))
	if n := len(problems); n != 1001 {
		t.Fatalf("%d problems", n)
	}
	last := problems[1000]
	if last.Warning || last.Text != "and more problems, which are not shown" {
		t.Errorf("%v", last)
	}
}
