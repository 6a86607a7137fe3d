package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// What the tests of faults need beyond the harness: a second identity, what an operator sees, and requests of which only
// the failure matters.

// on uses an emulator that the test has made otherwise than usual. It closes it.
func on(t *testing.T, options emulator.Options) option {
	t.Helper()
	options.Keys = keys
	e, err := emulator.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return func(o *setup) { o.emulator = e }
}

// get asks one of the program's own pages.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

// page is /status as far as these tests look at it.
type page struct {
	Ready      bool
	Reasons    []string
	Identities map[string]struct {
		State, Error, Code, File string
	}
	Vaults map[string]struct {
		Door struct {
			State, Problem string
			Retry          time.Time
			Hedged         int
		}
		Probe struct{ Problem string }
	}
	Record      struct{ Problem string }
	Config      struct{ SHA256 string }
	Certificate struct{ Subject, Error string }
	text        string
}

// status reads /status, and watches that it tells no secret.
func (s *server) status() (p page) {
	s.t.Helper()
	code, body := get(s.t, "http://"+s.Admin+"/status")
	if code != http.StatusOK {
		s.t.Fatalf("/status answers %d %s", code, body)
	}
	s.world.answered(body)
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		s.t.Fatalf("/status is no JSON: %v\n%s", err, body)
	}
	p.text = body
	return p
}

// lines are those of the log that have the field with that text.
func (s *server) lines(field, text string) (found []map[string]any) {
	for line := range strings.Lines(s.out.String()) {
		var members map[string]any
		if json.Unmarshal([]byte(line), &members) == nil && members[field] == text {
			found = append(found, members)
		}
	}
	return found
}

// nothing asks where no value may come, whatever the reason, and returns the event.
func (s *server) nothing(t *testing.T, b build, ref string) event {
	t.Helper()
	before := len(s.events())
	if value, err := s.find(b, ref); err == nil {
		t.Errorf("got %q, want nothing", value)
	}
	e := s.latest(t, before)
	if e.Outcome == "released" {
		t.Errorf("on record is a release: %s", e.Line)
	}
	return e
}

// printed is what a command printed, and how it ended.
type printed struct {
	code           int
	stdout, stderr string
}

func (p printed) String() string {
	return fmt.Sprintf("exit %d\n-- stdout --\n%s-- stderr --\n%s", p.code, p.stdout, p.stderr)
}

// says checks exit code and texts, wherever they were printed.
func (p printed) says(t *testing.T, code int, texts ...string) {
	t.Helper()
	if p.code != code {
		t.Errorf("it ends with %d, want %d\n%s", p.code, code, p)
	}
	for _, text := range texts {
		if !strings.Contains(p.stdout+p.stderr, text) {
			t.Errorf("it doesn't say %q\n%s", text, p)
		}
	}
}

// invoke runs a command in a directory with an environment of its own.
func invoke(t *testing.T, dir string, environment []string, args ...string) printed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), args...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, append([]string{"HOME=" + dir, "TMPDIR=" + dir}, environment...), &stdout, &stderr
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return printed{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
