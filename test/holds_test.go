package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// What a secret holds beside a password: a certificate, nested JSON, base64, several lines. A pipeline asks for the part
// that it needs, and for no more than a binding gives.

// certified is a certificate with its private key, as PEM and as the certificate that signed it.
type certified struct {
	key     *ecdsa.PrivateKey
	leaf    *x509.Certificate
	ca      *x509.Certificate
	keyPEM  string
	leafPEM string
	caPEM   string
}

func certify(t *testing.T) certified {
	t.Helper()
	c := certified{}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: name == "ca", BasicConstraintsValid: true}
	}
	sign := func(of, by *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, of, by, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	c.ca = sign(template("ca"), template("ca"), authority, authority)
	c.leaf = sign(template("leaf"), c.ca, c.key, authority)
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	armour := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	c.keyPEM, c.leafPEM, c.caPEM = armour("PRIVATE KEY", der), armour("CERTIFICATE", c.leaf.Raw), armour("CERTIFICATE", c.ca.Raw)
	return c
}

// file is the certificate as Key Vault stores it.
func (c certified) file(t *testing.T, password string) string {
	t.Helper()
	der, err := pkcs12.LegacyDES.Encode(c.key, c.leaf, []*x509.Certificate{c.ca}, password)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// watchKey makes each line of the private key, and of the file, a canary.
func (s *server) watchKey(c certified, files ...string) {
	s.world.watch(strings.Split(c.keyPEM, "\n")[1:4]...)
	for _, f := range files {
		s.world.watch(f, f[:64])
	}
}

// receives asks for a reference and expects a value and a release on record, with a note or without.
func (s *server) receives(t *testing.T, b build, ref, want, note string) {
	t.Helper()
	before := len(s.events())
	got, err := s.find(b, ref)
	if err != nil || got != want {
		t.Errorf("%s: %q, %v; want %q", ref, got, err, want)
	}
	if e := s.latest(t, before); e.Outcome != "released" || (e.Detail == "") != (note == "") || !strings.Contains(e.Detail, note) {
		t.Errorf("%s is on record as %s; want the note %q", ref, e.Line, note)
	}
}

// lacks asks and expects a denial, on record with its cause.
func (s *server) lacks(t *testing.T, b build, ref, reason, because string) {
	t.Helper()
	if e := s.expect(t, b, ref, denied(reason)); !strings.Contains(e.Detail, because) {
		t.Errorf("%s is on record as %s; want it to say %q", ref, e.Line, because)
	}
}

const held = `
vaults: {shared: {url: https://kv-shared.vault.azure.net}}
bindings:
  - {id: all, repos: [acme/app], read: ["shared/*"], names: {tls_key: shared/web/key, db_password: shared/settings/db.password}}
  - {id: public, repos: [acme/site], read: ["shared/web/chain", "shared/web/cert", "shared/settings/db.*"]}
`

func TestACertificateArrivesInParts(t *testing.T) {
	t.Parallel()
	s := start(t, held)
	c := certify(t)
	v, app, site := s.Vault("kv-shared"), push("acme/app"), push("acme/site")
	stored, locked := c.file(t, ""), c.file(t, "canary-password-of-a-file")
	s.watchKey(c, stored, locked)
	managed, of := emulator.Managed(), emulator.ContentType
	for _, form := range []struct {
		name string
		set  func()
	}{
		{"PKCS#12", func() { v.Set("web", stored, managed, of("application/x-pkcs12")) }},
		{"PEM", func() { v.Set("web", c.keyPEM+c.leafPEM+c.caPEM, managed, of("application/x-pem-file")) }},
	} {
		t.Run(form.name, func(t *testing.T) {
			form.set()
			build := app.number(int64(len(form.name)))
			for ref, want := range map[string]string{
				"shared/web": c.keyPEM + c.leafPEM + c.caPEM, "shared/web/value": c.keyPEM + c.leafPEM + c.caPEM, "shared/web/key": c.keyPEM,
				"tls_key": c.keyPEM, "shared/web/cert": c.leafPEM, "shared/web/chain": c.leafPEM + c.caPEM,
			} {
				s.receives(t, build, ref, want, "")
			}
			other := site.number(int64(len(form.name)))
			s.receives(t, other, "shared/web/chain", c.leafPEM+c.caPEM, "")
			for _, ref := range []string{"shared/web", "shared/web/key", "shared/web/pfx", "shared/web/value"} {
				s.expect(t, other, ref, denied("read"))
			}
			s.lacks(t, build, "shared/web/password", "key", "key, cert, chain and pfx")
		})
	}
	s.lacks(t, app.number(3), "shared/web/pfx", "key", "stored as PEM")
	v.Set("file", stored, managed, of("application/x-pkcs12"))
	s.receives(t, app, "shared/file/pfx", stored, "")
	v.Set("locked", locked, of("application/x-pkcs12"))
	for _, ref := range []string{"shared/locked", "shared/locked/key", "shared/locked/chain"} {
		s.lacks(t, app, ref, "key", "password")
	}
	s.receives(t, app, "shared/locked/pfx", locked, "")
	v.Set("garbage", "canary-garbage-of-a-certificate", managed, of("application/x-pkcs12"))
	for _, ref := range []string{"shared/garbage", "shared/garbage/key", "shared/garbage/pfx"} {
		s.lacks(t, app, ref, "key", "isn't one")
	}
	v.Set("fixed", c.leafPEM+c.caPEM, managed, of("application/x-pem-file"))
	s.lacks(t, app, "shared/fixed/key", "key", "exported")
	s.receives(t, app, "shared/fixed/cert", c.leafPEM, "")
}

func TestNestedJSONByPath(t *testing.T) {
	t.Parallel()
	s := start(t, held)
	v, app := s.Vault("kv-shared"), push("acme/app")
	s.world.watch("canary-of-db", "canary-of-smtp")
	document := `{"db": {"password": "canary-of-db", "port": 5432, "tls": true, "pool": {}}, "smtp.password": "canary-of-smtp"}`
	v.Set("settings", document)
	s.receives(t, app, "shared/settings/db.password", "canary-of-db", "")
	s.receives(t, app, "db_password", "canary-of-db", "")
	s.receives(t, app, "shared/settings/db.port", "5432", "")
	s.receives(t, app, "shared/settings/db.tls", "true", "")
	s.receives(t, app, "shared/settings/smtp.password", "canary-of-smtp", "")
	s.receives(t, app, "shared/settings", document, "ask for a key")
	for _, ref := range []string{"shared/settings/db", "shared/settings/db.pool", "shared/settings/db.user", "shared/settings/smtp", "shared/settings/password"} {
		s.lacks(t, app, ref, "key", "key")
	}
	s.expect(t, app, "shared/settings/db/password", denied("name"))
	s.receives(t, push("acme/site"), "shared/settings/db.password", "canary-of-db", "")
	s.expect(t, push("acme/site"), "shared/settings/smtp.password", denied("read"))
	v.Set("twice", `{"db": {"password": "canary-of-db"}, "db.password": "canary-of-smtp"}`)
	s.lacks(t, app, "shared/twice/db.password", "key", "ambiguous")
}

func TestTextThatIsNoPassword(t *testing.T) {
	t.Parallel()
	s := start(t, held)
	v, app := s.Vault("kv-shared"), push("acme/app")
	lines := "canary-first-line\ncanary-second-line\n"
	v.Set("lines", lines)
	s.receives(t, app, "shared/lines", lines, "") // the newline at its end stays
	v.Set("thin", "canary-first-line\nx\ncanary-third-line")
	s.receives(t, app, "shared/thin", "canary-first-line\nx\ncanary-third-line", "one character")
	encoded := base64.StdEncoding.EncodeToString([]byte(lines))
	v.Set("plain", encoded)
	s.receives(t, app, "shared/plain", encoded, "")
	v.Set("decoded", encoded, emulator.ContentType("text/plain;base64"))
	s.receives(t, app, "shared/decoded", lines, "")
	v.Set("keystore", base64.StdEncoding.EncodeToString([]byte("\xfe\xed\xfe\xedcanary-of-a-keystore")), emulator.ContentType("text/plain;base64"))
	s.lacks(t, app, "shared/keystore", "key", "take base64 off")
}
