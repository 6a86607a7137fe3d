package emulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	registryIssuer = "Azure Container Registry"
	grantRefresh   = "refresh_token"
	grantAccess    = "access_token"
	// registryAudience is for registries of every cloud, beside the cloud's own resource manager.
	registryAudience = "https://containerregistry.azure.net"
)

// registryClaims are those of both kinds of a registry's tokens.
type registryClaims struct {
	ID        string           `json:"jti"`
	Subject   string           `json:"sub"`
	NotBefore int64            `json:"nbf"`
	Expires   int64            `json:"exp"`
	IssuedAt  int64            `json:"iat"`
	Issuer    string           `json:"iss"`
	Audience  string           `json:"aud"`
	Version   string           `json:"version"`
	GrantType string           `json:"grant_type"`
	AppID     string           `json:"appid"`
	Tenant    string           `json:"tenant"`
	Access    []registryAccess `json:"access,omitzero"` // of an access token always, and empty where it gives nothing
}

// registryAccess is an entry of the access claim, as the distribution protocol has it.
type registryAccess struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// issue signs a token of the registry's.
func (r *Registry) issue(kind, clientID string, access []registryAccess) string {
	now, lifetime := r.emulator.now(), refreshLifetime
	if kind == grantAccess {
		lifetime = accessLifetime
	}
	return sign(r.key.material().signer, registryClaims{
		ID: newID(), Subject: clientID, AppID: clientID, Tenant: r.tenant,
		NotBefore: now.Unix(), IssuedAt: now.Unix(), Expires: now.Add(lifetime).Unix(),
		Issuer: registryIssuer, Audience: r.host, Version: "1.0", GrantType: kind, Access: access,
	})
}

// verify is what a token says that the registry signed, for itself, and that has not expired; nil for any other.
func (r *Registry) verify(token string) *registryClaims {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil
	}
	claims := new(registryClaims)
	if parsed.Claims(r.key.material().private.Public(), claims) != nil || claims.Audience != r.host ||
		!r.emulator.now().Before(time.Unix(claims.Expires, 0)) {
		return nil
	}
	return claims
}

// exchange gives a refresh token for an access token of Entra's. Who has no right at the registry gets none.
func (r *Registry) exchange(w http.ResponseWriter, q *http.Request) {
	form, ok := r.form(w, q, grantAccess)
	if !ok {
		return
	}
	who, now := r.emulator.verify(form.Get("access_token")), r.emulator.now()
	if who == nil || who.audience != r.cloud.manager && who.audience != registryAudience ||
		who.tenant != r.tenant || form.Has("tenant") && !strings.EqualFold(form.Get("tenant"), r.tenant) ||
		!now.Before(who.expires) || now.Add(clockSkew).Before(who.notBefore) || len(r.rights(who.clientID)) == 0 {
		writeRegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", unproven)
		return
	}
	askedBy(w, who.clientID)
	writeJSON(w, http.StatusOK, map[string]string{"refresh_token": r.issue(grantRefresh, who.clientID, nil)})
}

// token gives an access token for a refresh token: for what is asked, as far as the client may have it. When that is
// nothing there is a token all the same, good for nothing.
func (r *Registry) token(w http.ResponseWriter, q *http.Request) {
	form, ok := r.form(w, q, grantRefresh)
	if !ok {
		return
	}
	claims := r.verify(form.Get("refresh_token"))
	if claims == nil || claims.GrantType != grantRefresh {
		writeRegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", unproven)
		return
	}
	askedBy(w, claims.AppID)
	wanted, ok := parseScopes(form.Get("scope"))
	if !ok || len(form["scope"]) > 1 {
		writeRegistryError(w, http.StatusBadRequest, "BAD_REQUEST", "a scope is repository:NAME:ACTION,ACTION")
		return
	}
	access := []registryAccess{}
	for _, given := range r.intersect(claims.AppID, wanted) {
		access = append(access, registryAccess{Type: "repository", Name: given.Repository, Actions: given.Actions})
	}
	writeJSON(w, http.StatusOK, map[string]string{"access_token": r.issue(grantAccess, claims.AppID, access)})
}

// form reads the request's, which must be of that grant type and about this registry. It has answered when ok is false.
func (r *Registry) form(w http.ResponseWriter, q *http.Request, grantType string) (form url.Values, ok bool) {
	if q.ParseForm() != nil || q.PostForm.Get("grant_type") != grantType || !strings.EqualFold(q.PostForm.Get("service"), r.host) {
		writeRegistryError(w, http.StatusBadRequest, "BAD_REQUEST", "grant_type is "+grantType+" here, and service is the registry's host")
		return nil, false
	}
	return q.PostForm, true
}

// parseScopes reads repository:NAME:ACTION,ACTION, of which there may be several with spaces between them. They are in one
// parameter: OAuth lets none stand twice (RFC 6749, 3.2).
//
// "repository:team/app:pull,push" is pull and push of team/app. A name may have a port's colon in it as far as the grammar
// goes, so the actions are what stands behind the last one.
func parseScopes(parameter string) (wanted []Access, ok bool) {
	for scope := range strings.FieldsSeq(parameter) {
		kind, rest, _ := strings.Cut(scope, ":")
		colon := strings.LastIndexByte(rest, ':')
		if kind != "repository" || colon <= 0 || colon == len(rest)-1 {
			return nil, false
		}
		actions := strings.Split(rest[colon+1:], ",")
		if slices.Contains(actions, "") {
			return nil, false
		}
		wanted = append(wanted, Access{Repository: rest[:colon], Actions: actions})
	}
	return wanted, len(wanted) > 0
}
