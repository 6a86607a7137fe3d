package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/drone-entra/drone-entra/secret"
)

// Get reads the secret that ref names, whole: Ref.Key is ignored. It judges nothing that Key Vault does not: disabled,
// nbf and exp are in what it returns, and so are the form of the value and what is wrong with it by its content type.
//
// What comes after ctx has ended is dropped. Key Vault itself serves expired and not yet valid secrets: to it nbf and
// exp are advice.
func (v *Vault) Get(ctx context.Context, req secret.Request, ref secret.Ref) (secret.Fetched, error) {
	subject := v.identity.Subject(req)
	ctx = secret.WithRequest(ctx, req) // for an identity that makes its assertion for the build at hand
	type outcome struct {
		fetched secret.Fetched
		err     *secret.Error
	}
	done := make(chan outcome)
	// On its own, because callers of the SDK wait for each other's tokens whatever their contexts say.
	go func() {
		deepen()
		fetched, err := v.read(ctx, subject, ref)
		select {
		case done <- outcome{fetched, err}:
		case <-ctx.Done(): // nobody waits for it any more
			fetched.Value.Clear()
		}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return secret.Fetched{}, o.err
		}
		return o.fetched, nil
	case <-ctx.Done():
		return secret.Fetched{}, v.fail(ref, secret.Late, secret.ReasonTimeout, "no answer within the request's time")
	}
}

// deepen makes room on a new goroutine's stack for what the SDK takes of it, while there is next to nothing on it. Else it
// grows in the depth of the SDK, where all that lies there has to be moved: a sixth of the processor time of a call.
//
//go:noinline
func deepen() {
	var room [12 << 10]byte
	keep(&room)
}

//go:noinline
func keep(*[12 << 10]byte) {}

// read makes the call and checks what came.
// A client is forgotten after a panic and after a failure of the credential's, as it may hold a lock or a wrong
// challenge; the next read makes another.
func (v *Vault) read(ctx context.Context, subject string, ref secret.Ref) (fetched secret.Fetched, failure *secret.Error) {
	var client *azsecrets.Client
	var answered lifted
	defer func() { clear(answered.take()) }() // what accept did not take
	defer func() {
		// Not ours alone: the SDK panics at challenges of an odd shape. What a panic carries is not printed.
		switch p := recover(); {
		case p == nil:
		case client == nil: // this goroutine is nobody's request, so it would be the end of the process
			failure = v.fail(ref, secret.Internal, secret.ReasonInternal, fmt.Sprintf("making a client panicked with a %T", p))
		default:
			v.forget(subject, client)
			fetched = secret.Fetched{}
			failure = v.fail(ref, secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("its answer made the SDK panic with a %T: is there a proxy in between?", p))
		}
	}()
	client, err := v.client(subject)
	if err != nil {
		return fetched, v.fail(ref, secret.Internal, secret.ReasonInternal, "the SDK refuses its configuration")
	}
	resp, err := client.GetSecret(lifting(ctx, &answered), ref.Name, ref.Version, nil)
	if err != nil {
		if _, credential := errors.AsType[*secret.Error](err); credential {
			v.forget(subject, client)
		}
		return secret.Fetched{}, v.classify(ctx, subject, secretAt(ref), err)
	}
	return v.accept(ref, &resp.Secret, &answered)
}

// accept takes an answer only if it is whole and about what was asked.
// Every pointer in the SDK's answer may be nil. In place of the value it has what stands for one.
func (v *Vault) accept(ref secret.Ref, s *azsecrets.Secret, answered *lifted) (secret.Fetched, *secret.Error) {
	garbled := func(what string) (secret.Fetched, *secret.Error) {
		return secret.Fetched{}, v.fail(ref, secret.Garbled, secret.ReasonGarbled, what)
	}
	if s.Value == nil || len(answered.value) == 0 {
		return garbled("it answered without a value")
	}
	if s.ID == nil || s.Attributes == nil || s.Attributes.Enabled == nil {
		return garbled("it answered without an id, or without saying whether the secret is enabled")
	}
	version, ok := v.versionOf(string(*s.ID), "secrets", ref.Name, ref.Version)
	if !ok {
		return garbled("it answered with another secret than the one that was asked for")
	}
	var contentType string
	if s.ContentType != nil {
		contentType = *s.ContentType
	}
	value, form, flaw := content(answered.take(), contentType)
	return secret.Fetched{
		Value:     secret.NewValue(value),
		Version:   version,
		Identity:  v.identity.Name(),
		How:       secret.HowFetched,
		Created:   timeOf(s.Attributes.Created),
		NotBefore: timeOf(s.Attributes.NotBefore),
		Expires:   timeOf(s.Attributes.Expires),
		Enabled:   *s.Attributes.Enabled,
		Form:      form,
		Flaw:      flaw,
	}, nil
}

// timeOf gives the zero time for a moment that Key Vault does not state.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// versionOf reads https://HOST/KIND/NAME/VERSION and compares it with what was asked, without case as Key Vault does. kind
// is secrets or keys; wanted is the version asked for, or empty for any.
//
// https://kv.vault.azure.net/secrets/DB/8f2c51aa, asked for kv's "db", gives "8f2c51aa". An answer about another secret
// or version is what a cache between us and the vault would give; it must not be released under the name asked for.
func (v *Vault) versionOf(id, kind, name, wanted string) (version string, ok bool) {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "https" || u.User != nil || !strings.EqualFold(strings.TrimSuffix(u.Host, ":443"), v.host) {
		return "", false
	}
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if len(parts) != 3 || !strings.EqualFold(parts[0], kind) || !strings.EqualFold(parts[1], name) || !plain(parts[2]) {
		return "", false
	}
	return parts[2], wanted == "" || strings.EqualFold(parts[2], wanted)
}

// plain tells whether s has between 1 and 64 ASCII letters and digits, as versions and codes of Key Vault do.
// It is also what may go into the record and into errors without being quoted.
func plain(s string) bool {
	return s != "" && len(s) <= 64 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
