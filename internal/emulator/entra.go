package emulator

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	tokenPath     = "/oauth2/v2.0/token"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// entra is the sign-in service of one cloud.
// It has the directory that all clouds share: which tenant lives in which cloud is not kept.
type entra struct {
	*Emulator
	cloud cloud
}

func (e *Emulator) newEntra(c cloud) http.Handler {
	site := &entra{e, c}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", site.instance)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", site.discovery)
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", site.keys)
	mux.HandleFunc("POST /{tenant}"+tokenPath, site.token)
	return mux
}

// instance tells a client that the host it was configured with is one of Microsoft's, and under which names.
func (s *entra) instance(w http.ResponseWriter, r *http.Request) {
	endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || !isLogin(endpoint.Host) {
		s.answerRefusal(w, r, refuse(50049))
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(endpoint.Path, "/"), "/")
	var metadata []map[string]any
	for _, c := range clouds() {
		metadata = append(metadata, map[string]any{"preferred_network": c.login, "preferred_cache": c.login, "aliases": c.hosts()})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + endpoint.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata,
	})
}

// isLogin tells whether the host is a sign-in host of any cloud.
func isLogin(host string) bool {
	for _, c := range clouds() {
		for _, name := range c.hosts() {
			if strings.EqualFold(host, name) {
				return true
			}
		}
	}
	return false
}

// discovery is the tenant's OpenID document. MSAL wants its issuer's host to be the authority's or another of Microsoft's.
func (s *entra) discovery(w http.ResponseWriter, r *http.Request) {
	tenant := s.directory.find(r.PathValue("tenant"))
	if tenant == nil {
		s.answerRefusal(w, r, refuse(90002, r.PathValue("tenant")))
		return
	}
	base := "https://" + s.cloud.login + "/" + tenant.id
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                s.cloud.issuer(tenant.id),
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + tokenPath,
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
	})
}

func (s *entra) keys(w http.ResponseWriter, r *http.Request) {
	tenant := s.directory.find(r.PathValue("tenant"))
	if tenant == nil {
		s.answerRefusal(w, r, refuse(90002, r.PathValue("tenant")))
		return
	}
	writeJSON(w, http.StatusOK, tenant.key.material().public)
}

// token exchanges an assertion for an access token.
func (s *entra) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.answerRefusal(w, r, refuse(0))
		return
	}
	askedBy(w, r.PostForm.Get("client_id"))
	token, lifetime, refused := s.exchange(r)
	if refused != nil {
		s.answerRefusal(w, r, refused)
		return
	}
	seconds := int(lifetime / time.Second)
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type":     "Bearer",
		"expires_in":     seconds,
		"ext_expires_in": seconds,
		"access_token":   token,
	})
}

// exchange is the client credentials flow with a federated assertion. The order of the checks is Entra's as far as its
// answers show it: who asks, whether a credential matches, then whether the assertion is genuine, then its time.
func (s *entra) exchange(r *http.Request) (string, time.Duration, *refusal) {
	form := r.PostForm
	tenant := s.directory.find(r.PathValue("tenant"))
	if tenant == nil {
		return "", 0, refuse(90002, r.PathValue("tenant"))
	}
	clientID := strings.ToLower(form.Get("client_id"))
	objectID, credentials, found := s.directory.credentials(tenant, clientID)
	if !found {
		return "", 0, refuse(700016, clientID, tenant.id)
	}
	if refused := wellFormed(form, clientID); refused != nil {
		return "", 0, refused
	}
	resource, refused := s.resource(form.Get("scope"), tenant.id)
	if refused != nil {
		return "", 0, refused
	}
	if refused := s.checkAssertion(r.Context(), form.Get("client_assertion"), clientID, credentials); refused != nil {
		return "", 0, refused
	}
	token, lifetime := s.issue(grant{cloud: s.cloud, tenant: tenant, clientID: clientID, objectID: objectID, resource: resource})
	return token, lifetime, nil
}

// wellFormed checks the parameters that say how the client proves itself.
func wellFormed(form url.Values, clientID string) *refusal {
	switch {
	case form.Get("grant_type") != "client_credentials":
		return refuse(70003, form.Get("grant_type"))
	case form.Has("client_secret"):
		return refuse(7000215, clientID)
	case !form.Has("client_assertion") || form.Get("client_assertion_type") != assertionType:
		return refuse(7000218)
	}
	return nil
}

// resource is what the token will be for: the one scope that ends in /.default.
//
// "https://vault.azure.net/.default openid" is for https://vault.azure.net. A double slash, as "https://x//.default"
// has, leaves one at the end of the audience.
func (s *entra) resource(scope, tenant string) (string, *refusal) {
	for field := range strings.FieldsSeq(scope) {
		switch resource, found := strings.CutSuffix(field, "/.default"); {
		case field == "openid" || field == "offline_access" || field == "profile":
			continue
		case !found || resource == "":
			return "", refuse(1002012, field)
		case !s.cloud.serves(strings.TrimSuffix(resource, "/")):
			return "", refuse(500011, resource, tenant)
		default:
			return resource, nil
		}
	}
	return "", refuse(70011)
}
