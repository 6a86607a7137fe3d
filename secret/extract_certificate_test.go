package secret_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// paper is a certificate and its private key.
type paper struct {
	der []byte
	key crypto.Signer
}

// issue makes a certificate, by itself if there is no issuer.
func issue(t testing.TB, name string, key crypto.Signer, by *paper) *paper {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name}, NotBefore: noon, NotAfter: noon.Add(time.Hour),
		IsCA: strings.HasPrefix(name, "ca"), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = must(x509.ParseCertificate(by.der)), by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return &paper{der, key}
}

func ec() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (p *paper) cert() string { return block("CERTIFICATE", p.der) }

// pkcs8 is the private key as it must be delivered.
func (p *paper) pkcs8() string { return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p.key))) }

// chainOf makes a leaf, its issuer and the root.
func chainOf(t testing.TB, key crypto.Signer) (leaf, middle, root *paper) {
	root = issue(t, "ca-root", ec(), nil)
	middle = issue(t, "ca-middle", ec(), root)
	return issue(t, "leaf", key, middle), middle, root
}

func formed(form secret.Form, text string) secret.Fetched {
	f := holding(text)
	f.Form = form
	return f
}

func TestThePartsOfACertificate(t *testing.T) {
	leaf, middle, root := chainOf(t, ec())
	file := []byte("the file itself")
	chain := leaf.cert() + middle.cert() + root.cert()
	for about, text := range map[string]string{
		"in order":              leaf.pkcs8() + chain,
		"the root first":        leaf.pkcs8() + root.cert() + middle.cert() + leaf.cert(),
		"the key last":          middle.cert() + leaf.cert() + root.cert() + leaf.pkcs8(),
		"text between":          "Bag Attributes\n" + leaf.pkcs8() + "subject=leaf\n" + leaf.cert() + root.cert() + "\n\n" + middle.cert() + "end",
		"carriage returns":      strings.ReplaceAll(leaf.pkcs8()+chain, "\n", "\r\n"),
		"other blocks":          block("EC PARAMETERS", []byte{6, 0}) + leaf.pkcs8() + chain + block("X509 CRL", []byte{1}),
		"the key SEC 1":         block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(leaf.key.(*ecdsa.PrivateKey)))) + chain,
		"no newline at the end": strings.TrimSpace(leaf.pkcs8() + chain),
	} {
		for part, want := range map[string]string{"key": leaf.pkcs8(), "cert": leaf.cert(), "chain": chain, "": text} {
			if got, note, err := takes(t, formed(secret.FormPEM, text), part); err != nil || got != want || note != "" {
				t.Errorf("PEM %s: %q is %q, noted %q, %v; want %q", about, part, got, note, err, want)
			}
		}
		made := text + "\n" + block("PKCS12", file)
		for part, want := range map[string]string{"key": leaf.pkcs8(), "cert": leaf.cert(), "chain": chain, "": leaf.pkcs8() + chain, "pfx": base64.StdEncoding.EncodeToString(file)} {
			if got, note, err := takes(t, formed(secret.FormPKCS12, made), part); err != nil || got != want || note != "" {
				t.Errorf("PKCS#12 %s: %q is %q, noted %q, %v; want %q", about, part, got, note, err, want)
			}
		}
	}
}

// An authority that was renewed under its name is in the chain twice; the one that signed comes first.
func TestTheChainFollowsSignatures(t *testing.T) {
	older, newer := issue(t, "ca-root", ec(), nil), issue(t, "ca-root", ec(), nil)
	leaf := issue(t, "leaf", ec(), newer)
	want := leaf.cert() + newer.cert() + older.cert()
	for _, text := range []string{older.cert() + newer.cert() + leaf.cert(), newer.cert() + older.cert() + leaf.cert()} {
		if got, _, err := takes(t, formed(secret.FormPEM, leaf.pkcs8()+text), "chain"); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestEveryKindOfPrivateKey(t *testing.T) {
	for _, c := range []struct {
		kind   string
		key    crypto.Signer
		stored func(crypto.Signer) string
	}{
		{"RSA", must(rsa.GenerateKey(rand.Reader, 2048)), func(k crypto.Signer) string {
			return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.(*rsa.PrivateKey)))
		}},
		{"P-521", must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), func(k crypto.Signer) string {
			return block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))))
		}},
		{"Ed25519", ed25519.NewKeyFromSeed(make([]byte, 32)), func(k crypto.Signer) string {
			return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(k)))
		}},
	} {
		leaf, middle, _ := chainOf(t, c.key)
		text := middle.cert() + leaf.cert() + c.stored(c.key)
		if got, _, err := takes(t, formed(secret.FormPEM, text), "key"); err != nil || got != leaf.pkcs8() {
			t.Errorf("%s: %q, %v", c.kind, got, err)
		}
		if got, _, err := takes(t, formed(secret.FormPEM, text), "cert"); err != nil || got != leaf.cert() {
			t.Errorf("%s: the leaf is %q, %v", c.kind, got, err)
		}
	}
	// A key that is PKCS#8 and of no known kind goes out as it is; which certificate is its own can't be told.
	odd := block("PRIVATE KEY", []byte{0x30, 0x0c, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x01, 4, 0})
	if got, _, err := takes(t, formed(secret.FormPEM, odd+issue(t, "leaf", ec(), nil).cert()), "key"); err != nil || got != odd {
		t.Errorf("a kind that is not known: %q, %v", got, err)
	}
}

