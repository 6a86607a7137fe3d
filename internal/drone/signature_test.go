package drone_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// signature makes a tampering that rewrites the Signature header.
func signature(rewrite func(string) string) func(*message) {
	return func(m *message) { m.set("Signature", rewrite(m.get("Signature"))) }
}

// swap makes a tampering that replaces a part of the Signature header, which must be there.
func swap(old, new string) func(*message) {
	return func(m *message) { m.replace("Signature", old, new) }
}

// mac makes a tampering that rewrites the MAC itself.
func mac(rewrite func(string) string) func(*message) {
	return func(m *message) {
		_, after, _ := strings.Cut(m.get("Signature"), `signature="`)
		text, _, _ := strings.Cut(after, `"`)
		m.replace("Signature", text, rewrite(text))
	}
}

// asAuthorization moves the Signature header to Authorization under a scheme.
func asAuthorization(scheme string) func(*message) {
	return func(m *message) {
		text := m.get("Signature")
		m.drop("Signature")
		m.add("Authorization", scheme+" "+text)
	}
}

func adds(name, value string) func(*message) { return func(m *message) { m.add(name, value) } }
func sets(name, value string) func(*message) { return func(m *message) { m.set(name, value) } }
func drops(name string) func(*message)       { return func(m *message) { m.drop(name) } }

func TestWhereTheSignatureStands(t *testing.T) {
	meets(t, []hostile{
		{name: "P1 a genuine request", status: 200},
		{name: "in Authorization", tamper: asAuthorization("Signature"), status: 200},
		{name: "in Authorization, the scheme in another case", tamper: asAuthorization("sIGNATURE"), status: 200},
		{name: "with a proxy's Authorization beside it", tamper: adds("Authorization", "Basic dTpw"), status: 200},
		{name: "P9 nowhere", tamper: drops("Signature"), status: 401, reason: secret.ReasonSignature},
		{name: "only a Basic Authorization", tamper: asAuthorization("Basic"), status: 401, reason: secret.ReasonSignature},
		{name: "an empty header", tamper: sets("Signature", ""), status: 401, reason: secret.ReasonSignature},
		{name: "an empty Authorization", tamper: func(m *message) { m.drop("Signature"); m.add("Authorization", "Signature") },
			status: 401, reason: secret.ReasonSignature},
		{name: "both at once, equal", tamper: func(m *message) { m.add("Authorization", "Signature "+m.get("Signature")) },
			status: 401, reason: secret.ReasonSignature},
		{name: "both at once, the other one empty", tamper: adds("Authorization", "Signature "), status: 401, reason: secret.ReasonSignature},
		{name: "twice, equal", tamper: func(m *message) { m.add("Signature", m.get("Signature")) }, status: 401, reason: secret.ReasonSignature},
		{name: "twice, the first empty", tamper: func(m *message) { s := m.get("Signature"); m.set("Signature", ""); m.add("signature", s) },
			status: 401, reason: secret.ReasonSignature},
		{name: "two Authorizations", tamper: func(m *message) {
			s := m.get("Signature")
			asAuthorization("Signature")(m)
			m.add("Authorization", "signature "+s)
		}, status: 401, reason: secret.ReasonSignature},
	})
}

