package app

import (
	"strings"

	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// diagnose takes the text of an error apart: what went wrong, and what to do. prefixes are left off where the text begins
// with one of them, since the step says it already.
func diagnose(e *secret.Error, prefixes ...string) (cause, remedy string) {
	text := e.Detail
	if text == "" {
		text = e.Error()
	}
	for _, p := range prefixes {
		text = strings.TrimPrefix(text, p+": ")
	}
	// It stands behind the remedy: see Identity.exchange.
	text, subject, _ := cutLast(text, " (the assertion's subject is ")
	cause, remedy = split(text)
	if subject != "" {
		cause += ", for the subject " + strings.TrimSuffix(subject, ")")
	}
	if remedy == "" {
		remedy = usual(e.Reason)
	}
	if entra.Unfederated(entra.Code(cause)) {
		remedy += "; if the federated credential was made just now, Entra needs some minutes: wait, and ask again"
	}
	return cause, remedy
}

// split finds the remedy: the last clause behind a colon that says what to do, or behind a semicolon where there is none. Our errors
// begin it with a verb or a question; what begins with another word belongs to the cause, or to the remedy itself.
func split(text string) (cause, remedy string) {
	for _, sep := range []string{": ", "; "} {
		for end := len(text); ; {
			at := strings.LastIndex(text[:end], sep)
			if at < 0 {
				break
			}
			if rest := text[at+len(sep):]; advises(rest) {
				return text[:at], rest
			}
			end = at
		}
	}
	return text, ""
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if at := strings.LastIndex(s, sep); at >= 0 {
		return s[:at], s[at+len(sep):], true
	}
	return s, "", false
}

// advises tells whether a clause says what to do.
func advises(s string) bool {
	first, _, _ := strings.Cut(s, " ")
	switch first {
	case "add", "allow", "ask", "assign", "change", "compare", "copy", "correct", "delete", "did", "enable", "give", "is", "let", "list", "look", "lower",
		"make", "mount", "name", "publish", "raise", "recover", "remove", "rotate", "run", "say", "set", "stop", "unset", "use", "wait", "write":
		return true
	}
	return false
}

// usual is what to do where an error does not say.
func usual(r secret.Reason) string {
	switch r {
	case secret.ReasonNetwork, secret.ReasonTimeout, secret.ReasonLate:
		return "look at egress rules, at the proxy and at the DNS"
	case secret.ReasonThrottled, secret.ReasonBusy:
		return "ask again later, and look for who asks so much"
	case secret.ReasonUnavailable:
		return "ask again, and look at Azure's status page"
	case secret.ReasonGarbled:
		return "look for a proxy or a login page in between"
	case secret.ReasonNotFound:
		return "make it, recover it where it was deleted, or correct the name in the configuration"
	case secret.ReasonVaultRefused:
		return "give the identity a role that may do this, and wait some minutes for a new one"
	case secret.ReasonDisabled:
		return "enable its version in Key Vault, or set a new one"
	case secret.ReasonNotYet:
		return "correct its activation date in Key Vault, or wait for it"
	case secret.ReasonExpired:
		return "set a new version in Key Vault"
	case secret.ReasonNoExpiry:
		return "set an expiry on the version in Key Vault, or drop must_expire"
	case secret.ReasonTooOld:
		return "rotate it, or raise max_age"
	case secret.ReasonKey:
		return "correct the key in the binding, or what the secret holds"
	}
	return "please report it"
}
