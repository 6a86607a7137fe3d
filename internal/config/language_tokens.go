package config

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// The part of the language that says which short-lived credentials there are, and who signs those that are our own.

// issuer is our own OIDC issuer. It is one: what trusts it names its url.
type issuer struct {
	head
	url, server text
	pools       texts
	keys        list[issuerKey, *issuerKey]
}

func (i *issuer) read(r *reader, n *yaml.Node) { r.object(n, i) }
func (*issuer) what() string                   { return "issuer" }
func (i *issuer) fields() []field {
	return []field{{"url", &i.url, required}, {"server", &i.server, required}, {"pools", &i.pools, optional}, {"keys", &i.keys, required}}
}

// refuses catches what an assertion or a token says of its subject.
func (*issuer) refuses(key string) string {
	switch plain(key) {
	case "subject", "repo", "environment":
		return "what a subject speaks of stands with who needs it: in an identity as assertion: {issuer: repo}, in a token as subject: repo"
	}
	return ""
}

// issuerKey names a key in Key Vault. A private key itself stands nowhere.
type issuerKey struct {
	head
	key, from text
}

func (k *issuerKey) read(r *reader, n *yaml.Node) { r.object(n, k) }
func (*issuerKey) what() string                   { return "an issuer's key" }
func (k *issuerKey) fields() []field {
	return []field{{"key", &k.key, required}, {"from", &k.from, optional}}
}

// refuses says where a private key belongs, and where a version stands.
func (*issuerKey) refuses(key string) string {
	switch plain(key) {
	case "file", "pem", "private_key", "env", "value":
		return "a private key never leaves Key Vault, which signs with it: write key: vault/key@version"
	case "vault", "name", "version":
		return "it stands in key: vault/key@version"
	}
	return ""
}

// token is a short-lived credential. Of scope, registry and audience it has one, and which of the others belong to that is
// seen when it is built.
type token struct {
	head
	identity, scope, registry, audience text
	repositories                        repositories
	subject                             choice
	minLife, lifetime                   duration
}

func (t *token) read(r *reader, n *yaml.Node) { r.object(n, t) }
func (*token) what() string                   { return "a token" }
func (t *token) fields() []field {
	return []field{
		{"identity", &t.identity, optional},
		{"scope", &t.scope, optional},
		{"registry", &t.registry, optional},
		{"repositories", &t.repositories, optional},
		{"audience", &t.audience, optional},
		{"subject", t.subject.of(SubjectRepo, SubjectEnvironment), optional},
		{"min_life", t.minLife.within(time.Minute, day), optional},
		{"lifetime", t.lifetime.within(time.Minute, time.Hour), optional},
	}
}

// refuses catches a credential pasted into the file, and the other names of what there is.
func (*token) refuses(key string) string {
	switch plain(key) {
	case "token", "value", "secret", "password", "username":
		return "a token is made when a build asks for it and never stands in a configuration: say what it is for (scope, registry or audience)"
	case "resource":
		return "write scope: and the resource with /.default behind it"
	}
	return ""
}

// repositories is the word any, or what may be done with which repository of a registry.
type repositories struct {
	dict[texts, *texts]
	any bool
}

func (p *repositories) read(r *reader, n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "any":
		p.begin(r, n)
		p.any, p.ok = true, true
	case n.Kind == yaml.ScalarNode || n.Kind == yaml.SequenceNode:
		if p.begin(r, n) {
			r.errorf(p.place, "%q is a mapping from names to actions, or any: write {team/app: [pull]}", r.key)
		}
	default:
		p.dict.read(r, n)
	}
}