func TestTheParametersOfASignature(t *testing.T) {
	cases := []hostile{
		{name: "another keyId", tamper: swap("hmac-key", "anything at all"), status: 200},
		{name: "spaces after the commas", tamper: signature(func(s string) string { return strings.ReplaceAll(s, ",", ", ") }), status: 200},
		{name: "a parameter that we don't know", tamper: signature(func(s string) string { return `opaque="1",` + s }), status: 200},
	}
	bad := []hostile{
		{name: "keyId missing", tamper: swap(`keyId="hmac-key",`, "")},
		{name: "keyId empty", tamper: swap("hmac-key", "")},
		{name: "keyId in another case only", tamper: swap("keyId", "keyid")},
		{name: "signature missing", tamper: swap(`signature="`, `other="`)},
		{name: "signature empty", tamper: mac(func(string) string { return "" })},
		{name: "keyId twice", tamper: signature(func(s string) string { return s + `,keyId="hmac-key"` })},
		{name: "algorithm twice", tamper: signature(func(s string) string { return s + `,algorithm="hmac-sha256"` })},
		{name: "headers twice", tamper: signature(func(s string) string { return s + `,headers="date"` })},
		{name: "headers twice, the shorter list first", tamper: signature(func(s string) string { return `headers="date",` + s })},
		{name: "signature twice", tamper: signature(func(s string) string { return `signature="AAAA",` + s })},
		{name: "an unknown parameter twice", tamper: signature(func(s string) string { return `x="1",x="1",` + s })},
		{name: "a comma at the end", tamper: signature(func(s string) string { return s + "," })},
		{name: "junk at the end", tamper: signature(func(s string) string { return s + "junk" })},
		{name: "junk at the start", tamper: signature(func(s string) string { return "junk " + s })},
		{name: "semicolons", tamper: signature(func(s string) string { return strings.ReplaceAll(s, ",", ";") })},
		{name: "no quotes", tamper: signature(func(s string) string { return strings.ReplaceAll(s, `"`, "") })},
		{name: "an unclosed quote", tamper: signature(func(s string) string { return strings.TrimSuffix(s, `"`) })},
		{name: "single quotes", tamper: signature(func(s string) string { return strings.ReplaceAll(s, `"`, "'") })},
		{name: "a parameter without a name", tamper: signature(func(s string) string { return `="1",` + s })},
		{name: "base64 for URLs", tamper: mac(func(s string) string { return "-_" + s[2:] })},
		{name: "base64 without padding", tamper: mac(func(s string) string { return strings.TrimRight(s, "=") })},
		{name: "base64 with padding too many", tamper: mac(func(s string) string { return s + "=" })},
		{name: "base64 with a space in it", tamper: mac(func(s string) string { return s[:9] + " " + s[9:] })},
		{name: "hexadecimal", tamper: mac(func(s string) string { return hex.EncodeToString([]byte(s[:32])) })},
		{name: "another MAC", tamper: mac(func(s string) string { return s[:40] + "AAA=" }), status: 401, reason: secret.ReasonKey},
		{name: "31 bytes", tamper: mac(func(s string) string { return s[:40] + "AA==" })},
		{name: "33 bytes", tamper: mac(func(s string) string { return s[:40] + "AAAA" })},
		{name: "64 bytes", tamper: mac(func(s string) string { return strings.TrimRight(s, "=") + "A" + s })},
		{name: "bits that base64 leaves unused", tamper: mac(unusedBits)},
	}
	for _, h := range bad {
		if h.status == 0 {
			h.status, h.reason = 401, secret.ReasonSignature
		}
		cases = append(cases, h)
	}
	meets(t, cases)
}

// unusedBits changes the last letter before the padding so that a lenient decoder still reads the same bytes.
func unusedBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(alphabet, s[42])
	return s[:42] + alphabet[last+1:last+2] + s[43:]
}

func TestTheAlgorithm(t *testing.T) {
	for name, change := range map[string]func(*message){
		"P7 hmac-sha1":  swap("hmac-sha256", "hmac-sha1"),
		"P7 unknown":    swap("hmac-sha256", "none"),
		"P7 missing":    swap(`algorithm="hmac-sha256",`, ""),
		"P7 empty":      swap("hmac-sha256", ""),
		"P7 hs2019":     swap("hmac-sha256", "hs2019"),
		"P7 upper case": swap("hmac-sha256", "HMAC-SHA256"),
		"P7 rsa-sha256": swap("hmac-sha256", "rsa-sha256"),
	} {
		meets(t, []hostile{{name: name, tamper: change, status: 401, reason: secret.ReasonAlgorithm}})
	}
}

