package drone_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

func TestTheDigest(t *testing.T) {
	good := digestOf(genuineBody)
	cases := []hostile{
		{name: "the algorithm in lower case", edit: sets("Digest", "sha-256="+good[8:]), status: 200},
		{name: "P2 another body under it", tamper: func(m *message) { m.body = m.body[:len(m.body)-1] + " " }},
		{name: "P2 a longer body under it", tamper: func(m *message) { m.body += " " }},
		{name: "P2 no body under it", tamper: func(m *message) { m.body = "" }},
		{name: "P2 no length, so no body", tamper: func(m *message) { m.framing, m.body = "X-None: 1", "" }},
		{name: "P3 missing", tamper: drops("Digest")},
		{name: "P3 missing when signed", edit: drops("Digest")},
		{name: "P3 twice, equal", tamper: adds("Digest", good)},
		{name: "P3 twice, different", tamper: adds("Digest", digestOf(""))},
		{name: "P3 another algorithm", edit: sets("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg==")},
		{name: "P3 SHA-512", edit: sets("Digest", "SHA-512="+good[8:])},
		{name: "P3 a list, ours first", edit: sets("Digest", good+",MD5=1B2M2Y8AsgTpgAmY7PhCfg==")},
		{name: "P3 a list, ours last", edit: sets("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg==,"+good)},
		{name: "the same one twice in a list", edit: sets("Digest", good+", "+good)},
		{name: "empty", edit: sets("Digest", "")},
		{name: "no sum", edit: sets("Digest", "SHA-256=")},
		{name: "the sum alone", edit: sets("Digest", good[8:])},
		{name: "a colon", edit: sets("Digest", "SHA-256:"+good[8:])},
		{name: "the form of RFC 9530", edit: sets("Digest", "sha-256=:"+good[8:]+":")},
		{name: "a space", edit: sets("Digest", "SHA-256= "+good[8:])},
		{name: "without padding", edit: sets("Digest", good[:len(good)-1])},
		{name: "junk at the end", edit: sets("Digest", good+"x")},
		{name: "bits that base64 leaves unused", edit: sets("Digest", "SHA-256="+unusedBits(good[8:]))},
		{name: "base64 for URLs", edit: sets("Digest", "SHA-256=-_"+good[10:])},
		{name: "31 bytes", edit: sets("Digest", "SHA-256="+good[8:48]+"AA==")},
		{name: "33 bytes", edit: sets("Digest", "SHA-256="+good[8:48]+"AAAA")},
		{name: "hexadecimal", edit: sets("Digest", "SHA-256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")},
	}
	for i := range cases {
		if cases[i].status == 0 {
			cases[i].status, cases[i].reason = 401, secret.ReasonDigest
		}
	}
	meets(t, cases)
}

func TestTheDate(t *testing.T) {
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		name, date string
		fresh      bool
		skew       time.Duration // on record
	}{
		{name: "P4 as old as the window", date: at(-skew), fresh: true},
		{name: "P4 as new as the window", date: at(skew), fresh: true},
		{name: "P4 a second older", date: at(-skew - time.Second), skew: -121 * time.Second},
		{name: "P4 a second newer", date: at(skew + time.Second), skew: 121 * time.Second},
		{name: "P4 a year ago", date: at(-365 * 24 * time.Hour), skew: -365 * 24 * time.Hour},
		{name: "P4 the year 1", date: "Mon, 01 Jan 0001 00:00:00 GMT", skew: -1 << 63},
		{name: "P4 the year 9999", date: "Fri, 31 Dec 9999 23:59:59 GMT", skew: 1<<63 - 1},
		{name: "P4 empty"},
		{name: "P4 no date", date: "yesterday"},
		{name: "P4 RFC 850", date: now.Format("Monday, 02-Jan-06 15:04:05 GMT")},
		{name: "P4 asctime", date: now.Format(time.ANSIC)},
		{name: "P4 RFC 3339", date: now.Format(time.RFC3339)},
		{name: "P4 seconds of an epoch", date: "1795402821"},
		{name: "P4 an offset", date: now.Format(time.RFC1123Z)},
		{name: "P4 another zone", date: now.Format("Mon, 02 Jan 2006 15:04:05 ") + "CET"},
		{name: "P4 the 31st of November", date: "Tue, 31 Nov 2026 03:00:21 GMT"},
		{name: "P4 two in one", date: at(0) + ", " + at(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := genuine(genuineBody)
			m.set("Date", c.date)
			r := w.send(m.sign(runnerKey, five).bytes())
			if c.fresh {
				w.released(r, runnerKey, "password", theValue)
				return
			}
			w.refused(r, 401, messages[401])
			e := w.recorded(r, secret.EventUnproven, secret.Refused, secret.ReasonDate)
			if e.Caller.Skew != c.skew || e.Caller.Pool != "default" || e.Caller.Key != "2026-11" {
				t.Errorf("on record is %+v, want the skew %s and whose key it was", e.Caller, c.skew)
			}
			w.stillServes()
		})
	}
}

