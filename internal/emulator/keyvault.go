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
	name, versionID, failed := target(r)
	if failed != nil {
		writeVaultError(w, failed)
		return
	}
	body, failed := v.read(who, name, versionID)
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

// target reads a secret's name and version out of /secrets/{name} or /secrets/{name}/{version}.
func target(r *http.Request) (name, versionID string, failed *vaultError) {
	// RawPath is set where an escaped slash would otherwise pass for a real one; no name has a percent sign.
	rest, found := strings.CutPrefix(cmp.Or(r.URL.RawPath, r.URL.Path), "/secrets/")
	name, versionID, _ = strings.Cut(rest, "/")
	switch {
	case !found || strings.Contains(versionID, "/"):
		return "", "", &vaultError{status: http.StatusNotFound, code: "NotFound", text: "The requested operation is not part of the emulated Key Vault."}
	case r.Method != http.MethodGet:
		return "", "", &vaultError{status: http.StatusMethodNotAllowed, code: "MethodNotAllowed", text: "The emulated Key Vault can only be read."}
	case !validName(name):
		return "", "", &vaultError{status: http.StatusBadRequest, code: "BadParameter", text: "The request URI contains an invalid name: " + name}
	case r.URL.Query().Get("api-version") == "":
		return "", "", &vaultError{status: http.StatusBadRequest, code: "BadParameter", text: "The api-version query parameter is missing."}
	}
	return name, versionID, nil
}

// read is the answer's body. Nothing is told about a name that the client may not read.
//
// Who may not read a name gets the same 403 whether it exists or not.
func (v *Vault) read(who *bearer, name, versionID string) ([]byte, *vaultError) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !v.allowed(who.clientID, strings.ToLower(name)) {
		return nil, v.forbidden(who, name)
	}
	found := v.find(name, versionID)
	switch {
	case found == nil:
		return nil, notFound(strings.TrimSuffix(name+"/"+versionID, "/"))
	case !found.enabled:
		return nil, &vaultError{status: http.StatusForbidden, code: "Forbidden", inner: "SecretDisabled",
			text: "Operation get is not allowed on a disabled secret."}
	}
	return found.body, nil
}

func notFound(name string) *vaultError {
	return &vaultError{status: http.StatusNotFound, code: "SecretNotFound", text: "A secret with (name/id) " + name +
		" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command."}
}

// The text is as talkative as the service's: what it names must not come through to a pipeline.
func (v *Vault) forbidden(who *bearer, name string) *vaultError {
	alias, _, _ := strings.Cut(v.host, ".")
	text := fmt.Sprintf("Caller is not authorized to perform action on resource.\r\n"+
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: appid=%s;oid=%s;iss=%s\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n"+
		"Resource: '/subscriptions/%s/resourcegroups/emulator/providers/microsoft.keyvault/vaults/%s/secrets/%s'\r\n"+
		"Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\nVault: %s;location=emulator\r\n",
		who.clientID, who.objectID, who.issuer, derivedID(v.tenant), alias, strings.ToLower(name), alias)
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
