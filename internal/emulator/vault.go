package emulator

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// vaults are the key vaults, by host.
type vaults struct {
	mu  sync.Mutex
	all map[string]*Vault
}

// Vault is one key vault. Nobody may read its secrets until Allow says so, nor use its keys until AllowKeys does.
type Vault struct {
	emulator *Emulator
	host     string
	tenant   string
	cloud    cloud

	mu      sync.RWMutex
	secrets map[string]*secret // by lower-case name
	readers rights             // of secrets
	keys    map[string]*key    // by lower-case name
	users   rights             // of keys
}

// secret is a name and its versions, the current one last.
type secret struct {
	name     string
	versions []*version
}

// Vault finds the vault with that host name, or makes it in the tenant. The host is a whole one, like
// kv-pay-prod.vault.azure.net, and says which cloud the vault is in; it panics on one that is no vault's.
func (e *Emulator) Vault(host, tenant string) *Vault {
	host = strings.ToLower(host)
	c, ok := cloudOfVault(host)
	if !ok {
		panic(fmt.Sprintf("emulator: %q is not the host of a key vault in any cloud", host))
	}
	e.directory.ensure(tenant)
	e.vaults.mu.Lock()
	defer e.vaults.mu.Unlock()
	if known := e.vaults.all[host]; known != nil {
		return known
	}
	v := &Vault{
		emulator: e, host: host, tenant: strings.ToLower(tenant), cloud: c,
		secrets: map[string]*secret{}, readers: rights{}, keys: map[string]*key{}, users: rights{},
	}
	if e.vaults.all == nil {
		e.vaults.all = map[string]*Vault{}
	}
	e.vaults.all[host] = v
	e.Handle(host, v)
	return v
}

// Host is the vault's host name.
func (v *Vault) Host() string { return v.host }

// URL is what a client is configured with.
func (v *Vault) URL() string { return "https://" + v.host }

// Allow lets an application, or a managed identity, read the secrets whose names match one of the patterns, or all
// when there is none. A pattern is a name in which * stands for any letters; case does not matter. Patterns add up.
func (v *Vault) Allow(clientID string, patterns ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.readers.add(clientID, patterns)
}

// Forbid takes back all that Allow has given the client, from the next request on.
func (v *Vault) Forbid(clientID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.readers, strings.ToLower(clientID))
}

// rights are patterns of names by client ID, all in lower case. The vault's lock guards them.
type rights map[string][]string

// add gives the client those patterns, or every name when there is none.
func (r rights) add(clientID string, patterns []string) {
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	clientID = strings.ToLower(clientID)
	for _, pattern := range patterns {
		r[clientID] = append(r[clientID], strings.ToLower(pattern))
	}
}

// allow says whether the client has a right on that name. A pattern that is malformed matches nothing.
func (r rights) allow(clientID, name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(r[strings.ToLower(clientID)], func(pattern string) bool {
		matched, _ := path.Match(pattern, name)
		return matched
	})
}

// Set adds a version to a secret, which becomes the current one, and returns its ID: 32 lower-case hexadecimal digits.
// It panics on a name that Key Vault would refuse: 1 to 127 letters, digits and hyphens are allowed.
//
// A secret's name is spelt in answers as it was first given, while it is found in any case.
func (v *Vault) Set(name, value string, options ...SecretOption) (versionID string) {
	if !validName(name) {
		panic(fmt.Sprintf("emulator: %q cannot be a secret's name: 1 to 127 letters, digits and hyphens are allowed", name))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.secrets[strings.ToLower(name)]
	if known == nil {
		known = &secret{name: name}
		v.secrets[strings.ToLower(name)] = known
	}
	made := newVersion(v.emulator.now(), value, options)
	made.render(v.URL() + "/secrets/" + known.name + "/" + made.id)
	known.versions = append(known.versions, made)
	return made.id
}

// Update changes the attributes of one version, or of the current one when it is empty. It does nothing when there is
// no such version.
func (v *Vault) Update(name, versionID string, options ...SecretOption) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at := v.find(name, versionID); at != nil {
		changed := at.updated(v.emulator.now(), options)
		changed.render(v.URL() + "/secrets/" + v.secrets[strings.ToLower(name)].name + "/" + changed.id)
		*at = changed
	}
}

// find is the version of that ID, the current one when it is empty, nil when there is none. The caller holds the lock.
func (v *Vault) find(name, versionID string) *version {
	known := v.secrets[strings.ToLower(name)]
	if known == nil {
		return nil
	}
	if versionID == "" {
		return known.versions[len(known.versions)-1]
	}
	at := slices.IndexFunc(known.versions, func(at *version) bool { return strings.EqualFold(at.id, versionID) })
	if at < 0 {
		return nil
	}
	return known.versions[at]
}

// Delete takes a secret away with all its versions, as soft-deletion does to a reader.
func (v *Vault) Delete(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, strings.ToLower(name))
}

// Names are the secrets' names as first given, sorted.
func (v *Vault) Names() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var names []string
	for _, known := range v.secrets {
		names = append(names, known.name)
	}
	slices.Sort(names)
	return names
}

// validName tells whether Key Vault takes the name.
func validName(name string) bool {
	if name == "" || len(name) > 127 {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	})
}

// SecretOption is something about a version beside its value.
type SecretOption func(*version)

// Disabled makes a version unreadable: Key Vault answers 403.
func Disabled() SecretOption { return func(v *version) { v.enabled = false } }

// Enabled makes a disabled version readable again.
func Enabled() SecretOption { return func(v *version) { v.enabled = true } }

// NotBefore states when a version becomes valid. Key Vault gives it out before, too; the zero time removes it.
func NotBefore(at time.Time) SecretOption { return func(v *version) { v.notBefore = at } }

// Expires states when a version ceases to be valid. Key Vault gives it out afterwards, too; the zero time removes it.
func Expires(at time.Time) SecretOption { return func(v *version) { v.expires = at } }

// Created states when a version was made, now unless stated. It does not change which one is current.
func Created(at time.Time) SecretOption {
	return func(v *version) { v.created, v.changed = at, at }
}

// Tags are the version's tags; Key Vault allows 15.
func Tags(tags map[string]string) SecretOption {
	return func(v *version) { v.tags = maps.Clone(tags) }
}

// ContentType describes the value, "application/json" say.
func ContentType(of string) SecretOption { return func(v *version) { v.contentType = of } }

// Managed makes a version that of the secret behind a certificate, which Key Vault keeps for each: its content type is
// application/x-pkcs12, with the file in base64 and no password, or application/x-pem-file.
func Managed() SecretOption { return func(v *version) { v.managed = true } }
