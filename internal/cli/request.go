package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
	"github.com/drone/drone-go/plugin/registry"
	plugin "github.com/drone/drone-go/plugin/secret"
)

// requestCommand is a runner's question without a build. The key may be given by flag, for a container's arguments, but
// help does not show it: other users of a machine see its command lines.
type requestCommand struct {
	facts
	URL        string `arg:"" name:"url" help:"The extension, as a runner's DRONE_SECRET_PLUGIN_ENDPOINT has it."`
	Secret     string `arg:"" optional:"" name:"ref" help:"vault/secret[@version][/key], or a name that a binding maps."`
	Path       string `help:"What the pipeline says under get.path, instead of REF." placeholder:"PATH"`
	Name       string `help:"What the pipeline says under get.name, instead of REF." placeholder:"NAME"`
	Token      string `hidden:"" env:"DRONE_SECRET_PLUGIN_TOKEN,DRONE_SECRET" help:"The shared key."`
	TokenFile  string `help:"File with the runners' shared key (default: the variable DRONE_SECRET_PLUGIN_TOKEN, or DRONE_SECRET)." placeholder:"FILE"`
	SkipVerify bool   `help:"Do not verify the certificate, as a runner with DRONE_SECRET_PLUGIN_SKIP_VERIFY."`
	Reveal     bool   `help:"Print the value itself."`
	Registries bool   `help:"Ask for the credentials of registries instead, as a runner does before it pulls images."`
}

// runnerPatience is how long a runner waits. Waiting longer would call an answer good that no runner would have waited
// for.
const runnerPatience = time.Minute

// Run asks with drone-go's own client and says whether a value came; exit code 1 if none did. A value is printed on
// request only: it would stay in the terminal's history and in a log.
func (c requestCommand) Run(ctx context.Context, out *printer) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	request, err := c.wire()
	if err != nil {
		return err
	}
	if c.Pool != "" {
		return usageError("--pool means nothing here: the key tells which pool a request is from")
	}
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageError(fmt.Sprintf("%s is no address: write it as a runner has it, http://127.0.0.1:3000", printable(c.URL)))
	}
	ctx, cancel := context.WithTimeout(ctx, runnerPatience)
	defer cancel()
	if c.Registries {
		return c.registries(ctx, out, key, request)
	}
	began := time.Now()
	answer, err := plugin.Client(c.URL, key, c.SkipVerify).Find(ctx, request)
	took := time.Since(began).Round(100 * time.Microsecond)
	what := strings.Trim(request.Path+"/"+request.Name, "/")
	if refused, ok := errors.AsType[*drone.Error](err); ok {
		out.printf("%s  %s  %s  %s\n", out.paint(bad, "no value"), printable(what), took, refusal(refused))
		return errNo
	}
	switch {
	case err != nil:
		return fmt.Errorf("no answer: %w; is the extension there, and does this machine trust its certificate?", err)
	// To a runner an empty answer means that another source may have it, and never an error.
	case answer.Data == "":
		out.printf("%s  %s  %s  the extension has nothing to say to it\n", out.paint(bad, "no value"), printable(what), took)
		return errNo
	case c.Reveal:
		out.printf("%s\n", answer.Data)
		return nil
	}
	out.printf("%s  %s  %s  a value of %d bytes; --reveal prints it\n", out.paint(good, "released"), printable(what), took, len(answer.Data))
	return nil
}

