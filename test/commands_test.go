package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script are terminal sessions: what somebody types, the exit code, and what is printed, word for
// word where people read it. `run CODE ARGS…` runs the program and checks its exit code.
func TestCommands(t *testing.T) {
	t.Parallel()
	program := binary(t)
	requests, err := filepath.Abs("testdata/requests")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "", // then look at what changed
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REQUESTS", requests)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TMPDIR", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 1 {
					ts.Fatalf("usage: run CODE ARGS…")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				code := 0
				if err := ts.Exec(program, args[1:]...); err != nil {
					failed, ok := errors.AsType[*exec.ExitError](err)
					if !ok {
						ts.Check(err)
					}
					code = failed.ExitCode()
				}
				if code != want {
					ts.Fatalf("drone-entra %s ends with %d, want %d", strings.Join(args[1:], " "), code, want)
				}
			},
		},
	})
}

// Every command, and the program itself, says how it is used, and one that isn't used so says that.
func TestHelpAndWrongUse(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	run := func(args ...string) printed { return invoke(t, dir, nil, args...) }
	all := []string{"serve", "dev", "check", "doctor", "explain", "request", "audit verify", "issuer publish", "issuer rotate", "issuer subjects", "healthcheck", "version"}
	run("--help").says(t, 0, append(all, "Usage: drone-entra")...)
	for _, name := range append(all, "audit", "issuer") {
		p := invoke(t, dir, nil, append(strings.Fields(name), "--help")...)
		p.says(t, 0, "Usage: drone-entra "+name)
		if p.stderr != "" || strings.Contains(p.stdout, "canary") {
			t.Errorf("%s --help: %s", name, p)
		}
		for line := range strings.Lines(p.stdout) {
			if len(line) > 101 {
				t.Errorf("%s --help has a line of %d columns: %s", name, len(line), line)
			}
		}
		p = run(append(strings.Fields(name), "--no-such-flag")...)
		p.says(t, 2, "--no-such-flag")
		if p.stdout != "" {
			t.Errorf("wrong use is told on standard output: %s", p)
		}
	}
	for _, args := range [][]string{{}, {"nosuch"}, {"audit"}, {"audit", "nosuch"}, {"explain"}, {"request"}, {"version", "x"}, {"serve", "x"}} {
		p := run(args...)
		p.says(t, 2, "drone-entra: ")
		if p.stdout != "" || p.stderr == "" {
			t.Errorf("%v: %s", args, p)
		}
	}
	run("version").says(t, 0, "drone-entra ", "go1.", "/")
}

// The shared key is not shown by a help text, however it is set.
func TestHelpShowsNoKey(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DRONE_SECRET", "DRONE_SECRET_PLUGIN_TOKEN"} {
		for _, args := range [][]string{{"request", "--help"}, {"--help"}, {"request"}, {"request", "--nosuch"}, {"request", "http://127.0.0.1:1", "--repo", "a/b", "--event", "push", "x/y"}} {
			if p := invoke(t, directory(t), []string{name + "=" + runnerKey}, args...); strings.Contains(p.String(), runnerKey) {
				t.Errorf("%v shows the key in %s: %s", args, name, p)
			}
		}
	}
}

