package emulator

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// refusal is an answer of Entra that is no token.
// name is OAuth's error (RFC 6749), text the description without its AADSTS code and trailer. text may have %s to fill.
type refusal struct {
	code   int // AADSTS
	status int // HTTP
	name   string
	text   string
}

// refuse makes the refusal of that code, its text filled in with the arguments. The codes and their causes are those of
// Microsoft's "Microsoft Entra authentication and authorization error codes"; one that is not listed gets a plain text.
func refuse(code int, args ...any) *refusal {
	r := listed(code)
	r.code = code
	if len(args) > 0 {
		r.text = fmt.Sprintf(r.text, args...)
	}
	r.text = strings.ReplaceAll(r.text, "%s", "(emulated)") // a fault refuses without knowing of whom
	return &r
}

func badRequest(name, text string) refusal {
	return refusal{status: http.StatusBadRequest, name: name, text: text}
}

// badClient blames the credential (401), badRequest what was asked for (400).
func badClient(text string) refusal {
	return refusal{status: http.StatusUnauthorized, name: "invalid_client", text: text}
}

// The texts are close to the service's, but no client may rely on them.
func listed(code int) refusal {
	switch code {
	case 50027:
		return badRequest("invalid_request", "JWT token is invalid or malformed.")
	case 50049:
		return badRequest("invalid_instance", "Unknown or invalid instance.")
	case 53003:
		return badRequest("invalid_grant", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.")
	case 70003:
		return badRequest("unsupported_grant_type", "The app requested an unsupported grant type '%s'.")
	case 70011:
		return badRequest("invalid_scope", "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid.")
	case 70023:
		return badClient("The lifetime of the external identity token is longer than 25 hours.")
	case 70025:
		return badClient("The client '%s' has no configured federated identity credentials.")
	case 90002:
		return badRequest("invalid_request", "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.")
	case 90033:
		return refusal{status: http.StatusServiceUnavailable, name: "temporarily_unavailable", text: "A transient error has occurred. Please try again."}
	case 90061:
		return badRequest("invalid_request", "Request to External OIDC endpoint failed.")
	case 500011:
		return badRequest("invalid_resource", "The resource principal named %s was not found in the tenant named %s.")
	case 700016:
		return badRequest("unauthorized_client", "Application with identifier '%s' was not found in the directory '%s'.")
	case 1002012:
		return badRequest("invalid_scope", "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.")
	}
	return listedClient(code)
}

// listedClient has the codes that blame the client's credential.
func listedClient(code int) refusal {
	const advice = " Check your federated identity credential Subject, Audience and Issuer against the presented assertion."
	switch code {
	case 700024:
		return badClient("Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.")
	case 700027:
		return badClient("Client assertion failed signature validation.")
	case 700211:
		return badClient("No matching federated identity record found for presented assertion issuer '%s'." + advice)
	case 700212:
		return badClient("No matching federated identity record found for presented assertion audience '%s'." + advice)
	case 700213:
		return badClient("No matching federated identity record found for presented assertion subject '%s'." + advice)
	case 7002138:
		return badClient("No matching federated identity record found for presented assertion subject '%s'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison.")
	case 7000215:
		return badClient("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.")
	case 7000218:
		return badClient("The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case 7000272:
		return badClient("The key with identifier '%s' was not found among the keys of the assertion's issuer.")
	}
	return badRequest("invalid_request", "The request was refused.")
}

// answerRefusal writes the body that Entra's token endpoint has for every error.
func (e *Emulator) answerRefusal(w http.ResponseWriter, r *http.Request, refused *refusal) {
	trace, correlation := newID(), cmp.Or(r.Header.Get("client-request-id"), newID())
	stamp := e.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, refused.status, map[string]any{
		"error": refused.name,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			refused.code, refused.text, trace, correlation, stamp),
		"error_codes":    []int{refused.code},
		"timestamp":      stamp,
		"trace_id":       trace,
		"correlation_id": correlation,
		"error_uri":      fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", refused.code),
	})
}

// instant is a time as Entra's texts have it.
func instant(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
