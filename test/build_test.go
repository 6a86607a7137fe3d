package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/drone/drone-go/drone"
	plugin "github.com/drone/drone-go/plugin/secret"
)

// repoSecret is the key of a repository that Drone puts into every request: whoever has it can sign a .drone.yml.
const repoSecret = "canary-repo-secret-QDpr0lQcTyeQ1L91DlXrsO"

// build is who asks: a repository and one of its builds, in drone-go's types. The functions make each kind as a genuine
// Drone sends it; the methods then change one thing, and leave the original alone.
type build struct {
	repo  drone.Repo
	build drone.Build
}

func of(event, slug string) build {
	at := strings.LastIndexByte(slug, '/')
	return build{
		drone.Repo{UID: "1", Slug: slug, Namespace: slug[:max(at, 0)], Name: slug[at+1:], Branch: "main", Secret: repoSecret},
		drone.Build{
			Number: 7, Event: event, Ref: "refs/heads/main", Source: "main", Target: "main", Trigger: "@hook", Sender: "alice",
			Link: "https://forge.example/" + slug, After: "5d959da0aa172d38cddf6825dc7b766fcbbaeb61",
		},
	}
}

// push is a push to the default branch by alice.
func push(slug string) build { return of("push", slug) }

// tag is a tag by alice; its target is empty, as forges send it.
func tag(slug, name string) build {
	b := of("tag", slug).ref("refs/tags/" + name)
	b.build.Source, b.build.Target = "", ""
	return b
}

// pull is a pull request by alice from a branch of the repository itself into the default branch.
func pull(slug string) build {
	b := of("pull_request", slug).ref("refs/pull/7/head").source("feature")
	b.build.Fork = slug
	return b
}

// cron is a scheduled build of the default branch.
func cron(slug, name string) build {
	b := of("cron", slug).trigger("@cron")
	b.build.Cron, b.build.Source = name, ""
	return b
}

// promote is the promotion of a build of the default branch, by alice.
func promote(slug, to string) build {
	b := of("promote", slug).trigger("alice")
	b.build.Deploy = to
	return b
}

// rollback is the same for a rollback.
func rollback(slug, to string) build {
	b := promote(slug, to)
	b.build.Event = "rollback"
	return b
}

// custom is a build that alice made on the default branch.
func custom(slug string) build { return of("custom", slug).trigger("alice") }

func (b build) branch(name string) build        { return b.ref("refs/heads/" + name) }
func (b build) ref(ref string) build            { b.build.Ref = ref; return b }
func (b build) number(n int64) build            { b.build.Number = n; return b }
func (b build) uid(uid string) build            { b.repo.UID = uid; return b }
func (b build) defaultBranch(name string) build { b.repo.Branch = name; return b }
func (b build) source(branch string) build      { b.build.Source = branch; return b }
func (b build) into(branch string) build        { b.build.Target = branch; return b }
func (b build) trigger(who string) build        { b.build.Trigger = who; return b }
func (b build) sender(who string) build         { b.build.Sender = who; return b }

// from says which repository the code comes from, as far as Drone claims.
func (b build) from(slug string) build { b.build.Fork = slug; return b }

// by says who is behind the build: who pushed, or pressed the button.
func (b build) by(login string) build {
	if b.build.Trigger == "@hook" {
		return b.sender(login)
	}
	return b.trigger(login)
}

// asking is the request for what `get: {path, name}` says.
func (b build) asking(path, name string) *plugin.Request {
	return &plugin.Request{Path: path, Name: name, Repo: b.repo, Build: b.build}
}

// body is that request as a runner writes it.
func (b build) body(path, name string) string {
	text, _ := json.Marshal(b.asking(path, name))
	return string(text)
}

// split turns vault/secret[/key] into the path and name of drone-vault's habit: the last part is the name.
func split(ref string) (path, name string) {
	if at := strings.LastIndexByte(ref, '/'); at >= 0 {
		return ref[:at], ref[at+1:]
	}
	return "", ref
}

// find asks for vault/secret[/key], or for a name alone, with drone-go's client and the server's key, as a runner does. The
// error is a *drone.Error where the program answered.
func (s *server) find(b build, ref string) (value string, err error) {
	path, name := split(ref)
	return s.findAs(s.key, b, path, name)
}

// findAs is the same for any key and whatever `get: {path, name}` says.
func (s *server) findAs(key string, b build, path, name string) (value string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := plugin.Client(s.URL, key, true).Find(ctx, b.asking(path, name))
	if err != nil {
		s.world.answered(err.Error())
		return "", err
	}
	return answer.Data, nil
}