// Every recorded request of a build that Drone and its runners made can be explained, in either form that people keep
// them in.
func TestExplainEveryRecordedRequest(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	const config = `version: 1
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - id: everything
    repos: ["**"]
    when:
      push: {branches: ["**"]}
      tag: {tags: ["**"]}
      cron: {cron: ["*"], branches: ["**"]}
      promote: {deploy_to: ["**"], branches: ["**"]}
      rollback: {deploy_to: ["**"], branches: ["**"]}
      custom: {branches: ["**"]}
      pull_request: {from: any, into: ["**"]}
    actors: any
    read: ["shared/*"]
`
	if err := os.WriteFile(filepath.Join(dir, "drone-entra.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/requests/secret-*.http")
	if err != nil || len(files) < 10 {
		t.Fatalf("there are %d recorded requests: %v", len(files), err)
	}
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(content), "\r\n\r\n")
		if body == "" {
			_, body, _ = strings.Cut(string(content), "\n\n")
		}
		var outputs []string
		for form, text := range map[string]string{
			"with its head": string(content), "the body": body, "under body": `{"time": "x", "headers": {"A": ["b"]}, "body": ` + body + `}`,
			"with Unix lines": strings.ReplaceAll(string(content), "\r\n", "\n"),
		} {
			if i > 0 && form != "with its head" { // the forms are the same for all
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "request"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := invoke(t, dir, nil, "explain", "--request", "request", "shared/x")
			if p.code != 0 || !strings.HasPrefix(p.stdout, "ALLOWED  shared/x to acme/") {
				t.Errorf("%s, %s: %s", file, form, p)
			}
			outputs = append(outputs, p.stdout)
		}
		for _, o := range outputs {
			if o != outputs[0] {
				t.Errorf("%s: the forms differ:\n%s\n%s", file, outputs[0], o)
			}
		}
	}
	for name, text := range map[string]string{"nothing": "", "no JSON": "x", "a list": "[]", "a request twice": `{"path":"a","path":"b"}`, "a body of nothing": `{"body": {}}`, "a head alone": "POST / HTTP/1.1\r\n\r\n"} {
		if err := os.WriteFile(filepath.Join(dir, "request"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := invoke(t, dir, nil, "explain", "--request", "request", "shared/x")
		p.says(t, 1, "request", "no request")
		if p.stdout != "" {
			t.Errorf("%s is explained: %s", name, p)
		}
	}
}

// `request` asks as a runner does, says that a value came and not which one, unless it is asked to.
func TestRequestCommand(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	value := s.valueAt(t, "kv-shared/ci-token")
	key := []string{"DRONE_SECRET_PLUGIN_TOKEN=" + runnerKey}
	keyFile := s.write("runner-key", runnerKey+"\n")
	asking := func(more ...string) []string {
		return append([]string{"request", s.URL, "--repo", "acme/app", "--uid", "1", "--event", "push", "--ref", "refs/heads/main"}, more...)
	}
	run := func(environment []string, args ...string) printed { return invoke(t, s.tmp, environment, args...) }
	hidden := func(p printed) printed {
		t.Helper()
		for _, canary := range []string{value, runnerKey} {
			if strings.Contains(p.String(), canary) {
				t.Errorf("%q is printed: %s", canary, p)
			}
		}
		return p
	}
	bytesOf := fmt.Sprintf("a value of %d bytes", len(value))
	hidden(run(key, asking("shared/ci-token")...)).says(t, 0, "released", "shared/ci-token", bytesOf, "--reveal")
	hidden(run(nil, asking("--token-file", keyFile, "shared/ci-token")...)).says(t, 0, "released", bytesOf)
	hidden(run(nil, asking("--token-file", keyFile, "--path", "shared", "--name", "ci-token")...)).says(t, 0, "released", bytesOf)
	hidden(run(key, asking("--pool", "other", "shared/ci-token")...))
	if p := run(key, asking("--reveal", "shared/ci-token")...); p.code != 0 || p.stdout != value+"\n" || p.stderr != "" {
		t.Errorf("--reveal: %s", p)
	}
	hidden(run(key, asking("shared/other")...)).says(t, 1, "no value", "shared/other", "404", "not available")
	hidden(run(key, asking("--reveal", "shared/other")...)).says(t, 1, "no value", "404")
	before := len(s.events())
	p := hidden(run(key, asking("shared/denied")...))
	if e := s.latest(t, before); !strings.Contains(p.stdout, e.ID) {
		t.Errorf("the request's id %s, which finds the record, is not shown: %s", e.ID, p)
	}
	hidden(run([]string{"DRONE_SECRET=" + newKey}, asking("shared/ci-token")...)).says(t, 1, "no value", "401")
	hidden(run(nil, asking("shared/ci-token")...)).says(t, 2, "DRONE_SECRET_PLUGIN_TOKEN", "--token-file")
	hidden(run(key, asking()...)).says(t, 2, "the secret is missing")
	hidden(run(key, "request", s.URL, "shared/ci-token")).says(t, 2, "--repo", "--event")
	hidden(run(key, "request", "http://127.0.0.1:1", "--repo", "acme/app", "--event", "push", "shared/ci-token")).says(t, 1, "connection refused")
	hidden(run(key, "request", s.URL+"/wrong", "--repo", "acme/app", "--event", "push", "shared/ci-token")).says(t, 1, "404")
	hidden(run(key, "request", "http://"+s.Admin, "--repo", "acme/app", "--event", "push", "shared/ci-token")).says(t, 1, "is the URL right?")
	hidden(run(nil, asking("--token-file", "nosuch", "shared/ci-token")...)).says(t, 1, "nosuch")
	hidden(run(nil, asking("--token-file", s.ConfigAt+".no", "shared/ci-token")...)).says(t, 1, "no such file")
	hidden(run(key, "request", s.URL, "--request", s.write("recorded", theBody), "shared/ci-token")).says(t, 0, "released")
	hidden(run(key, "request", s.URL, "--request", s.write("recorded", theBody))).says(t, 0, "released")
	s.servesOne(t)
}

// `healthcheck` finds the extension by its configuration, over TLS or not, and says whether it lives.
func TestHealthcheckCommand(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	s := start(t, withTLS, file("tls.crt", cert), file("tls.key", key), behindTLS())
	run := func(args ...string) printed {
		return invoke(t, s.tmp, nil, append([]string{"healthcheck"}, args...)...)
	}
	run("--url", s.URL).says(t, 0, "healthy")
	run("--url", s.URL+"/").says(t, 0, "healthy")
	run("--url", "http://"+s.Admin).says(t, 0, "healthy")
	run("--url", "http://"+s.Address).says(t, 1, "not healthy")
	at := s.write("health.yaml", strings.Replace(`version: 1
listen: {address: "ADDRESS", tls: {cert: /nowhere.crt, key: /nowhere.key}}
`, "ADDRESS", s.Address, 1))
	run("--config", at).says(t, 0, "healthy")
	wide := s.write("wide.yaml", strings.Replace(`version: 1
listen: {address: ":PORT", tls: {cert: /nowhere.crt, key: /nowhere.key}}
`, "PORT", s.Address[strings.LastIndexByte(s.Address, ':')+1:], 1))
	run("--config", wide).says(t, 0, "healthy")
	s.stop()
	run("--url", s.URL).says(t, 1, "not healthy", "connection refused")
	run("--config", at).says(t, 1, "not healthy")
	run("--url", "http://[::").says(t, 2)
}

// live is a command that runs until it is told to end.
type live struct {
	*exec.Cmd
	out    *output
	exited chan struct{}
}

func background(t *testing.T, environment []string, args ...string) *live {
	t.Helper()
	dir := directory(t)
	l := &live{exec.Command(binary(t), args...), newOutput(), make(chan struct{})}
	l.Dir, l.Env = dir, append([]string{"HOME=" + dir, "TMPDIR=" + dir}, environment...)
	l.Stdout, l.Stderr = l.out, l.out
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = l.Wait(); close(l.exited) }()
	t.Cleanup(func() { _ = l.Process.Kill(); <-l.exited })
	return l
}

// says waits for what the pattern finds in what is printed.
func (l *live) says(t *testing.T, pattern string) []string {
	t.Helper()
	var found []string
	eventually(t, pattern+" in:\n"+l.out.String(), func() bool {
		found = regexp.MustCompile(pattern).FindStringSubmatch(l.out.String())
		select {
		case <-l.exited:
			if found == nil {
				t.Fatalf("it ended without saying %s:\n%s", pattern, l.out)
			}
		default:
		}
		return found != nil
	})
	return found
}

// interrupt is Ctrl-C, after which it must end well and leave nothing behind.
func (l *live) interrupt(t *testing.T) {
	t.Helper()
	if err := l.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an end after Ctrl-C", func() bool {
		select {
		case <-l.exited:
			return true
		default:
			return false
		}
	})
	if code := l.ProcessState.ExitCode(); code != 0 {
		t.Errorf("Ctrl-C ends it with %d:\n%s", code, l.out)
	}
	if left, _ := os.ReadDir(l.Dir); len(left) > 0 {
		t.Errorf("it leaves %v behind", left)
	}
}

