package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The requests in testdata/requests are as a real Drone server and its runners sent them, signed with this key. Their dates
// are long over, so what they said is signed again; none of it is made up.
const (
	recordedKey    = "rig-ext-secret-0123456789abcdef0123"
	recordedSecret = "QDpr0lQcTyeQ1L91DlXrsOL4WEPfFAHb" // of the repository, in every body
	recordedAsk    = `"path":"secret/data/demo","name":`
)

// recording reads a recorded request: the fields of its head, and its body.
func recording(t *testing.T, name string) *message {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "requests", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(content, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s has no body", name)
	}
	m := &message{line: "POST / HTTP/1.1", body: string(body)} // the target is not signed: proxies rewrite it
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		field, value, _ := strings.Cut(line, ": ")
		m.add(field, value)
	}
	return m
}

// again signs the body afresh, as what its runner would say now.
func (m *message) again(body string) *message {
	fresh := &message{line: m.line, fields: m.fields, body: body}
	return fresh.set("Content-Length", fmt.Sprint(len(body))).set("Digest", digest(body)).
		set("Date", time.Now().UTC().Format(http.TimeFormat)).drop("Signature").sign(recordedKey, five)
}

// asking is the recorded body with another secret asked for.
func (m *message) asking(t *testing.T, path, name string) string {
	t.Helper()
	before, after, ok := strings.Cut(m.body, recordedAsk)
	_, after, closed := strings.Cut(after, `",`)
	if !ok || !closed {
		t.Fatalf("the recording asks for something else: %.80s", m.body)
	}
	return fmt.Sprintf("%s\"path\":%q,\"name\":%q,%s", before, path, name, after)
}

// events is one binding, and one secret, for each event: what a build gets shows which of them it passed for.
const everyEvent = `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: push, repos: [acme/app], read: [shared/of-push]}
  - {id: branch, repos: [acme/app], when: {push: {branches: [feature]}}, read: [shared/of-branch]}
  - {id: alice, repos: [acme/app], actors: [alice], read: [shared/of-alice]}
  - {id: tag, repos: [acme/app], when: {tag: {tags: ["v*"]}}, read: [shared/of-tag]}
  - {id: cron, repos: [acme/app], when: {cron: {cron: [nightly]}}, read: [shared/of-cron]}
  - {id: promote, repos: [{slug: acme/app, uid: "1"}], when: {promote: {deploy_to: [production]}}, actors: [rigadmin], read: [shared/of-promote]}
  - {id: rollback, repos: [{slug: acme/app, uid: "1"}], when: {rollback: {deploy_to: [production]}}, actors: [rigadmin], read: [shared/of-rollback]}
  - {id: custom, repos: ["acme/*"], when: {custom: {}}, actors: [rigadmin], read: [shared/of-custom]}
  - {id: same, repos: [acme/app], when: {pull_request: {from: same-repo}}, read: [shared/of-same]}
  - {id: any, repos: [acme/app], when: {pull_request: {from: any}}, read: [shared/of-any]}
  - {id: stranger, repos: [{slug: acme/app, uid: "2"}], when: {push: {branches: ["**"]}, tag: {tags: ["**"]}, cron: {cron: ["*"]}}, read: [shared/of-nobody]}
`

var secretsOfEvents = []string{"of-push", "of-branch", "of-alice", "of-tag", "of-cron", "of-promote", "of-rollback", "of-custom",
	"of-same", "of-any", "of-nobody"}

// gotByEvent is what each recorded build gets, and all of it.
var gotByEvent = map[string]string{
	"secret-push":                   "of-push",
	"secret-push-branch":            "of-branch",
	"secret-push-spoofed-author":    "of-push of-alice", // alice pushed what claims to be somebody else's commit
	"secret-retry-push":             "of-push",
	"secret-tag":                    "of-tag",
	"secret-cron":                   "of-cron",
	"secret-promote":                "of-promote",
	"secret-rollback":               "of-rollback",
	"secret-custom":                 "of-custom",
	"secret-pull_request-same-repo": "of-same of-any",
	"secret-pull_request-sync":      "of-same of-any",
	"secret-pull_request-fork":      "of-any",
	"dockerrunner-secret":           "of-custom", // the docker runner, and another repository
}

func startRecorded(t *testing.T) *server {
	t.Helper()
	s := start(t, everyEvent, env("DRONE_SECRET", recordedKey), askingWith(recordedKey), canary(recordedSecret))
	for _, name := range secretsOfEvents {
		s.fill("kv-shared/" + name)
	}
	return s
}

