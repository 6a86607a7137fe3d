package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/cli"
	"github.com/drone-entra/drone-entra/internal/emulator"
)

const (
	doctorTenant = "11111111-2222-4333-8444-555555555555"
	doctorClient = "3f2a4c55-1111-4222-8333-444455556666"
	otherClient  = "5d1c0a77-3333-4444-8555-666677778888"
	doctorKey    = "canary-runners-key-0123456789abcdef"
)

// installation is the one that a doctor is shown here: two identities of one projected token, each with its vault.
const installation = `version: 1
identities:
  pay: {tenant_id: 11111111-2222-4333-8444-555555555555, client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {file: token/token}}
  web: {tenant_id: 11111111-2222-4333-8444-555555555555, client_id: 5d1c0a77-3333-4444-8555-666677778888, assertion: {file: token/token}}
vaults:
  pay-prod: {url: https://kv-pay-prod.vault.azure.net, identity: pay}
  web-prod: {url: https://kv-web-prod.vault.azure.net, identity: web}
tokens:
  arm: {identity: pay, scope: https://management.azure.com/.default}
bindings:
  - {id: ci, repos: [acme/app], read: ["pay-prod/deploy-db/password", "web-prod/ci-*", "tokens/arm"]}
record: {file: audit.jsonl}
`

// examined runs doctor on the installation, changed, and returns what it prints without what differs from run to run.
func examined(t *testing.T, spoil func(*emulator.Emulator), args ...string) (code int, stdout string) {
	t.Helper()
	e, err := emulator.Start(emulator.Options{TokenLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	t.Chdir(directory(t, installation))
	if err := e.ProjectToken(filepath.Join("token", "token"), ""); err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]string{"kv-pay-prod": doctorClient, "kv-web-prod": otherClient} {
		e.Register(emulator.App{Tenant: doctorTenant, ClientID: client})
		v := e.Vault(name+".vault.azure.net", doctorTenant)
		v.Allow(client)
		v.Set("deploy-db", `{"password":"canary-value"}`)
	}
	spoil(e)
	var out, stderr bytes.Buffer
	code = cli.Main(t.Context(), cli.Env{
		Args: append([]string{"doctor"}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &stderr, Transport: e.Transport(),
		Getenv: func(name string) string { return map[string]string{"DRONE_SECRET": doctorKey}[name] },
	})
	for _, forbidden := range []string{"eyJ", "canary", "\x1b"} {
		if strings.Contains(out.String()+stderr.String(), forbidden) {
			t.Errorf("%q is in\n%s%s", forbidden, out.String(), stderr.String())
		}
	}
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %s", stderr.String())
	}
	return code, normal(out.String())
}

// normal puts one text for each that is another one in each run, of the same width.
func normal(text string) string {
	for pattern, with := range map[string]string{
		` [ 0-9]{5} ms\b`:                  "     0 ms",
		`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`: "2026-01-02T03:04:05Z",
		`\b[0-9a-f]{32}\b`:                 "0123456789abcdef0123456789abcdef",
		`kid       \S+`:                    "kid       KID",
		`within [0-9]+s of Entra's`:        "within 2s of Entra's",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, with)
	}
	return text
}

// What a doctor prints of a sound installation, and of one with several faults, as people read it.
func TestDoctorReadsWell(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int
		spoil func(*emulator.Emulator)
	}{
		{"sound", 0, func(*emulator.Emulator) {}},
		{"broken", 1, func(e *emulator.Emulator) {
			e.Vault("kv-web-prod.vault.azure.net", doctorTenant).Forbid(otherClient)
			other := "11110000-3333-4444-8555-666677778888"
			e.Register(emulator.App{Tenant: doctorTenant, ClientID: other, Subject: "system:serviceaccount:other:other"})
			text := strings.NewReplacer(doctorClient, other, "file: audit.jsonl", "file: nowhere/audit.jsonl").Replace(installation)
			if err := os.WriteFile("drone-entra.yaml", []byte(text), 0o600); err != nil {
				panic(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden, err := filepath.Abs("testdata/doctor/" + c.name + ".golden")
			if err != nil {
				t.Fatal(err)
			}
			code, got := examined(t, c.spoil)
			got = regexp.MustCompile(`/\S+/nowhere`).ReplaceAllString(got, "/DIR/nowhere")
			if code != c.code {
				t.Errorf("it ends with %d, want %d", code, c.code)
			}
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

// For programs the same stands in JSON.
func TestDoctorInJSON(t *testing.T) {
	type step struct {
		Area, Step, State, After string
		Facts                    map[string]string
		Faults                   []struct{ Cause, Remedy string }
		Commands                 []string
	}
	var answer struct {
		OK    bool
		Steps []step
	}
	code, text := examined(t, func(e *emulator.Emulator) {
		e.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: 7002138, Status: 401})
	}, "--json")
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != 1 || answer.OK {
		t.Fatalf("%d, %v, %s", code, err, text)
	}
	found := map[string]step{}
	for _, s := range answer.Steps {
		found[s.Area+": "+s.Step] = s
	}
	if s := found["identity pay: assertion"]; s.State != "ok" || s.Facts["subject"] != emulator.DefaultSubject {
		t.Errorf("%+v", s)
	}
	if s := found["identity pay: token for vault.azure.net"]; s.State != "fail" || len(s.Faults) != 1 || len(s.Commands) != 2 ||
		!strings.Contains(s.Faults[0].Cause, "AADSTS7002138") || s.Faults[0].Remedy == "" {
		t.Errorf("%+v", s)
	}
	if s := found["vault pay-prod: read"]; s.State != "skip" || s.After != "identity pay: token for vault.azure.net" {
		t.Errorf("%+v", s)
	}
}

// What a stranger wrote into a token does nothing to a terminal.
func TestDoctorShowsNothingThatActs(t *testing.T) {
	code, text := examined(t, func(e *emulator.Emulator) {
		token := e.Assertion(emulator.AssertionOptions{Subject: "a\x1b[31m\u202eb\nok    forged", KeyID: "\x1b]0;title\x07"})
		if err := emulator.Project(filepath.Join("token", "token"), token); err != nil {
			panic(err)
		}
	})
	if code != 1 || strings.ContainsAny(text, "\x1b\x07\u202e") || strings.Contains(text, "\nok    forged") {
		t.Errorf("%d\n%q", code, text)
	}
}

// A doctor that is used wrongly says so and examines nothing.
func TestDoctorUsedWrongly(t *testing.T) {
	dir := directory(t, installation)
	for says, args := range map[string][]string{
		"twice":              {"--config", "drone-entra.yaml", "drone-entra.yaml"},
		"no such vault":      {"--secret", "nowhere/x"},
		"--secret":           {"--secret", "x"},
		"--repo is missing":  {"--uid", "42"},
		"--event is missing": {"--repo", "acme/app"},
	} {
		code, out, problem := run(t, dir, append([]string{"doctor"}, args...)...)
		if code != 2 || out != "" || !strings.Contains(problem, says) {
			t.Errorf("%v: %d, %q, %q", args, code, out, problem)
		}
	}
}
