package entra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/drone-entra/drone-entra/secret"
)

// errHidden stands for a failure that the SDK did not report.
var errHidden = errors.New("the SDK hid the failure")

// classify turns what went wrong into an *secret.Error. The SDK's text is never used: it holds response bodies.
//
// The best witness comes first: our own assertion's error, then Entra's answer, then what the transport saw, then the
// clock. Through azidentity's error, errors.Is finds neither a deadline nor a missing file, so the trace has to know.
func (i *Identity) classify(ctx context.Context, err error, t *trace) *secret.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	failed, _ := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch {
	case t.assertion != nil:
		failure := *t.assertion // which others may hold
		failure.Detail = fmt.Sprintf("%s: %s", i, failure.Detail)
		return &failure
	case failed != nil && failed.RawResponse != nil:
		failure := i.answered(failed.RawResponse.StatusCode, codeOf(failed.RawResponse))
		// Where each repository is an application of its own, one that asks too much must not close the door for all.
		if i.options.Subjects == nil {
			failure.Pause = secret.ParsePause(failed.RawResponse.Header.Get, i.options.Now())
		}
		return failure
	case t.transport != nil:
		return i.unreached(t.transport)
	case t.status >= 300:
		return i.answered(t.status, 0)
	case ctx.Err() != nil:
		return i.unreached(ctx.Err())
	}
	return secret.Fail(secret.Garbled, secret.ReasonGarbled,
		fmt.Sprintf("%s: %s answered what is no token: is there a proxy in between?", i, i.who()))
}

// Authority names whom the identity asks for tokens: a host, or the machine's identity endpoint.
func (i *Identity) Authority() string { return i.who() }

// who names the other side.
func (i *Identity) who() string {
	if i.options.Managed {
		return "the machine's identity endpoint"
	}
	return authority(i.cloud)
}

// answered explains a status other than 200.
// code is the AADSTS code, or 0.
//
// A refusal of Entra's is Unavailable, not Denied: the policy has said yes, and it is the operator who has to act.
func (i *Identity) answered(status, code int) *secret.Error {
	fail := func(k secret.Kind, r secret.Reason, remedy string) *secret.Error {
		what := strconv.Itoa(status)
		if code != 0 {
			what += ", AADSTS" + strconv.Itoa(code)
		}
		return secret.Fail(k, r, fmt.Sprintf("%s: %s answered %s: %s", i, i.who(), what, remedy))
	}
	switch {
	case status == http.StatusTooManyRequests:
		return fail(secret.Unavailable, secret.ReasonThrottled, "too many exchanges; it is asked again with the next request")
	case status >= 500, status == http.StatusRequestTimeout:
		return fail(secret.Unavailable, secret.ReasonUnavailable, "it is down; it is asked again with the next request")
	// Redirects come here, since the client hands them through instead of following them.
	case status < 400:
		return fail(secret.Garbled, secret.ReasonGarbled, "that is neither a token nor a refusal, and no redirect is followed: is there a proxy in between?")
	case code != 0:
		return fail(secret.Unavailable, secret.ReasonIdentity, remedy(code))
	case i.options.Managed:
		return fail(secret.Unavailable, secret.ReasonIdentity, "assign the managed identity to this machine, and compare client_id with it")
	}
	return fail(secret.Unavailable, secret.ReasonIdentity, "a refusal without an AADSTS code: is there a proxy in between?")
}

// unreached explains why there was no answer.
func (i *Identity) unreached(err error) *secret.Error {
	kind, reason, what := unanswered(err)
	if i.options.Managed && (reason == secret.ReasonNetwork || reason == secret.ReasonTimeout) && !errors.As(err, new(*secret.ProxyError)) {
		what, _, _ = strings.Cut(what, ": ") // the rest is a remedy for the way to Entra
		what += ": look whether this is a machine in Azure, as there are managed identities nowhere else, and whether a network policy blocks 169.254.169.254"
	}
	return secret.Fail(kind, reason, fmt.Sprintf("%s: %s: %s", i, i.who(), what))
}

// unanswered says what kept an answer from coming.
// The fence and the bounds of an answer are asked first: they are errors of ours, inside whatever the SDK made of them.
// A name's look-up that timed out counts as a timeout, for which the remedy is the way out and not the name.
func unanswered(err error) (secret.Kind, secret.Reason, string) {
	var timeout net.Error
	var dns *net.DNSError
	var proxy *secret.ProxyError
	switch {
	case errors.Is(err, errFenced):
		return secret.Garbled, secret.ReasonGarbled, "its answer leads elsewhere, where no assertion goes"
	case errors.As(err, new(*http.MaxBytesError)):
		return secret.Garbled, secret.ReasonGarbled, "its answer has no end"
	case errors.Is(err, context.Canceled):
		return secret.Unavailable, secret.ReasonUnavailable, "the configuration that this request came under is closed"
	case errors.As(err, &proxy):
		return secret.Unavailable, proxy.Reason, proxy.Error()
	case errors.As(err, &dns) && !dns.IsTimeout:
		return secret.Unavailable, secret.ReasonNetwork, "its name can't be resolved: look at the DNS and at egress rules"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return secret.Unavailable, secret.ReasonTimeout, "no answer in time: look at egress rules and at the proxy"
	case impostor(err):
		return secret.Unavailable, secret.ReasonIdentity, "its certificate does not prove that it is who it should be: " +
			"look for a proxy that opens TLS, at the machine's roots and at its clock"
	case errors.Is(err, syscall.ECONNREFUSED):
		return secret.Unavailable, secret.ReasonNetwork, "connection refused: look at egress rules and at the proxy"
	}
	return secret.Unavailable, secret.ReasonNetwork, "the connection broke"
}

// impostor tells whether the other side failed to prove who it is.
// The last of them is an answer that is no TLS at all, as a proxy's page in plain HTTP is.
func impostor(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError)) || errors.As(err, new(tls.RecordHeaderError))
}

var describedCode = regexp.MustCompile(`AADSTS([0-9]{4,8})\b`)

// codeOf finds the AADSTS code in an answer; 0 if there is none. Codes are documented to change, so they explain and
// never decide.
//
// {"error_codes":[700213],"error_description":"AADSTS700213: …"} gives 700213; without the list it is taken from the
// description. The body can be read again, as the SDK keeps it.
func codeOf(resp *http.Response) int {
	body, err := runtime.Payload(resp)
	if err != nil {
		return 0
	}
	var answer struct {
		Codes       []int  `json:"error_codes"`
		Description string `json:"error_description"`
	}
	// A body of another shape leaves what could be read.
	_ = json.Unmarshal(body, &answer)
	if len(answer.Codes) > 0 && answer.Codes[0] > 0 {
		return answer.Codes[0]
	}
	if m := describedCode.FindStringSubmatch(answer.Description); m != nil {
		code, _ := strconv.Atoi(m[1])
		return code
	}
	return 0
}