const endpointPattern = `DRONE_SECRET_PLUGIN_ENDPOINT=(\S+)\s+DRONE_SECRET_PLUGIN_TOKEN=(\S+)`

// `dev` tells its story and goes on serving; a second one takes another port and says so; Ctrl-C ends each.
func TestDevTwiceAtOnce(t *testing.T) {
	t.Parallel()
	first := background(t, nil, "dev")
	at := first.says(t, endpointPattern)
	var second *live
	var other []string
	eventually(t, "a second one that finds 127.0.0.1:3000 taken", func() bool {
		// Something else than the first one may have it, and give it back at any time.
		if held, err := net.Listen("tcp", "127.0.0.1:3000"); err == nil {
			defer held.Close()
		}
		second = background(t, nil, "dev")
		other = second.says(t, endpointPattern)
		return !strings.HasSuffix(other[1], ":3000")
	})
	moved := second.says(t, `127\.0\.0\.1:3000 is taken, so the extension listens on (127\.0\.0\.1:\d+)`)
	if at[1] == other[1] || !strings.HasSuffix(other[1], moved[1]) {
		t.Errorf("they listen on %s and %s", at[1], other[1])
	}
	for _, d := range [][]string{at, other} {
		key := []string{"DRONE_SECRET_PLUGIN_TOKEN=" + d[2]}
		ask := func(args ...string) printed {
			return invoke(t, directory(t), key, append([]string{"request", d[1], "--repo", "acme/payments-api", "--uid", "42"}, args...)...)
		}
		ask("--event", "push", "--ref", "refs/heads/main", "shared/ci-token").says(t, 0, "released")
		ask("--event", "pull_request", "--ref", "refs/pull/7/head", "shared/ci-token").says(t, 1, "no value", "404")
	}
	for _, l := range []*live{first, second} {
		l.says(t, `Ctrl-C ends it`)
		l.interrupt(t)
	}
}

