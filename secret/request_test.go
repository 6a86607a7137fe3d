package secret_test

import (
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

func TestMayBeFork(t *testing.T) {
	for _, c := range []struct {
		event, ref, source, sourceRepo string
		want                           bool
	}{
		{"push", "refs/heads/main", "", "", false},
		{"push", "refs/heads/main", "", "ACME/App", false},
		{"push", "refs/heads/main", "", "mallory/app", true},
		{"tag", "refs/tags/v1", "", "", false},
		{"promote", "refs/heads/main", "", "", false},
		{"promote", "refs/pull/7/head", "feature", "mallory/app", true},
		{"rollback", "refs/pull/7/head", "feature", "acme/app", true}, // whatever it was, it is no branch
		{"custom", "", "", "", true},
		{"pull_request", "refs/pull/7/head", "feature", "acme/app", false},
		{"pull_request", "refs/pull/7/head", "feature", "mallory/app", true},
		{"pull_request", "refs/pull/7/head", "feature", "", true},
		{"pull_request", "refs/pull/7/head", "refs/for/main", "acme/app", true}, // Gitea's AGit flow
		{"pull_request", "refs/merge-requests/7/head", "feature", "acme/app", true},
		{"pull_request", "refs/heads/main", "main", "acme/app", true},
	} {
		r := secret.Request{Repo: secret.Repo{Slug: "acme/app"}, Build: secret.Build{Event: c.event, Ref: c.ref, Source: c.source, SourceRepo: c.sourceRepo}}
		if got := r.MayBeFork(); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}
