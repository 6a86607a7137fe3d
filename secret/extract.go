package secret

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// extract takes what a reference's key names out of a fetched secret; without a key, all of it. A nil value means the
// fetched one itself. The problem says why there is none, the note what to know of the value; neither quotes the secret.
//
// A PKCS#12 that could not be opened has a flaw, and yet its file itself, which is asked for by the key pfx.
func extract(f *Fetched, key string) (value []byte, note, problem string) {
	switch {
	case f.Flaw != "" && (f.Form != FormPKCS12 || key != partPFX):
		return nil, "", f.Flaw
	// Who may have keys of a token alone, as by tokens/acr/*, may not have it by the name that our document has for it.
	case f.Form == FormToken && key == tokenMember:
		problem = "without a key it is the token itself, and no key is"
	case f.Form == FormToken:
		value, problem = keyOf(f.Value.Reveal(), cmp.Or(key, tokenMember))
	case f.Form == FormPKCS12, f.Form == FormPEM && key != "":
		return certificatePart(f.Value.Reveal(), key, f.Form)
	case key != "":
		value, problem = keyOf(f.Value.Reveal(), key)
	}
	return value, "", problem
}

// tokenMember is where the document of a FormToken has the token.
const tokenMember = "token"

// The JSON package's own errors may quote the document, so none of them is passed on.
const notJSON = "the secret is not one JSON object, so it has no keys"

// keyOf takes one key's value out of a JSON object: a string, or a number or boolean as written. The key is a name as it
// stands, or names of objects inside objects with dots between them. A document that could mean two things (a name twice,
// both readings of a dot, trailing data, invalid UTF-8) has no value; problem then says why, without quoting it.
//
// Examples, for the key db.password:
//
//	{"db.password":"a"}                         →  a
//	{"db":{"password":5e3}}                     →  5e3, as written
//	{"db.password":"a","db":{"password":"b"}}   →  ambiguous
//	{"db.password":"a","db.password":"a"}       →  2 times
//
// A lenient decoder takes the last of two equal names, another one the first: whoever reviewed the secret may have
// seen the other value. And every decoder copies what it reads, where nobody can clear it: so encoding/json says whether
// the document is JSON, which copies nothing, and json.go finds its way in it. The value is the only copy.
func keyOf(document []byte, key string) (value []byte, problem string) {
	// To encoding/json, bytes that are no UTF-8 are fine in a string, and it replaces them: a value that nobody stored.
	if !utf8.Valid(document) || !json.Valid(document) {
		return nil, notJSON
	}
	literal, ok := member(document, key)
	if !ok {
		return nil, notJSON
	}
	path := walk(document, key)
	switch {
	case literal.times > 1 || path.times > 1:
		return nil, "the secret's JSON has the key, or a name on its path, " + strconv.Itoa(max(literal.times, path.times)) + " times"
	case literal.times == 0 && path.times == 0:
		return nil, "the secret's JSON has no such key"
	case literal.times == 0:
		return scalar(path.raw)
	}
	value, problem = scalar(literal.raw)
	if path.times == 1 && problem == "" {
		other, wrong := scalar(path.raw)
		defer clear(other)
		if wrong == "" && !bytes.Equal(other, value) {
			clear(value)
			return nil, "ambiguous: the secret's JSON has the key both as one name and as a path through its objects, with different values"
		}
	}
	return value, problem
}