func TestTheListOfSignedHeaders(t *testing.T) {
	every := func(name string) string {
		return strings.TrimSpace(strings.ReplaceAll(" "+five+" ", " "+name+" ", " "))
	}
	meets(t, []hostile{
		{name: "another order", list: "digest date content-type accept-encoding accept", status: 200},
		{name: "more than the five", list: five + " (request-target) host content-length", status: 200},
		{name: "more, and a header of one's own", edit: adds("X-Tenant", "blue"), list: five + " x-tenant", status: 200},
		{name: "the request target, then another query", list: five + " (request-target)", tamper: func(m *message) { m.target = "/?a" },
			status: 401, reason: secret.ReasonKey},
		{name: "more, then changed", edit: adds("X-Tenant", "blue"), list: five + " x-tenant", tamper: sets("X-Tenant", "red"),
			status: 401, reason: secret.ReasonKey},
		{name: "more, then twice", edit: adds("X-Tenant", "blue"), list: five + " x-tenant", tamper: adds("X-Tenant", "blue"),
			status: 401, reason: secret.ReasonHeaders},
		{name: "more, and it is not there", list: five + " x-tenant", status: 401, reason: secret.ReasonHeaders},
		{name: "a pseudo header that we don't know", list: five + " (created)", status: 401, reason: secret.ReasonHeaders},
		{name: "P6 the date alone", list: "date", status: 401, reason: secret.ReasonHeaders},
		{name: "P6 as webhooks are signed", list: "date digest", status: 401, reason: secret.ReasonHeaders},
		{name: "P6 without accept", list: every("accept"), status: 401, reason: secret.ReasonHeaders},
		{name: "P6 without accept-encoding", list: every("accept-encoding"), status: 401, reason: secret.ReasonHeaders},
		{name: "P6 without content-type", list: every("content-type"), status: 401, reason: secret.ReasonHeaders},
		{name: "P6 without date", list: every("date"), status: 401, reason: secret.ReasonHeaders},
		{name: "P6 without digest", list: every("digest"), status: 401, reason: secret.ReasonHeaders},
		{name: "one of them twice", list: five + " date", status: 401, reason: secret.ReasonHeaders},
		{name: "32 of them", edit: many(32 - 5), list: five + listed(32-5), status: 200},
		{name: "33 of them", edit: many(33 - 5), list: five + listed(33-5), status: 401, reason: secret.ReasonHeaders},
		{name: "a gap", list: "accept accept-encoding  content-type date digest", status: 401, reason: secret.ReasonHeaders},
		{name: "a space in front", list: " " + five, status: 401, reason: secret.ReasonHeaders},
		{name: "a space at the end", list: five + " ", status: 401, reason: secret.ReasonHeaders},
		{name: "upper case", list: "Accept Accept-Encoding Content-Type Date Digest", status: 401, reason: secret.ReasonHeaders},
		{name: "commas", list: "accept,accept-encoding,content-type,date,digest", status: 401, reason: secret.ReasonHeaders},
		{name: "empty", tamper: swap(five, ""), status: 401, reason: secret.ReasonHeaders},
		{name: "missing", tamper: swap(`,headers="`+five+`"`, ""), status: 401, reason: secret.ReasonHeaders},
		{name: "a signed header is gone", tamper: drops("Accept-Encoding"), status: 401, reason: secret.ReasonHeaders},
		{name: "a signed header is there twice", tamper: adds("Accept-Encoding", "gzip"), status: 401, reason: secret.ReasonHeaders},
		{name: "a signed header has changed", tamper: sets("Accept-Encoding", "gzip"), status: 401, reason: secret.ReasonKey},
	})
}

// many makes an edit that adds n headers, listed names them.
func many(n int) func(*message) {
	return func(m *message) {
		for i := range n {
			m.add(fmt.Sprintf("x-%d", i), "v")
		}
	}
}

func listed(n int) (list string) {
	for i := range n {
		list += fmt.Sprintf(" x-%d", i)
	}
	return list
}

func TestTheKey(t *testing.T) {
	for name, key := range map[string]string{
		"somebody else's": "some-other-key-0123456789-0123456789", "empty": "", "a prefix of ours": runnerKey[:32],
		"ours with a newline": runnerKey + "\n", "the name of ours": "hmac-key",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.send(genuine(genuineBody).sign(key, five).bytes())
			w.refused(r, 401, messages[401])
			e := w.recorded(r, secret.EventUnproven, secret.Refused, secret.ReasonKey)
			if e.Caller.Pool != "" || e.Caller.Key != "" {
				t.Errorf("on record is %+v, want no pool", e.Caller)
			}
			w.stillServes()
		})
	}
}
