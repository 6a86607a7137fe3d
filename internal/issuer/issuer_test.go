package issuer_test

import (
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/issuer"
)

func TestURLs(t *testing.T) {
	for u, wrong := range map[string]string{
		"https://oidc.acme.example":                     "",
		"https://oidc.acme.example/":                    "",
		"https://oidc.acme.example/drone":               "",
		"https://oidc.acme.example/drone/":              "",
		"https://oidc.acme.example:8443/a/b.c/~d_e-f":   "",
		"https://[2001:db8::1]/drone":                   "",
		"":                                              "must be https",
		"oidc.acme.example":                             "must be https",
		"http://oidc.acme.example":                      "must be https",
		"https://":                                      "must be https",
		"https:///drone":                                "must be https",
		"https://:443/":                                 "must be https",
		"https:oidc.acme.example":                       "must be https",
		"https://me:pass@oidc.acme.example":             "without a user",
		"https://oidc.acme.example?":                    "no query",
		"https://oidc.acme.example/?tenant=1":           "no query",
		"https://oidc.acme.example/#":                   "no fragment",
		"https://oidc.acme.example//":                   "empty or dotted segment",
		"https://oidc.acme.example/a//b":                "empty or dotted segment",
		"https://oidc.acme.example/a//":                 "empty or dotted segment",
		"https://oidc.acme.example/a/../b":              "empty or dotted segment",
		"https://oidc.acme.example/.":                   "empty or dotted segment",
		"https://oidc.acme.example/%41":                 "nothing that is encoded",
		"https://oidc.acme.example/a b":                 "nothing that is encoded",
		"https://oidc.аcme.example/":                    "nothing that is encoded", // a Cyrillic letter
		"https://oidc.acme.example/a\n":                 "must be https",
		"https://a.example/" + strings.Repeat("a", 600): "longer than Entra's 600",
	} {
		_, err := issuer.New(issuer.Options{URL: u, Server: "s", Keys: []issuer.Key{key(0, time.Time{})}})
		switch {
		case wrong == "" && err != nil:
			t.Errorf("%s: %v", u, err)
		case wrong != "":
			says(t, err, "the issuer's url", wrong)
		}
	}
}

func TestServers(t *testing.T) {
	for server, good := range map[string]bool{
		"drone.acme.example": true, "drone-1": true, "A": true, strings.Repeat("a", 253): true,
		"": false, "drone:1": false, "drone/1": false, "a b": false, "é": false, "a_b": false, "a%3A": false, strings.Repeat("a", 254): false,
	} {
		_, err := issuer.New(issuer.Options{URL: here, Server: server, Keys: []issuer.Key{key(0, time.Time{})}})
		if good != (err == nil) {
			t.Errorf("%q: %v", server, err)
		}
		if !good {
			says(t, err, "the issuer's server", "letters, digits, dots and dashes")
		}
	}
}

func TestKeysOfAnIssuer(t *testing.T) {
	later, never := start.Add(time.Hour), time.Time{}
	unsigned := key(1, later)
	unsigned.Signer = nil
	for name, c := range map[string]struct {
		keys []issuer.Key
		says string
	}{
		"none":                   {nil, "0 of the issuer's 0 keys have no `from`"},
		"one":                    {[]issuer.Key{key(0, never)}, ""},
		"one with from":          {[]issuer.Key{key(0, later)}, "0 of the issuer's 1 keys"},
		"two":                    {[]issuer.Key{key(0, never), key(1, later)}, ""},
		"back to the first":      {[]issuer.Key{key(0, never), key(1, start), key(0, later)}, ""},
		"two without from":       {[]issuer.Key{key(0, never), key(1, never)}, "2 of the issuer's 2 keys"},
		"two at once":            {[]issuer.Key{key(0, never), key(1, later), key(2, later)}, "sign/drone-issuer@b and sign/drone-issuer@c have the same `from`"},
		"two at once, elsewhere": {[]issuer.Key{key(0, never), key(1, later), key(2, later.In(time.FixedZone("", 3600)))}, "have the same `from`"},
		"no signer":              {[]issuer.Key{key(0, never), unsigned}, "sign/drone-issuer@b has no signer"},
	} {
		_, err := issuer.New(issuer.Options{URL: here, Server: "s", Keys: c.keys})
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "":
			says(t, err, c.says)
		}
	}
}

func TestWhichKeySigns(t *testing.T) {
	t1, t2 := start.Add(time.Hour), start.Add(2*time.Hour)
	for now, want := range map[time.Time]string{
		start.Add(-999 * time.Hour): "a",
		t1.Add(-time.Nanosecond):    "a",
		t1:                          "b",
		t2.Add(-time.Nanosecond):    "b",
		t2:                          "c",
		t2.Add(9999 * time.Hour):    "c",
	} {
		i := newIssuer(t, func(o *issuer.Options) {
			o.Keys, o.Now = []issuer.Key{key(2, t2), key(0, time.Time{}), key(1, t1)}, at(now)
		})
		if got := i.Signing().Name; got != "sign/drone-issuer@"+want {
			t.Errorf("at %s it is %s, want %s", now, got, want)
		}
	}
}

// The clock of the options is the machine's where none is given.
func TestTheClockOfProduction(t *testing.T) {
	i := newIssuer(t, func(o *issuer.Options) { o.Now = nil })
	if token := mint(t, i, ask(), push()); time.Since(token.Issued).Abs() > time.Minute {
		t.Errorf("issued at %s", token.Issued)
	}
}

func TestKeyID(t *testing.T) {
	// The example of RFC 7638 §3.1.
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB" +
		"ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n" +
		"91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	works(t, err)
	modulus := new(big.Int).SetBytes(n)
	id, err := issuer.KeyID(&rsa.PublicKey{N: modulus, E: 65537})
	works(t, err)
	if id != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("got %s", id)
	}
	for _, unfit := range []*rsa.PublicKey{nil, {}, {N: modulus}, {N: modulus, E: 1}, {N: new(big.Int).Rsh(modulus, 1024), E: 65537}} {
		if id, err := issuer.KeyID(unfit); err == nil {
			t.Errorf("%v has the id %s", unfit, id)
		}
	}
}
