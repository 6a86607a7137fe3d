package config

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// The whole language, from the top down: each type is a mapping of the file, its fields method the keys that it may have.
// The reference in docs/configuration.md is tested against it.

type texts = list[text, *text]

// file is what one file may hold.
type file struct {
	head
	version    version
	issuer     issuer
	identities dict[identity, *identity]
	vaults     dict[vault, *vault]
	tokens     dict[token, *token]
	pools      dict[pool, *pool]
	groups     dict[texts, *texts]
	bindings   list[binding, *binding]
	denies     list[deny, *deny]
	expect     list[expectation, *expectation]
	confined   dict[confinement, *confinement]
	record     record
	listen     listen
	limits     limits
	log        logging
}

func (*file) what() string { return "a configuration" }
func (f *file) fields() []field {
	return []field{
		{"version", &f.version, required},
		{"identities", &f.identities, optional},
		{"issuer", &f.issuer, optional},
		{"vaults", &f.vaults, optional},
		{"tokens", &f.tokens, optional},
		{"pools", &f.pools, optional},
		{"groups", &f.groups, optional},
		{"bindings", &f.bindings, optional},
		{"denies", &f.denies, optional},
		{"expect", &f.expect, optional},
		{"files", &f.confined, optional},
		{"record", &f.record, optional},
		{"listen", &f.listen, optional},
		{"limits", &f.limits, optional},
		{"log", &f.log, optional},
	}
}

// version is the number 1, unquoted.
type version struct{ head }

func (v *version) read(r *reader, n *yaml.Node) {
	if !v.begin(r, n) {
		return
	}
	number, ok := wholeNumber(n)
	switch {
	case ok && number == 1:
		v.ok = true
	case ok:
		r.errorf(v.place, "version %d is not known: this program reads version 1", number)
	default:
		r.errorf(v.place, "version is the number 1, unquoted: write version: 1")
	}
}

// identity has either managed, or what a federated application has; which of that may be left out is seen when it is
// built.
type identity struct {
	head
	tenant, client text
	clients        dict[text, *text]
	assertion      assertion
	cloud          choice
	managed        managed
}

func (i *identity) read(r *reader, n *yaml.Node) { r.object(n, i) }
func (*identity) what() string                   { return "an identity" }
func (i *identity) fields() []field {
	return []field{
		{"tenant_id", &i.tenant, optional},
		{"client_id", &i.client, optional},
		{"clients", &i.clients, optional},
		{"assertion", &i.assertion, optional},
		{"cloud", i.cloud.of(CloudPublic, CloudUSGovernment, CloudChina), optional},
		{"managed", &i.managed, optional},
	}
}

// refuses says what to do instead of keeping a credential here. It names keys under which people look for one.
func (*identity) refuses(key string) string {
	switch plain(key) {
	case "client_secret", "secret", "password", "username", "certificate", "certificate_path", "certificate_password",
		"client_certificate", "client_certificate_path", "client_certificate_password", "private_key", "key":
		return "never a stored credential: add a federated credential to the application in Entra, and name the token's file as assertion: {file: …}"
	case "issuer":
		return "write assertion: {issuer: repo}, and who the issuer is beside identities"
	}
	return ""
}

// assertion says where the proof of a federated application comes from: one of the three, which is seen when it is built.
type assertion struct {
	head
	file    text
	managed managed
	issuer  choice
}

func (a *assertion) read(r *reader, n *yaml.Node) { r.object(n, a) }
func (*assertion) what() string                   { return "an assertion" }
func (a *assertion) fields() []field {
	return []field{
		{"file", &a.file, optional},
		{"managed", &a.managed, optional},
		{"issuer", a.issuer.of(SubjectRepo, SubjectEnvironment), optional},
	}
}

// managed is a managed identity of the machine. Its client id is required: a machine can have several.
type managed struct {
	head
	client text
}

func (m *managed) read(r *reader, n *yaml.Node) { r.object(n, m) }
func (*managed) what() string                   { return "a managed identity" }
func (m *managed) fields() []field              { return []field{{"client_id", &m.client, required}} }

// vault is what an alias leads to. Ages and staleness are bounded so that a slip of the keyboard (stale: 10d) is an
// error.
type vault struct {
	head
	url, identity text
	maxAge, stale duration
	mustExpire    flag
}

func (v *vault) read(r *reader, n *yaml.Node) { r.object(n, v) }
func (*vault) what() string                   { return "a vault" }
func (v *vault) fields() []field {
	return []field{
		{"url", &v.url, required},
		{"identity", &v.identity, optional},
		{"max_age", v.maxAge.within(time.Second, 3650*day), optional},
		{"must_expire", &v.mustExpire, optional},
		{"stale", v.stale.within(time.Second, day), optional},
	}
}

// pool has at least one key; several are a rotation.
type pool struct {
	head
	keys list[key, *key]
}

func (p *pool) read(r *reader, n *yaml.Node) { r.object(n, p) }
func (*pool) what() string                   { return "a pool" }
func (p *pool) fields() []field              { return []field{{"keys", &p.keys, required}} }

// key names where a shared key is: one of env and file, which is seen when it is built.
type key struct {
	head
	id, env, file text
}

func (k *key) read(r *reader, n *yaml.Node) { r.object(n, k) }
func (*key) what() string                   { return "a key" }
func (k *key) fields() []field {
	return []field{{"id", &k.id, required}, {"env", &k.env, optional}, {"file", &k.file, optional}}
}

// refuses catches a key pasted into the file. The value never gets into a text: only the name under which it stands
// does.
func (*key) refuses(key string) string {
	switch plain(key) {
	case "key", "secret", "value", "token", "password":
		return "the key itself never stands in a configuration: name an environment variable (env) or a file (file)"
	}
	return ""
}
