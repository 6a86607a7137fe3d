package test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// one is a configuration that gives pushes of acme/app to its default branch the secrets shared/ci-*.
const one = `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*"]}
`

// theBody asks for what that configuration gives.
var theBody = push("acme/app").body("shared", "ci-token")

func startOne(t *testing.T, options ...option) *server {
	t.Helper()
	s := start(t, one, options...)
	s.fill("kv-shared/ci-token")
	return s
}

func (s *server) servesOne(t *testing.T) {
	t.Helper()
	s.serves(t, push("acme/app"), "shared/ci-token", "kv-shared/ci-token")
}

// attack is a genuine message with something wrong about it.
type attack struct {
	name   string
	edit   func(*message) // before it is signed
	list   string         // the headers that are signed: the five, unless given
	key    string         // the runner's, unless given
	tamper func(*message) // after it is signed
	reason string         // why it is not believed; empty: it is, and gets its secret
}

func (a attack) message() *message {
	m := genuine(theBody)
	if a.edit != nil {
		a.edit(m)
	}
	list, key := a.list, a.key
	if list == "" {
		list = five
	}
	if key == "" {
		key = runnerKey
	}
	m.sign(key, list)
	if a.tamper != nil {
		a.tamper(m)
	}
	return m
}

// attacks sends each to one server. The record gives the first of each new address a line of its own, 32 in ten seconds.
func attacks(t *testing.T, list []attack) {
	t.Helper()
	t.Parallel()
	if len(list) > 30 {
		t.Fatal("too many for one server: the record would count them instead of telling them apart")
	}
	s := startOne(t)
	for _, a := range list {
		t.Run(a.name, func(t *testing.T) {
			r := s.send(a.message())
			if a.reason == "" {
				s.gotOne(t, r)
			} else {
				s.unproven(t, r, a.reason)
			}
			s.servesOne(t)
		})
	}
}

// gotOne checks that the reply releases the secret, and that this is on record.
func (s *server) gotOne(t *testing.T, r reply) event {
	t.Helper()
	answer := r.released(t, s.key)
	if want := s.valueAt(t, "kv-shared/ci-token"); answer["data"] != want || answer["name"] != "ci-token" {
		t.Errorf("answered %v, want %q", answer, want)
	}
	e := s.recorded(r.ID())
	if e.Kind != "secret" || e.Outcome != "released" {
		t.Errorf("on record is %s", e.Line)
	}
	return e
}

// unproven checks that nobody was believed: a 401 that invites to sign properly, and a line on record without anything
// that the request claimed.
func (s *server) unproven(t *testing.T, r reply, reason string) event {
	t.Helper()
	e := s.recorded(r.refused(t, http.StatusUnauthorized))
	if e.Kind != "unproven" || e.Outcome != "refused" || e.Reason != reason {
		t.Errorf("on record is %s %s: %q, want unproven refused: %q", e.Kind, e.Outcome, e.Reason, reason)
	}
	if e.Repo.Slug != "" || e.Asked.Name != "" || e.Secret != "" || e.Build.Event != "" {
		t.Errorf("claims that nobody proved are on record: %s", e.Line)
	}
	if !r.Close {
		t.Error("the connection of a stranger is kept")
	}
	if !strings.Contains(r.Header.Get("WWW-Authenticate"), five) {
		t.Errorf("a 401 without a challenge: %v", r.Header)
	}
	return e
}

func set(name, value string) func(*message)  { return func(m *message) { m.set(name, value) } }
func also(name, value string) func(*message) { return func(m *message) { m.add(name, value) } }
func without(name string) func(*message)     { return func(m *message) { m.drop(name) } }
func ago(d time.Duration) func(*message) {
	return func(m *message) { m.set("Date", time.Now().Add(-d).UTC().Format(http.TimeFormat)) }
}

// twice puts a second, equal field beside the first.
func twice(name string) func(*message) { return func(m *message) { m.add(name, m.get(name)) } }