// `dev --config` emulates every vault that a configuration of one's own names, for a managed identity as well, with values
// made up for what is named literally; and it writes nothing where the configuration says.
func TestDevWithAConfigurationOfOnesOwn(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	config := filepath.Join(dir, "mine.yaml")
	const text = `version: 1
identities:
  web: {tenant_id: 9b0f7e0c-2222-4333-8444-555566667777, client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {file: /nowhere/token}}
  vm: {managed: {client_id: 5d1c0a77-3333-4444-8555-666677778888}}
vaults:
  one: {url: https://kv-mine-one.vault.azure.net, identity: web}
  two: {url: https://kv-mine-two.vault.azure.net, identity: vm, max_age: 90d}
  plain: {url: https://kv-mine-three.vault.azure.net}
pools:
  default: {keys: [{id: k1, env: MY_RUNNER_KEY}]}
  prod: {keys: [{id: k2, file: /nowhere/prod}]}
bindings:
  - id: ci
    repos: [me/app]
    read: [one/literal, "one/pattern-*", two/managed, plain/default, "plain/pinned@*"]
    names: {password: one/database/password, user: one/database/user}
record: {file: /nowhere/audit.jsonl}
listen: {address: ":443", tls: {cert: /nowhere.crt, key: /nowhere.key}}
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := background(t, []string{"AZURE_CLIENT_SECRET=canary-of-my-own-login", "MY_RUNNER_KEY=" + newKey}, "dev", "--config", config, "--address", "127.0.0.1:0")
	at := d.says(t, endpointPattern)
	for _, host := range []string{"kv-mine-one", "kv-mine-two", "kv-mine-three"} {
		d.says(t, regexp.QuoteMeta("https://"+host+".vault.azure.net"))
	}
	if at[2] != newKey {
		t.Error("the runners' key of the environment is not used")
	}
	ask := func(ref string, more ...string) printed {
		args := append([]string{"request", at[1], "--repo", "me/app", "--event", "push", "--ref", "refs/heads/main", "--uid", "1"}, more...)
		return invoke(t, dir, []string{"DRONE_SECRET_PLUGIN_TOKEN=" + at[2]}, append(args, ref)...)
	}
	for _, ref := range []string{"one/literal", "two/managed", "plain/default", "plain/pinned", "password", "user"} {
		ask(ref).says(t, 0, "released", ref)
		ask(ref, "--reveal").says(t, 0, "made-up")
	}
	ask("one/pattern-x").says(t, 1, "no value", "404") // nobody knows what a pattern stands for
	ask("one/other").says(t, 1, "no value", "404")
	d.interrupt(t)
	if strings.Contains(d.out.String(), "canary-of-my-own-login") {
		t.Errorf("a credential of one's own is printed: %s", d.out)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it writes beside the configuration: %v", left)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(text, "repos: [me/app]", "repos: []", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "dev", "--once", "--config", config).says(t, 1, "mine.yaml:14:", "error", "empty")
	invoke(t, dir, nil, "dev", "--once", "--config", filepath.Join(dir, "nosuch.yaml")).says(t, 1, "nosuch.yaml", "no such file")
}

// The story is told to its end, without a terminal's colours, and nothing stays behind.
func TestDevOnce(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	p := invoke(t, dir, nil, "dev", "--once")
	p.says(t, 0, "emulated", "#1", "released", "#2", "denied", "event: payments-ci wants push", "db_password", "actor: payments-deploy wants alice or bob",
		"rotated", "#5", "The record verifies")
	if p.stderr != "" || bytes.ContainsRune([]byte(p.stdout), '\x1b') {
		t.Errorf("it prints more than the story: %q", p)
	}
	versions := regexp.MustCompile(`shared/ci-token .*version (\w+)`).FindAllStringSubmatch(p.stdout, -1)
	if len(versions) != 2 || versions[0][1] == versions[1][1] {
		t.Errorf("the rotation does not show: %v", versions)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it leaves %v behind", left)
	}
}
