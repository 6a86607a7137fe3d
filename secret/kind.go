package secret

import (
	"errors"
	"time"
)

// Kind says what sort of failure an error is. It is the closed vocabulary that one table turns into an HTTP status; the
// domain itself knows no status.
type Kind uint8

// The kinds of failure. The zero value is Internal, so that an unclassified error is ours.
const (
	Internal    Kind = iota // a bug or a panic of ours
	Invalid                 // a proven caller sent what means nothing or two things
	Unproven                // nobody we know sent this
	Denied                  // policy says no
	NotFound                // the source has no such secret, or refuses us
	Busy                    // too much at once
	Garbled                 // the source answered nonsense
	Unavailable             // the source or the record can't be used now
	Late                    // no answer within the budget
)

var kindNames = [...]string{"internal", "invalid", "unproven", "denied", "not found", "busy", "garbled", "unavailable", "late"}

// String names the kind for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// Reason is the closed vocabulary of why a request was not answered with a value. It stands in the record and in
// `explain`, never in an answer.
type Reason string

// Reasons of a denial by policy, in the order of the stations that a request passes.
const (
	ReasonName      Reason = "name"      // what was asked is no secret's name, or no binding of the repository maps it
	ReasonAmbiguous Reason = "ambiguous" // two matching bindings map the name differently
	ReasonDeny      Reason = "deny"      // a deny matches
	ReasonRepo      Reason = "repo"      // no binding names the repository
	ReasonUID       Reason = "uid"       // the slug is right, the forge's id is not
	ReasonPool      Reason = "pool"      // another pool's runner
	ReasonRead      Reason = "read"      // the binding does not give this secret
	ReasonEvent     Reason = "event"     // the binding does not know this event
	ReasonFork      Reason = "fork"      // a fork's code
	ReasonRef       Reason = "ref"       // another branch or tag
	ReasonDeployTo  Reason = "deploy_to" // another deploy target
	ReasonCron      Reason = "cron"      // another cron job
	ReasonActor     Reason = "actor"     // another person, or nobody
)

// Reasons of a denial by admission: the value came, and may not be used.
const (
	ReasonDisabled Reason = "disabled"
	ReasonNotYet   Reason = "not-yet"
	ReasonExpired  Reason = "expired"
	ReasonTooOld   Reason = "too-old"
	ReasonNoExpiry Reason = "no-expiry"
	ReasonKey      Reason = "key"       // also the guard's: no key of ours verifies the request
	ReasonShort    Reason = "too-short" // a token lives for less than the configuration asks
)

// Reasons that a source gives.
const (
	ReasonNotFound     Reason = "not-found"
	ReasonVaultRefused Reason = "vault-refused"
	ReasonIdentity     Reason = "identity"
	ReasonThrottled    Reason = "throttled"
	ReasonTimeout      Reason = "timeout"
	ReasonNetwork      Reason = "network"
	ReasonUnavailable  Reason = "unavailable"
	ReasonGarbled      Reason = "garbled"
)

// Reasons of our own.
const (
	ReasonUnrecorded Reason = "unrecorded" // the record can't be written, so nothing leaves
	ReasonInternal   Reason = "internal"
	ReasonLate       Reason = "late"
)

// Reasons of the guard.
const (
	ReasonSignature Reason = "signature" // none, several, or one that can't be read
	ReasonHeaders   Reason = "headers"   // the signature leaves out a header that it must cover
	ReasonAlgorithm Reason = "algorithm"
	ReasonDate      Reason = "date"
	ReasonDigest    Reason = "digest"
	ReasonAccept    Reason = "accept"
	ReasonMalformed Reason = "malformed"
	ReasonBusy      Reason = "busy"
)

// Error is the only kind of error that crosses a room's border on the way of a request. Its text is for operators: it
// names the thing, the place and the remedy, and never holds a value, a token, a key or a body.
type Error struct {
	Kind   Kind
	Reason Reason
	Detail string // for the log; safe to print

	// Identity says that we could not prove who we are to the source. No older value may serve then: whether we still may
	// have it is just what nobody said.
	Identity bool

	// Pause is for how long the source asks not to be asked again (Retry-After, RFC 9110, section 10.2.3); zero: it does not say.
	Pause time.Duration
}

// Error returns the operator's text.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Kind.String() + ": " + string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

// Fail makes an *Error.
func Fail(kind Kind, reason Reason, detail string) *Error {
	return &Error{Kind: kind, Reason: reason, Detail: detail}
}

// AsError finds the *Error in err. Any other error becomes an Internal one without its text, which nobody vouched for.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Fail(Internal, ReasonInternal, "unclassified error")
}
