package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

// A line gives back the request that was recorded, or says that it can't.
func TestEntriesGiveTheRequestBack(t *testing.T) {
	file := t.TempDir() + "/audit.jsonl"
	r, err := audit.Open(audit.Options{File: file, MaxBytes: 1500}) // a few lines a file
	if err != nil {
		t.Fatal(err)
	}
	whole := secret.Request{
		Path: "shared/ci\u202e", Name: "tok\nen", Pool: "prod",
		Repo: secret.Repo{UID: "42", Slug: "acme/app", DefaultBranch: "main"},
		Build: secret.Build{
			Number: 7, Event: "promote", Ref: "refs/heads/main", SHA: "5d95", Source: "a", SourceRepo: "b", Target: "c",
			DeployTo: "production", Cron: "nightly", Trigger: "alice", Sender: "bob", Link: "https://forge.example/1",
		},
	}
	long := whole
	long.Name = strings.Repeat("x", 300)
	const rounds = 5
	for range rounds {
		for _, q := range []secret.Request{whole, long} {
			event := secret.Event{Kind: secret.EventSecret, Outcome: secret.DeniedOutcome, Reason: secret.ReasonName, Request: q, Caller: secret.Caller{ID: "1", Pool: q.Pool}}
			if err := r.Record(context.Background(), event); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	seq, got, cut := uint64(0), 0, 0
	for e, err := range audit.Entries(file) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != seq+1 {
			t.Errorf("after %d comes %d", seq, e.Seq)
		}
		if seq = e.Seq; e.Kind != secret.EventSecret {
			continue
		}
		q, err := e.Request()
		if errors.Is(err, audit.ErrCut) {
			cut++
			continue
		}
		got++
		if diff := cmp.Diff(whole, q); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	if got != rounds || cut != rounds {
		t.Errorf("%d requests and %d cut ones, want %d of each", got, cut, rounds)
	}
}

func TestEntriesOfNoRecord(t *testing.T) {
	for _, err := range audit.Entries(t.TempDir() + "/audit.jsonl") {
		if err == nil {
			t.Error("a line of a record that does not exist")
		}
	}
}
