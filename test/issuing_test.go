package test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// Where the tests' issuer is, and which Drone it speaks for. Its documents are at a place that no product of ours chose.
const (
	issuerHost   = "oidc.acme.example"
	issuerURL    = "https://" + issuerHost + "/drone"
	issuerServer = "drone.acme.example"
	issuerKeys   = "/public/keys.json"
)

// The applications of repositories, by the forge's id.
const (
	appClient  = "aaaaaaaa-1111-4222-8333-000000000001" // of acme/app, uid 1
	siteClient = "aaaaaaaa-1111-4222-8333-000000000002" // of acme/site, uid 2
	envClient  = "aaaaaaaa-1111-4222-8333-000000000003" // of production
)

// issuing is an operator who has an issuer: a key in a vault, and documents that he publishes by a library of his own.
type issuing struct {
	*emulator.Emulator
	t    *testing.T
	url  string // issuerURL, unless a test has another one
	sign *emulator.Vault

	mu   sync.Mutex
	keys jose.JSONWebKeySet
}

// newIssuing makes a vault that signs, with the first version of its key, and publishes that.
func newIssuing(t *testing.T, options emulator.Options) *issuing {
	t.Helper()
	options.Keys = keys
	e, err := emulator.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	i := &issuing{Emulator: e, t: t, url: issuerURL, sign: e.Vault("kv-sign.vault.azure.net", tenantID)}
	i.sign.AllowKeys(clientID)
	e.Register(emulator.App{Tenant: tenantID, ClientID: clientID})
	e.Handle(issuerHost, http.HandlerFunc(i.serve))
	i.publish(i.sign.SetKey("drone-issuer"))
	return i
}

// on lets a server meet this emulator.
func (i *issuing) on() option { return func(o *setup) { o.emulator = i.Emulator } }

// version is the key's nth, from 0.
func (i *issuing) version(n int) string { return i.sign.KeyVersions("drone-issuer")[n] }

// trust registers an application that trusts a subject of the issuer's.
func (i *issuing) trust(client, subject string) emulator.App {
	app := emulator.App{Tenant: tenantID, ClientID: client, Issuer: i.url, Subject: subject}
	i.Register(app)
	return app
}

// config is an issuer with the first key, and a vault for it.
func (i *issuing) config(rest string) string {
	return fmt.Sprintf("issuer: {url: %q, server: %s, keys: [{key: sign/drone-issuer@%s}]}\n", i.url, issuerServer, i.version(0)) + rest
}

// publish puts versions of the key into the issuer's set of keys, and no others.
func (i *issuing) publish(versions ...string) {
	i.t.Helper()
	var set jose.JSONWebKeySet
	for _, version := range versions {
		set.Keys = append(set.Keys, i.public(version))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = set
}

// public reads the public half of a version with Azure's own client, and names it as RFC 7638 does.
func (i *issuing) public(version string) jose.JSONWebKey {
	i.t.Helper()
	transport := i.Transport()
	defer transport.CloseIdleConnections()
	options := policy.ClientOptions{Transport: &http.Client{Transport: transport}}
	who, err := azidentity.NewClientAssertionCredential(tenantID, clientID,
		func(context.Context) (string, error) { return i.Assertion(emulator.AssertionOptions{}), nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	if err != nil {
		i.t.Fatal(err)
	}
	client, err := azkeys.NewClient(i.sign.URL(), who, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		i.t.Fatal(err)
	}
	answer, err := client.GetKey(i.t.Context(), "drone-issuer", version, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	defer i.Forget() // what the test counts is the program's
	key := jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).SetBytes(answer.Key.N), E: int(new(big.Int).SetBytes(answer.Key.E).Int64())},
		Algorithm: "RS256", Use: "sig"}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		i.t.Fatal(err)
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return key
}

func (i *issuing) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch r.URL.Path {
	case "/drone/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": "https://" + issuerHost + issuerKeys,
			"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}})
	case issuerKeys:
		_ = json.NewEncoder(w).Encode(i.keys)
	default:
		http.NotFound(w, r)
	}
}

// relying verifies an ID token as somebody who only knows the issuer's URL and his own name. It returns what it claims.
func (i *issuing) relying(t *testing.T, token, audience string) (claims map[string]any, err error) {
	t.Helper()
	transport := i.Transport()
	defer transport.CloseIdleConnections()
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: transport})
	provider, err := oidc.NewProvider(ctx, i.url)
	if err != nil {
		t.Fatal(err)
	}
	verified, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: audience}).Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	return claims, verified.Claims(&claims)
}

// kid is the key that a token says it was signed with.
func kid(t *testing.T, token string) string {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	return signed.Signatures[0].Header.KeyID
}

// minted asks for a token that must come, and watches for it and for each of its parts from then on.
func (s *server) minted(t *testing.T, b build, ref string) (text string, e event) {
	t.Helper()
	before := len(s.events())
	text, err := s.find(b, ref)
	if err != nil || text == "" {
		t.Fatalf("%s: got no token: %v", ref, err)
	}
	s.world.watch(text)
	s.world.watch(strings.Split(text, ".")...)
	if e = s.latest(t, before); e.Outcome != "released" || e.Secret != ref {
		t.Errorf("a token is on record as %s", e.Line)
	}
	return text, e
}

// because checks that a request ends so, and that the record, which the log and the page of an operator repeat, names cause
// and remedy.
func (f *faulty) because(t *testing.T, b build, ref string, want verdict, says ...string) {
	t.Helper()
	e := f.expect(t, b, ref, want)
	for _, text := range says {
		if !strings.Contains(e.Detail, text) {
			t.Errorf("%s: the record doesn't say %q: %s", ref, text, e.Line)
		}
	}
}