func TestACertificateWhoseKeyIsNotExportable(t *testing.T) {
	leaf, middle, root := chainOf(t, ec())
	chain := leaf.cert() + middle.cert() + root.cert()
	f := formed(secret.FormPKCS12, root.cert()+leaf.cert()+middle.cert()+block("PKCS12", []byte("f")))
	if _, _, err := takes(t, f, "key"); err == nil || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, "exported") {
		t.Errorf("its key: %v", err)
	}
	for part, want := range map[string]string{"cert": leaf.cert(), "chain": chain, "": chain} {
		got, note, err := takes(t, f, part)
		if err != nil || got != want || strings.Contains(note, "exported") != (part == "") {
			t.Errorf("%q: %q, noted %q, %v", part, got, note, err)
		}
	}
	for _, part := range []string{"", "pfx"} {
		if got, _, err := takes(t, formed(secret.FormPKCS12, block("OTHER", []byte("f"))), part); err == nil {
			t.Errorf("a PKCS#12 with nothing in it gives %q", got)
		}
	}
	roots := issue(t, "ca-1", ec(), nil).cert() + issue(t, "ca-22", ec(), nil).cert()
	if got, _, err := takes(t, formed(secret.FormPKCS12, roots+block("PKCS12", []byte("f"))), ""); err != nil || got != roots {
		t.Errorf("a bundle of roots: %q, %v", got, err)
	}
}

func TestACertificateThatIsNone(t *testing.T) {
	leaf, middle, root := chainOf(t, ec())
	all := leaf.pkcs8() + leaf.cert() + middle.cert() + root.cert()
	legacy := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte(canary)}
	many := leaf.pkcs8()
	for range 33 {
		many += leaf.cert()
	}
	for _, c := range []struct{ about, text, parts, because string }{
		{"not PEM", canary, "key cert chain pfx password", "no PEM block"},
		{"JSON", `{"key":"` + canary + `"}`, "key", "no PEM block"},
		{"a damaged block", strings.Replace(all, "END CERTIFICATE", "END CERTIFICAT", 1), "key cert chain", "can't be read"},
		{"a damaged last block", all[:len(all)-40], "key cert chain", "can't be read"},
		{"an ordinary name", all, "password value2 Key db.password", "has key, cert, chain and pfx"},
		{"the PKCS#12 of PEM", all, "pfx", "stored as PEM"},
		{"no certificate", leaf.pkcs8(), "cert chain", "no certificate"},
		{"no key", leaf.cert(), "key", "exported"},
		{"two keys", leaf.pkcs8() + all, "key cert chain", "2 private keys"},
		{"a key with a password", block("ENCRYPTED PRIVATE KEY", []byte(canary)) + leaf.cert(), "key cert chain", "encrypted with a password"},
		{"an older key with a password", string(pem.EncodeToMemory(legacy)) + leaf.cert(), "key cert chain", "encrypted with a password"},
		{"an OpenSSH key", block("OPENSSH PRIVATE KEY", []byte(canary)), "key", "that certificates don't have"},
		{"a key of garbage", block("PRIVATE KEY", []byte(canary)) + leaf.cert(), "key cert chain", "can't be read"},
		{"a key of garbage, RSA", block("RSA PRIVATE KEY", []byte(canary)) + leaf.cert(), "key cert chain", "can't be read"},
		{"a key without end", block("PRIVATE KEY", make([]byte, 9<<10)) + leaf.cert(), "key", "too long"},
		{"a certificate of garbage", leaf.pkcs8() + block("CERTIFICATE", []byte(canary)), "cert chain", "certificates can't be read"},
		{"somebody else's key", middle.pkcs8() + leaf.cert() + root.cert(), "cert chain", "belongs to its private key"},
		{"two leaves and no key", leaf.cert() + issue(t, "other", ec(), nil).cert(), "cert chain", "several certificates"},
		{"more certificates than a chain has", many, "cert chain", "more certificates"},
	} {
		for part := range strings.FieldsSeq(c.parts) {
			if got, _, err := takes(t, formed(secret.FormPEM, c.text), part); err == nil || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, c.because) {
				t.Errorf("%s: %q is %q, %v; want it denied: %s", c.about, part, got, err, c.because)
			}
		}
		if got, _, err := takes(t, formed(secret.FormPEM, c.text), ""); err != nil || got != c.text {
			t.Errorf("%s: the whole is not as stored: %q, %v", c.about, got, err)
		}
	}
}

