package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// key is a name and the versions of an RSA key, the current one last.
type key struct {
	name     string
	versions []keyVersion
}

// keyVersion is one RSA key of 2048 bits.
type keyVersion struct {
	id       string
	material *signingKey
	enabled  bool
	created  time.Time
	changed  time.Time
}

// SetKey adds a version to an RSA key of 2048 bits, which becomes the current one, and returns its ID: 32 lower-case
// hexadecimal digits. It panics on a name that Key Vault would refuse, as Set does. Emulators that share [Keys] have the
// same n-th version of the same key of the same host, under an ID of each one's own.
func (v *Vault) SetKey(name string) (version string) {
	if !validName(name) {
		panic(fmt.Sprintf("emulator: %q cannot be a key's name: 1 to 127 letters, digits and hyphens are allowed", name))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.keys[strings.ToLower(name)]
	if known == nil {
		known = &key{name: name}
		v.keys[strings.ToLower(name)] = known
	}
	now := v.emulator.now()
	made := keyVersion{
		id: strings.ReplaceAll(newID(), "-", ""), enabled: true, created: now, changed: now,
		material: v.emulator.directory.keys.of(fmt.Sprintf("%s/keys/%s/%d", v.URL(), strings.ToLower(name), len(known.versions))),
	}
	known.versions = append(known.versions, made)
	return made.id
}

// AllowKeys lets an application, or a managed identity, read the keys whose names match one of the patterns and sign with
// them, as Key Vault Crypto User does. Patterns are those of [Vault.Allow]. It gives no right on any secret, as Allow gives
// none on any key.
func (v *Vault) AllowKeys(clientID string, patterns ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users.add(clientID, patterns)
}

// ForbidKeys takes back all that AllowKeys has given the client, from the next request on.
func (v *Vault) ForbidKeys(clientID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.users, strings.ToLower(clientID))
}

// SetKeyEnabled enables or disables one version of a key, or the current one when it is empty. It does nothing when there
// is no such version. A disabled one can be read, but does not sign.
func (v *Vault) SetKeyEnabled(name, version string, enabled bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at := v.findKey(name, version); at != nil {
		at.enabled, at.changed = enabled, v.emulator.now()
	}
}

// KeyVersions are the IDs of a key's versions, the current one last.
func (v *Vault) KeyVersions(name string) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []string
	if known := v.keys[strings.ToLower(name)]; known != nil {
		for _, at := range known.versions {
			ids = append(ids, at.id)
		}
	}
	return ids
}

// findKey is the version of that ID, the current one when it is empty, nil when there is none. The caller holds the lock.
func (v *Vault) findKey(name, version string) *keyVersion {
	known := v.keys[strings.ToLower(name)]
	if known == nil {
		return nil
	}
	if version == "" {
		return &known.versions[len(known.versions)-1]
	}
	at := slices.IndexFunc(known.versions, func(at keyVersion) bool { return strings.EqualFold(at.id, version) })
	if at < 0 {
		return nil
	}
	return &known.versions[at]
}

// keyItem is what Key Vault tells of a version in a list, and, with the key itself, of the one that is read.
type keyItem struct {
	KeyID      string     `json:"kid,omitempty"`
	Key        *jsonKey   `json:"key,omitempty"`
	Attributes attributes `json:"attributes"`
}

// jsonKey is the public half, in the members of RFC 7517 and 7518.
type jsonKey struct {
	KeyID      string   `json:"kid"`
	Type       string   `json:"kty"`
	Operations []string `json:"key_ops"`
	Modulus    string   `json:"n"`
	Exponent   string   `json:"e"`
}

func (k *keyVersion) attributes() attributes {
	return attributes{
		Enabled: k.enabled, Created: k.created.Unix(), Updated: k.changed.Unix(),
		RecoveryLevel: recoveryLevel, RecoverableDays: recoverableDays,
	}
}

// readKey is the answer about one version of a key, or about all of them.
func (v *Vault) readKey(who *bearer, a asked) ([]byte, *vaultError) {
	at, id, failed := v.usable(who, a)
	if failed != nil {
		return nil, failed
	}
	if a.action == listKey {
		return v.listKey(a.name), nil
	}
	public := at.material.material().private.PublicKey
	return encoded(keyItem{Attributes: at.attributes(), Key: &jsonKey{
		KeyID: id, Type: "RSA", Operations: []string{"sign", "verify"},
		Modulus:  base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		Exponent: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
	}}), nil
}

// usable is a copy of the version that is asked for, with its URL, if the client has a right on the key. The making of an
// RSA key takes its time and is left to callers, who no longer hold the lock.
func (v *Vault) usable(who *bearer, a asked) (at keyVersion, id string, failed *vaultError) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !v.users.allow(who.clientID, a.name) {
		return at, "", v.forbidden(who, a)
	}
	found := v.findKey(a.name, a.version)
	if found == nil {
		return at, "", notFound(a)
	}
	return *found, v.keyID(a.name, found.id), nil
}

// keyID is a version's URL, the name spelt as it was first given. The caller holds the lock.
func (v *Vault) keyID(name, version string) string {
	return v.URL() + "/keys/" + v.keys[strings.ToLower(name)].name + "/" + version
}

// listKey has all versions in one page. They are in the order of their IDs, which says nothing of their age, so that no
// client comes to rely on an order that Key Vault does not promise.
func (v *Vault) listKey(name string) []byte {
	v.mu.RLock()
	defer v.mu.RUnlock()
	items := []keyItem{}
	for _, at := range v.keys[strings.ToLower(name)].versions {
		items = append(items, keyItem{KeyID: v.keyID(name, at.id), Attributes: at.attributes()})
	}
	slices.SortFunc(items, func(a, b keyItem) int { return strings.Compare(a.KeyID, b.KeyID) })
	return encoded(map[string]any{"value": items, "nextLink": nil})
}

// sign signs a SHA-256 digest with RS256, the one algorithm that is emulated. The order of the checks is that of reads:
// what is wrong with a request is told only to those who may make it.
func (v *Vault) sign(who *bearer, a asked, r *http.Request) ([]byte, *vaultError) {
	at, id, failed := v.usable(who, a)
	if failed != nil {
		return nil, failed
	}
	if !at.enabled {
		return nil, &vaultError{status: http.StatusForbidden, code: "Forbidden", inner: "KeyDisabled",
			text: "Operation sign is not allowed on a disabled key."}
	}
	var body struct{ Alg, Value string }
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		return nil, badParameter("The request body is no JSON object with alg and value.")
	}
	if body.Alg != "RS256" {
		return nil, badParameter("Property 'alg' has an unsupported value: the emulated key signs with RS256.")
	}
	digest, err := base64.RawURLEncoding.DecodeString(body.Value)
	if err != nil || len(digest) != crypto.SHA256.Size() {
		return nil, badParameter(fmt.Sprintf("Invalid length of 'value': %d bytes. RS256 requires 32 bytes, encoded with base64url.", len(digest)))
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, at.material.material().private, crypto.SHA256, digest)
	if err != nil {
		panic(fmt.Errorf("emulator: signing a digest: %w", err))
	}
	return encoded(map[string]string{"kid": id, "value": base64.RawURLEncoding.EncodeToString(signature)}), nil
}

func badParameter(text string) *vaultError {
	return &vaultError{status: http.StatusBadRequest, code: "BadParameter", text: text}
}

// encoded is a document of plain strings and numbers, which always marshals.
func encoded(document any) []byte {
	body, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Errorf("emulator: writing an answer: %w", err))
	}
	return body
}
