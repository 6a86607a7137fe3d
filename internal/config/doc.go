// Package config reads the configuration language of drone-entra: files in, one Config or every problem at once out.
//
// The vocabulary is closed. Whatever the language does not know, and whatever YAML would quietly take for something else
// (an unquoted 1.10, a second key of one name, an anchor, a tag, a second document), is an error with its file, line and
// column and a hint, so that a typo can never widen or lose a rule. What is left out never gives access.
//
// A file goes through four stations: bytes that any program reads alike (scan), a node tree without surprises (inspect),
// the shape of the language, which the types in language*.go state (drafts), and its meaning (build). Patterns and
// references are parsed by package secret alone; there is no second matcher here.
//
// Load reads what the program runs on. Check says more: what a person should look at, and which expectations do not hold.
// Replay loads again what was kept of a configuration beside the record. One file may confine the others (confine.go): what
// a confined file says can neither give nor take away anything outside its own repositories and secrets.
//
// The package reads the files it is told to read and nothing else: no environment, no network, no key or certificate. It
// trusts nothing in the files, and never prints the value of a key that it does not know.
//
// Nothing here has state of its own: its functions may be called at the same time. A Config is read-only once it was
// returned (but for Forget, before it is shared), and lists in it may share memory.
package config
