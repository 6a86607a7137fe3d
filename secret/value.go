package secret

import (
	"fmt"
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Value holds a secret's bytes. It prints, formats, logs and marshals as "[redacted]"; Reveal is the one exit.
//
// The bytes hang on a func because fmt prints one as an address wherever it calls no methods: in unexported fields, under
// %p, in its report of a wrong verb. A slice, or a pointer to one, would show there.
type Value struct{ reveal func() []byte }

// NewValue takes ownership of b.
func NewValue(b []byte) Value { return Value{func() []byte { return b }} }

// Reveal returns the bytes themselves, not a copy: the caller must not change or keep them beyond the answer.
func (v Value) Reveal() []byte {
	if v.reveal == nil {
		return nil
	}
	return v.reveal()
}

// Len is the value's length in bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// is tells whether v and w are the same bytes in memory.
// It compares addresses, not secrets, so its time tells nothing. Two empty values are the same.
func (v Value) is(w Value) bool {
	a, b := v.Reveal(), w.Reveal()
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Clear overwrites the bytes. Whoever owns the value calls it once nobody reads it any more.
// Copies of a Value share their bytes, so all of them are cleared. What a decoder or a network buffer copied before is
// not reached.
func (v Value) Clear() { clear(v.Reveal()) }

// String returns "[redacted]".
func (Value) String() string { return redacted }

// GoString returns "[redacted]".
func (Value) GoString() string { return redacted }

// Format prints "[redacted]" for every verb, %x and %d included.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "[redacted]"; it serves JSON, YAML and XML alike.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// Fetched is what a source gave for a Ref: the value and what the source says of it. A zero time means "not stated".
type Fetched struct {
	Value     Value
	Version   string // the source's version, never empty for Key Vault
	Identity  string // the identity's name in the configuration that read it
	How       string // one of the How constants
	Created   time.Time
	NotBefore time.Time
	Expires   time.Time
	Enabled   bool
	MinLife   time.Duration // how much of its life must be left whenever it is given; zero: no demand
	Form      Form          // what the value is
	Flaw      string        // why the source could not make of it what it says it is; a safe sentence, "" if it could
	Note      string        // what Admit has to say of a value that it lets go; a safe sentence, mostly ""
}

// Form says what a value is, which decides what the keys of a reference mean.
type Form uint8

// The forms. PEM and PKCS12 are how Key Vault stores a certificate: their keys are key, cert, chain and pfx. A token's are
// what was put beside it, as expires or username; without a key it is the token alone, which has no key.
const (
	FormText   Form = iota // text; its keys are those of the JSON object in it
	FormPEM                // PEM blocks, as stored
	FormPKCS12             // PEM blocks of what was in the PKCS#12, if it could be opened, and the file itself in a block "PKCS12"
	FormToken              // a JSON object made by us: the token under "token", and what belongs to it
)

// How a value came, for the record.
const (
	HowFetched = "fetched" // read for this request
	HowBuild   = "build"   // read for this build less than a minute ago
	HowJoined  = "joined"  // read by a request that was under way
	HowStale   = "stale"   // the last value, while Key Vault can't answer
	HowMinted  = "minted"  // a token made for this request
)
