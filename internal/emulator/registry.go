package emulator

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	registryUser    = "00000000-0000-0000-0000-000000000000" // of docker login with a token
	refreshLifetime = 3 * time.Hour
	accessLifetime  = 75 * time.Minute
)

// registries are the container registries, by host.
type registries struct {
	mu  sync.Mutex
	all map[string]*Registry
}

// Registry is the tokens' side of an Azure Container Registry; it holds no images. Nobody has a right there until Allow
// gives him one.
type Registry struct {
	emulator *Emulator
	host     string
	tenant   string
	cloud    cloud
	key      *signingKey
	mux      *http.ServeMux

	mu     sync.RWMutex
	grants map[string][]Access // client ID → patterns with their actions, in the order of Allow
}

// Access is what may be done with a repository: pull, push, delete, metadata_read and metadata_write are Azure's actions.
type Access struct {
	Repository string
	Actions    []string
}

// Registry finds the registry with that host name, or makes it in the tenant. The host is a whole one, like
// acme.azurecr.io, and says which cloud the registry is in; it panics on one that is no registry's.
func (e *Emulator) Registry(host, tenant string) *Registry {
	host = strings.ToLower(host)
	c, ok := cloudOfRegistry(host)
	if !ok {
		panic(fmt.Sprintf("emulator: %q is not the host of a container registry in any cloud", host))
	}
	e.directory.ensure(tenant)
	e.registries.mu.Lock()
	defer e.registries.mu.Unlock()
	if known := e.registries.all[host]; known != nil {
		return known
	}
	r := &Registry{
		emulator: e, host: host, tenant: strings.ToLower(tenant), cloud: c,
		key: e.directory.keys.of("registry " + host), mux: http.NewServeMux(), grants: map[string][]Access{},
	}
	r.mux.HandleFunc("GET /v2/{$}", r.version)
	r.mux.HandleFunc("POST /oauth2/exchange", r.exchange)
	r.mux.HandleFunc("POST /oauth2/token", r.token)
	if e.registries.all == nil {
		e.registries.all = map[string]*Registry{}
	}
	e.registries.all[host] = r
	e.Handle(host, r)
	return r
}

// Host is the registry's host name.
func (r *Registry) Host() string { return r.host }

// Allow lets an application, or a managed identity, do the actions with the repositories that match the pattern: a name
// in which * stands for any characters, a slash among them. What it gives adds up.
func (r *Registry) Allow(clientID, repositoryPattern string, actions ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clientID = strings.ToLower(clientID)
	r.grants[clientID] = append(r.grants[clientID], Access{Repository: repositoryPattern, Actions: slices.Clone(actions)})
}

// Forbid takes back all that Allow has given the client. Access tokens that are out already stay good, as in Azure.
func (r *Registry) Forbid(clientID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.grants, strings.ToLower(clientID))
}

// rights are all that the client may do: patterns, not repositories.
func (r *Registry) rights(clientID string) []Access {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Access
	for _, grant := range r.grants[strings.ToLower(clientID)] {
		all = append(all, Access{Repository: grant.Repository, Actions: slices.Clone(grant.Actions)})
	}
	return all
}

// intersect is what the client may do of what he asks for. What he may not is left out, silently, as Azure does.
func (r *Registry) intersect(clientID string, wanted []Access) []Access {
	var given []Access
	rights := r.rights(clientID)
	for _, want := range wanted {
		actions := slices.DeleteFunc(slices.Clone(want.Actions), func(action string) bool {
			return !slices.ContainsFunc(rights, func(right Access) bool {
				return covers(right.Repository, want.Repository) && slices.Contains(right.Actions, action)
			})
		})
		if len(actions) > 0 {
			given = append(given, Access{Repository: want.Repository, Actions: actions})
		}
	}
	return given
}

// covers says whether the pattern matches the name. A colon, which no name has, stands in for the slash, which path.Match
// would treat as a border.
func covers(pattern, name string) bool {
	matched, _ := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(name, "/", ":"))
	return matched
}

// Login judges a user name and a password as docker login would be judged. The user of a token is always
// 00000000-0000-0000-0000-000000000000. With a refresh token he may do all that its client may, as patterns in the order
// of Allow; with an access token what is in it. ok is false for what the registry did not sign, and for what has expired.
func (r *Registry) Login(username, password string) (access []Access, ok bool) {
	claims := r.verify(password)
	if username != registryUser || claims == nil {
		return nil, false
	}
	if claims.GrantType == grantRefresh {
		return r.rights(claims.AppID), true
	}
	for _, a := range claims.Access {
		access = append(access, Access{Repository: a.Name, Actions: a.Actions})
	}
	return access, true
}

// ServeHTTP answers what a client asks to get its tokens, and the one request that proves them.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if _, pattern := r.mux.Handler(q); pattern == "" {
		writeRegistryError(w, http.StatusNotFound, "NOT_FOUND", "the requested operation is not part of the emulated registry")
		return
	}
	r.mux.ServeHTTP(w, q)
}

// version is what every client of a registry asks first: without a token, to learn where to get one.
func (r *Registry) version(w http.ResponseWriter, q *http.Request) {
	scheme, credential, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	user, password := registryUser, credential
	if strings.EqualFold(scheme, "Basic") {
		raw, _ := base64.StdEncoding.DecodeString(credential)
		user, password, _ = strings.Cut(string(raw), ":")
	}
	if _, ok := r.Login(user, password); !ok {
		r.challenge(w)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	writeJSON(w, http.StatusOK, struct{}{})
}

// challenge is the 401 of the distribution protocol, which says where tokens are to be had.
func (r *Registry) challenge(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s"`, r.host, r.host))
	writeRegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", unproven)
}

// unproven is all that a registry says to whom it does not know.
const unproven = "authentication required, visit https://aka.ms/acr/authorization for more information."

// answerStatus is what a registry says with each status.
func (r *Registry) answerStatus(w *response, _ *http.Request, status int) {
	switch status {
	case http.StatusUnauthorized:
		writeRegistryError(w, status, "UNAUTHORIZED", unproven)
	case http.StatusForbidden:
		writeRegistryError(w, status, "DENIED", "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.")
	case http.StatusNotFound:
		writeRegistryError(w, status, "NOT_FOUND", "the registry was not found")
	case http.StatusTooManyRequests:
		writeRegistryError(w, status, "TOOMANYREQUESTS", "too many requests, please wait a while")
	default:
		writeRegistryError(w, status, "UNKNOWN", "the service cannot answer now: "+http.StatusText(status))
	}
}

// writeRegistryError writes the body that every error of a registry has.
func writeRegistryError(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, map[string]any{"errors": []map[string]any{{"code": code, "message": text, "detail": nil}}})
}
