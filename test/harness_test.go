// The tests of this package attack the real program from outside: the binary as it is built for everybody, as a child process, against
// an emulated Entra and Key Vault under their production names. Nothing in the program knows that it is tested; the
// environment alone leads it to the emulator.
//
// A test starts a server with a configuration, asks it as a runner does, and says what must become of that. Whatever it
// asked, the end of each test checks what holds always: the program ends in order, its record verifies, and no value, key
// or token is anywhere but in a released answer.

package test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// patience bounds every wait. It is for a machine that is busy with other things; nothing waits for it to pass.
const patience = 60 * time.Second

// Who the program is, unless a test says otherwise.
const (
	tenantID = "72f988bf-1111-4222-8333-000000000001"
	clientID = "3f2a4c55-1111-4222-8333-000000000002"
)

// runnerKey is the shared key of the pool "default": a canary too.
const runnerKey = "canary-runner-key-0123456789abcdef-0123456789abcdef"

// raceOptions end a program at its first race, and at its end don't keep it waiting for others.
const raceOptions = "halt_on_error=1 atexit_sleep_ms=0"

// keys are shared by all emulators, since an RSA key takes a while to make.
var keys = new(emulator.Keys)

func TestMain(m *testing.M) {
	flag.Parse()
	stated := false
	flag.Visit(func(f *flag.Flag) { stated = stated || f.Name == "test.parallel" })
	if !stated {
		_ = flag.Set("test.parallel", "12") // the tests wait for children to drain more than they work
	}
	code := m.Run()
	for _, p := range []*program{&built, &unraced} {
		if p.dir != "" {
			_ = os.RemoveAll(p.dir)
		}
	}
	os.Exit(code)
}

// program is the binary, built when the first test wants it.
type program struct {
	sync.Once
	dir, path string
	err       error
}

// built has the race detector if the tests have it. unraced never has: it is for tests of memory, which the detector fills
// with its own.
var built, unraced program

func binary(t *testing.T) string {
	t.Helper()
	if underRace() {
		return built.get(t, "-race")
	}
	return unraced.get(t)
}

