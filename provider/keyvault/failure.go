package keyvault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/drone-entra/drone-entra/secret"
)

// fail makes an error about one secret.
// The key in the secret is left out: Key Vault knows nothing of it, and the failure is the whole secret's.
func (v *Vault) fail(ref secret.Ref, k secret.Kind, r secret.Reason, what string) *secret.Error {
	ref.Key = ""
	return secret.Fail(k, r, fmt.Sprintf("%s (%s): %s", ref, v.host, what))
}

// classify turns what the SDK returned into an *secret.Error. The SDK's text is never used: it holds answers.
func (v *Vault) classify(ctx context.Context, ref secret.Ref, err error) *secret.Error {
	// It is copied before it is changed: all who waited for the same exchange hold the same error.
	if e, ok := errors.AsType[*secret.Error](err); ok { // the credential's, or the guard's
		failure := *e
		failure.Identity = true
		return &failure
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		failure := v.answered(ref, answer)
		failure.Pause = pauseOf(answer.RawResponse)
		return failure
	}
	if ctx.Err() != nil {
		return v.fail(ref, secret.Late, secret.ReasonTimeout, "no answer within the request's time")
	}
	kind, reason, what := unreached(err)
	return v.fail(ref, kind, reason, what)
}

// answered explains a status other than 200.
//
// A refusal of ours to Key Vault counts as NotFound, with a reason of its own on record: a pipeline must not be able to
// tell a secret that exists from one that does not by how Key Vault refuses it.
func (v *Vault) answered(ref secret.Ref, answer *azcore.ResponseError) *secret.Error {
	code := codeOf(answer.RawResponse)
	who := fmt.Sprintf("identity %s", v.identity.Name())
	switch status := answer.StatusCode; {
	case status == http.StatusForbidden && code == "SecretDisabled":
		return v.fail(ref, secret.Denied, secret.ReasonDisabled, "the secret is disabled: enable it in Key Vault")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return v.fail(ref, secret.NotFound, secret.ReasonVaultRefused, fmt.Sprintf("%d %s: %s", status, code, refusal(code, who)))
	case status == http.StatusNotFound:
		return v.fail(ref, secret.NotFound, secret.ReasonNotFound, fmt.Sprintf("404 %s: there is no such secret, or it was deleted", code))
	// A version is text of the pipeline's; one that Key Vault can't read is one that there is not.
	case status == http.StatusBadRequest && ref.Version != "":
		return v.fail(ref, secret.NotFound, secret.ReasonNotFound, fmt.Sprintf("400 %s: there can be no such version", code))
	case status == http.StatusTooManyRequests:
		return v.fail(ref, secret.Unavailable, secret.ReasonThrottled, "429: the vault is asked for too much, by us or by others")
	case status == http.StatusRequestTimeout:
		return v.fail(ref, secret.Late, secret.ReasonTimeout, "408: the vault gave up")
	case status >= 500:
		return v.fail(ref, secret.Unavailable, secret.ReasonUnavailable, fmt.Sprintf("%d %s: the vault is down", status, code))
	default:
		return v.fail(ref, secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("%d %s: not an answer of Key Vault's to this question, and no redirect is followed: is there a proxy in between?", status, code))
	}
}

// refusal says what a code of a 401 or a 403 means, and what to do.
// The codes are Key Vault's inner ones where it gives any. who is the identity, as the text names it.
func refusal(code, who string) string {
	switch code {
	case "ForbiddenByRbac":
		return who + " has no role that reads this secret: give it Key Vault Secrets User, on the vault or under a condition; a new assignment takes some minutes"
	case "ForbiddenByPolicy", "AccessDenied":
		return "the vault's access policy does not let " + who + " get secrets: add it there"
	case "ForbiddenByFirewall", "ForbiddenByConnection":
		return "the vault's firewall refuses this machine's address: allow it, or use a private link"
	case "Unauthorized":
		return "the vault does not accept the token of " + who + ": compare the vault's tenant with the identity's"
	case "":
		return "a refusal without a code of Key Vault's: is there a proxy in between?"
	}
	return who + " was refused"
}

// unreached explains why there was no answer that could be read.
func unreached(err error) (secret.Kind, secret.Reason, string) {
	var timeout net.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return secret.Garbled, secret.ReasonGarbled, "its answer has no end"
	case errors.As(err, &dns) && !dns.IsTimeout:
		return secret.Unavailable, secret.ReasonNetwork, "its name can't be resolved: compare the vault's url, and look at the DNS and the private link"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return secret.Late, secret.ReasonTimeout, fmt.Sprintf("no answer within %s, %d times", tryLimit, maxTries)
	case impostor(err):
		return secret.Unavailable, secret.ReasonIdentity, "its certificate does not prove that it is this vault: " +
			"look for a proxy that opens TLS, at the machine's roots and at its clock"
	case errors.Is(err, syscall.ECONNREFUSED):
		return secret.Unavailable, secret.ReasonNetwork, "connection refused: look at egress rules and at the proxy"
	case broken(err):
		return secret.Unavailable, secret.ReasonNetwork, "the connection broke"
	}
	return secret.Garbled, secret.ReasonGarbled, "its answer makes no sense: is there a proxy in between?"
}

// impostor tells whether the other side failed to prove who it is.
// The last of them is an answer that is no TLS at all, as a proxy's page in plain HTTP is.
func impostor(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError)) || errors.As(err, new(tls.RecordHeaderError))
}

// broken tells whether the network failed, before or amid the answer.
func broken(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*url.Error)) || errors.As(err, new(syscall.Errno)) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// codeOf finds Key Vault's code in an answer, the inner one if there is one; "" if there is none.
//
// {"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}} gives "ForbiddenByRbac". The SDK's ErrorCode
// has the outer one alone. The inner one's name is seen as innerError, too: encoding/json does not look at case. What
// is not plain is dropped, since codes go into errors and an answer may hold anything.
func codeOf(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	var answer struct {
		Error struct {
			Code  string `json:"code"`
			Inner struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	// A body of another shape leaves what could be read.
	_ = json.Unmarshal(body, &answer)
	for _, code := range []string{answer.Error.Inner.Code, answer.Error.Code} {
		if plain(code) {
			return code
		}
	}
	return ""
}
