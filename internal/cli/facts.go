package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// facts is everything about a build that policy can look at, as flags or from a recorded request.
type facts struct {
	Repo          string `help:"Slug of the repository, as acme/app." placeholder:"SLUG"`
	Event         string `placeholder:"EVENT" help:"push, tag, cron, promote, rollback, custom or pull_request."`
	Ref           string `help:"The build's ref, as refs/heads/main." placeholder:"REF"`
	DeployTo      string `help:"Target of a promote or rollback." placeholder:"TARGET"`
	Cron          string `help:"Name of the cron job." placeholder:"NAME"`
	Trigger       string `help:"@hook, @cron, or the login of who pressed the button." placeholder:"LOGIN"`
	Sender        string `help:"Who pushed, where the trigger is @hook." placeholder:"LOGIN"`
	Source        string `help:"Source branch of a pull request." placeholder:"BRANCH"`
	SourceRepo    string `help:"Slug that a pull request comes from." placeholder:"SLUG"`
	Target        string `help:"Target branch of a pull request." placeholder:"BRANCH"`
	DefaultBranch string `help:"The repository's default branch (default: main)." placeholder:"BRANCH"`
	UID           string `name:"uid" help:"The forge's id of the repository." placeholder:"ID"`
	Pool          string `help:"Pool of the runner (default: default)." placeholder:"POOL"`
	Number        int64  `help:"The build's number." placeholder:"N"`

	Request string `help:"Take all of this from a recorded request: its JSON body, or a file that has it under \"body\", or as received with its head." placeholder:"FILE"`
}

// request makes the request that policy sees. ref is what the pipeline asks for; it may be left out with a file. What
// was left out stays empty and satisfies no condition, but for the pool and the default branch; assumed says so.
func (f *facts) request(ref string) (secret.Request, error) {
	if f.Request != "" {
		// A flag beside the file would be ignored, or change what is on record: both would explain a request that
		// nobody sent.
		alone := facts{Request: f.Request, Pool: f.Pool}
		if *f != alone {
			return secret.Request{}, usageError("--request takes every fact from the file: leave out the other flags but --pool")
		}
		return f.fromFile(ref)
	}
	switch {
	case f.Repo == "":
		return secret.Request{}, usageError("--repo is missing: whose build is it? Or name a recorded request with --request")
	case f.Event == "":
		return secret.Request{}, usageError("--event is missing: push, tag, cron, promote, rollback, custom or pull_request")
	case strings.Trim(f.Repo, "/") != f.Repo || !strings.Contains(f.Repo, "/"):
		return secret.Request{}, usageError(fmt.Sprintf("--repo %s is no slug: write namespace/name, as acme/app", printable(f.Repo)))
	case strings.Contains(f.Repo, "*"):
		return secret.Request{}, usageError(fmt.Sprintf("--repo %s is a pattern: name one repository", printable(f.Repo)))
	// A short name is refused: main may be a branch or a tag, and the policy sees whole refs.
	case f.Ref != "" && !strings.HasPrefix(f.Ref, "refs/"):
		return secret.Request{}, usageError(fmt.Sprintf("--ref %s is no ref: write refs/heads/%s, or refs/tags/… for a tag", printable(f.Ref), printable(f.Ref)))
	case !slices.Contains(secret.BuildEvents[:], secret.BuildEvent(f.Event)):
		return secret.Request{}, usageError(fmt.Sprintf("--event %s: the events are push, tag, cron, promote, rollback, custom and pull_request", printable(f.Event)))
	case ref == "":
		return secret.Request{}, usageError("the secret is missing: vault/secret[@version][/key], or a name that a binding maps")
	}
	// A uid that nobody stated is a value of its own, which only a binding that pins one stops at. An empty one would be
	// denied by every binding, as real requests always have one.
	uid := f.UID
	if uid == "" {
		uid = secret.UnknownUID
	}
	return secret.Request{
		Name: ref, Pool: cmp.Or(f.Pool, secret.DefaultPool),
		Repo: secret.Repo{UID: uid, Slug: f.Repo, DefaultBranch: cmp.Or(f.DefaultBranch, "main")},
		Build: secret.Build{
			Number: f.Number, Event: f.Event, Ref: f.Ref, Source: f.Source, SourceRepo: f.SourceRepo, Target: f.Target,
			DeployTo: f.DeployTo, Cron: f.Cron, Trigger: f.Trigger, Sender: f.Sender,
		},
	}, nil
}

// fromFile reads a recorded request with the parser of the running extension, so that it is refused here exactly if it
// is there. Its signature is not looked at: who sent it is not the question. ref, if not empty, replaces what it asks
// for.
func (f *facts) fromFile(ref string) (secret.Request, error) {
	body, err := readBody(f.Request)
	if err != nil {
		return secret.Request{}, err
	}
	r, err := drone.ParseRequest(body)
	if err != nil {
		return secret.Request{}, fmt.Errorf("%s holds no request that the extension would accept: %w", f.Request, err)
	}
	r.Pool = cmp.Or(f.Pool, secret.DefaultPool)
	if ref != "" {
		r.Path, r.Name = "", ref
	}
	return r, nil
}

// readBody takes the JSON body out of a recorded request. It takes what people have at hand: the body alone, a JSON
// object with the body in it, or a capture of the whole request, whose head ends at the first empty line. A line of the
// record looks like JSON too, and is sent to where it can be explained.
func readBody(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if text := string(content); !strings.HasPrefix(strings.TrimSpace(text), "{") {
		for _, gap := range []string{"\r\n\r\n", "\n\n"} {
			if _, body, ok := strings.Cut(text, gap); ok {
				return []byte(body), nil
			}
		}
	}
	var recorded struct {
		Body json.RawMessage `json:"body"`
		ID   string          `json:"id"`
		Prev string          `json:"prev"`
	}
	switch err := json.Unmarshal(content, &recorded); {
	case err == nil && recorded.Prev != "":
		return nil, usageError(fmt.Sprintf("%s is a line of a record: drone-entra explain --file RECORD %s explains it", file, printable(recorded.ID)))
	case err == nil && len(recorded.Body) > 0:
		return recorded.Body, nil
	}
	return content, nil
}

// asked is what the pipeline wrote, for people. It joins path and name as the policy does; the result may hold anything
// that a stranger wrote.
func asked(r secret.Request) string {
	if r.Path != "" && r.Name != "" {
		return r.Path + "/" + r.Name
	}
	return r.Path + r.Name
}
