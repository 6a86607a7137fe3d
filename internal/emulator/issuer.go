package emulator

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// DefaultSubject is whom an assertion speaks of unless it says otherwise: a Kubernetes service account.
	DefaultSubject = "system:serviceaccount:drone:drone-entra"
	// DefaultAudience is what Entra wants an assertion to be for.
	DefaultAudience = "api://AzureADTokenExchange"

	defaultIssuerHost = "oidc.cluster.example"
)

// issuer publishes a discovery document and a key, as a Kubernetes cluster's does.
type issuer struct {
	host string
	key  *signingKey
	http.Handler
}

func newIssuer(host string, keys *Keys) *issuer {
	i := &issuer{host: host, key: keys.of("https://" + host)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /openid/v1/jwks", i.keys)
	i.Handler = mux
	return i
}

func (i *issuer) url() string { return "https://" + i.host }

func (i *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                i.url(),
		"jwks_uri":                              i.url() + "/openid/v1/jwks",
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(jose.RS256)},
	})
}

func (i *issuer) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, i.key.material().public)
}

// IssuerURL is the issuer of [Emulator.Assertion]s, exactly as their iss claim has it: no slash at the end.
func (e *Emulator) IssuerURL() string { return e.issuer.url() }

// AssertionOptions are what an assertion claims. The zero value is one that Entra accepts.
type AssertionOptions struct {
	Subject  string // sub; DefaultSubject when empty
	Audience string // aud; DefaultAudience when empty
	Issuer   string // iss; IssuerURL when empty

	IssuedAt  time.Time     // iat; now when zero
	NotBefore time.Time     // nbf; IssuedAt when zero
	Lifetime  time.Duration // exp less iat; an hour when zero, in the past when negative

	KeyID     string // kid; the published key's when empty
	NoKeyID   bool   // the header has no kid at all
	Algorithm string // alg; RS256 when empty; any that RSA has, or "none" for an unsigned token
	WrongKey  bool   // the signature is not the published key's

	Claims map[string]any // further claims, which win over the others
}

// Assertion is a workload identity token, good in every respect that the options leave alone. It panics when the
// options name an algorithm that an RSA key has not.
func (e *Emulator) Assertion(o AssertionOptions) string {
	claims := e.assertionClaims(o)
	key := e.issuer.key.material()
	id := key.id
	if o.KeyID != "" {
		id = o.KeyID
	}
	if o.NoKeyID {
		id = ""
	}
	switch {
	case o.Algorithm == "none":
		return unsigned(id, claims)
	case o.WrongKey:
		return spoilSignature(sign(key.signerAs(algorithmOf(o), id), claims))
	}
	return sign(key.signerAs(algorithmOf(o), id), claims)
}

// assertionClaims fills in what the options leave out, and lets Claims overwrite whatever they name.
func (e *Emulator) assertionClaims(o AssertionOptions) map[string]any {
	if o.IssuedAt.IsZero() {
		o.IssuedAt = e.now()
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = o.IssuedAt
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	claims := map[string]any{
		"iss": cmp.Or(o.Issuer, e.IssuerURL()),
		"sub": cmp.Or(o.Subject, DefaultSubject),
		"aud": cmp.Or(o.Audience, DefaultAudience),
		"iat": o.IssuedAt.Unix(),
		"nbf": o.NotBefore.Unix(),
		"exp": o.IssuedAt.Add(o.Lifetime).Unix(),
		"jti": newID(),
	}
	maps.Copy(claims, o.Claims)
	return claims
}

func algorithmOf(o AssertionOptions) jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(cmp.Or(o.Algorithm, string(jose.RS256)))
}

// unsigned is what a forger without any key would try.
func unsigned(id string, claims map[string]any) string {
	encode := func(v any) string {
		raw, _ := json.Marshal(v) // maps of plain values marshal
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return encode(map[string]string{"alg": "none", "typ": "JWT", "kid": id}) + "." + encode(claims) + "."
}

// spoilSignature changes the signature and nothing else, which is what another key of the same name amounts to.
func spoilSignature(token string) string {
	dot := strings.LastIndexByte(token, '.')
	raw, _ := base64.RawURLEncoding.DecodeString(token[dot+1:])
	raw[len(raw)/2] ^= 1
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(raw)
}
