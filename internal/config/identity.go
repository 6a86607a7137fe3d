package config

import (
	"cmp"
	"strings"
)

// buildIdentities compiles the identities by name. The one called "default" need not be listed: a vault or a token that
// uses it makes it, with everything from the environment, in the cloud of the vaults that use it, or the public one.
func (b *builder) buildIdentities() map[string]Identity {
	all := map[string]Identity{}
	for name, e := range b.identities {
		if b.ident(e.name, "an identity's name") {
			all[name] = b.identity(name, e)
		}
	}
	if b.identities[defaultIdentity] == nil && b.used[used{"identity", defaultIdentity}] {
		all[defaultIdentity] = Identity{Name: defaultIdentity, Cloud: cmp.Or(b.defaultCloud(), CloudPublic)}
	}
	return all
}

// identity compiles one identity. An error in it keeps the configuration from being used.
func (b *builder) identity(name string, e *entry[identity]) Identity {
	d := &e.value
	id := Identity{
		Name: name, TenantID: d.tenant.value, ClientID: d.client.value, AssertionFile: d.assertion.file.value,
		AssertionManaged: d.assertion.managed.client.value, Issuer: d.assertion.issuer.value,
		Cloud: cmp.Or(d.cloud.value, CloudPublic), Managed: d.managed.set, At: b.line(e.name.place),
	}
	b.guid(d.tenant, "a tenant is named by its GUID, as the vault's challenge names it; a domain name never equals that")
	b.guid(d.client, "a client is named by its GUID, the application (client) id")
	b.guid(d.managed.client, "a managed identity is named by the GUID of its client id")
	b.guid(d.assertion.managed.client, "a managed identity is named by the GUID of its client id")
	if !d.managed.set {
		// d.ok is false where a key was misspelt: that one may be the client_id. The environment holds one
		// AZURE_CLIENT_ID, so only one identity can take it from there.
		if d.ok && !d.client.set && !d.clients.set && name != defaultIdentity {
			b.errorf(d.place, `identity %q needs "client_id": only the identity %q takes it from the environment`, name, defaultIdentity)
		}
		b.assertion(&d.assertion)
		id.Clients = b.clients(d)
		return id
	}
	id.ClientID = d.managed.client.value
	// What a managed identity would ignore is refused, or somebody would believe that it is in force.
	for _, h := range []*head{&d.tenant.head, &d.client.head, &d.clients.head, &d.assertion.head} {
		if h.set {
			b.errorf(h.place, "a managed identity has neither tenant_id nor client_id nor clients nor assertion beside it: write managed: {client_id: …} alone")
		}
	}
	return id
}

// assertion checks that the proof comes from one place, and that there is an issuer if it is to be ours.
func (b *builder) assertion(a *assertion) {
	places := 0
	for _, set := range [...]bool{a.file.set, a.managed.set, a.issuer.set} {
		if set {
			places++
		}
	}
	if a.ok && places != 1 {
		b.errorf(a.place, "an assertion comes from one place: write {file: …}, {managed: {client_id: …}} or {issuer: repo}, one of them")
	}
	if a.issuer.ok && !b.issuer.set && !b.partial {
		b.errorf(a.issuer.place, `an assertion of our own issuer needs one: say its url, server and keys under "issuer"`)
	}
}

const maxUID = 128 // bytes of a repository's uid in a subject

// clients compiles the applications of an identity that has one for each repository. The keys are the forge's ids, as in
// a binding's uid, since a slug can pass to another repository. It is nil where none were written.
func (b *builder) clients(d *identity) map[string]string {
	switch {
	case !d.clients.ok:
		return nil
	case d.client.set:
		b.errorf(d.client.place, `an identity is one application (client_id) or one for each repository (clients): write one of them`)
	case d.ok && !d.assertion.issuer.set && (d.assertion.ok || !d.assertion.set):
		b.errorf(d.clients.place, `"clients" needs an assertion that tells repositories apart: write assertion: {issuer: repo} beside it, or client_id instead`)
	}
	clients := make(map[string]string, len(d.clients.entries))
	for i := range d.clients.entries {
		e := &d.clients.entries[i]
		if e.name.ok && !isUID(e.name.value) {
			b.errorf(e.name.place, `%q is no repository's uid: it is the forge's id, as in "42", with letters, digits, braces, dots, dashes and underscores, `+
				"at most %d; a slug could pass to another repository",
				clip(e.name.value), maxUID)
		}
		b.guid(e.value, "a client is named by its GUID, the application (client) id")
		clients[e.name.value] = e.value.value
	}
	return clients
}

// lettersAndDigits are those of ASCII, which most alphabets of names begin with.
const lettersAndDigits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isUID tells whether a subject can hold the forge's id as it is. Braces are Bitbucket's.
func isUID(s string) bool { return len(s) <= maxUID && strings.Trim(s, lettersAndDigits+"{}._-") == "" }

// guid checks the form 3f2a4c55-1111-4222-8333-444455556666. The tenant is compared as text with what the vault's 401
// challenge names, so the other notations of a GUID (braces, urn:uuid:, no dashes) are refused with the domain names.
func (b *builder) guid(t text, remedy string) {
	if t.ok && !isGUID(t.value) {
		b.errorf(t.place, "%q is no GUID: %s", clip(t.value), remedy)
	}
}

// isGUID tells whether s is 8, 4, 4, 4 and 12 hexadecimal digits with dashes between, in either case.
func isGUID(s string) bool {
	groups := strings.Split(s, "-")
	if len(groups) != 5 {
		return false
	}
	for i, length := range []int{8, 4, 4, 4, 12} {
		if len(groups[i]) != length || strings.Trim(groups[i], "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	return true
}
