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
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/drone-entra/drone-entra/secret"
)

// wording is what errors say of secrets, or of keys, and what refusals of them count as.
type wording struct {
	noun   string
	role   string // what to give to whom ForbiddenByRbac refuses
	right  string // the same for an access policy
	absent string // the remedy for a 404

	refused, disabled secret.Kind
}

// ofSecrets lets a refusal of ours to Key Vault count as NotFound, with a reason of its own on record: a pipeline must not
// be able to tell a secret that exists from one that does not by how Key Vault refuses it.
func ofSecrets() wording {
	return wording{
		noun: "secret", refused: secret.NotFound, disabled: secret.Denied,
		role:   "has no role that reads this secret: give it Key Vault Secrets User, on the vault or under a condition",
		right:  "get secrets",
		absent: "there is no such secret, or it was deleted",
	}
}

// ofKeys lets every refusal count as Unavailable: no pipeline asks for a key, and it is the operator who has to act.
func ofKeys() wording {
	return wording{
		noun: "key", refused: secret.Unavailable, disabled: secret.Unavailable,
		role:   "has no role that uses this key: give it Key Vault Crypto User, on the key or on the vault",
		right:  "get and list keys and sign with them",
		absent: "there is no such key or no such version of it, or it was deleted: recover it, or name another one in the configuration",
	}
}

// thing is one secret, or one key, as errors speak of it.
type thing struct {
	wording
	name   string // pay-prod/deploy-db, key sign/issuer@3f2a
	pinned bool   // asked for in a certain version
}

// secretAt leaves out the key in the secret: Key Vault knows nothing of it, and the failure is the whole secret's.
func secretAt(ref secret.Ref) thing {
	ref.Key = ""
	return thing{wording: ofSecrets(), name: ref.String(), pinned: ref.Version != ""}
}

// fail makes an error about one secret.
func (v *Vault) fail(ref secret.Ref, k secret.Kind, r secret.Reason, what string) *secret.Error {
	return v.failOf(secretAt(ref), k, r, what)
}

func (v *Vault) failOf(t thing, k secret.Kind, r secret.Reason, what string) *secret.Error {
	return secret.Fail(k, r, fmt.Sprintf("%s (%s): %s", t.name, v.host, what))
}

// classify turns what the SDK returned into an *secret.Error, and tells the identity of a token that was not taken. The subject
// is whose token was shown. The SDK's text is never used: it holds answers.
func (v *Vault) classify(ctx context.Context, subject string, t thing, err error) *secret.Error {
	// It is copied before it is changed: all who waited for the same exchange hold the same error.
	if e, ok := errors.AsType[*secret.Error](err); ok { // the credential's, or the guard's
		failure := *e
		failure.Identity = true
		return &failure
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		if answer.StatusCode == http.StatusUnauthorized {
			v.identity.Refused(subject, v.scope)
		}
		failure := v.answered(t, answer)
		if answer.RawResponse != nil {
			failure.Pause = secret.ParsePause(answer.RawResponse.Header.Get, time.Now())
		}
		return failure
	}
	if ctx.Err() != nil {
		return v.failOf(t, secret.Late, secret.ReasonTimeout, "no answer within the request's time")
	}
	kind, reason, what := unreached(err, maxTries)
	return v.failOf(t, kind, reason, what)
}

// answered explains a status other than 200.
func (v *Vault) answered(t thing, answer *azcore.ResponseError) *secret.Error {
	code := codeOf(answer.RawResponse)
	who := fmt.Sprintf("identity %s", v.identity.Name())
	switch status := answer.StatusCode; {
	case status == http.StatusForbidden && (code == "SecretDisabled" || code == "KeyDisabled"):
		return v.failOf(t, t.disabled, secret.ReasonDisabled, fmt.Sprintf("the %s is disabled: enable it in Key Vault", t.noun))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return v.failOf(t, t.refused, secret.ReasonVaultRefused, fmt.Sprintf("%d %s: %s", status, code, t.refusal(code, who)))
	case status == http.StatusNotFound:
		return v.failOf(t, t.refused, secret.ReasonNotFound, fmt.Sprintf("404 %s: %s", code, t.absent))
	// A secret's version is text of the pipeline's; one that Key Vault can't read is one that there is not.
	case status == http.StatusBadRequest && t.pinned:
		return v.failOf(t, t.refused, secret.ReasonNotFound, fmt.Sprintf("400 %s: there can be no such version", code))
	case status == http.StatusTooManyRequests:
		return v.failOf(t, secret.Unavailable, secret.ReasonThrottled, "429: the vault is asked for too much, by us or by others")
	case status == http.StatusRequestTimeout:
		return v.failOf(t, secret.Late, secret.ReasonTimeout, "408: the vault gave up")
	case status >= 500:
		return v.failOf(t, secret.Unavailable, secret.ReasonUnavailable, fmt.Sprintf("%d %s: the vault is down", status, code))
	default:
		return v.failOf(t, secret.Garbled, secret.ReasonGarbled,
			fmt.Sprintf("%d %s: not an answer of Key Vault's to this question, and no redirect is followed: is there a proxy in between?", status, code))
	}
}

// refusal says what a code of a 401 or a 403 means, and what to do.
// The codes are Key Vault's inner ones where it gives any. who is the identity, as the text names it.
func (w wording) refusal(code, who string) string {
	switch code {
	case "ForbiddenByRbac":
		return who + " " + w.role + "; a new assignment takes some minutes"
	case "ForbiddenByPolicy", "AccessDenied":
		return "the vault's access policy does not let " + who + " " + w.right + ": add it there"
	case "ForbiddenByFirewall", "ForbiddenByConnection":
		return "the vault's firewall refuses this machine's address: allow it, or use a private link"
	case "KeyOperationForbidden":
		return "the key's own list of operations leaves this one out: add it to the key, or name another one in the configuration"
	case "Unauthorized":
		return "the vault does not accept the token of " + who + ": compare the vault's tenant with the identity's"
	case "":
		return "a refusal without a code of Key Vault's: is there a proxy in between?"
	}
	return who + " was refused"
}

// unreached explains why there was no answer that could be read, after so many tries.
func unreached(err error, tries int) (secret.Kind, secret.Reason, string) {
	var timeout net.Error
	var dns *net.DNSError
	var proxy *secret.ProxyError
	switch {
	case errors.As(err, &proxy):
		if proxy.Reason == secret.ReasonTimeout {
			return secret.Late, proxy.Reason, proxy.Error()
		}
		return secret.Unavailable, proxy.Reason, proxy.Error()
	case errors.As(err, new(*http.MaxBytesError)):
		return secret.Garbled, secret.ReasonGarbled, "its answer has no end"
	case errors.As(err, &dns) && !dns.IsTimeout:
		return secret.Unavailable, secret.ReasonNetwork, "its name can't be resolved: compare the vault's url, and look at the DNS and the private link"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		what := fmt.Sprintf("no answer within %s", tryLimit)
		if tries > 1 {
			what += fmt.Sprintf(", %d times", tries)
		}
		return secret.Late, secret.ReasonTimeout, what
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
