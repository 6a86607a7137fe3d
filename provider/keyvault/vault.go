package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/drone-entra/drone-entra/secret"
)

// Identity is who opens the vault. Credential must return the same credential for the same subject, and its errors must
// be *secret.Error where it knows the cause.
type Identity interface {
	Name() string
	Subject(secret.Request) string
	Credential(subject string) azcore.TokenCredential
	// Refused is told of a subject's token for the scope that the vault did not take (401).
	Refused(subject, scope string)
}

// Options describe a vault.
type Options struct {
	Alias     string // in the configuration; for errors
	URL       string // https://NAME.vault.azure.net, or of another of Azure's clouds; nothing else
	Identity  Identity
	Transport http.RoundTripper // to the vault; required
}

// Bounds of one read. Three tries and the pauses between them end before the 15 s that a read may take.
// The SDK's own bounds are of no use here: without a TryTimeout one try lasts for as long as the vault is silent.
const (
	tryLimit      = 4 * time.Second
	maxTries      = 3
	maxRetryAfter = 3 * time.Second // a vault that wants a longer pause is answered for at once
	maxAnswer     = 1 << 20         // bytes; a secret has 25 KiB at most
	maxClients    = 1024            // subjects; with a deploy target in them, they are a writer's text
)

// Vault is one Key Vault, opened by one identity. It is safe for concurrent use.
// clients has one for each subject, since a client's pipeline keeps the token of the last one who asked.
type Vault struct {
	alias, url, host string
	scope            string // the only one that a token is asked for
	identity         Identity
	http             *http.Client

	mu      sync.Mutex
	clients map[string]*azsecrets.Client // by subject
	signing *azkeys.Client               // of the identity itself; see key.go
}

// suffixes are Azure's, cloud by cloud, with the resource that tokens are for.
var suffixes = [...]struct{ host, scope string }{
	{".vault.azure.net", "https://vault.azure.net/.default"},
	{".vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"},
	{".vault.azure.cn", "https://vault.azure.cn/.default"},
}

// New checks the options and makes a Vault; it asks nobody for anything yet. The error says what to change.
func New(o Options) (*Vault, error) {
	host, scope, err := parseURL(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("vault %s: %w", o.Alias, err)
	case o.Identity == nil || o.Transport == nil:
		return nil, fmt.Errorf("vault %s: no identity or no transport", o.Alias)
	}
	return &Vault{
		alias: o.Alias, url: "https://" + host, host: host, scope: scope, identity: o.Identity,
		http: &http.Client{
			Transport:     bounded{o.Transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		clients: map[string]*azsecrets.Client{},
	}, nil
}

// parseURL returns a vault's host in lower case and the scope of its cloud.
//
// No path, port or query may stand behind it and only one label before the suffix:
// else a slip in the
// configuration could make another host the one we talk to. The SDK compares the challenge's resource with
// the host, but trusts the host it is given.
func parseURL(raw string) (host, scope string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("url can't be read: write https://NAME.vault.azure.net")
	}
	host = strings.ToLower(u.Host)
	if u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("url %q: write https://NAME.vault.azure.net and no more", u.Redacted())
	}
	for _, s := range suffixes {
		if name, ok := strings.CutSuffix(host, s.host); ok && vaultName(name) {
			return host, s.scope, nil
		}
	}
	return "", "", fmt.Errorf("url %q: a vault's host is NAME.vault.azure.net, NAME.vault.usgovcloudapi.net or NAME.vault.azure.cn", u.Redacted())
}

// vaultName tells whether s is one label as Key Vault allows it.
func vaultName(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// Scope is what a token must be for that opens the vault, as https://vault.azure.net/.default.
func (v *Vault) Scope() string { return v.scope }

// Subject names whom Entra sees for the request.
func (v *Vault) Subject(r secret.Request) string { return v.identity.Subject(r) }

// client returns the subject's client, which is made at the first read and kept.
//
// The SDK's check that a challenge is about the vault's own domain stays on, and guard is asked besides.
func (v *Vault) client(subject string) (*azsecrets.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.clients[subject]; c != nil {
		return c, nil
	}
	c, err := azsecrets.NewClient(v.url, guard{v, v.identity.Credential(subject)}, &azsecrets.ClientOptions{ClientOptions: v.sdk()})
	if err != nil {
		return nil, err
	}
	if len(v.clients) >= maxClients {
		clear(v.clients) // they are made anew at the price of a challenge each
	}
	v.clients[subject] = c
	return c, nil
}

// sdk has the options of every client of the vault.
func (v *Vault) sdk() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport:        v.http,
		Telemetry:        policy.TelemetryOptions{Disabled: true},
		Retry:            policy.RetryOptions{MaxRetries: maxTries - 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: maxRetryAfter},
		PerRetryPolicies: []policy.Policy{tryTimeout{}},
	}
}

// forget drops the subject's client if it is still c. A client remembers the last challenge, and would go on asking for
// the wrong token after a wrong one, or with a lock held after a panic.
func (v *Vault) forget(subject string, c *azsecrets.Client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.clients[subject] == c {
		delete(v.clients, subject)
	}
}

// guard stands between the SDK, which asks for a token for whatever resource a challenge names, and the identity.
// It is all of ours that the SDK holds: what goes through it is an *secret.Error or a token for Key Vault.
type guard struct {
	vault *Vault
	next  azcore.TokenCredential
}

// GetToken refuses to ask for a token that is not for Key Vault. A panic behind it must not reach the SDK, which would let
// everybody who waits for the same token wait for ever.
func (g guard) GetToken(ctx context.Context, o policy.TokenRequestOptions) (token azcore.AccessToken, err error) {
	defer func() {
		if p := recover(); p != nil {
			token = azcore.AccessToken{}
			err = secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("identity %s: its credential panicked with a %T", g.vault.identity.Name(), p))
		}
	}()
	if len(o.Scopes) != 1 || !strings.EqualFold(o.Scopes[0], g.vault.scope) {
		return azcore.AccessToken{}, secret.Fail(secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("vault %s: %s asks for a token for another resource than %s; it gets none", g.vault.alias, g.vault.host, g.vault.scope))
	}
	o.Scopes = []string{g.vault.scope}
	return g.next.GetToken(ctx, o)
}

// tryTimeout bounds one try on the wire. The retry policy's own would bound the wait for a token as well, and not try
// again after it.
type tryTimeout struct{}

// Do sends the request. The pipeline has read the answer's body when Next returns.
func (tryTimeout) Do(req *policy.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Raw().Context(), tryLimit)
	defer cancel()
	try := req.Clone(ctx)
	try.Raw().Header.Set("Accept-Encoding", "identity") // unpacking would leave copies of a value
	return try.Next()
}

// bounded bounds what an answer may hold, and keeps its value from the SDK.
// Without it, whoever answers for the vault could fill the memory: the SDK reads every answer whole.
type bounded struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
		withoutValue(req.Context(), resp)
	}
	return resp, err
}
