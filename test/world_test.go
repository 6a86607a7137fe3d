package test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// world is what a test knows that nobody else may: the secrets there are, and what was answered without releasing one.
type world struct {
	mu       sync.Mutex
	canaries map[string]bool
	values   map[string]string // vault/name → the current value
	versions map[string]string // vault/name → its version
	answers  []string          // whatever is not a released answer
}

func newWorld() *world {
	return &world{canaries: map[string]bool{}, values: map[string]string{}, versions: map[string]string{}}
}

// watch adds texts that must not appear anywhere. Short ones prove nothing and are left out.
func (w *world) watch(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range texts {
		if text = strings.TrimSpace(text); len(text) >= 8 {
			w.canaries[text] = true
			w.canaries[base64.StdEncoding.EncodeToString([]byte(text))] = true
		}
	}
}

func (w *world) answered(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, text)
}

func (s *server) watched() (all []string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for text := range s.world.canaries {
		all = append(all, text)
	}
	return all
}

// vault is one of the emulator's, whose values the test watches for.
type vault struct {
	*emulator.Vault
	s    *server
	name string
}

// Vault finds the vault NAME.vault.azure.net.
func (s *server) Vault(name string) vault {
	return vault{s.Emulator.Vault(name+".vault.azure.net", tenantID), s, name}
}

// Set adds a version to a secret and watches for its value, and for the values of its keys if it is a JSON object.
func (v vault) Set(name, value string, options ...emulator.SecretOption) (version string) {
	v.s.world.watch(value)
	var object map[string]any
	if json.Unmarshal([]byte(value), &object) == nil {
		for _, member := range object {
			if text, ok := member.(string); ok {
				v.s.world.watch(text)
			}
		}
	}
	version = v.Vault.Set(name, value, options...)
	v.s.world.mu.Lock()
	defer v.s.world.mu.Unlock()
	v.s.world.values[v.name+"/"+name], v.s.world.versions[v.name+"/"+name] = value, version
	return version
}

// fill gives each secret, written vault/name, a value of its own that nobody could guess from another.
func (s *server) fill(secrets ...string) {
	for _, secret := range secrets {
		at, name, _ := strings.Cut(secret, "/")
		s.Vault(at).Set(name, "canary-value-of-"+name+"-in-"+at)
	}
}

// jwtPart is any JSON Web Token, or a part of one: its header, and the claims, begin like this.
var jwtPart = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}`)

// scan looks for everything that must not be seen: in what the program printed, wrote, and answered beyond releases.
func (s *server) scan(canaries ...string) {
	s.t.Helper()
	s.world.watch(canaries...)
	places := map[string]string{"what it printed": s.out.String()}
	for _, dir := range []string{s.state, s.tmp} {
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				s.t.Errorf("scanning %s: %v", path, err)
			}
			places[path] = string(content)
			return nil
		})
	}
	watched := s.watched()
	s.world.mu.Lock()
	places["what it answered"] = strings.Join(s.world.answers, "\n")
	s.world.mu.Unlock()
	for place, text := range places {
		if found := jwtPart.FindString(text); found != "" {
			s.t.Errorf("a token, or a part of one, is in %s: %.40s…", place, found)
		}
		for _, c := range watched {
			if at := strings.Index(text, c); at >= 0 {
				s.t.Errorf("%q is in %s: …%s…", c, place, text[max(0, at-80):min(len(text), at+len(c)+80)])
			}
		}
		if strings.Contains(text, "DATA RACE") {
			s.t.Errorf("a race, in %s:\n%s", place, text)
		}
	}
}

// event is one line of the record.
type event struct {
	Seq      int64
	ID       string
	Kind     string
	Outcome  string
	Reason   string
	Pool     string
	Key      string
	Remote   string
	Actor    string
	Secret   string
	Version  string
	Binding  string
	DeniedBy string `json:"denied_by"`
	Identity string
	Config   string
	How      string
	Detail   string
	Repeat   int
	Skew     int
	Count    int
	Expires  time.Time
	Repo     struct{ Slug, UID string }
	Build    struct {
		Number     int64
		Event, Ref string
		DeployTo   string `json:"deploy_to"`
		SHA        string
	}
	Asked struct{ Path, Name string }
	Line  string `json:"-"`
}

// events reads the record as it is now.
func (s *server) events() (all []event) {
	s.t.Helper()
	content, err := os.ReadFile(s.Record)
	if err != nil {
		s.t.Fatal(err)
	}
	if end := bytes.LastIndexByte(content, '\n'); end >= 0 { // a line may be on its way
		content = content[:end]
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := event{Line: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			s.t.Fatalf("a line of the record is no JSON: %v: %.200q", err, e.Line)
		}
		all = append(all, e)
	}
	return all
}

// recorded returns the one event of the request with that id. It waits for it: what nobody proved is written later.
func (s *server) recorded(id string) event {
	s.t.Helper()
	var found []event
	eventually(s.t, "an event of request "+id, func() bool {
		found = nil
		for _, e := range s.events() {
			if e.ID == id {
				found = append(found, e)
			}
		}
		return len(found) > 0
	})
	if len(found) != 1 {
		s.t.Errorf("%d events of one request are on record: %+v", len(found), found)
	}
	return found[0]
}

// eventually polls until ok or patience ends.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("there never was %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// output collects what a process prints, and wakes who waits for a line of it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wakeLocked()
	return o.text.Write(p)
}

func (o *output) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wakeLocked()
}

func (o *output) wakeLocked() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// String is everything printed so far.
func (o *output) String() string {
	text, _ := o.now()
	return text
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// await returns the first line of the log with that message, for as long as the program runs.
func (s *server) await(message string) map[string]any {
	s.t.Helper()
	return s.logged("message", message)
}

// logged returns the first line of the log that has the field with that text.
func (s *server) logged(field, text string) map[string]any {
	s.t.Helper()
	late := time.After(patience)
	for {
		printed, changed := s.out.now()
		for line := range strings.Lines(printed) {
			var members map[string]any
			if json.Unmarshal([]byte(line), &members) == nil && members[field] == text {
				return members
			}
		}
		select {
		case <-s.exited:
			if now, _ := s.out.now(); now == printed {
				s.t.Fatalf("the program ended and never logged %s %q:\n%s", field, text, printed)
			}
		case <-changed:
		case <-late:
			s.t.Fatalf("the program never logged %s %q:\n%s", field, text, printed)
		}
	}
}
