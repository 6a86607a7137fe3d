package issuer_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here     = "https://example.com/drone"
	audience = "api://AzureADTokenExchange"
)

var start = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// private are keys that all tests share: making one takes long.
var private = sync.OnceValue(func() (list []*rsa.PrivateKey) {
	for range 3 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		list = append(list, key)
	}
	return list
})

// memory is a Signer that has its key in memory.
type memory struct {
	*rsa.PrivateKey
	shows  *rsa.PublicKey // instead of its own
	failed error          // of Sign
	hidden error          // of Public
}

func (m *memory) Public(context.Context) (*rsa.PublicKey, error) {
	if m.shows != nil || m.hidden != nil {
		return m.shows, m.hidden
	}
	return &m.PublicKey, nil
}

func (m *memory) Sign(ctx context.Context, digest []byte) ([]byte, error) {
	if m.failed != nil || ctx.Err() != nil {
		return nil, errors.Join(m.failed, ctx.Err())
	}
	return rsa.SignPKCS1v15(nil, m.PrivateKey, crypto.SHA256, digest)
}

func key(n int, from time.Time) issuer.Key {
	return issuer.Key{Name: "sign/drone-issuer@" + string(rune('a'+n)), From: from, Signer: &memory{PrivateKey: private()[n]}}
}

func kid(t *testing.T, n int) string {
	t.Helper()
	id, err := issuer.KeyID(&private()[n].PublicKey)
	works(t, err)
	return id
}

// at is a clock that stands.
func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func newIssuer(t *testing.T, change ...func(*issuer.Options)) *issuer.Issuer {
	t.Helper()
	o := issuer.Options{URL: here, Server: "drone.acme.example", Keys: []issuer.Key{key(0, time.Time{})}, Now: at(start)}
	for _, c := range change {
		c(&o)
	}
	i, err := issuer.New(o)
	works(t, err)
	return i
}

func works(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails wants an *secret.Error of that kind and reason whose text has the words.
func fails(t *testing.T, err error, kind secret.Kind, reason secret.Reason, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*secret.Error](err)
	if !ok || e.Kind != kind || e.Reason != reason {
		t.Fatalf("got %v, want %v/%s", err, kind, reason)
	}
	says(t, err, words...)
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// push is a push to the default branch of acme/app.
func push(change ...func(*secret.Request)) secret.Request {
	r := secret.Request{Pool: "default", Repo: secret.Repo{UID: "42", Slug: "acme/app", DefaultBranch: "main"}, Build: secret.Build{
		Number: 7, Event: "push", Ref: "refs/heads/main", SHA: "5d959da0", Source: "main", Target: "main",
		Trigger: "@hook", Sender: "alice", Link: "https://forge.example/acme/app/compare/1...2"}}
	for _, c := range change {
		c(&r)
	}
	return r
}

func promoted(to string) func(*secret.Request) {
	return func(r *secret.Request) { r.Build.Event, r.Build.DeployTo, r.Build.Trigger = "promote", to, "bob" }
}

func ask() issuer.Ask {
	return issuer.Ask{Form: issuer.Repo, Audience: audience, Lifetime: issuer.AssertionLifetime}
}

func mint(t *testing.T, i *issuer.Issuer, a issuer.Ask, r secret.Request) issuer.Token {
	t.Helper()
	token, err := i.Mint(t.Context(), a, r)
	works(t, err)
	return token
}

// payload reads a token's claims strictly: a name twice or invalid UTF-8 is an error.
func payload(t interface{ Fatalf(string, ...any) }, token issuer.Token) (claims map[string]any) {
	parts := strings.Split(string(token.Text.Reveal()), ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	if err != nil {
		t.Fatalf("the payload can't be read: %v", err)
	}
	return claims
}

// relying serves a directory as the issuer's URL, and is whoever verifies tokens by what is served there.
func relying(t *testing.T, dir, issuerURL string) context.Context {
	t.Helper()
	u, err := url.Parse(issuerURL)
	works(t, err)
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewTLSServer(http.StripPrefix(strings.TrimSuffix(u.Path, "/"), files))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	transport.TLSClientConfig.RootCAs = roots
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return oidc.ClientContext(t.Context(), &http.Client{Transport: transport})
}

// verify is what a stranger does with a token, knowing the issuer's URL and nothing else of us.
func verify(ctx context.Context, issuerURL, audience string, now time.Time, token issuer.Token) (*oidc.IDToken, error) {
	provider, err := oidc.NewProvider(ctx, issuerURL)
	if err != nil {
		return nil, err
	}
	return provider.Verifier(&oidc.Config{ClientID: audience, Now: at(now)}).Verify(ctx, string(token.Text.Reveal()))
}