func TestP1EachRecordedBuildGetsWhatItsEventGives(t *testing.T) {
	t.Parallel()
	s := startRecorded(t)
	for name, gets := range gotByEvent {
		t.Run(name, func(t *testing.T) {
			m := recording(t, name)
			for _, secret := range secretsOfEvents {
				r := s.send(m.again(m.asking(t, "shared", secret)))
				e := s.recorded(r.ID())
				if !strings.Contains(" "+gets+" ", " "+secret+" ") {
					r.refused(t, http.StatusNotFound)
					if e.Kind != "secret" || e.Outcome != "denied" || e.Binding != "" {
						t.Errorf("%s is on record as %s", secret, e.Line)
					}
					continue
				}
				if answer := r.released(t, recordedKey); answer["data"] != s.valueAt(t, "kv-shared/"+secret) || answer["name"] != secret {
					t.Errorf("%s: answered %v", secret, answer)
				}
				if e.Outcome != "released" || e.Secret != "shared/"+secret || e.Binding != strings.TrimPrefix(secret, "of-") {
					t.Errorf("%s is on record as %s", secret, e.Line)
				}
			}
		})
	}
}

// What they asked of the extension that they were recorded with is no secret of a vault here; and as they were sent, they
// are too old, which only the holder of their key gets to hear.
func TestRecordedRequestsAsTheyWereSent(t *testing.T) {
	t.Parallel()
	s := startRecorded(t)
	for name := range gotByEvent {
		m := recording(t, name)
		e := s.unproven(t, s.send(m), "date")
		if e.Pool != "default" || e.Skew == 0 && !strings.Contains(e.Line, `"skew":`) {
			t.Errorf("%s is on record as %s", name, e.Line)
		}
		r := s.send(m.again(m.body))
		if e := s.recorded(r.refused(t, http.StatusNotFound)); e.Reason != "name" || e.Asked.Path != "secret/data/demo" {
			t.Errorf("%s is on record as %s", name, e.Line)
		}
	}
}

// The extension's other calls are signed with the same key. None of them passes for a request of a secret, also when
// signed just now.
func TestP8RecordedCallsOfAnotherKind(t *testing.T) {
	t.Parallel()
	s := startRecorded(t)
	files, err := filepath.Glob("testdata/requests/*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings: %v", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".http")
		if _, ok := gotByEvent[name]; ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := recording(t, name)
			if strings.Contains(name, "webhook") { // it signs date and digest alone
				s.unproven(t, s.send(m), "headers")
				return
			}
			s.unproven(t, s.send(m.again(m.body)), "accept")
			// As the secret call it is no request of one: it asks for nothing.
			r := s.send((&message{line: m.line, fields: m.fields}).set("Accept", secretMedia).again(m.body))
			if e := s.recorded(r.ID()); r.Status == http.StatusOK || e.Kind != "secret" || e.Outcome == "released" {
				t.Errorf("answered %s, on record is %s", r.Line, e.Line)
			}
		})
	}
	m := recording(t, "secret-push")
	r := s.send(m.again(m.asking(t, "shared", "of-push")))
	r.released(t, recordedKey)
}

// The client that is inside every runner asks again and again over one connection, for build after build.
func TestARunnersDay(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for n := range int64(25) {
		b := push("acme/app").number(n + 1)
		first := s.expect(t, b, "shared/ci-token", gets("kv-shared/ci-token"))
		again := s.expect(t, b, "shared/ci-token", gets("kv-shared/ci-token"))
		s.expect(t, b, "shared/other", denied("read"))
		if first.How != "fetched" || again.How != "build" {
			t.Errorf("build %d: the first look-up is %q, the second %q; a build reads afresh, and once", n+1, first.How, again.How)
		}
	}
	hedged := s.status().Vaults["shared"].Door.Hedged                                                                 // on a machine that stalls
	if reads := s.Emulator.Count("kv-shared.vault.azure.net", "/secrets/ci-token"); reads > 26+hedged || hedged > 1 { // one of them meets the challenge first
		t.Errorf("%d reads of the vault for 25 builds, %d of them second ones", reads, hedged)
	}
	if tokens := s.Emulator.TokenRequests(clientID); tokens != 1 {
		t.Errorf("%d tokens for one day", tokens)
	}
}
