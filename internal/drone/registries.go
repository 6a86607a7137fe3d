package drone

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/drone-entra/drone-entra/secret"
)

// RegistryMedia is the media type of Drone's registry call (drone-go: plugin/registry.V1).
const RegistryMedia = "application/vnd.drone.registry.v1+json"

// Credential lets a runner pull images from one registry.
type Credential struct {
	Address  string // the registry's host
	Username string
	Password secret.Value
}

// List answers a proven, parsed request with what the build may have; secret.Service's Collect is behind it. It puts its
// events on record itself. No credential and no error is an answer: most images need none.
type List func(context.Context, secret.Caller, secret.Request) ([]Credential, error)

// Registries is the call that a runner makes once for each build, before it pulls images. It names no secret, so path and
// name are empty.
func Registries(list List) Call {
	return Call{accept: RegistryMedia, answer: func(ctx context.Context, caller secret.Caller, body []byte) ([]byte, error) {
		request, err := ParseRequest(body)
		if err != nil {
			return nil, err
		}
		request.Pool, request.Path, request.Name = caller.Pool, "", ""
		credentials, err := list(ctx, caller, request)
		if err != nil {
			return nil, err
		}
		defer func() {
			for _, c := range credentials {
				c.Password.Clear()
			}
		}()
		return registryAnswer(credentials)
	}}
}

// registryAnswer is a list of drone-go's drone.Registry. A runner takes an empty one for "ask the next source".
func registryAnswer(credentials []Credential) ([]byte, error) {
	room := len("[]")
	for _, c := range credentials {
		room += 64 + quotedRoom([]byte(c.Address)) + quotedRoom([]byte(c.Username)) + quotedRoom(c.Password.Reveal())
	}
	answer := append(make([]byte, 0, room), '[') // growing would leave a copy behind that nobody clears
	for i, c := range credentials {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(append(answer, `{"address":`...), quote(c.Address)...)
		answer = append(append(answer, `,"username":`...), quote(c.Username)...)
		quoted, err := jsontext.AppendQuote(append(answer, `,"password":`...), c.Password.Reveal())
		if err != nil {
			clear(answer[:cap(answer)]) // which has the passwords before this one
			return nil, secret.Fail(secret.Garbled, secret.ReasonGarbled, "a password is no valid UTF-8")
		}
		answer = append(quoted, '}')
	}
	return append(answer, ']'), nil
}
