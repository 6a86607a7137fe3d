package secret

import (
	"fmt"
	"strings"
)

// Limits of what a reference may hold. Key Vault's are those of Microsoft's "About keys, secrets, and certificates"
// (object identifiers).
const (
	maxSecretName = 127 // Key Vault's
	maxVersion    = 64  // Key Vault's versions are 32 characters
	maxKey        = 127 // ours
	maxAlias      = 63  // ours
)

// Ref names one secret, or a part of it: vault/name[@version][/key]. Vault is an alias from the configuration, never a
// host. Name and Version are in lower case, as Key Vault ignores their case. An empty Version is the current one, an empty
// Key the whole secret. What a Key names hangs on the secret's Form: a member of the JSON object in it, where a dot may
// also lead into an object inside, or a part of the certificate that it is.
type Ref struct{ Vault, Name, Version, Key string }

// TokenDoor is the alias under which the short-lived tokens of a configuration are read, as if they were secrets of a vault
// of that name. No vault may take it.
const TokenDoor = "tokens"

// String writes the reference as ParseRef reads it.
func (r Ref) String() string {
	s := r.Vault + "/" + r.Name
	if r.Version != "" {
		s += "@" + r.Version
	}
	if r.Key != "" {
		s += "/" + r.Key
	}
	return s
}

// Grant is leave to read one secret, given by a binding.
type Grant struct {
	Ref     Ref
	Binding string // the binding's id
}

// ParseRef reads vault/name[@version][/key]. "value" in the key's place means the whole secret. Whatever could be a path
// trick upstream (dots, escapes, queries, control characters) is no valid part.
func ParseRef(s string) (Ref, error) {
	var p parts
	p.add(s)
	if p.n < 2 || p.n > len(p.part) {
		return Ref{}, fmt.Errorf("%q: a secret is named vault/secret[@version][/key]", clip(s, maxQuoted))
	}
	ref, wrong := p.ref()
	switch wrong {
	case vaultPart:
		return Ref{}, fmt.Errorf("%q: no vault's alias can be %q", clip(s, maxQuoted), clip(p.part[0], maxQuoted))
	case namePart:
		return Ref{}, fmt.Errorf("%q: a Key Vault secret's name has letters, digits and dashes, at most %d", clip(s, maxQuoted), maxSecretName)
	case versionPart:
		return Ref{}, fmt.Errorf("%q: a version has letters and digits only", clip(s, maxQuoted))
	case keyPart:
		return Ref{}, fmt.Errorf("%q: a key has letters, digits, dashes, dots and underscores, at most %d", clip(s, maxQuoted), maxKey)
	}
	return ref, nil
}

// asked reads what a pipeline wrote in path and name, as if they were joined by a slash, an empty one left out. It is a
// name alone, which only a binding's names can resolve, or a reference; not ok if it is neither. It does not allocate, so
// that a stranger's megabyte costs nothing.
func asked(path, name string) (ref Ref, alone string, ok bool) {
	var p parts
	if path != "" {
		p.add(path)
	}
	if name != "" {
		p.add(name)
	}
	switch p.n {
	case 1:
		return Ref{}, p.part[0], p.part[0] != ""
	case 2, 3:
		ref, wrong := p.ref()
		return ref, "", wrong == nothing
	}
	return Ref{}, "", false
}

// parts is a reference split at its slashes; n counts also those that had no room.
type parts struct {
	part [3]string
	n    int
}

// add splits s at its slashes without allocating. A part may contain slashes itself: path "a/b" and name "c" are
// three parts.
func (p *parts) add(s string) {
	for segment := range strings.SplitSeq(s, "/") {
		if p.n < len(p.part) {
			p.part[p.n] = segment
		}
		p.n++
	}
}

// wrongPart names the part of a reference that can't be one.
type wrongPart uint8

const (
	nothing wrongPart = iota
	vaultPart
	namePart
	versionPart
	keyPart
)

// ref makes the reference of two or three parts.
//
// The third part is "" where there are two. "@" with nothing behind it is wrong, not the current version: a template
// that lost its value should not silently get another secret.
func (p *parts) ref() (Ref, wrongPart) {
	name, version, pinned := strings.Cut(p.part[1], "@")
	key := p.part[2]
	switch {
	case !ValidAlias(p.part[0]):
		return Ref{}, vaultPart
	case !charset(name, maxSecretName, "-"):
		return Ref{}, namePart
	case pinned && !charset(version, maxVersion, ""):
		return Ref{}, versionPart
	case p.n == 3 && !ValidKey(key):
		return Ref{}, keyPart
	}
	if key == "value" {
		key = ""
	}
	return Ref{p.part[0], fold(name), fold(version), key}, nothing
}

// ValidAlias tells whether s can be a vault's alias: letters, digits, dashes, dots and underscores, beginning with a
// letter or digit, at most 63.
func ValidAlias(s string) bool { return charset(s, maxAlias, "-_.") && charset(s[:1], 1, "") }

