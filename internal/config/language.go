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
	identities dict[identity, *identity]
	vaults     dict[vault, *vault]
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
		{"vaults", &f.vaults, optional},
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

type identity struct {
	head
	tenant, client text
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
		{"assertion", &i.assertion, optional},
		{"cloud", i.cloud.of(CloudPublic, CloudUSGovernment, CloudChina), optional},
		{"managed", &i.managed, optional},
	}
}

func (*identity) refuses(key string) string {
	switch plain(key) {
	case "client_secret", "secret", "password", "username", "certificate", "certificate_path", "certificate_password",
		"client_certificate", "client_certificate_path", "client_certificate_password", "private_key", "key":
		return "never a stored credential: add a federated credential to the application in Entra, and name the token's file as assertion: {file: …}"
	}
	return ""
}

type assertion struct {
	head
	file text
}

func (a *assertion) read(r *reader, n *yaml.Node) { r.object(n, a) }
func (*assertion) what() string                   { return "an assertion" }
func (a *assertion) fields() []field              { return []field{{"file", &a.file, required}} }

type managed struct {
	head
	client text
}

func (m *managed) read(r *reader, n *yaml.Node) { r.object(n, m) }
func (*managed) what() string                   { return "a managed identity" }
func (m *managed) fields() []field              { return []field{{"client_id", &m.client, required}} }

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

type pool struct {
	head
	keys list[key, *key]
}

func (p *pool) read(r *reader, n *yaml.Node) { r.object(n, p) }
func (*pool) what() string                   { return "a pool" }
func (p *pool) fields() []field              { return []field{{"keys", &p.keys, required}} }

type key struct {
	head
	id, env, file text
}

func (k *key) read(r *reader, n *yaml.Node) { r.object(n, k) }
func (*key) what() string                   { return "a key" }
func (k *key) fields() []field {
	return []field{{"id", &k.id, required}, {"env", &k.env, optional}, {"file", &k.file, optional}}
}

func (*key) refuses(key string) string {
	switch plain(key) {
	case "key", "secret", "value", "token", "password":
		return "the key itself never stands in a configuration: name an environment variable (env) or a file (file)"
	}
	return ""
}