func TestAFlawHoldsForTheWholeAndForEachKey(t *testing.T) {
	for _, form := range []secret.Form{secret.FormText, secret.FormPEM, secret.FormPKCS12} {
		f := formed(form, block("PKCS12", []byte(canary)))
		f.Flaw = "it has a password"
		for _, key := range []string{"", "key", "cert", "chain", "other"} {
			if _, _, err := takes(t, f, key); err == nil || err.Kind != secret.Denied || err.Reason != secret.ReasonKey || !strings.HasSuffix(err.Detail, f.Flaw) {
				t.Errorf("form %d, key %q: %v", form, key, err)
			}
		}
		if got, _, err := takes(t, f, "pfx"); (err == nil) != (form == secret.FormPKCS12) || err == nil && got != base64.StdEncoding.EncodeToString([]byte(canary)) {
			t.Errorf("form %d: the PKCS#12 itself is %q, %v", form, got, err)
		}
	}
}

func TestFindClearsWhatACertificateWasTakenFrom(t *testing.T) {
	d := newDesk(t)
	leaf, _, _ := chainOf(t, ec())
	d.source = formed(secret.FormPKCS12, leaf.pkcs8()+leaf.cert()+block("PKCS12", []byte("f")))
	value, err := d.find(t, ask(t, "acme/app push main"))
	if err != nil || string(value.Reveal()) != leaf.pkcs8()+leaf.cert() {
		t.Errorf("%q, %v", value.Reveal(), err)
	}
	if !bytes.Equal(d.source.Value.Reveal(), make([]byte, d.source.Value.Len())) {
		t.Error("the whole is left in memory")
	}
}

// FuzzExtract checks that nothing comes out that is not in the secret, and that what is public holds nothing private.
func FuzzExtract(f *testing.F) {
	leaf, middle, _ := chainOf(f, ec())
	all := leaf.pkcs8() + middle.cert() + leaf.cert()
	seeds := []struct{ document, key string }{
		{`{"a":{"b":"` + canary + `"},"a.b":1}`, "a.b"}, {`{"k":1.10}`, "k"}, {canary, "k"}, {canary, ""}, {all, "key"}, {all, "chain"}, {all, "cert"},
		{all + block("PKCS12", []byte("f")), "pfx"}, {all + block("PKCS12", []byte("f")), ""}, {leaf.cert(), "chain"}, {"{", ""}, {"x\ny", ""},
	}
	for _, s := range seeds {
		for form := range byte(3) {
			f.Add(s.document, s.key, form)
		}
	}
	f.Fuzz(func(t *testing.T, document, key string, form byte) {
		if len(document) == 0 || len(document) > 64<<10 || key != "" && !secret.ValidKey(key) {
			t.Skip("no such secret or reference can be")
		}
		fetched := formed(secret.Form(form%3), document)
		got, _, err := takes(t, fetched, key)
		switch {
		case err != nil:
		case fetched.Form == secret.FormText && key != "":
			if problem := meansOnly(document, key, got); problem != "" {
				t.Fatalf("%q of %q is %q: %s", key, document, got, problem)
			}
		case fetched.Form != secret.FormPKCS12 && key == "":
			if got != document {
				t.Fatalf("the whole of %q is %q", document, got)
			}
		case key == "pfx":
			within(t, document, "PKCS12", must(base64.StdEncoding.DecodeString(got)))
		default:
			for b, rest := pem.Decode([]byte(got)); b != nil; b, rest = pem.Decode(rest) {
				if b.Type != "CERTIFICATE" && (b.Type != "PRIVATE KEY" || key != "key" && key != "") {
					t.Fatalf("%q gives a block %s", key, b.Type)
				}
				within(t, document, b.Type, b.Bytes)
			}
		}
	})
}

// within checks that a block, or the private key in it, stands in the document.
func within(t *testing.T, document, kind string, der []byte) {
	t.Helper()
	for b, rest := pem.Decode([]byte(document)); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == kind && bytes.Equal(b.Bytes, der) {
			return
		}
		if kind != "PRIVATE KEY" || b.Type != "RSA PRIVATE KEY" && b.Type != "EC PRIVATE KEY" {
			continue
		}
		key := must(x509.ParsePKCS8PrivateKey(der)).(interface{ Equal(crypto.PrivateKey) bool })
		if rsaKey, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil && key.Equal(rsaKey) {
			return
		}
		if ecKey, err := x509.ParseECPrivateKey(b.Bytes); err == nil && key.Equal(ecKey) {
			return
		}
	}
	t.Fatalf("a block %s comes out that is not in %q", kind, document)
}
