package emulator

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// managedLifetime is that of a managed identity's token.
const managedLifetime = 24 * time.Hour

// serveMetadata is the token endpoint of the instance metadata service. It wants the header that no browser and no
// redirect would send, and names what is wrong as the service does.
func (e *Emulator) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metadata/identity/oauth2/token" || r.Method != http.MethodGet {
		metadataError(w, http.StatusNotFound, "not_found", "The requested resource is not found")
		return
	}
	query := r.URL.Query()
	resource := query.Get("resource")
	switch {
	case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
		metadataError(w, http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
		return
	case query.Get("api-version") == "":
		metadataError(w, http.StatusBadRequest, "bad_request_102", "Required query variable 'api-version' is missing")
		return
	case resource == "":
		metadataError(w, http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing")
		return
	}
	identity, problem := e.identity(query.Get("client_id"))
	if problem != "" {
		metadataError(w, http.StatusBadRequest, "invalid_request", problem)
		return
	}
	askedBy(w, identity.clientID)
	e.answerManaged(w, identity, resource)
}

// identity is the machine's identity of that client ID, or the only one that there is when the ID is empty.
// The second result is what is wrong, in the service's words, and empty if nothing is.
func (e *Emulator) identity(clientID string) (managed, string) {
	all := e.directory.identities()
	if clientID == "" {
		switch len(all) {
		case 1:
			return all[0], ""
		case 0:
			return managed{}, "Identity not found"
		}
		return managed{}, "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
	}
	for _, known := range all {
		if strings.EqualFold(known.clientID, clientID) {
			return known, ""
		}
	}
	return managed{}, "Identity not found"
}

// answerManaged writes a token as the service does, every number as a string.
func (e *Emulator) answerManaged(w http.ResponseWriter, identity managed, resource string) {
	lifetime := e.lifetime
	if lifetime == 0 {
		lifetime = managedLifetime
	}
	resource = strings.TrimSuffix(resource, "/")
	token, _ := e.issue(grant{
		cloud: clouds()[0], tenant: e.directory.find(identity.tenant),
		clientID: identity.clientID, objectID: identity.principalID, resource: resource, lifetime: lifetime,
	})
	now, seconds := e.now(), strconv.Itoa(int(lifetime/time.Second))
	writeJSON(w, http.StatusOK, map[string]string{
		"access_token":   token,
		"client_id":      identity.clientID,
		"expires_in":     seconds,
		"ext_expires_in": seconds,
		"expires_on":     strconv.FormatInt(now.Add(lifetime).Unix(), 10),
		"not_before":     strconv.FormatInt(now.Unix(), 10),
		"resource":       resource,
		"token_type":     "Bearer",
	})
}

// metadataError has OAuth's two fields and, unlike the token endpoint's errors, no AADSTS code.
func metadataError(w http.ResponseWriter, status int, name, text string) {
	writeJSON(w, status, map[string]string{"error": name, "error_description": text})
}
