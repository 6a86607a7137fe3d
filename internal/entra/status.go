package entra

import (
	"regexp"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/drone-entra/drone-entra/secret"
)

// State is how an identity does.
type State string

// The states.
const (
	Unused  State = "unused"  // no exchange was made yet
	Working State = "working" // the last exchange brought a token
	Failing State = "failing" // the last exchange failed, and the token that is there still serves, or those of other subjects
	Broken  State = "broken"  // the last exchange failed, and there is no valid token
)

// Status is what /status shows of an identity. It holds no secret.
type Status struct {
	Name         string    `json:"name"`
	TenantID     string    `json:"tenant_id,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	Cloud        string    `json:"cloud"`
	Clients      int       `json:"clients,omitempty"`  // where each repository has its own
	Assertion    string    `json:"assertion"`          // file, managed, managed-assertion (of an application), issuer (ours) or other
	Subjects     int       `json:"subjects,omitempty"` // how many have been asked for lately, with an issuer
	File         string    `json:"file,omitempty"`
	State        State     `json:"state"`
	LastExchange time.Time `json:"last_exchange,omitzero"` // that brought a token
	TokenExpires time.Time `json:"token_expires,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	Code         string    `json:"code,omitempty"`  // AADSTS…, of the last failure
	Error        string    `json:"error,omitempty"` // why the last exchange failed, and the remedy; empty if it did not
}

// Times between lines of the log.
const (
	alarmPause  = 10 * time.Second // at least, between two alarms of one identity
	alarmRepeat = 5 * time.Minute  // at most, while it fails and is asked for
)

// health is what note and noteFresh keep of the exchanges so far; mu guards it. error is empty once an exchange has brought a token.
type health struct {
	mu       sync.Mutex
	used     bool
	success  time.Time
	failure  time.Time
	expires  time.Time
	error    string
	alarmed  string // the failure that was last logged; empty when there is none to recover from
	alarmAt  time.Time
	failures int // since the last line of the log
}

// note keeps how an exchange for a token that is kept ended. The token is the one that now serves, if any.
func (i *Identity) note(token azcore.AccessToken, err *secret.Error) {
	i.health.mu.Lock()
	defer i.health.mu.Unlock()
	// Where each request may be somebody else, one who has no token says nothing of the others'.
	if i.options.Subjects == nil || token.ExpiresOn.After(i.health.expires) {
		i.health.expires = token.ExpiresOn
	}
	i.tell(err)
}

// noteFresh keeps how an exchange for a token ended that is not kept; the one that is goes on serving.
func (i *Identity) noteFresh(err *secret.Error) {
	i.health.mu.Lock()
	defer i.health.mu.Unlock()
	i.tell(err)
}

// tell logs each change of state once, and not more often than alarmPause. health.mu is held.
//
// A failure is logged at once; another one 10 s after the last line at the earliest; the same one again every 5 minutes
// while requests go on failing; and the recovery once. failures tells how many exchanges a line stands for.
func (i *Identity) tell(err *secret.Error) {
	now, h := i.options.Now(), &i.health
	h.used = true
	if err == nil {
		h.success, h.error = now, ""
		if h.alarmed != "" {
			i.options.Log.Info().Str("identity", i.options.Name).Time("token_expires", h.expires).Msg("the identity works again")
		}
		h.alarmed, h.failures = "", 0
		return
	}
	h.failure, h.error = now, err.Error()
	h.failures++
	since := now.Sub(h.alarmAt)
	if h.alarmed == h.error && since < alarmRepeat || h.alarmed != h.error && !h.alarmAt.IsZero() && since < alarmPause {
		return
	}
	event := i.options.Log.Error()
	if now.Before(h.expires) {
		event = i.options.Log.Warn().Time("token_serves_until", h.expires)
	}
	if c := code(h.error); c != "" {
		event.Str("code", c)
	}
	event.Str("identity", i.options.Name).Str("reason", string(err.Reason)).Int("failures", h.failures).Msg(err.Detail)
	h.alarmed, h.alarmAt, h.failures = h.error, now, 0
}

var writtenCode = regexp.MustCompile(`\bAADSTS[0-9]+\b`)

// code finds the AADSTS code in a failure's text, which is our own.
func code(text string) string { return writtenCode.FindString(text) }

// Status tells how the identity does.
func (i *Identity) Status() Status {
	o := &i.options
	s := Status{Name: o.Name, TenantID: o.TenantID, ClientID: o.ClientID, Clients: len(o.Clients), Cloud: o.Cloud, Assertion: "other", File: o.AssertionFile}
	if s.Cloud == "" {
		s.Cloud = "public"
	}
	switch {
	case o.Managed:
		s.Assertion = "managed"
	case o.AssertionManaged != "":
		s.Assertion = "managed-assertion"
	case o.Subjects != nil:
		s.Assertion = "issuer"
		i.mu.Lock()
		s.Subjects = len(i.credentials)
		i.mu.Unlock()
	case o.AssertionFile != "":
		s.Assertion = "file"
	}
	h := &i.health
	h.mu.Lock()
	defer h.mu.Unlock()
	s.LastExchange, s.LastFailure, s.TokenExpires, s.Error, s.Code = h.success, h.failure, h.expires, h.error, code(h.error)
	switch {
	case !h.used:
		s.State = Unused
	case h.error == "":
		s.State = Working
	case o.Now().Before(h.expires):
		s.State = Failing
	default:
		s.State = Broken
	}
	return s
}
