package drone

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// signature is a parsed Signature header (draft-cavage-http-signatures).
type signature struct {
	mac     []byte
	headers []string
}

// maxSigned bounds the list of signed headers, so that a stranger's long one costs nothing; drone-go signs five.
const maxSigned = 32

// readSignature takes the one signature of a request and refuses whatever a sender could use to sign less than all:
// another algorithm, a shorter list of headers, a parameter twice.
// What drone-go sends, since 1.4.1:
//
//	Signature: keyId="hmac-key",algorithm="hmac-sha256",signature="…",
//	  headers="accept accept-encoding content-type date digest"
//
// More headers may be signed than these five, but not fewer. Without accept, a signature for another kind of extension
// under the same key would pass; without digest, one captured head would fetch any secret.
func readSignature(h http.Header) (signature, *secret.Error) {
	parameters, failure := parameters(h)
	if failure != nil {
		return signature{}, failure
	}
	if parameters["keyId"] == "" || parameters["signature"] == "" {
		return signature{}, unproven(secret.ReasonSignature, "the signature lacks keyId or signature")
	}
	if parameters["algorithm"] != "hmac-sha256" {
		return signature{}, unproven(secret.ReasonAlgorithm, "the signature's algorithm is not hmac-sha256")
	}
	mac, err := base64.StdEncoding.Strict().DecodeString(parameters["signature"])
	if err != nil || len(mac) != sha256.Size {
		return signature{}, unproven(secret.ReasonSignature, "the signature is no SHA-256 MAC in base64")
	}
	headers := strings.Split(parameters["headers"], " ")
	if len(headers) > maxSigned {
		return signature{}, unproven(secret.ReasonHeaders, "the signature's list of headers is too long")
	}
	for i, name := range headers {
		if name == "" || slices.Contains(headers[:i], name) {
			return signature{}, unproven(secret.ReasonHeaders, "the signature's list of headers has a gap or one of them twice")
		}
	}
	for _, name := range signedHeaders {
		if !slices.Contains(headers, name) {
			return signature{}, unproven(secret.ReasonHeaders, "the signature does not cover "+name)
		}
	}
	return signature{mac, headers}, nil
}

// parameters reads name="value" pairs, each name once.
//
// At the start of each turn, rest begins where a parameter must stand, and found has all those before it. A backslash
// escapes nothing here: a value ends at its first quote.
func parameters(h http.Header) (map[string]string, *secret.Error) {
	text, failure := signatureText(h)
	if failure != nil {
		return nil, failure
	}
	found := make(map[string]string, 4)
	for rest := text; ; {
		name, after, ok := strings.Cut(rest, `="`)
		value, after, closed := strings.Cut(after, `"`)
		name = strings.TrimLeft(name, " ")
		if _, twice := found[name]; !ok || !closed || twice || name == "" {
			return nil, unproven(secret.ReasonSignature, "the signature can't be read: a parameter is broken or there twice")
		}
		found[name] = value
		if after == "" {
			return found, nil
		}
		if rest, ok = strings.CutPrefix(after, ","); !ok {
			return nil, unproven(secret.ReasonSignature, "the signature can't be read: its parameters are not parted by commas")
		}
	}
}

// signatureText finds the signature in `Signature:` or in `Authorization: Signature …`, and refuses both at once.
// Another Authorization, such as a proxy's Basic, is not ours and is left alone.
func signatureText(h http.Header) (string, *secret.Error) {
	values := slices.Clone(h["Signature"])
	for _, v := range h["Authorization"] {
		scheme, text, _ := strings.Cut(v, " ")
		if strings.ToLower(scheme) == "signature" {
			values = append(values, text)
		}
	}
	switch len(values) {
	case 1:
		return values[0], nil
	case 0:
		return "", unproven(secret.ReasonSignature, "there is no signature")
	}
	return "", unproven(secret.ReasonSignature, "there are several signatures")
}

// signed rebuilds the text that was signed: a line `name: value` for each header of the list. A header that is there
// several times could be read in several ways, so it is refused.
// For a runner's request it is
//
//	accept: application/vnd.drone.secret.v1+json
//	accept-encoding: identity
//	content-type: application/json
//	date: Fri, 06 Nov 2026 10:00:00 GMT
//	digest: SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//
// without a newline at its end.
func (s *signature) signed(r *http.Request) ([]byte, *secret.Error) {
	text := make([]byte, 0, 320)
	for i, name := range s.headers {
		if i > 0 {
			text = append(text, '\n')
		}
		value, failure := headerValue(r, name)
		if failure != nil {
			return nil, failure
		}
		text = append(text, name...)
		text = append(text, ": "...)
		text = append(text, value...)
	}
	return text, nil
}

// headerValue is what a name in the signed list stands for. draft-cavage writes (request-target) as the method in lower
// case, a blank, and path with query.
func headerValue(r *http.Request, name string) (string, *secret.Error) {
	switch name {
	case "(request-target)":
		return strings.ToLower(r.Method) + " " + r.URL.RequestURI(), nil
	case "host": // net/http keeps it apart
		return r.Host, nil
	}
	return single(r.Header, http.CanonicalHeaderKey(name), secret.ReasonHeaders)
}