// ValidKey tells whether s can be the key of a reference: letters, digits, dashes, dots and underscores, not only dots, at
// most 127.
// "." and ".." would be a path's, if a key ever stood in one.
func ValidKey(s string) bool { return charset(s, maxKey, "-_.") && strings.Trim(s, ".") != "" }

// charset tells whether s has between 1 and limit bytes, all of them ASCII letters, digits or in extra.
func charset(s string, limit int, extra string) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := lower(s[i])
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

// maxQuoted is how many bytes of what a stranger wrote an error's text quotes.
const maxQuoted = 64

// clip shortens a text to at most limit bytes, at a character's border.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// ReadPattern says which secrets a binding gives or a deny withholds: vault/secret[@version][/key] with "*" in its
// parts, or vault/** for all of a vault.
//
// Without "@" it means the current version only, "@*" means pinned ones as well. Without a key it means the whole secret
// and each of its keys; with one, that key alone. Names and versions compare without case, aliases and keys exactly.
type ReadPattern struct {
	text          string
	vault, name   string // globs; name in lower case
	version, key  string // globs; version in lower case
	pinned, keyed bool   // whether version and key were stated
}

// ParseRead reads a binding's pattern. The vault is literal, so that adding a vault never grants anything.
func ParseRead(s string) (ReadPattern, error) {
	p, err := parseRead(s)
	if err == nil && strings.Contains(p.vault, "*") {
		return ReadPattern{}, fmt.Errorf("%q: a binding names its vault; a * there would give every vault that is added later", s)
	}
	return p, err
}

// ParseDenyRead reads a deny's pattern. The vault may be a glob, "**" is every secret of every vault. A version or a key
// is accepted and means nothing: a deny holds for all of them, and Narrow tells.
func ParseDenyRead(s string) (ReadPattern, error) {
	if s == "**" {
		return ReadPattern{text: s, vault: "*", name: "*"}, nil
	}
	return parseRead(s)
}

// parseRead reads what both kinds of rule have in common; a glob in the vault's place is for the caller to refuse.
func parseRead(s string) (ReadPattern, error) {
	pattern, err := ParsePattern(s)
	if err != nil {
		return ReadPattern{}, err
	}
	parts := pattern.segments
	if len(parts) == 1 {
		return ReadPattern{}, fmt.Errorf("%q names no secret: write vault/secret, or %s/** for all of a vault", s, s)
	}
	if len(parts) > 3 {
		return ReadPattern{}, fmt.Errorf("%q has more than vault/secret/key", s)
	}
	p := ReadPattern{text: s, vault: parts[0]}
	p.name, p.version, p.pinned = strings.Cut(parts[1], "@")
	if len(parts) == 3 {
		p.key, p.keyed = parts[2], true
	}
	if p.vault == "**" {
		p.vault = "*"
	}
	if p.name == "**" && len(parts) == 2 {
		p.name = "*"
	}
	switch {
	case !globset(p.vault, maxAlias, "-_.") || !strings.Contains(p.vault, "*") && !ValidAlias(p.vault):
		return ReadPattern{}, fmt.Errorf("%q: no vault's alias can be %q", s, p.vault)
	case !globset(p.name, maxSecretName, "-"):
		return ReadPattern{}, fmt.Errorf("%q: no Key Vault secret can be called %q: it has letters, digits and dashes", s, p.name)
	case p.pinned && !globset(p.version, maxVersion, ""):
		return ReadPattern{}, fmt.Errorf("%q: no version can be %q: write a version, or @* for all of them", s, p.version)
	case p.keyed && (!globset(p.key, maxKey, "-_.") || strings.Trim(p.key, ".") == ""):
		return ReadPattern{}, fmt.Errorf("%q: no key can be %q", s, p.key)
	}
	if p.key == "value" { // the whole secret, as in ParseRef
		p.key, p.keyed = "", false
	}
	p.name, p.version = fold(p.name), fold(p.version)
	return p, nil
}

// globset is charset for a glob; a "*" counts towards the limit.
func globset(s string, limit int, extra string) bool {
	return !strings.Contains(s, "**") && charset(s, limit, extra+"*")
}

// String returns the pattern as it was written.
func (p ReadPattern) String() string { return p.text }

// Vault returns the alias, or a glob of aliases in a deny.
func (p ReadPattern) Vault() string { return p.vault }

// Narrow tells whether the pattern states a version or a key.
func (p ReadPattern) Narrow() bool { return p.pinned || p.keyed }

// Gives tells whether the pattern gives r.
//
// A pattern without "@" does not give pinned versions: an old version is a secret that was rotated away. A pattern
// with a key gives neither the whole, which has the other keys in it, nor another key.
func (p *ReadPattern) Gives(r Ref) bool {
	return glob(p.vault, r.Vault, false) && glob(p.name, r.Name, false) &&
		(r.Version == "" && !p.pinned || p.pinned && glob(p.version, r.Version, false)) &&
		(!p.keyed || r.Key != "" && glob(p.key, r.Key, false))
}

// covers tells whether a deny's pattern holds for a secret under the alias, whatever the version and the key.
func (p *ReadPattern) covers(alias, name string) bool {
	return glob(p.vault, alias, false) && glob(p.name, name, false)
}
