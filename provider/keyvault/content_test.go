package keyvault_test

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// The files in testdata hold one certificate, leaf.pem with leaf.key, issued by ca.pem; all were made for these tests.
// What is called openssl-* is as OpenSSL 3 writes it; the rest was put together byte by byte.
func testdata(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func in64(t testing.TB, name string) string {
	return base64.StdEncoding.EncodeToString([]byte(testdata(t, name)))
}

// taken is what a key names in a secret that was read, as a release would have it.
func taken(t *testing.T, f secret.Fetched, key string) (value, note string, err *secret.Error) {
	t.Helper()
	p, failed := secret.NewPolicy(secret.Rules{Vaults: []secret.Vault{{Alias: "pay-prod", Host: host}}})
	if failed != nil {
		t.Fatal(failed)
	}
	got, failed := p.Admit(secret.Grant{Ref: secret.Ref{Vault: "pay-prod", Name: "web", Key: key}}, f, time.Now())
	if failed != nil {
		return "", "", secret.AsError(failed)
	}
	return string(got.Value.Reveal()), got.Note, nil
}

// certificate reads a secret that is behind a certificate.
func (w *world) certificate(t *testing.T, value, contentType string) secret.Fetched {
	t.Helper()
	w.kv.Set("web", value, emulator.Managed(), emulator.ContentType(contentType))
	f, err := read(t, t.Context(), w.vault(t), "web")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const pkcs12 = "application/x-pkcs12"

func TestAPKCS12BecomesPEM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, leaf, ca := testdata(t, "leaf.key"), testdata(t, "leaf.pem"), testdata(t, "ca.pem")
	for _, name := range []string{"openssl-modern", "openssl-legacy", "openssl-3des", "openssl-clear", "windows-empty", "windows-null"} {
		stored := in64(t, name+".pfx")
		for about, value := range map[string]string{"as stored": stored, "in lines": stored[:64] + "\r\n" + stored[64:] + "\n", "without padding": strings.TrimRight(stored, "=")} {
			f := w.certificate(t, value, pkcs12)
			for part, want := range map[string]string{"": key + leaf + ca, "key": key, "cert": leaf, "chain": leaf + ca, "pfx": stored} {
				if got, note, err := taken(t, f, part); err != nil || got != want || note != "" {
					t.Errorf("%s %s: %q is %q, noted %q, %v", name, about, part, got, note, err)
				}
			}
		}
	}
}

func TestACertificateWithoutItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leaf := testdata(t, "leaf.pem")
	der, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Split(strings.TrimSpace(leaf), "\n")[1:7], ""))
	bare := base64.StdEncoding.EncodeToString(der)
	for about, c := range map[string][2]string{
		"PKCS#12":              {in64(t, "openssl-nokeys.pfx"), pkcs12},
		"PKCS#12, no password": {in64(t, "null-nokeys.pfx"), pkcs12},
		"a bare certificate":   {bare, pkcs12},
		"PEM":                  {leaf, "application/x-pem-file"},
	} {
		f := w.certificate(t, c[0], c[1])
		for _, part := range []string{"", "cert", "chain"} {
			if got, _, err := taken(t, f, part); err != nil || got != leaf {
				t.Errorf("%s: %q is %q, %v", about, part, got, err)
			}
		}
		if _, _, err := taken(t, f, "key"); err == nil || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, "exported") {
			t.Errorf("%s: its key: %v", about, err)
		}
	}
}

// What can't be opened is denied with its reason, at once, and given as it is stored to those who ask for that.
func TestAPKCS12ThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, because := range map[string]string{
		"openssl-password": "password", "openssl-nocerts": "password", "openssl-rounds": "not supported", "rounds-key": "not supported",
		"rounds-certs": "not supported", "two-keys": "not supported", "two-safes": "not supported", "hidden-key": "does not open",
	} {
		stored := in64(t, name+".pfx")
		f := w.certificate(t, stored, pkcs12)
		for _, part := range []string{"", "key", "cert", "chain", "password"} {
			if got, _, err := taken(t, f, part); err == nil || err.Kind != secret.Denied || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, because) {
				t.Errorf("%s: %q is %q, %v; want it denied: %s", name, part, got, err, because)
			}
		}
		if got, _, err := taken(t, f, "pfx"); err != nil || got != stored {
			t.Errorf("%s: pfx is %q, %v", name, got, err)
		}
	}
	whole := testdata(t, "openssl-modern.pfx")
	for about, stored := range map[string]string{
		"text": value, "PEM": testdata(t, "leaf.pem"), "JSON": `{"key":"` + value + `"}`, "base64 of text": base64.StdEncoding.EncodeToString([]byte(value)),
		"cut": base64.StdEncoding.EncodeToString([]byte(whole[:len(whole)-9])), "with something behind": base64.StdEncoding.EncodeToString([]byte(whole + value)),
	} {
		f := w.certificate(t, stored, pkcs12)
		for _, part := range []string{"", "key", "cert", "chain", "pfx"} {
			if got, _, err := taken(t, f, part); err == nil || err.Reason != secret.ReasonKey || !strings.Contains(err.Detail, "isn't one") || strings.Contains(err.Detail, value) {
				t.Errorf("%s: %q is %q, %v", about, part, got, err)
			}
		}
	}
}

func TestTheContentTypeSaysWhatAValueIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vault(t)
	key, leaf := testdata(t, "leaf.key"), testdata(t, "leaf.pem")
	in := base64.StdEncoding.EncodeToString
	text, binary := value+"\nsecond line\n", "\xfe\xed\xfe\xed"+value
	for _, c := range []struct{ about, contentType, stored, key, want, because string }{
		{"no content type", "", in([]byte(text)), "", in([]byte(text)), ""},
		{"another", "text/plain", text, "", text, ""},
		{"one that nobody knows", ";;;=", text, "", text, ""},
		{"JSON, by its look", "", `{"key":{"chain":"` + value + `"}}`, "key.chain", value, ""},
		{"JSON", "application/json", `{"key":"` + value + `"}`, "key", value, ""},
		{"PEM without its content type", "text/plain", key + leaf, "key", "", "not one JSON object"},
		{"PKCS#12 without its content type", "", in64(t, "openssl-modern.pfx"), "", in64(t, "openssl-modern.pfx"), ""},
		{"PEM, as stored", "Application/X-PEM-File; charset=us-ascii", "a comment\n" + leaf + key, "", "a comment\n" + leaf + key, ""},
		{"PEM, its key", "Application/X-PEM-File; charset=us-ascii", "a comment\n" + leaf + key, "key", key, ""},
		{"PEM that isn't, as stored", "application/x-pem-file", value, "", value, ""},
		{"PEM that isn't, its key", "application/x-pem-file", `{"key":"` + value + `"}`, "key", "", "no PEM block"},

		{"base64", "text/plain;base64", in([]byte(text)), "", text, ""},
		{"base64, after another parameter", "text/plain; charset=utf-8; Base64 ", in([]byte(text)), "", text, ""},
		{"base64, in lines of blanks", "text/plain;base64", " " + in([]byte(text))[:8] + " \n" + in([]byte(text))[8:], "", text, ""},
		{"base64 of JSON", "application/json;base64", in([]byte(`{"a":{"b":"` + value + `"}}`)), "a.b", value, ""},
		{"base64 of PEM", "application/x-pem-file;base64", in([]byte(key + leaf)), "cert", leaf, ""},
		{"base64 that isn't", "text/plain;base64", value + "!", "", "", "and it isn't"},
		{"base64 of nothing", "text/plain;base64", "==", "", "", "no text"},
		{"base64 of a keystore", "text/plain;base64", in([]byte(binary)), "", "", "take base64 off"},
		{"base64 with a NUL", "text/plain;base64", in([]byte("a\x00" + value)), "", "", "take base64 off"},
		{"a keystore, as stored", "application/octet-stream", in([]byte(binary)), "", in([]byte(binary)), ""},
		{"base64 as a word of the type", "text/base64", in([]byte(text)), "", in([]byte(text)), ""},
		{"base64 that isn't last", "text/plain;base64;x=y", in([]byte(text)), "", in([]byte(text)), ""},
	} {
		w.kv.Set("web", c.stored, emulator.ContentType(c.contentType))
		f, err := read(t, t.Context(), v, "web")
		if err != nil {
			t.Fatal(err)
		}
		got, _, refused := taken(t, f, c.key)
		if c.because == "" && (refused != nil || got != c.want) {
			t.Errorf("%s: %q, %v; want %q", c.about, got, refused, c.want)
		}
		if c.because != "" && (refused == nil || refused.Reason != secret.ReasonKey || !strings.Contains(refused.Detail, c.because) || strings.Contains(refused.Detail, value)) {
			t.Errorf("%s: %q, %v; want it denied: %s", c.about, got, refused, c.because)
		}
	}
}
