package entra

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/drone-entra/drone-entra/secret"
)

// Claims is what an assertion says of itself, for people who look for a fault. Its texts are whoever's made the assertion: make
// them harmless before they are printed. It holds nothing that anybody could prove himself with.
type Claims struct {
	Issuer, Subject  string
	Audience         []string
	KeyID, Algorithm string
	Issued           time.Time // the earlier of iat and nbf; zero: neither is there
	NotBefore        time.Time // the later of them
	Expires          time.Time // zero: it does not say

	digest    [sha256.Size]byte // of what was signed
	signature []byte
}

// Flaw is one thing that is wrong, and what to do about it. A mild one may be none: what this machine sees is not what Entra
// sees.
type Flaw struct {
	Cause, Remedy string
	Mild          bool
}

// Limits of what Entra takes as an assertion.
const (
	maxAssertionLife = 25 * time.Hour // AADSTS70023
	leeway           = 5 * time.Minute
)

// Examine gets the assertion that an exchange for the request would show, and says what is in it; never the assertion itself. A
// managed identity that stands for itself has none, and the claims are zero. The error is an *secret.Error.
func (i *Identity) Examine(ctx context.Context, r secret.Request) (Claims, error) {
	if i.options.Managed {
		return Claims{}, nil
	}
	if _, failure := i.clientOf(r); failure != nil {
		return Claims{}, failure
	}
	subject := i.Subject(r)
	if subjects := i.options.Subjects; subjects != nil && subject == "" {
		return Claims{}, noSubject(i, subjects, r)
	}
	assertion, err := i.options.Assertion(secret.WithRequest(ctx, r), subject)
	if err != nil {
		return Claims{}, secret.AsError(err)
	}
	c, ok := decode(assertion)
	if !ok {
		return Claims{}, secret.Fail(secret.Unavailable, secret.ReasonIdentity,
			fmt.Sprintf("%s: its assertion can't be decoded: look whether it was written only by half, and at what writes it", i))
	}
	return c, nil
}

// Client is the application that stands for the request; empty for a managed identity that is the machine's own, and where
// nobody stands for it.
func (i *Identity) Client(r secret.Request) string {
	client, failure := i.clientOf(r)
	if failure != nil {
		return ""
	}
	return client
}

