// Package secret is the domain of drone-entra: who asks (Request), for what (Ref), what the operator wrote (Policy), what
// was decided (Decision), what came back (Value) and how the whole goes on record (Service, Event).
// Survey, Diff and Lint answer questions about a policy as a whole, by asking Decide.
//
// The package is pure. It reads no file, opens no connection and knows neither HTTP nor Azure nor YAML; it imports the
// standard library only. What it trusts: the Request was parsed once, strictly, from a body that the guard proved to come
// from a holder of a pool's key. What it does not trust: every field in it. Drone lets a writer of a repository forge many
// of them, so each predicate here looks only at fields that prove what the predicate claims.
//
// Everything is closed by default: the zero Decision denies, the zero Kind is Internal, what a binding leaves out gives
// no access.
package secret