// signedAs replaces the Signature by one with another text; %s is the MAC that the key makes.
func signedAs(format string) func(*message) {
	return func(m *message) { m.set("Signature", strings.ReplaceAll(format, "%s", m.mac(runnerKey, five))) }
}

func TestP1GenuineRequestsAreBelieved(t *testing.T) {
	attacks(t, []attack{
		{name: "P1 as every runner sends it"},
		{name: "P1 with more headers signed", list: five + " host user-agent"},
		{name: "P1 with the request line signed", list: "(request-target) " + five},
		{name: "P1 in another order", list: "digest date content-type accept-encoding accept"},
		{name: "P1 in Authorization", tamper: func(m *message) {
			m.add("Authorization", "Signature "+m.get("Signature")).drop("Signature")
		}},
		{name: "P1 with a parameter that nobody asked for", tamper: func(m *message) {
			m.set("Signature", m.get("Signature")+`,created="1402170695"`)
		}},
		{name: "P1 by another name of the key", tamper: func(m *message) {
			m.set("Signature", strings.Replace(m.get("Signature"), "hmac-key", "any", 1))
		}},
		{name: "P1 with a charset", edit: set("Content-Type", "application/json; charset=utf-8")},
		{name: "P1 behind proxies that add headers", tamper: also("X-Forwarded-For", "203.0.113.9")},
		{name: "P1 with a Bearer beside the signature", tamper: also("Authorization", "Bearer nobody-looks-at-this")},
		{name: "P4 a minute and a half old", edit: ago(90 * time.Second)},
		{name: "P4 a minute and a half ahead", edit: ago(-90 * time.Second)},
	})
}

func TestP2P3TheBodyIsWhatWasSigned(t *testing.T) {
	other := strings.Replace(theBody, "ci-token", "ci-other", 1)
	attacks(t, []attack{
		{name: "P2 the body swapped", tamper: func(m *message) { m.body = other }, reason: "digest"},
		{name: "P2 one byte of it", tamper: func(m *message) { m.body = m.body[:9] + "X" + m.body[10:] }, reason: "digest"},
		{name: "P2 a longer one", tamper: func(m *message) {
			m.body += " "
			m.set("Content-Length", fmt.Sprint(len(m.body)))
		}, reason: "digest"},
		{name: "P2 the first bytes of it", tamper: set("Content-Length", "100"), reason: "digest"},
		{name: "P2 body and Digest swapped", tamper: func(m *message) { m.body = other; m.set("Digest", digest(other)) }, reason: "key"},
		{name: "P2 signed, but with another body's Digest", edit: set("Digest", digest(other)), reason: "digest"},
		{name: "P2 no body", tamper: func(m *message) { m.body = ""; m.set("Content-Length", "0") }, reason: "digest"},

		{name: "P3 no Digest", edit: without("Digest"), reason: "digest"},
		{name: "P3 twice", edit: twice("Digest"), reason: "digest"},
		{name: "P3 a second one after the signature", tamper: also("Digest", digest(other)), reason: "digest"},
		{name: "P3 MD5", edit: set("Digest", "MD5=Q2hlY2sgSW50ZWdyaXR5IQ=="), reason: "digest"},
		{name: "P3 SHA-512", edit: set("Digest", "SHA-512="+sum(sha512.New, theBody)), reason: "digest"},
		{name: "P3 SHA-1", edit: set("Digest", "SHA="+sum(sha1.New, theBody)), reason: "digest"},
		{name: "P3 SHA-256 after another", edit: set("Digest", "SHA=AAAA,"+digest(theBody)), reason: "digest"},
		{name: "P3 SHA-256 before another", edit: set("Digest", digest(theBody)+",SHA=AAAA"), reason: "digest"},
		{name: "P3 empty", edit: set("Digest", ""), reason: "digest"},
		{name: "P3 only the algorithm", edit: set("Digest", "SHA-256="), reason: "digest"},
		{name: "P3 cut short", edit: set("Digest", digest(theBody)[:40]), reason: "digest"},
		{name: "P3 in hexadecimal", edit: set("Digest", "SHA-256="+strings.Repeat("ab", 32)), reason: "digest"},
		{name: "P3 without padding", edit: set("Digest", strings.TrimRight(digest(theBody), "=")), reason: "digest"},
		{name: "P3 as RFC 9530 writes it", edit: set("Digest", "sha-256=:"+strings.TrimPrefix(digest(theBody), "SHA-256=")+":"), reason: "digest"},
	})
}

