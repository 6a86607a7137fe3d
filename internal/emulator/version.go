package emulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// version is one value of a secret. What a client gets of it is written once, when it changes, not at each read.
type version struct {
	id          string
	value       string
	enabled     bool
	notBefore   time.Time
	expires     time.Time
	created     time.Time
	changed     time.Time
	tags        map[string]string
	contentType string
	managed     bool // by a certificate of the same name

	body []byte // the answer to a read
}

// newVersion makes an enabled version with a random ID of 32 digits. Options come last and win.
func newVersion(now time.Time, value string, options []SecretOption) *version {
	v := &version{id: strings.ReplaceAll(newID(), "-", ""), value: value, enabled: true, created: now, changed: now}
	for _, option := range options {
		option(v)
	}
	return v
}

// updated is a copy with the options applied.
// The value and the ID stay: to change a value is to make a version.
func (v version) updated(now time.Time, options []SecretOption) version {
	v.changed = now
	for _, option := range options {
		option(&v)
	}
	return v
}

// secretBundle is Key Vault's answer to a read.
type secretBundle struct {
	Value       string            `json:"value"`
	ContentType string            `json:"contentType,omitempty"`
	ID          string            `json:"id"`
	Attributes  attributes        `json:"attributes"`
	Tags        map[string]string `json:"tags,omitempty"`
	KeyID       string            `json:"kid,omitempty"`
	Managed     bool              `json:"managed,omitempty"`
}

// A new vault keeps what is deleted for 90 days, and lets it be purged before.
const (
	recoveryLevel   = "Recoverable+Purgeable"
	recoverableDays = 90
)

// attributes has its times in seconds since 1970.
type attributes struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       int64  `json:"nbf,omitempty"`
	Expires         int64  `json:"exp,omitempty"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

// render writes the body. It panics only if encoding/json cannot write plain strings and numbers.
func (v *version) render(id string) {
	var key string
	if v.managed { // a certificate's secret, key and version have one name
		key = strings.Replace(id, "/secrets/", "/keys/", 1)
	}
	body, err := json.Marshal(secretBundle{
		Value: v.value, ContentType: v.contentType, ID: id, Tags: v.tags, KeyID: key, Managed: v.managed,
		Attributes: attributes{
			Enabled: v.enabled, NotBefore: unixOrZero(v.notBefore), Expires: unixOrZero(v.expires),
			Created: v.created.Unix(), Updated: v.changed.Unix(), RecoveryLevel: recoveryLevel, RecoverableDays: recoverableDays,
		},
	})
	if err != nil {
		panic(fmt.Errorf("emulator: writing a secret: %w", err))
	}
	v.body = body
}

// unixOrZero is 0, which leaves the field out, for a time that is not stated.
func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
