package secret

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Admit judges what a source gave for a grant at the time now, also when it comes from a cache: Key Vault hands out
// expired and not yet valid secrets ("nbf" and "exp" are advisory there), so here they hold. It returns the value that was
// asked for: the whole secret, or the grant's key of the JSON object in it.
//
// The error is an *Error of kind Denied, or Garbled for a whole secret that is empty.
func (p *Policy) Admit(g Grant, f Fetched, now time.Time) (Fetched, error) {
	var demands Vault
	if v := p.vaults[g.Ref.Vault]; v != nil {
		demands = v.Vault
	}
	switch {
	case !f.Enabled:
		return Fetched{}, Fail(Denied, ReasonDisabled, g.Ref.String()+" is disabled in Key Vault")
	case !f.NotBefore.IsZero() && now.Before(f.NotBefore):
		return Fetched{}, Fail(Denied, ReasonNotYet, g.Ref.String()+" is not valid before "+stamp(f.NotBefore))
	case !f.Expires.IsZero() && !now.Before(f.Expires):
		return Fetched{}, Fail(Denied, ReasonExpired, g.Ref.String()+" expired at "+stamp(f.Expires)+": set a new version in Key Vault")
	case demands.MustExpire && f.Expires.IsZero():
		return Fetched{}, Fail(Denied, ReasonNoExpiry, g.Ref.String()+" has no expiry, and the vault's must_expire demands one")
	case demands.MaxAge > 0 && now.Sub(f.Created) > demands.MaxAge:
		return Fetched{}, Fail(Denied, ReasonTooOld, g.Ref.String()+" was created at "+stamp(f.Created)+", longer ago than the vault's max_age: rotate it")
	case f.Value.Len() == 0:
		return Fetched{}, Fail(Garbled, ReasonGarbled, g.Ref.String()+" came without a value")
	}
	if g.Ref.Key == "" {
		return f, nil
	}
	value, problem := keyOf(f.Value.Reveal(), g.Ref.Key)
	if problem != "" {
		return Fetched{}, Fail(Denied, ReasonKey, g.Ref.String()+": "+problem)
	}
	f.Value = NewValue(value)
	return f, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// keyOf takes one key's value out of a JSON object: a string, or a number or boolean as written. A document that could
// mean two things (the key twice, trailing data, invalid UTF-8) has no value; problem then says why, without quoting it.
func keyOf(document []byte, key string) (value []byte, problem string) {
	const notJSON = "the secret is not one JSON object, so it has no keys"
	d := json.NewDecoder(bytes.NewReader(document))
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(document) {
		return nil, notJSON
	}
	found := 0
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, notJSON
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, notJSON
		}
		if name == key {
			found++
			value, problem = scalar(raw)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, notJSON
	}
	switch {
	case found == 0:
		return nil, "the secret's JSON has no such key"
	case found > 1:
		return nil, "the secret's JSON has the key " + strconv.Itoa(found) + " times"
	}
	return value, problem
}

// scalar returns the bytes of a JSON string, number or boolean.
func scalar(raw json.RawMessage) (value []byte, problem string) {
	switch raw[0] {
	case '{', '[', 'n':
		return nil, "the key's value is an object, a list or null: name a key that holds a string, a number or a boolean"
	case '"':
		var s string
		// The decoder turns a lone surrogate into U+FFFD: a value that nobody stored.
		if json.Unmarshal(raw, &s) != nil ||
			strings.ContainsRune(s, utf8.RuneError) && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
			return nil, "the key's value is no valid JSON string"
		}
		if s == "" {
			return nil, "the key's value is empty" // a runner would take it for "no such secret"
		}
		return []byte(s), ""
	}
	return raw, ""
}