// decode reads a JWT and verifies nothing. Times may have fractions (RFC 7519, section 2), the audience may be one or several.
func decode(token string) (c Claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	var body struct {
		Issuer    string          `json:"iss"`
		Subject   string          `json:"sub"`
		Audience  json.RawMessage `json:"aud"`
		Issued    float64         `json:"iat"`
		NotBefore float64         `json:"nbf"`
		Expires   float64         `json:"exp"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !part(parts[0], &header) || !part(parts[1], &body) {
		return c, false
	}
	c = Claims{
		Issuer: body.Issuer, Subject: body.Subject, KeyID: header.KeyID, Algorithm: header.Algorithm, Expires: moment(body.Expires),
		digest: sha256.Sum256([]byte(parts[0] + "." + parts[1])), signature: signature,
	}
	c.Issued, c.NotBefore = moment(body.Issued), moment(body.NotBefore)
	if c.Issued.IsZero() || !c.NotBefore.IsZero() && c.NotBefore.Before(c.Issued) {
		c.Issued, c.NotBefore = c.NotBefore, c.Issued
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = c.Issued
	}
	if json.Unmarshal(body.Audience, &c.Audience) != nil {
		c.Audience = make([]string, 1)
		if json.Unmarshal(body.Audience, &c.Audience[0]) != nil {
			c.Audience = nil // Flaws says so
		}
	}
	return c, true
}

func part(encoded string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && json.Unmarshal(b, into) == nil
}

func moment(seconds float64) time.Time {
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// Flaws lists why Entra would refuse the assertion in a cloud (public, also if empty, usgovernment or china) at the moment now,
// as far as the assertion itself shows it.
func (c *Claims) Flaws(cloud string, now time.Time) (flaws []Flaw) {
	add := func(wrong bool, cause, remedy string) {
		if wrong {
			flaws = append(flaws, Flaw{Cause: cause, Remedy: remedy})
		}
	}
	add(c.Algorithm != "RS256", fmt.Sprintf("the assertion is signed with %.40q; Entra takes RS256 alone", c.Algorithm),
		"let its issuer sign with an RSA key and RS256")
	add(c.KeyID == "", "the assertion's header has no kid, without which Entra finds no key (AADSTS7000272)",
		"let its issuer name the key that signs; behind a SPIFFE server, look at its OIDC discovery provider")
	flaws = append(flaws, c.issuerFlaws(cloud)...)
	flaws = append(flaws, c.subjectFlaws()...)
	if want := Audience(cloud); !slices.Contains(c.Audience, want) && !(c.FromEntra() && slices.ContainsFunc(c.Audience, guid)) {
		cause := fmt.Sprintf("the assertion is for %.200q, and not for %s (AADSTS700212)", c.Audience, want)
		if len(c.Audience) > 0 && strings.HasPrefix(c.Audience[0], Audience("")) {
			cause += "; that is another cloud's, and federation does not work across clouds"
		}
		add(true, cause, "let it be projected for the audience "+want)
	}
	return append(flaws, c.timeFlaws(now)...)
}

// issuerFlaws are about who made the assertion.
func (c *Claims) issuerFlaws(cloud string) []Flaw {
	u, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "" || err != nil || u.Host == "":
		return []Flaw{{Cause: fmt.Sprintf("the assertion's issuer %.200q is no URL", c.Issuer), Remedy: "use a token of an OIDC issuer that is published on the internet"}}
	case u.Scheme != "https":
		return []Flaw{{Cause: fmt.Sprintf("the assertion's issuer %.200q is not https, and Entra fetches keys over https only", c.Issuer),
			Remedy: "publish the issuer under an https URL, and let it say so in its tokens (--service-account-issuer on Kubernetes)"}}
	case private(u.Hostname()):
		return []Flaw{{Cause: fmt.Sprintf("the assertion's issuer %.200q is a name or an address of a private network, where Entra can't fetch its keys (AADSTS90061)", c.Issuer),
			Remedy: "publish its documents on the internet under another URL, and let the cluster issue tokens with that one (--service-account-issuer)"}}
	}
	if of := cloudOfLogin(u.Host); of != "" && of != "public" && of != cloud || of == "public" && cloud != "" && cloud != "public" {
		return []Flaw{{Cause: fmt.Sprintf("the assertion's issuer is Entra in the cloud %s, and the identity is in another one: federation does not work across clouds (AADSTS900382)", of),
			Remedy: "use a managed identity and an application of the same cloud"}}
	}
	return nil
}

// private tells whether a host is one that only a network of its own knows.
func private(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range []string{".local", ".internal", ".svc", ".localhost", ".lan"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return !strings.Contains(host, ".")
}

// cloudOfLogin is the cloud that a host is the authority of; "" if it is none's.
func cloudOfLogin(host string) string {
	for _, name := range []string{"public", "usgovernment", "china"} {
		if conf, err := cloudOf(name); err == nil && strings.EqualFold(authority(conf), host) {
			return name
		}
	}
	return ""
}

// FromEntra tells whether Entra itself made the assertion, as it does for a managed identity. Its tokens may name the audience by
// the client ID of the exchange's application instead of by its URI.
func (c *Claims) FromEntra() bool {
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Host)
	return cloudOfLogin(host) != "" || host == "sts.windows.net" || host == "login.partner.microsoftonline.cn"
}

// subjectFlaws are about what can be entered in Entra only by chance.
func (c *Claims) subjectFlaws() []Flaw {
	remedy := "let the issuer write a subject without it: Entra compares it byte by byte, and nobody sees it in the portal"
	switch {
	case c.Subject == "":
		return []Flaw{{Cause: "the assertion has no subject", Remedy: "use a token that has a sub: a federated credential names one"}}
	case len(c.Subject) > 600 || len(c.Issuer) > 600:
		return []Flaw{{Cause: "the assertion's issuer or subject has more than the 600 characters that Entra takes", Remedy: "shorten it at its issuer"}}
	case strings.ContainsFunc(c.Subject, unicode.IsControl):
		return []Flaw{{Cause: fmt.Sprintf("the assertion's subject %.200q holds a newline or another control character", c.Subject), Remedy: remedy}}
	case strings.TrimSpace(c.Subject) != c.Subject:
		return []Flaw{{Cause: fmt.Sprintf("the assertion's subject %.200q begins or ends with a blank", c.Subject), Remedy: remedy}}
	case strings.ContainsFunc(c.Subject, unicode.IsSpace):
		return []Flaw{{Cause: fmt.Sprintf("the assertion's subject %.200q holds a blank", c.Subject), Remedy: "enter it in Entra with just this blank", Mild: true}}
	}
	return nil
}

// timeFlaws are about when it is valid.
func (c *Claims) timeFlaws(now time.Time) []Flaw {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case c.Expires.IsZero():
		return []Flaw{{Cause: "the assertion does not say when it ends", Remedy: "use a token that has an exp"}}
	case !now.Before(c.Expires):
		return []Flaw{{Cause: fmt.Sprintf("the assertion expired at %s, %s ago (AADSTS700024)", at(c.Expires), now.Sub(c.Expires).Round(time.Second)),
			Remedy: "look whether what writes it still runs, as the kubelet or a SPIFFE helper, and at the clock of the machine that makes it"}}
	case now.Add(leeway).Before(c.NotBefore):
		return []Flaw{{Cause: fmt.Sprintf("the assertion is not valid before %s, in %s (AADSTS700024)", at(c.NotBefore), c.NotBefore.Sub(now).Round(time.Second)),
			Remedy: "look at the clock of the machine that makes it"}}
	case !c.Issued.IsZero() && c.Expires.Sub(c.Issued) > maxAssertionLife:
		return []Flaw{{Cause: fmt.Sprintf("the assertion lives for %s; Entra takes 25 hours at most (AADSTS70023)", c.Expires.Sub(c.Issued)),
			Remedy: "lower its life at its issuer: expirationSeconds of the projection on Kubernetes"}}
	}
	return nil
}