// verdict is what must become of a request.
type verdict struct {
	value  string // where the value is, as vault/secret[/key] with the vault's real name
	reason string // why not
	status int
}

// gets: the value at vault/secret[/key], where vault is the real one's name, not an alias.
func gets(where string) verdict { return verdict{value: where, status: http.StatusOK} }

// denied: policy says no.
func denied(reason string) verdict { return verdict{reason: reason, status: http.StatusNotFound} }

// fails: no answer could be given.
func fails(status int, reason string) verdict { return verdict{reason: reason, status: status} }

func (v verdict) String() string {
	if v.value != "" {
		return "gets " + v.value
	}
	return fmt.Sprintf("%d %s", v.status, v.reason)
}

// outcome is the record's word for it.
func (v verdict) outcome() string {
	switch v.status {
	case http.StatusOK:
		return "released"
	case http.StatusNotFound:
		return "denied"
	}
	return "failed"
}

// expect asks for vault/secret[/key], or for a name alone, and checks answer and record. It returns the event.
func (s *server) expect(t *testing.T, b build, ref string, want verdict) event {
	t.Helper()
	path, name := split(ref)
	return s.expectOf(t, s.key, b, path, name, want)
}

// expectOf is the same for any key and whatever `get: {path, name}` says.
func (s *server) expectOf(t *testing.T, key string, b build, path, name string, want verdict) event {
	t.Helper()
	before := len(s.events())
	value, err := s.findAs(key, b, path, name)
	defer func() {
		if t.Failed() {
			t.Logf("the answer was %.40q, %v", value, err)
		}
	}()
	e := s.latest(t, before)
	if e.Kind != "secret" || e.Outcome != want.outcome() || e.Reason != want.reason {
		t.Errorf("on record is %s, %s: %q, want %s: %q\n%s", e.Kind, e.Outcome, e.Reason, want.outcome(), want.reason, e.Line)
	}
	if want.value != "" {
		if err != nil || value != s.valueAt(t, want.value) {
			t.Errorf("got %q, %v; want the value of %s", value, err, want.value)
		}
		return e
	}
	refusal, ok := errors.AsType[*drone.Error](err)
	if !ok || refusal.Code != want.status {
		t.Fatalf("got %q, %v; want status %d", value, err, want.status)
	}
	if want.status == http.StatusNotFound {
		if body := fmt.Sprintf("{\"message\":\"not available\",\"request\":%q}\n", e.ID); refusal.Message != body {
			t.Errorf("the answer is %q, want %q", refusal.Message, body)
		}
	}
	return e
}

// latest returns the one event of a proven request that came since; there must be exactly one.
func (s *server) latest(t *testing.T, before int) event {
	t.Helper()
	var found []event
	for _, e := range s.events()[before:] {
		if e.Kind == "secret" {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events are on record for one request: %+v", len(found), found)
	}
	return found[0]
}

// valueAt is the current value of a secret, or of a key in it.
func (s *server) valueAt(t *testing.T, where string) string {
	t.Helper()
	parts := strings.SplitN(where, "/", 3)
	s.world.mu.Lock()
	value, ok := s.world.values[strings.Join(parts[:2], "/")]
	s.world.mu.Unlock()
	if !ok {
		t.Fatalf("the test never set %s", where)
	}
	if len(parts) < 3 {
		return value
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(value), &object); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(object[parts[2]])
}

// finds asks and compares; whatever the record says is checked elsewhere.
func (s *server) finds(t *testing.T, b build, ref, want string) {
	t.Helper()
	if value, err := s.find(b, ref); err != nil || value != want {
		t.Errorf("got %.20q…, %v; want %.20q…", value, err, want)
	}
}

// serves checks that a good request right now gets its secret: the value of ref, which is at where.
func (s *server) serves(t *testing.T, b build, ref, where string) {
	t.Helper()
	if !t.Failed() {
		s.expect(t, b, ref, gets(where))
	}
}

// row is one line of a policy's table: who asks for what, and what must become of it.
type row struct {
	says string
	who  build
	asks string // vault/secret[/key] or a name
	want verdict
}

// rows asks for each row in turn, and after each one checks that the first that gets something still does.
func (s *server) rows(t *testing.T, rows []row) {
	t.Helper()
	good := -1
	for i, r := range rows {
		if good < 0 && r.want.value != "" {
			good = i
		}
	}
	if good < 0 {
		t.Fatal("no row gets anything: a server that answers nobody would pass")
	}
	for _, r := range rows {
		t.Run(r.says, func(t *testing.T) {
			s.expect(t, r.who, r.asks, r.want)
			s.serves(t, rows[good].who, rows[good].asks, rows[good].want.value)
		})
	}
}
