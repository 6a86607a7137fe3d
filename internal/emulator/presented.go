package emulator

import (
	"encoding/json"
	"maps"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4/jwt"
)

// Presented is what an assertion said that somebody showed to Entra. It is no assertion any more: the signature is left
// out, so nothing can be proven with it.
type Presented struct {
	Header map[string]any // alg, kid and typ, as far as there were any
	Claims map[string]any // numbers are json.Number
}

// presentedLimit bounds the clients whose assertions are remembered; the registered ones are fewer.
const presentedLimit = 1024

// presentations are the last assertions, by client ID in lower case.
type presentations struct {
	mu   sync.Mutex
	last map[string]Presented
}

// keep remembers a readable assertion. Beyond the limit it remembers no further clients.
func (p *presentations) keep(clientID string, token *jwt.JSONWebToken) {
	seen := Presented{Header: map[string]any{"alg": token.Headers[0].Algorithm}}
	if id := token.Headers[0].KeyID; id != "" {
		seen.Header["kid"] = id
	}
	for name, value := range token.Headers[0].ExtraHeaders {
		seen.Header[string(name)] = value
	}
	var payload json.RawMessage
	if token.UnsafeClaimsWithoutVerification(&payload) != nil {
		return
	}
	claims := json.NewDecoder(strings.NewReader(string(payload)))
	claims.UseNumber()
	if claims.Decode(&seen.Claims) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]Presented{}
	}
	if _, known := p.last[clientID]; known || len(p.last) < presentedLimit {
		p.last[clientID] = seen
	}
}

// Presented is the last assertion that was shown for a client ID and that could be read, whatever Entra made of it. ok is
// false if there was none.
func (e *Emulator) Presented(clientID string) (last Presented, ok bool) {
	e.presented.mu.Lock()
	defer e.presented.mu.Unlock()
	last, ok = e.presented.last[strings.ToLower(clientID)]
	return Presented{Header: maps.Clone(last.Header), Claims: maps.Clone(last.Claims)}, ok
}

// Revoke takes back the federated credential that Register has given the application with the same App, from the next
// exchange on. Tokens that are out stay good, as in Entra.
func (e *Emulator) Revoke(app App) {
	revoked := e.credentialOf(app)
	d := &e.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.tenant(app.Tenant).app(app.ClientID)
	known.federation = keep(known.federation, func(c credential) bool { return c != revoked })
}
