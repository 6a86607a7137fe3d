package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/drone-entra/drone-entra/secret"
)

// Identity is who asks Entra. Subject is empty, or whom Entra sees for the request. Fresh gets an access token that nobody else
// has; its errors are *secret.Error, and it returns when ctx ends.
type Identity interface {
	Name() string
	Subject(secret.Request) string
	Fresh(ctx context.Context, r secret.Request, scope string) (azcore.AccessToken, error)
}

// Minted is a token of our own issuer.
type Minted struct {
	Text    secret.Value // owned by who gets it
	ID      string       // jti
	Expires time.Time
}

// Mint makes an ID token for the build at hand. Its errors are *secret.Error.
type Mint func(context.Context, secret.Request) (Minted, error)

// Entry is one token of the configuration: an ID token if Mint is set, a registry's if Registry is, else Entra's.
type Entry struct {
	Name     string // in lower case, as a reference has it
	Identity Identity
	Scope    string        // of Entra's token: https://management.azure.com/.default
	MinLife  time.Duration // how long it must still be valid when it is released; zero: no demand

	Registry string   // the host, as acme.azurecr.io
	Tenant   string   // of the registry's identity; empty: a managed identity's, which the machine knows
	Scopes   []string // what the registry's token is limited to, as repository:team/app:pull,push; none: all that the identity may

	Mint Mint
}

// Tokens is a provider.Source. It is safe for concurrent use.
type Tokens struct {
	entries map[string]Entry
	http    *http.Client
	now     func() time.Time
}

// New makes the source of the tokens. The transport leads to the registries.
func New(entries []Entry, transport http.RoundTripper, now func() time.Time) *Tokens {
	t := &Tokens{entries: map[string]Entry{}, now: now, http: &http.Client{
		Transport: transport,
		// A redirect would carry the token along.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, e := range entries {
		t.entries[strings.ToLower(e.Name)] = e
	}
	return t
}

// Subject tells apart whatever a token may say: requests whose facts differ are never given one and the same.
//
// The Router keeps values apart by build already. A holder of a pool's key could claim two different things of one build, and
// a token that states the one must not answer the other. It is a hash, since the facts are a stranger's and may be long.
func (t *Tokens) Subject(r secret.Request) string {
	r.Path, r.Name = "", ""
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", r))
	return hex.EncodeToString(sum[:])
}

// Get makes the token that the reference names.
func (t *Tokens) Get(ctx context.Context, r secret.Request, ref secret.Ref) (secret.Fetched, error) {
	e, ok := t.entries[ref.Name]
	if !ok || ref.Version != "" {
		return secret.Fetched{}, secret.Fail(secret.NotFound, secret.ReasonNotFound,
			fmt.Sprintf("%s: no token of that name is configured; a token has no versions", ref))
	}
	made, err := t.make(ctx, &e, r)
	if err != nil {
		return secret.Fetched{}, named(ref, err)
	}
	defer made.text.Clear()
	fetched := secret.Fetched{
		Value: document(&e, made), Version: made.id, How: secret.HowMinted, Enabled: true,
		Created: t.now(), Expires: made.expires, MinLife: e.MinLife, Form: secret.FormToken,
	}
	if !made.expires.IsZero() {
		fetched.MinLife = max(fetched.MinLife, 1) // or one that has ended would be remembered, and refused, for its build
	}
	if e.Identity != nil {
		fetched.Identity = e.Identity.Name()
	}
	return fetched, nil
}

// made is a token, however it came about.
type made struct {
	text    secret.Value
	id      string // what it is called where it was made; for the record
	expires time.Time
}

func (t *Tokens) make(ctx context.Context, e *Entry, r secret.Request) (made, error) {
	switch {
	case e.Mint != nil:
		m, err := e.Mint(ctx, r)
		return made{m.Text, m.ID, m.Expires}, err
	case e.Registry != "":
		return t.registry(ctx, e, r)
	}
	token, err := e.Identity.Fresh(ctx, r, e.Scope)
	if err != nil {
		return made{}, err
	}
	if !plain(token.Token) {
		return made{}, secret.Fail(secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("identity %s was given what is no token: is there a proxy in between?", e.Identity.Name()))
	}
	return made{secret.NewValue([]byte(token.Token)), read(token.Token).name(), token.ExpiresOn}, nil
}

// named puts the token's name in front of what went wrong. Where we could not prove who we are, the error says so.
func named(ref secret.Ref, err error) *secret.Error {
	e := *secret.AsError(err)
	e.Detail = fmt.Sprintf("%s: %s", ref, e.Detail)
	return &e
}

// RegistryUser is docker's user name for who logs in with a token (Microsoft: "Authenticate with an Azure container registry").
const RegistryUser = "00000000-0000-0000-0000-000000000000"

// document is the JSON object that a reference's keys look into: the token itself, when it ends, and what docker login wants
// beside it. It has all the room it needs from the start, as growing would leave a copy behind. The token is a plain one, as
// nothing is escaped.
func document(e *Entry, m made) secret.Value {
	b := make([]byte, 0, 256+m.text.Len()+len(e.Registry))
	b = append(b, `{"token":"`...)
	b = append(append(b, m.text.Reveal()...), '"')
	if !m.expires.IsZero() {
		b = append(m.expires.UTC().AppendFormat(append(b, `,"expires":"`...), time.RFC3339), '"')
	}
	if e.Registry != "" {
		b = append(append(append(b, `,"username":"`+RegistryUser+`","registry":"`...), e.Registry...), '"')
	}
	return secret.NewValue(append(b, '}'))
}

// plain tells whether s can stand in a JSON string and in a header as it is, as every token can (RFC 6750).
func plain(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") == ""
}

// claims are the few that are looked at in a token that somebody else made.
type claims struct {
	ID      string `json:"jti"`
	Unique  string `json:"uti"` // Entra's, as its sign-in log has it
	Expires int64  `json:"exp"`
	Grant   string `json:"grant_type"` // a registry's: refresh_token or access_token
	Access  []struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	} `json:"access"`
}

// read takes the claims out of a JWT; the zero ones if it is none. Its signature is for whom it is for.
func read(token string) (c claims) {
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			if json.Unmarshal(payload, &c) != nil {
				return claims{}
			}
		}
	}
	return c
}

// name is what the record calls the token: the id under which its maker logs it, or a random one.
func (c claims) name() string {
	for _, id := range []string{c.ID, c.Unique} {
		if plain(id) && len(id) <= 64 {
			return id
		}
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
