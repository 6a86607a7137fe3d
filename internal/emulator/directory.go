package emulator

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
)

// App is an application in a tenant, with one federated credential.
type App struct {
	Tenant   string // its ID, a GUID
	ClientID string // a GUID

	// The federated credential: what an assertion must say to stand for the application. All three compare exactly.
	Subject  string // DefaultSubject when empty
	Issuer   string // IssuerURL when empty
	Audience string // DefaultAudience when empty

	AnySubject  bool // the federated credential takes any subject of its issuer, which no real one does: for dev only
	Unfederated bool // the application has no federated credential at all
}

// directory is what Entra knows: tenants with their applications, and the machine's managed identities.
// mu guards everything in it, the tenants' applications included. IDs are kept in lower case, since
// GUIDs compare without case.
type directory struct {
	keys    *Keys
	mu      sync.RWMutex
	tenants map[string]*tenant
	machine []managed
}

type tenant struct {
	id   string
	key  *signingKey
	apps map[string]*application // by client ID; guarded by the directory's lock
}

// objectID comes from tenant and client ID, so it is the same on every start.
type application struct {
	clientID   string
	objectID   string // of its service principal
	federation []credential
}

// credential is a federated identity credential.
type credential struct {
	issuer, subject, audience string
	anySubject                bool
}

// managed is a user-assigned managed identity of the machine.
type managed struct{ clientID, principalID, tenant string }

// Register adds an application, its tenant with it. The same client ID again adds another federated credential.
func (e *Emulator) Register(app App) {
	d := &e.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.tenant(app.Tenant).app(app.ClientID)
	if app.Unfederated {
		return
	}
	known.federation = append(known.federation, e.credentialOf(app))
}

// credentialOf is the federated credential that an App describes.
func (e *Emulator) credentialOf(app App) credential {
	return credential{
		issuer:   cmp.Or(app.Issuer, e.IssuerURL()),
		subject:  cmp.Or(app.Subject, DefaultSubject),
		audience: cmp.Or(app.Audience, DefaultAudience),

		anySubject: app.AnySubject,
	}
}

// ManagedIdentity assigns an identity to the machine that the emulator stands for and returns its principal ID, which
// is the subject of its tokens. Where it is to act as an application's credential, register that application with this
// subject and with [Emulator.ManagedIssuer] as the issuer.
func (e *Emulator) ManagedIdentity(clientID, tenant string) (principalID string) {
	d := &e.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	app := d.tenant(tenant).app(clientID)
	for _, known := range d.machine {
		if known.clientID == clientID {
			return known.principalID
		}
	}
	d.machine = append(d.machine, managed{clientID: app.clientID, principalID: app.objectID, tenant: strings.ToLower(tenant)})
	return app.objectID
}

// ManagedIssuer is the issuer of the tokens that managed identities of the tenant get for [DefaultAudience].
func (e *Emulator) ManagedIssuer(tenant string) string {
	return clouds()[0].issuer(strings.ToLower(tenant))
}

// ensure makes the tenant if it is not there yet.
func (d *directory) ensure(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenant(id)
}

// tenant finds or makes one. The caller holds the lock for writing.
func (d *directory) tenant(id string) *tenant {
	id = strings.ToLower(id)
	if d.tenants == nil {
		d.tenants = map[string]*tenant{}
	}
	if d.tenants[id] == nil {
		d.tenants[id] = &tenant{id: id, key: d.keys.of("tenant " + id), apps: map[string]*application{}}
	}
	return d.tenants[id]
}

// app finds or makes one. The caller holds the directory's lock for writing.
func (t *tenant) app(clientID string) *application {
	clientID = strings.ToLower(clientID)
	if t.apps[clientID] == nil {
		t.apps[clientID] = &application{clientID: clientID, objectID: derivedID(t.id + "/" + clientID)}
	}
	return t.apps[clientID]
}

// find is the tenant of that ID, nil when there is none.
func (d *directory) find(id string) *tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[strings.ToLower(id)]
}

// credentials are an application's object ID and federated credentials, and whether the tenant has it at all.
// The list is a copy, good without the lock.
func (d *directory) credentials(t *tenant, clientID string) (objectID string, list []credential, found bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	app := t.apps[strings.ToLower(clientID)]
	if app == nil {
		return "", nil, false
	}
	return app.objectID, append(list, app.federation...), true
}

// identities are the machine's.
func (d *directory) identities() []managed {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return append([]managed(nil), d.machine...)
}

// newID is a random GUID (version 4).
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return formatID(raw)
}

// derivedID is the GUID that belongs to a name, the same on every start.
func derivedID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return formatID([16]byte(sum[:16]))
}

// formatID sets the version and variant bits of RFC 9562 and writes the GUID.
func formatID(raw [16]byte) string {
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}