func sum(algorithm func() hash.Hash, text string) string {
	h := algorithm()
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestP4ARequestIsFresh(t *testing.T) {
	attacks(t, []attack{
		{name: "P4 older than the window", edit: ago(3 * time.Minute), reason: "date"},
		{name: "P4 newer than the window", edit: ago(-3 * time.Minute), reason: "date"},
		{name: "P4 a year old", edit: ago(365 * 24 * time.Hour), reason: "date"},
		{name: "P4 of the year 1", edit: set("Date", "Mon, 01 Jan 0001 00:00:00 GMT"), reason: "date"},
		{name: "P4 of the year 9999", edit: set("Date", "Fri, 31 Dec 9999 23:59:59 GMT"), reason: "date"},
		{name: "P4 a word", edit: set("Date", "now"), reason: "date"},
		{name: "P4 as RFC 3339", edit: set("Date", time.Now().UTC().Format(time.RFC3339)), reason: "date"},
		{name: "P4 as seconds", edit: set("Date", fmt.Sprint(time.Now().Unix())), reason: "date"},
		{name: "P4 in another zone", edit: set("Date", time.Now().UTC().Format(time.RFC1123Z)), reason: "date"},
		{name: "P4 with a zone that is no zone", edit: set("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 XST")), reason: "date"},
		{name: "P4 empty", edit: set("Date", ""), reason: "date"},
		{name: "P4 none", edit: without("Date"), reason: "date"},
		{name: "P4 twice", edit: twice("Date"), reason: "date"},
		{name: "P4 a fresh one added to an old request", edit: ago(time.Hour), tamper: func(m *message) {
			m.add("Date", time.Now().UTC().Format(http.TimeFormat))
		}, reason: "date"},
		{name: "P4 a fresh one put into an old request", edit: ago(time.Hour), tamper: func(m *message) {
			m.set("Date", time.Now().UTC().Format(http.TimeFormat))
		}, reason: "key"},
	})
}

// An operator reads from the record how far a clock is off, and whose pool it was: only the key's holder gets that far.
func TestP4TheSkewIsOnRecord(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		e := s.unproven(t, s.send(attack{edit: ago(-off)}.message()), "date")
		if got := time.Duration(e.Skew) * time.Second; (got - off).Abs() > time.Minute {
			t.Errorf("the skew on record is %s, want about %s", got, off)
		}
		if e.Pool != "default" || e.Key != "DRONE_SECRET" {
			t.Errorf("on record is %s, want the pool and the key's id", e.Line)
		}
	}
}

// The window is the configuration's.
func TestP4TheWindowIsConfigured(t *testing.T) {
	t.Parallel()
	s := start(t, one+"limits: {skew: 10m, drain: 1s}\n")
	s.fill("kv-shared/ci-token")
	s.gotOne(t, s.send(attack{edit: ago(9 * time.Minute)}.message()))
	s.gotOne(t, s.send(attack{edit: ago(-9 * time.Minute)}.message()))
	s.unproven(t, s.send(attack{edit: ago(11 * time.Minute)}.message()), "date")
	s.unproven(t, s.send(attack{edit: ago(-11 * time.Minute)}.message()), "date")
}

