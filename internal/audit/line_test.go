package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

// The exact bytes are the contract with whoever reads a record in ten years.
func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 23, 6, 14, 32, 123456789, time.FixedZone("", 3600))
	asDate := secret.Event{Kind: secret.EventUnproven, Outcome: secret.Refused, Reason: secret.ReasonDate,
		Caller: secret.Caller{ID: "r4", Remote: "10.0.0.9", Skew: -150 * time.Second}}
	all := release(7)
	all.Reason, all.DeniedBy, all.Detail = secret.ReasonLate, "no-root", "why"
	all.Caller.Repeat = 2
	all.Request.Build = secret.Build{Number: 7, Event: "promote", Ref: "refs/heads/main", SHA: "5a", Source: "f", SourceRepo: "m/app",
		Target: "main", DeployTo: "production", Cron: "nightly", Trigger: "bob", Sender: "alice", Link: "https://git/acme"}
	tests := []struct {
		name  string
		event secret.Event
		want  string // between time and prev
	}{
		{"start", secret.Event{Kind: secret.EventStart, Outcome: secret.Started, Detail: "version 1"},
			`"instance":"a","kind":"start","outcome":"started","detail":"version 1"`},
		{"no kind", secret.Event{}, `"instance":"a","kind":"","outcome":""`},
		{"everything", all, `"id":"01J","instance":"a","kind":"secret","outcome":"released","reason":"late","pool":"default","key":"2026-11",` +
			`"remote":"10.0.0.7","repo":{"slug":"acme/app","uid":"42","default_branch":"main"},"build":{"number":7,"event":"promote",` +
			`"ref":"refs/heads/main","sha":"5a","source":"f","source_repo":"m/app","target":"main","deploy_to":"production","cron":"nightly",` +
			`"trigger":"bob","sender":"alice","link":"https://git/acme"},"actor":"bob","asked":{"path":"shared","name":"ci-token"},` +
			`"secret":"shared/ci-token","version":"8f2c","binding":"ci","denied_by":"no-root","identity":"default","config":"` +
			strings.Repeat("c0", 32) + `","ms":3.142,"how":"fetched","repeat":2,"detail":"why"`},
		{"malformed", secret.Event{Kind: secret.EventSecret, Outcome: secret.Failed, Reason: secret.ReasonMalformed, Caller: secret.Caller{ID: "r3", Pool: "p"}},
			`"id":"r3","instance":"a","kind":"secret","outcome":"failed","reason":"malformed","pool":"p"`},
		{"date", asDate, `"id":"r4","instance":"a","kind":"unproven","outcome":"refused","reason":"date","remote":"10.0.0.9","skew":-150`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := place(t)
			r := open(t, audit.Options{File: file, Instance: "a", Now: func() time.Time { return at }})
			record(t, r, tt.event)
			shut(t, r)
			line := string(lines(t, file)[0])
			const front = `{"v":1,"seq":1,"time":"2026-11-23T05:14:32.123456Z",`
			if want := front + tt.want + `,"prev":"","hash":"`; !strings.HasPrefix(line, want) {
				t.Errorf("got  %s\nwant %s", line, want)
			}
		})
	}
}

// What a stranger writes is cut, says so, and the line stays within what Verify reads.
func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("\x01", 1<<20)
	e := release(1)
	e.Request.Path, e.Request.Name = strings.Repeat("é", 200), "short"
	e.Request.Repo = secret.Repo{UID: long, Slug: long, DefaultBranch: long}
	e.Request.Build = secret.Build{Number: 1, Event: long, Ref: long, SHA: long, Source: long, SourceRepo: long, Target: long,
		DeployTo: long, Cron: long, Trigger: long, Sender: long, Link: long}
	e.Caller = secret.Caller{ID: long, Remote: long, Pool: long, Key: long}
	e.Reason, e.Secret, e.Version, e.Binding, e.DeniedBy, e.Identity = secret.Reason(long), long, long, long, long, long
	e.How, e.Config, e.Detail = long, long, long
	file := place(t)
	r := open(t, audit.Options{File: file, Instance: long})
	record(t, r, e, release(2))
	shut(t, r)
	verified(t, file)
	all := lines(t, file)
	first, second := parse(t, all[0]), parse(t, all[1])
	asked := first["asked"].(map[string]any)
	if asked["path"] != strings.Repeat("é", 128) || asked["name"] != "short" || asked["cut"] != true {
		t.Errorf("asked: %v", asked)
	}
	for _, object := range []string{"repo", "build"} {
		if first[object].(map[string]any)["cut"] != true {
			t.Errorf("%s does not say that it was cut", object)
		}
	}
	if ref := first["build"].(map[string]any)["ref"]; ref != long[:1024] {
		t.Errorf("ref: %d bytes", len(ref.(string)))
	}
	for _, object := range []string{"repo", "build", "asked"} {
		if _, cut := second[object].(map[string]any)["cut"]; cut {
			t.Errorf("%s of the second line says that it was cut", object)
		}
	}
}
