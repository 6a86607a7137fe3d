package app

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
	plugin "github.com/drone/drone-go/plugin/secret"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

// builds holds requests as real Drone sent them (Gitea, Drone server, exec runner), without the repository's own secret.
// The story only renames repository and people.
//
//go:embed builds/*.json
var builds embed.FS

// Step is one line of the story: a build asked for a secret.
type Step struct {
	Build   string // what ran, as "acme/payments-api #1  push refs/heads/main by alice"
	Asked   string
	Allowed bool
	Took    time.Duration
	Note    string // the version of the value, or why there is none
	Before  string // what happened before the request, if anything
}

// scene is a Step to be played.
// file names a request in builds; before, if not nil, does something first and says what.
type scene struct {
	file   string
	actor  string
	path   string
	name   string
	before func(*Dev) string
}

var scenes = []scene{
	{file: "push", actor: "alice", path: "shared", name: "ci-token"},
	{file: "pull_request-fork", actor: "mallory", path: "shared", name: "ci-token"},
	{file: "promote", actor: "alice", name: "db_password"},
	{file: "promote", actor: "mallory", name: "db_password"},
	{file: "promote", actor: "alice", name: "arm_token"},
	{file: "push", actor: "alice", path: "shared", name: "ci-token", before: rotate},
}

// rotate is what an operator does with `az keyvault secret set`.
func rotate(d *Dev) string {
	d.vault(d.config, "shared").Set("ci-token", "made-up-ci-token-rotated")
	return "shared/ci-token is rotated in Key Vault; nothing is restarted, nothing is told to Drone"
}

// Story plays builds against the running sample through drone-go's own client, as a runner would, and yields what became
// of each. An error is a story that did not go as told.
func (d *Dev) Story(ctx context.Context) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		policy, err := secret.NewPolicy(d.config.Rules)
		if err != nil {
			yield(Step{}, err)
			return
		}
		client := plugin.Client(d.Endpoint(), d.Key(), false)
		for i, s := range scenes {
			step, err := d.play(ctx, client, policy, s, int64(i+1))
			if !yield(step, err) || err != nil {
				return
			}
		}
	}
}

// play sends one request and finds out what became of it as a person would: runners throw errors away, so the reason is
// looked up in the record.
func (d *Dev) play(ctx context.Context, client plugin.Plugin, policy *secret.Policy, s scene, number int64) (Step, error) {
	request, err := s.request(number)
	if err != nil {
		return Step{}, err
	}
	step := Step{Asked: strings.TrimPrefix(s.path+"/"+s.name, "/")}
	if s.before != nil {
		step.Before = s.before(d)
	}
	began := time.Now()
	answer, err := client.Find(ctx, request)
	step.Took = time.Since(began)
	refused, isRefusal := errors.AsType[*drone.Error](err)
	if err != nil && !isRefusal {
		return step, err
	}
	event, err := d.recorded(request.Build.Number)
	if err != nil {
		return step, err
	}
	step.Build = describe(request)
	if refused == nil && answer.Data != "" {
		step.Allowed, step.Note = true, "version "+short(event.Version)
		if !event.Expires.IsZero() {
			step.Note = "a token until " + event.Expires.Local().Format("15:04")
		}
		return step, nil
	}
	step.Note = string(event.Reason) + because(policy, request)
	return step, nil
}

// request is the recorded one, with the story's names in it.
func (s scene) request(number int64) (*plugin.Request, error) {
	content, err := builds.ReadFile("builds/" + s.file + ".json")
	if err != nil {
		return nil, err
	}
	r := new(plugin.Request)
	if err := json.Unmarshal(content, r); err != nil {
		return nil, err
	}
	r.Path, r.Name = s.path, s.name
	r.Repo.UID, r.Repo.Slug, r.Repo.Namespace, r.Repo.Name = "42", "acme/payments-api", "acme", "payments-api"
	r.Build.Number = number
	r.Build.Sender, r.Build.Author = s.actor, s.actor
	if r.Build.Source != "" && r.Build.Fork != "" {
		r.Build.Fork = s.actor + "/payments-api"
	}
	if r.Build.Deploy != "" {
		r.Build.Trigger = s.actor
	}
	return r, nil
}

// describe says what ran: where the code came from for a fork, who pressed the button for a promotion.
func describe(r *plugin.Request) string {
	b := r.Build
	what := b.Event + " " + b.Ref + " by " + b.Sender
	switch {
	case b.Fork != "":
		what = b.Event + " from the fork " + b.Fork
	case b.Deploy != "":
		what = b.Event + " to " + b.Deploy + " by " + b.Trigger
	}
	return fmt.Sprintf("%s #%d  %s", r.Repo.Slug, b.Number, what)
}

// because finds the nearest binding's words for a denial.
func because(policy *secret.Policy, r *plugin.Request) string {
	decision := policy.Decide(secret.Request{
		Path: r.Path, Name: r.Name, Pool: secret.DefaultPool,
		Repo: secret.Repo{UID: r.Repo.UID, Slug: r.Repo.Slug, DefaultBranch: r.Repo.Branch},
		Build: secret.Build{
			Event: r.Build.Event, Ref: r.Build.Ref, Source: r.Build.Source, SourceRepo: r.Build.Fork, Target: r.Build.Target,
			DeployTo: r.Build.Deploy, Cron: r.Build.Cron, Trigger: r.Build.Trigger, Sender: r.Build.Sender,
		},
	})
	for check := range decision.Checks() {
		if !check.OK {
			return ": " + check.Rule + " wants " + check.Want
		}
	}
	return ""
}

func short(version string) string {
	if len(version) > 4 {
		return version[:4] + "…"
	}
	return version
}

// recorded reads the build's last line in the record: where everybody else learns why a secret did not come.
// The zero entry stands for a build that is not on record.
func (d *Dev) recorded(build int64) (last audit.Entry, err error) {
	for e, err := range audit.Entries(d.config.Record.File) {
		if err != nil {
			return audit.Entry{}, err
		}
		if e.Build.Number == build {
			last = e
		}
	}
	return last, nil
}

// VerifyRecord checks the chain of the story's own record.
func (d *Dev) VerifyRecord() (audit.Verified, error) { return audit.Verify(d.config.Record.File) }