// Strangers can't fill the record: of each kind and address there is a line, and then how many more came.
func TestStrangersAreCounted(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	const each = 40
	for range each {
		for _, m := range []*message{genuine(theBody), genuine(theBody).sign(oldKey, five)} {
			conn, err := net.Dial("tcp", s.Address) // always from the same address
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			s.exchange(conn, m.bytes()).refused(t, http.StatusUnauthorized)
			_ = conn.Close()
		}
	}
	s.servesOne(t)
	s.stop()
	lines, counted := 0, map[string]int{}
	for _, e := range s.events() {
		if e.Kind == "unproven" {
			lines++
			counted[e.Reason] += max(e.Count, 1)
		}
	}
	if counted["signature"] != each || counted["key"] != each || len(counted) != 2 {
		t.Errorf("on record are %v, want %d of each", counted, each)
	}
	if lines > each {
		t.Errorf("%d strangers take %d lines", 2*each, lines)
	}
}

func TestP5TheSameRequestAgainIsCountedNotRefused(t *testing.T) {
	t.Parallel()
	s := start(t, one+"limits: {repeats: 5, drain: 1s}\n")
	s.fill("kv-shared/ci-token")
	same := genuine(theBody).sign(runnerKey, five).bytes()
	for n := range 5 {
		if e := s.gotOne(t, s.raw(same)); e.Repeat != n {
			t.Errorf("number %d is on record as repeat %d", n+1, e.Repeat)
		}
	}
	r := s.raw(same)
	if e := s.recorded(r.refused(t, http.StatusTooManyRequests)); e.Kind != "secret" || e.Outcome != "failed" || e.Reason != "busy" || e.Pool != "default" {
		t.Errorf("on record is %s, want it failed: busy", e.Line)
	}
	if r.Header.Get("Retry-After") == "" {
		t.Error("a 429 does not say when to come again")
	}
	s.expect(t, push("acme/app").number(8), "shared/ci-token", gets("kv-shared/ci-token"))
}

func TestP6P7P8ASignatureCoversAllItMust(t *testing.T) {
	var list []attack
	names := strings.Fields(five)
	for i, name := range names {
		shorter := strings.Join(slices.Delete(slices.Clone(names), i, i+1), " ")
		list = append(list, attack{name: "P6 all but " + name, list: shorter, reason: "headers"})
	}
	mac := func(algorithm func() hash.Hash) func(*message) {
		return func(m *message) {
			h := hmac.New(algorithm, []byte(runnerKey))
			fmt.Fprintf(h, "accept: %s\naccept-encoding: %s\ncontent-type: %s\ndate: %s\ndigest: %s",
				m.get("Accept"), m.get("Accept-Encoding"), m.get("Content-Type"), m.get("Date"), m.get("Digest"))
			name := map[int]string{20: "hmac-sha1", 64: "hmac-sha512"}[h.Size()]
			m.set("Signature", signature(name, five, base64.StdEncoding.EncodeToString(h.Sum(nil))))
		}
	}
	attacks(t, append(list, []attack{
		{name: "P6 date alone", list: "date", reason: "headers"},
		{name: "P6 date and digest, as webhooks sign", list: "date digest", reason: "headers"},
		{name: "P6 no list", tamper: signedAs(`keyId="hmac-key",algorithm="hmac-sha256",signature="%s"`), reason: "headers"},
		{name: "P6 an empty list", tamper: signedAs(`keyId="hmac-key",algorithm="hmac-sha256",signature="%s",headers=""`), reason: "headers"},
		{name: "P6 one of them twice", list: five + " date", reason: "headers"},
		{name: "P6 a header that isn't there", list: five + " x-nothing", reason: "headers"},
		{name: "P6 a header that is there twice", list: five + " x-two", edit: func(m *message) { m.add("X-Two", "1").add("X-Two", "2") }, reason: "headers"},

		{name: "P7 hmac-sha1", tamper: mac(sha1.New), reason: "algorithm"},
		{name: "P7 hmac-sha512", tamper: mac(sha512.New), reason: "algorithm"},
		{name: "P7 none", tamper: signedAs(`keyId="hmac-key",algorithm="none",signature="%s",headers="` + five + `"`), reason: "algorithm"},
		{name: "P7 hs2019", tamper: signedAs(`keyId="hmac-key",algorithm="hs2019",signature="%s",headers="` + five + `"`), reason: "algorithm"},
		{name: "P7 empty", tamper: signedAs(`keyId="hmac-key",algorithm="",signature="%s",headers="` + five + `"`), reason: "algorithm"},
		{name: "P7 missing", tamper: signedAs(`keyId="hmac-key",signature="%s",headers="` + five + `"`), reason: "algorithm"},

		{name: "P8 the validation call's", edit: set("Accept", "application/vnd.drone.validate.v1+json"), reason: "accept"},
		{name: "P8 the registry call's", edit: set("Accept", "application/vnd.drone.registry.v1+json"), reason: "accept"},
		{name: "P8 the secret call's next version", edit: set("Accept", "application/vnd.drone.secret.v2+json"), reason: "accept"},
		{name: "P8 JSON", edit: set("Accept", "application/json"), reason: "accept"},
		{name: "P8 anything", edit: set("Accept", "*/*"), reason: "accept"},
		{name: "P8 this and another", edit: set("Accept", secretMedia+", */*"), reason: "accept"},
		{name: "P8 none", edit: without("Accept"), reason: "accept"},
		{name: "P8 twice", edit: twice("Accept"), reason: "accept"},
		{name: "P8 changed after signing", edit: set("Accept", "application/vnd.drone.registry.v1+json"), tamper: set("Accept", secretMedia), reason: "key"},
	}...))
}

