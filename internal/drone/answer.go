package drone

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/drone-entra/drone-entra/secret"
)

// invalid is a request that HTTP or the protocol calls malformed; code is its HTTP status.
// It does not leave this package: a proven request's is put on record as an *secret.Error of kind Invalid, while the
// sender gets code and message from here.
type invalid struct {
	code    int
	message string // for the sender; never quotes the request
}

// Error returns the sender's text.
func (e *invalid) Error() string { return e.message }

func status(code int, message string) error { return &invalid{code, message} }

// statuses is the one table from kinds of failure to HTTP statuses. What policy denies, what no source has and what Key
// Vault refuses look the same from outside.
// They share status and body, but for the request's id: whoever may not read a secret must not learn whether it exists.
//
// A kind without a row is answered as Internal. drone-go's own handler answers with the error's text; through that, the
// tenant, the vault's address and pieces of Azure's answers would reach any pipeline.
var statuses = map[secret.Kind]struct {
	code    int
	message string
}{
	secret.Internal:    {http.StatusInternalServerError, "internal error"},
	secret.Invalid:     {http.StatusBadRequest, "malformed request"},
	secret.Unproven:    {http.StatusUnauthorized, "unproven request"},
	secret.Denied:      {http.StatusNotFound, "not available"},
	secret.NotFound:    {http.StatusNotFound, "not available"},
	secret.Busy:        {http.StatusTooManyRequests, "too many requests"},
	secret.Garbled:     {http.StatusBadGateway, "the source answered nonsense"},
	secret.Unavailable: {http.StatusServiceUnavailable, "unavailable"},
	secret.Late:        {http.StatusGatewayTimeout, "no answer in time"},
}

// refuse writes an error: `{"message":…,"request":…}`, never a cause. The reason is in the record.
func (x *exchange) refuse(err error) {
	failure, known := statuses[secret.AsError(err).Kind]
	if !known {
		failure = statuses[secret.Internal]
	}
	code, message := failure.code, failure.message
	if e, ok := errors.AsType[*invalid](err); ok {
		code, message = e.code, e.message
	}
	h := x.w.Header()
	switch code {
	case http.StatusUnauthorized: // RFC 9110 asks for a challenge; the names are draft-cavage's
		h.Set("WWW-Authenticate", `Signature realm="drone-entra",headers="accept accept-encoding content-type date digest"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		// In seconds. No runner asks again, but whatever else speaks this protocol may.
		h.Set("Retry-After", "1")
	}
	if !x.read || code == http.StatusUnauthorized {
		h.Set("Connection", "close") // else net/http waits for the rest of a body that nobody has proven
	}
	body := append([]byte(`{"message":`), quote(message)...)
	body = append(body, `,"request":`...)
	body = append(body, quote(x.caller.ID)...)
	x.write(code, "application/json", append(body, "}\n"...))
}

// release writes a 200. A runner decrypts `aesgcm` even though it did not ask for it, so every answer can be encrypted.
// Without encryption the value would be in clear for every proxy that ends TLS between us and the runner. The answer's
// own encoding is no content negotiation: Accept-Encoding says "identity" in every request, and is not asked.
func (x *exchange) release(data []byte) {
	if !x.encrypt {
		x.write(http.StatusOK, "application/json", data)
		return
	}
	x.w.Header().Set("Content-Encoding", "aesgcm")
	x.write(http.StatusOK, "application/octet-stream", x.proof.key.seal(data))
}

// write sends a whole answer at once. Its length lets a client tell it from one that broke off; no-store keeps values
// out of the caches in between, and nosniff keeps a browser from making a page of it.
func (x *exchange) write(code int, media string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(code)
	_, _ = x.w.Write(body) // the caller may be gone; the record says "released" as "may have left"
}

// quote writes a JSON string. The error is dropped with its cause: only invalid UTF-8, which jsontext mends.
func quote(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}
