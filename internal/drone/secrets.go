package drone

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/drone-entra/drone-entra/secret"
)

// SecretMedia is the media type of Drone's secret call (drone-go: plugin/secret.V1).
const SecretMedia = "application/vnd.drone.secret.v1+json"

// Find answers a proven, parsed request; secret.Service has one. It puts its event on record itself.
type Find func(context.Context, secret.Caller, secret.Request) (secret.Value, error)

// Secrets is the call that a runner makes for each step and secret of a build.
// A policy's pool is the one whose key made the signature. A body has no field for it.
func Secrets(find Find) Call {
	return Call{accept: SecretMedia, answer: func(ctx context.Context, caller secret.Caller, body []byte) ([]byte, error) {
		request, err := ParseRequest(body)
		if err != nil {
			return nil, err
		}
		request.Pool = caller.Pool
		value, err := find(ctx, caller, request)
		if err != nil {
			return nil, err
		}
		defer value.Clear()
		return secretAnswer(request.Name, value)
	}}
}

// secretAnswer is drone-go's drone.Secret. Policy has decided about pull requests already, so the flag by which some
// runner might withhold the value from one is set.
// The caller clears the bytes it returns.
func secretAnswer(name string, value secret.Value) ([]byte, error) {
	// Growing would leave a copy behind that nobody clears.
	answer := make([]byte, 0, 64+quotedRoom([]byte(name))+quotedRoom(value.Reveal()))
	answer = append(answer, `{"name":`...)
	answer = append(answer, quote(name)...)
	answer = append(answer, `,"data":`...)
	quoted, err := jsontext.AppendQuote(answer, value.Reveal())
	if err != nil {
		clear(answer[:cap(answer)]) // which has what came before the fault
		return nil, secret.Fail(secret.Garbled, secret.ReasonGarbled, "the value is no valid UTF-8")
	}
	return append(quoted, `,"pull_request":true}`...), nil
}

// quotedRoom is enough for the bytes as a JSON string: six for one that is escaped, three for one that may be no UTF-8 and is
// then replaced. Six for each would be as safe; with many large answers at once it is most of the memory that they take.
func quotedRoom(b []byte) int {
	n := len(`""`)
	for _, c := range b {
		switch {
		case c < ' ' || c == '"' || c == '\\':
			n += len(`\u0000`)
		case c >= utf8.RuneSelf:
			n += len("\ufffd")
		default:
			n++
		}
	}
	return n
}

// wire is what policy needs of a runner's request, and all that is ever decoded of it: the rest, `repo.secret` above
// all, stays bytes that are cleared.
type wire struct {
	Path  text       `json:"path"`
	Name  text       `json:"name"`
	Repo  *wireRepo  `json:"repo"`
	Build *wireBuild `json:"build"`
}

// wireRepo has the forge's id of the repository (uid), not Drone's own (id), which another repository of the same slug
// can take over.
type wireRepo struct {
	UID           text `json:"uid"`
	Slug          text `json:"slug"`
	DefaultBranch text `json:"default_branch"`
}

// wireBuild leaves out author, message and title: whoever writes a commit writes them, so no policy may look at them.
// What it has is not all true either; which field proves what is for the policy to know.
type wireBuild struct {
	Number     integer `json:"number"`
	Event      text    `json:"event"`
	Ref        text    `json:"ref"`
	After      text    `json:"after"`
	Source     text    `json:"source"`
	SourceRepo text    `json:"source_repo"`
	Target     text    `json:"target"`
	DeployTo   text    `json:"deploy_to"`
	Cron       text    `json:"cron"`
	Trigger    text    `json:"trigger"`
	Sender     text    `json:"sender"`
	Link       text    `json:"link"`
}

// text is a string that must be one: JSON's null would decode to nothing, and a field that says nothing where Drone
// always says something is malformed.
type text string

var errNotText = errors.New("a string is wanted")

// UnmarshalJSONFrom reads a JSON string.
func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '"' {
		return errNotText
	}
	*t = text(token.String())
	return nil
}

// integer is a number that must be one, as text is.
type integer int64

var errNotInteger = errors.New("a whole number is wanted")

// UnmarshalJSONFrom reads a JSON number without a fraction or an exponent.
func (i *integer) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(token.String(), 10, 64)
	if token.Kind() != '0' || err != nil {
		return errNotInteger
	}
	*i = integer(n)
	return nil
}

// ParseRequest reads the body of a secret call strictly: a name twice, invalid UTF-8, a lone surrogate, trailing data, a
// wrong type, or `repo` or `build` missing are errors; names match exactly; unknown fields are fine, as Drone adds some with
// each version. The error is for the sender and quotes nothing of the body. Pool is left empty.
//
// For example {"name":"a","name":"b"} is refused. encoding/json would let the last one win, match NAME and ſlug to name
// and slug, and merge two repo objects: a filter before us and the policy could then see two different requests.
func ParseRequest(body []byte) (secret.Request, error) {
	var w wire
	if err := json.Unmarshal(body, &w); err != nil {
		return secret.Request{}, status(http.StatusBadRequest, "malformed request")
	}
	if w.Repo == nil || w.Build == nil {
		return secret.Request{}, status(http.StatusBadRequest, "malformed request: repo and build are needed")
	}
	r, b := w.Repo, w.Build
	return secret.Request{
		Path: string(w.Path),
		Name: string(w.Name),
		Repo: secret.Repo{UID: string(r.UID), Slug: string(r.Slug), DefaultBranch: string(r.DefaultBranch)},
		Build: secret.Build{
			Number: int64(b.Number), Event: string(b.Event), Ref: string(b.Ref), SHA: string(b.After),
			Source: string(b.Source), SourceRepo: string(b.SourceRepo), Target: string(b.Target),
			DeployTo: string(b.DeployTo), Cron: string(b.Cron),
			Trigger: string(b.Trigger), Sender: string(b.Sender), Link: string(b.Link),
		},
	}, nil
}
