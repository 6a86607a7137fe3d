package emulator

import (
	"cmp"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// grant is what an access token says.
type grant struct {
	cloud              cloud
	tenant             *tenant
	clientID, objectID string
	resource           string
	lifetime           time.Duration // zero: as Entra chooses
}

// accessClaims are those of an application's access token, as far as Key Vault and Entra look at them.
type accessClaims struct {
	Audience  string `json:"aud"`
	Issuer    string `json:"iss"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	AppID     string `json:"appid,omitempty"` // version 1.0
	Party     string `json:"azp,omitempty"`   // version 2.0
	Type      string `json:"idtyp"`
	ObjectID  string `json:"oid"`
	Subject   string `json:"sub"`
	Tenant    string `json:"tid"`
	Unique    string `json:"uti"`
	Version   string `json:"ver"`
}

// issue signs an access token with the tenant's key and says how long it lasts.
//
// A token for Key Vault is of version 1.0 (appid, issuer sts.windows.net), one for the exchange audience of version 2.0
// (azp, issuer with /v2.0): the second can serve as another application's assertion.
func (e *Emulator) issue(g grant) (string, time.Duration) {
	if g.lifetime == 0 {
		g.lifetime = e.accessLifetime()
	}
	now := e.now()
	claims := accessClaims{
		Audience:  g.resource,
		Issuer:    g.cloud.issuer(g.tenant.id),
		IssuedAt:  now.Unix(),
		NotBefore: now.Unix(),
		Expires:   now.Add(g.lifetime).Unix(),
		Type:      "app",
		ObjectID:  g.objectID,
		Subject:   g.objectID,
		Tenant:    g.tenant.id,
		Unique:    newID(),
	}
	if strings.HasPrefix(g.resource, DefaultAudience) { // …USGov and …China in those clouds
		claims.Version, claims.Party = "2.0", g.clientID
	} else {
		// Key Vault and the resource manager are registered for version 1.0, whose issuer is another.
		claims.Version, claims.AppID, claims.Issuer = "1.0", g.clientID, "https://sts.windows.net/"+g.tenant.id+"/"
	}
	return sign(g.tenant.key.material().signer, claims), g.lifetime
}

// accessLifetime is between 60 and 90 minutes, as Entra draws it, unless the options fixed it.
func (e *Emulator) accessLifetime() time.Duration {
	if e.lifetime > 0 {
		return e.lifetime
	}
	return time.Hour + time.Duration(rand.IntN(30*60))*time.Second
}

// bearer is whom a genuine access token speaks for.
type bearer struct {
	clientID, objectID, tenant string
	issuer, audience           string
	notBefore, expires         time.Time
}

// verifiedLimit bounds the memory of genuine tokens. A client gets one an hour, so it is never reached in practice.
const verifiedLimit = 4096

// verified remembers genuine tokens by their hash: a signature is checked once for each.
type verified struct {
	mu      sync.RWMutex
	bearers map[[sha256.Size]byte]*bearer
}

func (v *verified) get(hash [sha256.Size]byte) *bearer {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.bearers[hash]
}

// When it is full it starts over, since to forget a genuine token costs one check of a signature.
func (v *verified) put(hash [sha256.Size]byte, b *bearer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bearers == nil || len(v.bearers) >= verifiedLimit {
		v.bearers = map[[sha256.Size]byte]*bearer{}
	}
	v.bearers[hash] = b
}

// verify is the bearer of a token that a tenant of the emulator has signed, nil for any other. It says nothing of the
// token's time and audience: those are for the resource to judge, each time.
func (e *Emulator) verify(token string) *bearer {
	hash := sha256.Sum256([]byte(token))
	if known := e.verified.get(hash); known != nil {
		return known
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil
	}
	var claims accessClaims
	if parsed.UnsafeClaimsWithoutVerification(&claims) != nil {
		return nil
	}
	tenant := e.directory.find(claims.Tenant)
	if tenant == nil {
		return nil
	}
	keys := tenant.key.material().public.Key(parsed.Headers[0].KeyID)
	if len(keys) == 0 || parsed.Claims(keys[0].Key, &claims) != nil {
		return nil
	}
	b := &bearer{
		clientID: cmp.Or(claims.AppID, claims.Party), objectID: claims.ObjectID, tenant: claims.Tenant,
		issuer: claims.Issuer, audience: strings.TrimSuffix(claims.Audience, "/"),
		notBefore: time.Unix(claims.NotBefore, 0), expires: time.Unix(claims.Expires, 0),
	}
	e.verified.put(hash, b)
	return b
}
