package secret

import (
	"fmt"
	"time"
)

// Admit judges what a source gave for a grant at the time now, also when it comes from a cache: Key Vault hands out
// expired and not yet valid secrets ("nbf" and "exp" are advisory there), so here they hold. It returns the value that was
// asked for: the whole secret, as stored or as PEM if that is a PKCS#12, or what the grant's key names in it; with a Note
// where Drone's log masking does not cover that value. It is either f's own or bytes of its own.
//
// The error is an *Error of kind Denied, or Garbled for a whole secret that is empty.
//
// The order is that of who can help: first what somebody did in Key Vault on purpose, then time, then what the
// operator demands, then the content. Expires is the first moment at which the secret no longer holds, NotBefore the
// first at which it does. An alias that the policy does not know makes no demands; Decide grants none.
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
		return Fetched{}, Fail(Denied, ReasonExpired, g.Ref.String()+" expired at "+stamp(f.Expires)+expiredRemedy(f.Form))
	case f.MinLife > 0 && f.Expires.Sub(now) < f.MinLife:
		return Fetched{}, Fail(Denied, ReasonShort, fmt.Sprintf("%s lives until %s only, and its min_life asks for %s more: lower min_life, "+
			"or raise the life of tokens in Entra", g.Ref, stamp(f.Expires), f.MinLife))
	case demands.MustExpire && f.Expires.IsZero():
		return Fetched{}, Fail(Denied, ReasonNoExpiry, g.Ref.String()+" has no expiry, and the vault's must_expire demands one")
	case demands.MaxAge > 0 && now.Sub(f.Created) > demands.MaxAge:
		return Fetched{}, Fail(Denied, ReasonTooOld, g.Ref.String()+" was created at "+stamp(f.Created)+", longer ago than the vault's max_age: rotate it")
	case f.Value.Len() == 0:
		return Fetched{}, Fail(Garbled, ReasonGarbled, g.Ref.String()+" came without a value")
	}
	value, note, problem := extract(&f, g.Ref.Key)
	if problem != "" {
		return Fetched{}, Fail(Denied, ReasonKey, g.Ref.String()+": "+problem)
	}
	if value != nil {
		f.Value = NewValue(value)
	}
	if note == "" {
		note = uncovered(f.Value.Reveal())
	}
	f.Note = note
	return f, nil
}

// expiredRemedy says what to do about what has expired. A token was good when it was made, so a clock is wrong.
func expiredRemedy(f Form) string {
	if f == FormToken {
		return ": compare this machine's clock"
	}
	return ": set a new version in Key Vault"
}

// stamp writes a time as the record does, RFC 3339 in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
