package keyvault

import (
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
// quoting anything, and the value is as stored.
//
// For example "aGk=" of type "text/plain;base64" becomes "hi", "aGk=" without a type stays "aGk=", and "***" of that
// type stays "***" with a flaw. As in a data URL (RFC 2397), base64 counts as the last parameter only.
func content(value, contentType string) (made []byte, form secret.Form, flaw string) {
	media, parameters, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch strings.TrimSpace(media) {
	case typePKCS12:
		made, flaw = unpack(value)
		if made == nil {
			return []byte(value), secret.FormText, flaw
		}
		return made, secret.FormPKCS12, flaw
	case typePEM:
		form = secret.FormPEM
	}
	marks := strings.Split(parameters, ";")
	if strings.TrimSpace(marks[len(marks)-1]) != "base64" {
		return []byte(value), form, ""
	}
	made, ok := decode(value)
	switch {
	case !ok:
		flaw = "its content type says base64, and it isn't"
	case len(made) == 0 || !utf8.Valid(made) || slices.Contains(made, 0):
		flaw = "what it holds in base64 is no text, and only text can be a secret in Drone: take base64 off its content type to have it as it is stored"
	default:
		return made, form, ""
	}
	return []byte(value), form, flaw
}

// decode reads base64, with or without padding. It passes over blanks, which are what the portal makes of line breaks.
// Padding is neither needed nor checked: people lose it when they copy.
func decode(text string) (data []byte, ok bool) {
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	data, err := base64.RawStdEncoding.DecodeString(text)
	return data, err == nil
}
