package emulator

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// vaultError is an answer of Key Vault that is no secret.
type vaultError struct {
	status      int
	code, inner string
	text        string
}

// ServeHTTP answers as Key Vault's data plane does: who asks comes first, then whether he may, then what there is.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, failed := v.authenticate(r)
	if failed != nil {
		v.challenge(w, failed)
		return
	}
	askedBy(w, who.clientID)
	about, failed := target(r)
	if failed != nil {
		writeVaultError(w, failed)
		return
	}
	body, failed := v.answer(who, about, r)
	if failed != nil {
		writeVaultError(w, failed)
		return
	}
	writeBody(w, http.StatusOK, body)
}

// authenticate is whom the bearer token speaks for, if it is for this vault, of its tenant, and in time.
//
// Every failure is a 401 with the challenge, which is how a client learns what token to bring.
func (v *Vault) authenticate(r *http.Request) (*bearer, *vaultError) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
	}
	who, now := v.emulator.verify(token), v.emulator.now()
	switch {
	case who == nil:
		return nil, unauthorized("AKV10046: Unable to resolve the key used for signature validation.")
	case who.audience != v.cloud.resource:
		return nil, unauthorized("AKV10022: Invalid audience. Expected %s, found: %s.", v.cloud.resource, who.audience)
	case who.tenant != v.tenant:
		return nil, unauthorized("AKV10032: Invalid issuer. Expected one of https://sts.windows.net/%s/, found %s.", v.tenant, who.issuer)
	case now.After(who.expires):
		return nil, unauthorized("[TokenExpired] Error validating token: IDX10223: Lifetime validation failed. The token is expired.")
	case now.Add(clockSkew).Before(who.notBefore):
		return nil, unauthorized("[TokenNotYetValid] Error validating token: IDX10222: Lifetime validation failed. The token is not yet valid.")
	}
	return who, nil
}

func unauthorized(text string, args ...any) *vaultError {
	return &vaultError{status: http.StatusUnauthorized, code: "Unauthorized", text: fmt.Sprintf(text, args...)}
}

// challenge tells the client where to get a token and what for.
func (v *Vault) challenge(w http.ResponseWriter, failed *vaultError) {
	w.Header().Set("WWW-Authenticate",
		fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="%s"`, v.cloud.login, v.tenant, v.cloud.resource))
	writeVaultError(w, failed)
}

// asked is what a request wants of a vault.
type asked struct {
	kind          string // secrets or keys
	name, version string
	action        action
}

// action is what is to be done with it.
type action uint8

const (
	getSecret action = iota
	getKey
	listKey // its versions
	signWithKey
)

// String is the action as roles call it. To list a key's versions is to read it.
func (a action) String() string {
	return [...]string{"getSecret/action", "read", "read", "sign/action"}[a]
}

// target reads what is asked for out of /secrets/{name}, /secrets/{name}/{version} and what there is of keys:
// /keys/{name}, /keys/{name}/{version}, /keys/{name}/versions and /keys/{name}/{version}/sign. A version that is left out
// is the current one.
func target(r *http.Request) (asked, *vaultError) {
	// RawPath is set where an escaped slash would otherwise pass for a real one; no name has a percent sign.
	kind, rest, found := strings.Cut(strings.TrimPrefix(cmp.Or(r.URL.RawPath, r.URL.Path), "/"), "/")
	a, method := asked{kind: kind}, http.MethodGet
	a.name, rest, _ = strings.Cut(rest, "/")
	version, operation, longer := strings.Cut(rest, "/")
	a.version = version
	switch {
	case !found || kind != "secrets" && kind != "keys":
		longer = true
	case kind == "keys" && operation == "sign":
		method, longer, a.action = http.MethodPost, false, signWithKey
	case kind == "keys" && version == "sign" && operation == "": // what the SDK makes of an empty version
		method, a.version, a.action = http.MethodPost, "", signWithKey
	case kind == "keys" && version == "versions":
		a.version, a.action = "", listKey
	case kind == "keys":
		a.action = getKey
	}
	switch {
	case longer:
		return asked{}, &vaultError{status: http.StatusNotFound, code: "NotFound", text: "The requested operation is not part of the emulated Key Vault."}
	case r.Method != method:
		return asked{}, &vaultError{status: http.StatusMethodNotAllowed, code: "MethodNotAllowed", text: "The emulated Key Vault can only be read, and sign."}
	case !validName(a.name):
		return asked{}, badParameter("The request URI contains an invalid name: " + a.name)
	case r.URL.Query().Get("api-version") == "":
		return asked{}, badParameter("The api-version query parameter is missing.")
	}
	return a, nil
}

// answer is the body of what was asked for.
func (v *Vault) answer(who *bearer, a asked, r *http.Request) ([]byte, *vaultError) {
	switch a.action {
	case getKey, listKey:
		return v.readKey(who, a)
	case signWithKey:
		return v.sign(who, a, r)
	}
	return v.read(who, a)
}

// read is the answer about a secret. Nothing is told about a name that the client may not read.
//
// Who may not read a name gets the same 403 whether it exists or not.
func (v *Vault) read(who *bearer, a asked) ([]byte, *vaultError) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !v.readers.allow(who.clientID, a.name) {
		return nil, v.forbidden(who, a)
	}
	found := v.find(a.name, a.version)
	switch {
	case found == nil:
		return nil, notFound(a)
	case !found.enabled:
		return nil, &vaultError{status: http.StatusForbidden, code: "Forbidden", inner: "SecretDisabled",
			text: "Operation get is not allowed on a disabled secret."}
	}
	return found.body, nil
}

func notFound(a asked) *vaultError {
	code, kind := "SecretNotFound", "secret"
	if a.kind == "keys" {
		code, kind = "KeyNotFound", "key"
	}
	return &vaultError{status: http.StatusNotFound, code: code, text: "A " + kind + " with (name/id) " +
		strings.TrimSuffix(a.name+"/"+a.version, "/") + " was not found in this key vault. If you recently deleted this " + kind +
		" you may be able to recover it using the correct recovery command."}
}

// The text is as talkative as the service's: what it names must not come through to a pipeline.
func (v *Vault) forbidden(who *bearer, a asked) *vaultError {
	alias, _, _ := strings.Cut(v.host, ".")
	kind := cmp.Or(a.kind, "secrets")
	text := fmt.Sprintf("Caller is not authorized to perform action on resource.\r\n"+
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: appid=%s;oid=%s;iss=%s\r\nAction: 'Microsoft.KeyVault/vaults/%s/%s'\r\n"+
		"Resource: '/subscriptions/%s/resourcegroups/emulator/providers/microsoft.keyvault/vaults/%s/%s/%s'\r\n"+
		"Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\nVault: %s;location=emulator\r\n",
		who.clientID, who.objectID, who.issuer, kind, a.action, derivedID(v.tenant), alias, kind, strings.ToLower(a.name), alias)
	return &vaultError{status: http.StatusForbidden, code: "Forbidden", inner: "ForbiddenByRbac", text: text}
}

// writeVaultError writes the body that every error of Key Vault has.
func writeVaultError(w http.ResponseWriter, failed *vaultError) {
	body := map[string]any{"code": failed.code, "message": failed.text}
	if failed.inner != "" {
		body["innererror"] = map[string]string{"code": failed.inner}
	}
	writeJSON(w, failed.status, map[string]any{"error": body})
}