func TestWhatIsNoSignatureOfOurs(t *testing.T) {
	const rest = `,algorithm="hmac-sha256",headers="` + five + `"`
	attacks(t, []attack{
		{name: "none", tamper: without("Signature"), reason: "signature"},
		{name: "empty", tamper: set("Signature", ""), reason: "signature"},
		{name: "two", tamper: twice("Signature"), reason: "signature"},
		{name: "one in Authorization as well", tamper: func(m *message) { m.add("Authorization", "Signature "+m.get("Signature")) }, reason: "signature"},
		{name: "the signature twice in it", tamper: signedAs(`keyId="k",signature="AAAA",signature="%s"` + rest), reason: "signature"},
		{name: "the list twice in it", tamper: signedAs(`keyId="k",signature="%s",headers="date"` + rest), reason: "signature"},
		{name: "no keyId", tamper: signedAs(`signature="%s"` + rest), reason: "signature"},
		{name: "no MAC", tamper: signedAs(`keyId="k"` + rest), reason: "signature"},
		{name: "an empty MAC", tamper: signedAs(`keyId="k",signature=""` + rest), reason: "signature"},
		{name: "a MAC of four bytes", tamper: signedAs(`keyId="k",signature="AAAAAA=="` + rest), reason: "signature"},
		{name: "a MAC that is no base64", tamper: signedAs(`keyId="k",signature="!!!!"` + rest), reason: "signature"},
		{name: "no quotes", tamper: signedAs(`keyId=k,signature=%s,algorithm=hmac-sha256,headers=date`), reason: "signature"},
		{name: "a quote left open", tamper: signedAs(`keyId="k",signature="%s"` + strings.TrimSuffix(rest, `"`)), reason: "signature"},
		{name: "parted by semicolons", tamper: signedAs(`keyId="k";signature="%s";algorithm="hmac-sha256";headers="` + five + `"`), reason: "signature"},
		{name: "Basic", tamper: func(m *message) { m.drop("Signature").add("Authorization", "Basic YWxpY2U6cGFzc3dvcmQ=") }, reason: "signature"},
		{name: "of another key", key: "another-runner-key-0123456789abcdef-01234567", reason: "key"},
		{name: "of an empty key", key: "\x00", tamper: func(m *message) { m.set("Signature", signature("hmac-sha256", five, m.mac("", five))) }, reason: "key"},
		{name: "of the key's first 32 bytes", key: runnerKey[:32], reason: "key"},
		{name: "of the key and a newline", key: runnerKey + "\n", reason: "key"},
		{name: "of nothing but zeros", tamper: signedAs(`keyId="k",signature="` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"` + rest), reason: "key"},
	})
}
