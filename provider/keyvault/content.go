package keyvault

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/secret"
)

// The content types that Key Vault gives to the secret behind a certificate.
const (
	typePEM    = "application/x-pem-file"
	typePKCS12 = "application/x-pkcs12"
)

// content makes of a value what its content type says it is: PEM of a PKCS#12, text of base64 that is marked as in a data
// URL ("text/plain;base64"). Whatever else it says, the value stays as stored. If it can't, the flaw says why, without
// quoting anything, and the value is as stored. It owns the value: either it is what is made, or it is cleared.
//
// For example "aGk=" of type "text/plain;base64" becomes "hi", "aGk=" without a type stays "aGk=", and "***" of that
// type stays "***" with a flaw. As in a data URL (RFC 2397), base64 counts as the last parameter only.
func content(value []byte, contentType string) (made []byte, form secret.Form, flaw string) {
	media, parameters, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch strings.TrimSpace(media) {
	case typePKCS12:
		made, flaw = unpack(value)
		if made == nil {
			return value, secret.FormText, flaw
		}
		clear(value)
		return made, secret.FormPKCS12, flaw
	case typePEM:
		form = secret.FormPEM
	}
	marks := strings.Split(parameters, ";")
	if strings.TrimSpace(marks[len(marks)-1]) != "base64" {
		return value, form, ""
	}
	made, ok := decode(value)
	switch {
	case !ok:
		flaw = "its content type says base64, and it isn't"
	case len(made) == 0 || !utf8.Valid(made) || slices.Contains(made, 0):
		flaw = "what it holds in base64 is no text, and only text can be a secret in Drone: take base64 off its content type to have it as it is stored"
	default:
		clear(value)
		return made, form, ""
	}
	clear(made)
	return value, form, flaw
}

// decode reads base64, with or without padding. It passes over blanks, which are what the portal makes of line breaks.
// Padding is neither needed nor checked: people lose it when they copy. The data is a copy; text stays as it is.
func decode(text []byte) (data []byte, ok bool) {
	packed := make([]byte, 0, len(text))
	for field := range bytes.FieldsSeq(text) {
		packed = append(packed, field...)
	}
	defer clear(packed)
	digits := bytes.TrimRight(packed, "=")
	data = make([]byte, base64.RawStdEncoding.DecodedLen(len(digits)))
	n, err := base64.RawStdEncoding.Decode(data, digits)
	if err != nil {
		clear(data)
		return nil, false
	}
	return data[:n], true
}