func TestADateThatIsNotOneHeader(t *testing.T) {
	meets(t, []hostile{
		{name: "P4 missing", tamper: drops("Date"), status: 401, reason: secret.ReasonDate},
		{name: "P4 twice, equal", tamper: adds("Date", now.Format(http.TimeFormat)), status: 401, reason: secret.ReasonDate},
		{name: "P4 twice, different", tamper: adds("Date", "Mon, 01 Jan 0001 00:00:00 GMT"), status: 401, reason: secret.ReasonDate},
		{name: "the MAC comes before the date", tamper: sets("Date", "Mon, 01 Jan 0001 00:00:00 GMT"), status: 401, reason: secret.ReasonKey},
	})
}

func TestTheAccept(t *testing.T) {
	meets(t, []hostile{
		{name: "P8 of another call", edit: sets("Accept", "application/vnd.drone.validate.v1+json"), status: 401, reason: secret.ReasonAccept},
		{name: "P8 of a version to come", edit: sets("Accept", "application/vnd.drone.secret.v2+json"), status: 401, reason: secret.ReasonAccept},
		{name: "P8 of none", edit: sets("Accept", "*/*"), status: 401, reason: secret.ReasonAccept},
		{name: "P8 empty", edit: sets("Accept", ""), status: 401, reason: secret.ReasonAccept},
		{name: "P8 ours among others", edit: sets("Accept", "application/vnd.drone.secret.v1+json, */*"), status: 401, reason: secret.ReasonAccept},
		{name: "P8 missing", tamper: drops("Accept"), status: 401, reason: secret.ReasonAccept},
		{name: "P8 twice, the other first", tamper: func(m *message) {
			ours := m.get("Accept")
			m.set("Accept", "*/*")
			m.add("Accept", ours)
		}, status: 401, reason: secret.ReasonAccept},
		{name: "P8 changed to ours", edit: sets("Accept", "application/vnd.drone.validate.v1+json"),
			tamper: sets("Accept", "application/vnd.drone.secret.v1+json"), status: 401, reason: secret.ReasonKey},
	})
}

// A runner that is led to the wrong place is one of ours all the same, and its operator has to learn of it.
func TestTheAddress(t *testing.T) {
	method := func(s string) func(*message) { return func(m *message) { m.method = s } }
	target := func(s string) func(*message) { return func(m *message) { m.target = s } }
	meets(t, []hostile{
		{name: "a query changes nothing", edit: target("/?a=b"), status: 200},
		{name: "P10 GET", edit: method("GET"), status: 405, reason: secret.ReasonMalformed},
		{name: "P10 PUT", edit: method("PUT"), status: 405, reason: secret.ReasonMalformed},
		{name: "P10 in lower case", edit: method("post"), status: 405, reason: secret.ReasonMalformed},
		{name: "P10 GET without any proof", edit: method("GET"), tamper: drops("Signature"), status: 405},
		{name: "P10 another path", edit: target("/secret"), status: 404, reason: secret.ReasonMalformed},
		{name: "P10 a path that looks like ours", edit: target("//"), status: 404, reason: secret.ReasonMalformed},
		{name: "P10 a path that looks like ours, encoded", edit: target("/%2f"), status: 404, reason: secret.ReasonMalformed},
		{name: "P10 GET of another path", edit: func(m *message) { m.method, m.target = "GET", "/metrics" }, status: 404, reason: secret.ReasonMalformed},
	})
}

func TestTheMediaType(t *testing.T) {
	meets(t, []hostile{
		{name: "with a charset", edit: sets("Content-Type", "application/json; charset=utf-8"), status: 200},
		{name: "in capitals", edit: sets("Content-Type", "APPLICATION/JSON"), status: 200},
		{name: "P10 text", edit: sets("Content-Type", "text/plain"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 a form", edit: sets("Content-Type", "application/x-www-form-urlencoded"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 nearly", edit: sets("Content-Type", "application/json5"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 empty", edit: sets("Content-Type", ""), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 a broken parameter", edit: sets("Content-Type", "application/json; charset"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 compressed", tamper: adds("Content-Encoding", "gzip"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 encrypted", tamper: adds("Content-Encoding", "aesgcm"), status: 415, reason: secret.ReasonMalformed},
		{name: "P10 compressed without any proof", tamper: func(m *message) { m.drop("Signature"); m.add("Content-Encoding", "gzip") },
			status: 415, reason: secret.ReasonSignature},
		{name: "P10 text without any proof", tamper: sets("Content-Type", "text/plain"), status: 415, reason: secret.ReasonKey},
		{name: "twice", tamper: adds("Content-Type", "application/json"), status: 401, reason: secret.ReasonHeaders},
	})
}