func (p *program) get(t *testing.T, flags ...string) string {
	t.Helper()
	p.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "drone-entra-test-"); p.err != nil {
			return
		}
		p.path = filepath.Join(p.dir, "drone-entra")
		build := exec.Command("go", slices.Concat([]string{"build", "-o", p.path}, flags, []string{"../cmd/drone-entra"})...)
		if out, err := build.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("building the program: %w\n%s", err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

func underRace() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// setup is what a test may change about a start.
type setup struct {
	emulator  *emulator.Emulator
	state     string // directory of the record
	env       map[string]string
	files     map[string]string
	canaries  []string
	scheme    string
	key       string
	served    string // the path that --config names, if not the test's own file
	record    string // and the record that it names
	plain     bool
	openFiles int
}

type option func(*setup)

// env sets a variable of the program's environment; an empty value takes it away.
func env(name, value string) option { return func(o *setup) { o.env[name] = value } }

// file puts a file beside the configuration, which names it as $ETC/name.
func file(name, content string) option { return func(o *setup) { o.files[name] = content } }

// canary is text that must not appear anywhere.
func canary(text string) option { return func(o *setup) { o.canaries = append(o.canaries, text) } }

// askingWith changes the key that find and genuine messages use; the program doesn't learn it from here.
func askingWith(key string) option { return func(o *setup) { o.key = key } }

// servingFrom serves a configuration that the test lays out by itself, with the record that it names.
func servingFrom(path, record string) option {
	return func(o *setup) { o.served, o.record = path, record }
}

// withoutRace runs the program without the race detector, also where the tests have it.
func withoutRace() option { return func(o *setup) { o.plain = true } }

// openFiles bounds how many files the program may have open.
func openFiles(n int) option { return func(o *setup) { o.openFiles = n } }

// behindTLS makes find ask by https.
func behindTLS() option { return func(o *setup) { o.scheme = "https" } }

// after continues where another server stopped: the same emulator, the same record, the same secrets.
func after(s *server) option {
	return func(o *setup) {
		o.emulator, o.state = s.Emulator, s.state
		o.canaries = append(o.canaries, s.watched()...)
	}
}

// server is the program as a child process, and all that it touches.
type server struct {
	t        *testing.T
	Emulator *emulator.Emulator
	URL      string // where runners ask
	Address  string // the same as host:port
	Admin    string // host:port of /status
	Record   string // the record's file
	ConfigAt string // the configuration's file
	Token    string // the projected token's file
	etc      string // configuration, keys, certificates
	state    string // the record's directory
	tmp      string // the program's TMPDIR and working directory
	key      string
	child    *exec.Cmd
	out      *output
	exited   chan struct{}
	stopping sync.Once
	world    *world
}

// start runs `serve` with the configuration and returns once it listens. What the configuration leaves out is filled in:
// the version, a record in a directory of the test's own, and free ports of the loopback address. Every vault that it
// names exists, and the program's identity may read all of it.
func start(t *testing.T, config string, options ...option) *server {
	t.Helper()
	s := launch(t, config, options...)
	listening := s.await("listening")
	s.Address, _ = listening["address"].(string)
	s.Admin, _ = listening["admin"].(string)
	if s.Address == "" {
		t.Fatalf("the program does not listen:\n%s", s.out)
	}
	s.URL += s.Address
	return s
}

// refuses runs `serve` where it must not come to listen, and returns its exit code and everything it printed.
func refuses(t *testing.T, config string, options ...option) (code int, output string) {
	t.Helper()
	s := launch(t, config, options...)
	s.stopping.Do(func() {
		eventually(t, "an end of the start", func() bool { return s.ended() || strings.Contains(s.out.String(), `"listening"`) })
		if !s.ended() {
			t.Errorf("the program started all the same:\n%s", s.out)
			_ = s.child.Process.Kill()
		}
		s.wait()
		s.scan()
	})
	return s.child.ProcessState.ExitCode(), s.out.String()
}

// launch starts the child, and sees to its end and to what must hold then.
func launch(t *testing.T, config string, options ...option) *server {
	t.Helper()
	o := &setup{env: map[string]string{"DRONE_SECRET": runnerKey}, files: map[string]string{}, scheme: "http", key: runnerKey}
	for _, option := range options {
		option(o)
	}
	s := &server{
		t: t, Emulator: o.emulator, etc: directory(t), state: o.state, tmp: directory(t), key: o.key,
		out: newOutput(), exited: make(chan struct{}), URL: o.scheme + "://", world: newWorld(),
	}
	if s.state == "" {
		s.state = directory(t)
	}
	if s.Emulator == nil {
		var err error
		if s.Emulator, err = emulator.Start(emulator.Options{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Emulator.Close)
	}
	s.world.watch(o.canaries...)
	s.world.watch(runnerKey, o.key, repoSecret)
	s.populate(config)
	s.run(s.configure(config, o), o)
	return s
}

// directory makes one that ends with the test. Its name has nothing of the test's, as t.TempDir has: a comma in a path
// would make two of it for --config.
func directory(t *testing.T) string {
	t.Helper()
	base := ""
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		base = memory
	}
	dir, err := os.MkdirTemp(base, "drone-entra-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// memory is where a sync never waits for a disk that others keep busy: one that takes a second is told as a fault, rightly,
// and is none of these tests' business.
const memory = "/dev/shm"

var vaultURL = regexp.MustCompile(`https://([a-z0-9-]+\.vault\.(?:azure\.net|azure\.cn|usgovcloudapi\.net))`)

// populate makes what the configuration speaks of: tenant, application, vaults and the projected token.
func (s *server) populate(config string) {
	s.Emulator.Register(emulator.App{Tenant: tenantID, ClientID: clientID})
	for _, m := range vaultURL.FindAllStringSubmatch(config, -1) {
		s.Emulator.Vault(m[1], tenantID).Allow(clientID)
	}
	s.Token = filepath.Join(directory(s.t), "token")
	s.project(s.Emulator.Assertion(emulator.AssertionOptions{}))
}

// project puts an assertion where the program reads it, as the kubelet does, and watches for each part of it.
func (s *server) project(assertion string) {
	s.world.watch(assertion)
	s.world.watch(strings.Split(assertion, ".")...)
	if err := emulator.Project(s.Token, assertion); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) configure(config string, o *setup) (path string) {
	s.t.Helper()
	for name, content := range o.files {
		s.write(name, content)
	}
	s.Record = filepath.Join(s.state, "audit.jsonl")
	for key, text := range map[string]string{
		"version": "version: 1\n",
		"record":  "record: {file: " + s.Record + "}\n",
		"listen":  `listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0"}` + "\n",
		"limits":  "limits: {drain: 1s}\n",
	} {
		if !strings.Contains("\n"+config, "\n"+key+":") {
			config = text + config
		}
	}
	s.ConfigAt = s.write("drone-entra.yaml", config)
	return s.ConfigAt
}

// write puts a file beside the configuration, in one step. $ETC in it stands for the directory.
func (s *server) write(name, content string) (path string) {
	s.t.Helper()
	path = filepath.Join(s.etc, name)
	content = strings.ReplaceAll(content, "$ETC", s.etc)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *server) run(config string, o *setup) {
	s.t.Helper()
	authority := s.write("ca.pem", string(s.Emulator.CAPEM()))
	environment := map[string]string{
		"HTTPS_PROXY": s.Emulator.ProxyURL(), "HTTP_PROXY": s.Emulator.ProxyURL(), "SSL_CERT_FILE": authority,
		"AZURE_TENANT_ID": tenantID, "AZURE_CLIENT_ID": clientID, "AZURE_FEDERATED_TOKEN_FILE": s.Token,
		"TMPDIR": s.tmp, "HOME": s.tmp, "GORACE": raceOptions,
	}
	for name, value := range o.env {
		environment[name] = value
	}
	if o.served != "" {
		config, s.Record, s.state = o.served, o.record, filepath.Dir(o.record)
	}
	path := binary(s.t)
	if o.plain {
		path = unraced.get(s.t)
	}
	s.child = exec.Command(path, "serve", "--config", config)
	if o.openFiles > 0 {
		s.child = exec.Command("sh", "-c", `ulimit -n "$1" && shift && exec "$@"`, "sh", fmt.Sprint(o.openFiles), path, "serve", "--config", config)
	}
	s.child.Dir, s.child.Env = s.tmp, []string{}
	for name, value := range environment {
		if value != "" {
			s.child.Env = append(s.child.Env, name+"="+strings.ReplaceAll(value, "$ETC", s.etc))
		}
	}
	s.child.Stdout, s.child.Stderr = s.out, s.out
	if err := s.child.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = s.child.Wait(); close(s.exited); s.out.wake() }()
	s.t.Cleanup(func() { s.stop() })
}

// stop ends the program as an orchestrator does and returns its exit code and everything it printed. It checks what holds
// for every run; called again it only returns the same.
func (s *server) stop() (code int, output string) {
	s.t.Helper()
	s.stopping.Do(func() {
		s.signal(syscall.SIGTERM)
		s.wait()
		if code := s.child.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("the program ended with %d:\n%s", code, s.out)
		}
		s.verify()
		s.scan()
	})
	return s.child.ProcessState.ExitCode(), s.out.String()
}

// kill ends the program at once, as a machine does that loses power. The record may have a torn tail; nobody verifies it here.
func (s *server) kill() {
	s.t.Helper()
	s.stopping.Do(func() {
		s.signal(syscall.SIGKILL)
		s.wait()
		s.scan()
	})
}

func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.child.Process.Signal(signal); err != nil && !s.ended() { // stop reports the code of one that ended by itself
		s.t.Errorf("sending %v: %v", signal, err)
	}
}

func (s *server) ended() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// wait blocks until the program has ended, and ends it if it won't.
func (s *server) wait() {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Errorf("the program does not end:\n%s", s.out)
		_ = s.child.Process.Kill()
		<-s.exited
	}
}

// verify checks the record as an auditor does.
func (s *server) verify() {
	s.t.Helper()
	if code, out := command(s.t, "audit", "verify", "--file", s.Record); code != 0 {
		s.t.Errorf("`audit verify` ends with %d: %s", code, out)
	}
}

// command runs another of the program's commands.
func command(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), args...)
	c.Dir, c.Env = t.TempDir(), []string{"HOME=" + t.TempDir(), "GORACE=" + raceOptions}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String()
}