// registries asks for what lets a runner pull images. A runner takes an empty list for "ask the next source", so that it is no
// error, and to who asks here it is a no all the same.
func (c requestCommand) registries(ctx context.Context, out *printer, key string, r *plugin.Request) error {
	began := time.Now()
	list, err := registry.Client(c.URL, key, c.SkipVerify).List(ctx, &registry.Request{Repo: r.Repo, Build: r.Build})
	took := time.Since(began).Round(100 * time.Microsecond)
	if refused, ok := errors.AsType[*drone.Error](err); ok {
		out.printf("%s  registries  %s  %s\n", out.paint(bad, "no credentials"), took, refusal(refused))
		return errNo
	}
	switch {
	case err != nil:
		return fmt.Errorf("no answer: %w; is the extension there, and does this machine trust its certificate?", err)
	case len(list) == 0:
		out.printf("%s  registries  %s  nothing is given to this build: log and record have the reason\n", out.paint(bad, "no credentials"), took)
		return errNo
	}
	for _, one := range list {
		what := fmt.Sprintf("a password of %d bytes; --reveal prints it", len(one.Password))
		if c.Reveal {
			what = one.Password
		}
		out.printf("%s  %s  %s  user %s, %s\n", out.paint(good, "released"), printable(one.Address), took, printable(one.Username), what)
	}
	return nil
}

// refusal words an error answer, with the id that finds it in log and record. The extension's own reason is not in the
// answer, on purpose: what is denied and what is not there look the same.
func refusal(e *drone.Error) string {
	var body struct{ Message, Request string }
	if json.Unmarshal([]byte(e.Message), &body) == nil && body.Request != "" {
		if e.Code == http.StatusUnauthorized {
			return fmt.Sprintf("401 unproven: is the key one of the extension's pools, and the clock right? (request %s)", printable(body.Request))
		}
		return fmt.Sprintf("%d %s, request %s: log and record have the reason", e.Code, printable(body.Message), printable(body.Request))
	}
	return fmt.Sprintf("status %d, not from drone-entra: is the URL right?", e.Code)
}

// key finds the shared key. A line feed at the end of a file is most often an editor's and no part of it.
func (c requestCommand) key() (string, error) {
	if c.TokenFile == "" {
		if c.Token == "" {
			return "", usageError("there is no shared key: set DRONE_SECRET_PLUGIN_TOKEN, or name its file with --token-file")
		}
		return c.Token, nil
	}
	content, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// wire is the request in drone-go's types. A recorded one is sent with everything that Drone put in. A request from
// flags has the current millisecond as its build's number: a value that was read for an earlier question would
// otherwise serve this one for a while, and the answer would not show what the vault has.
func (c requestCommand) wire() (*plugin.Request, error) {
	r := new(plugin.Request)
	if c.Request != "" {
		body, err := readBody(c.Request)
		if err == nil {
			err = json.Unmarshal(body, r)
		}
		if err != nil {
			return nil, fmt.Errorf("%s holds no request: %w", c.Request, err)
		}
	} else {
		if c.Repo == "" || c.Event == "" {
			return nil, usageError("--repo and --event are needed, or --request with a recorded one")
		}
		namespace, name, _ := strings.Cut(c.Repo, "/")
		r.Repo = drone.Repo{UID: cmp.Or(c.UID, "0"), Namespace: namespace, Name: name, Slug: c.Repo, Branch: cmp.Or(c.DefaultBranch, "main")}
		r.Build = drone.Build{
			Number: cmp.Or(c.Number, time.Now().UnixMilli()), Event: c.Event, Ref: c.Ref, Source: c.Source, Fork: c.SourceRepo, Target: c.Target,
			Deploy: c.DeployTo, Cron: c.Cron, Trigger: c.Trigger, Sender: c.Sender,
		}
	}
	switch {
	case c.Registries && (c.Secret != "" || c.Path != "" || c.Name != ""):
		return nil, usageError("--registries names no secret: a runner asks for all registries at once")
	case c.Registries:
		return r, nil
	case c.Path != "" || c.Name != "":
		r.Path, r.Name = c.Path, c.Name
	case c.Secret != "":
		r.Path, r.Name = "", c.Secret
	}
	if r.Path == "" && r.Name == "" {
		return nil, usageError("the secret is missing: vault/secret[@version][/key], a name, or --path and --name")
	}
	return r, nil
}
