package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/server"
)

// pair is a certificate and its key in a directory laid out as the kubelet does it: tls.crt and tls.key are links through
// ..data, which is replaced as a whole.
type pair struct {
	dir      string
	name     string
	cert     []byte
	key      []byte
	versions int
}

// newPair makes a self-signed certificate for a name and projects it.
func newPair(t *testing.T, name string) *pair {
	t.Helper()
	p := &pair{dir: t.TempDir(), name: name}
	p.cert, p.key = selfSigned(t, name, inAnHour())
	p.project(t, p.cert, p.key)
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(p.dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func selfSigned(t *testing.T, name string, notAfter time.Time) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// project writes a new version beside the old one and swaps the ..data link to it.
func (p *pair) project(t *testing.T, cert, key []byte) {
	t.Helper()
	p.versions++
	version := "..v" + strings.Repeat("i", p.versions)
	if err := os.Mkdir(filepath.Join(p.dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(p.dir, version, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(p.dir, "..next")
	if err := os.Symlink(version, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(p.dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) use(o *server.Options) {
	o.CertFile, o.KeyFile = filepath.Join(p.dir, "tls.crt"), filepath.Join(p.dir, "tls.key")
}

func (p *pair) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.cert) {
		t.Fatal("no certificate")
	}
	return pool
}

func (p *pair) client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: http2,
		TLSClientConfig: &tls.Config{RootCAs: p.roots(t), ServerName: p.name}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// presented is the name in the certificate that a new connection is shown.
func presented(t *testing.T, r *running) string {
	t.Helper()
	conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{InsecureSkipVerify: true}) // only looking
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestProtocolsOverTLS(t *testing.T) {
	pair := newPair(t, "first.example")
	r := start(t, pair.use)
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }))
	for _, http2 := range []bool{true, false} {
		got := ask(t, pair.client(t, http2), "POST", "https://"+r.Addr().String()+"/")
		if want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[http2]; got.body != want {
			t.Errorf("spoke %s, want %s", got.body, want)
		}
		if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Server") != "" {
			t.Errorf("headers %v", got.header)
		}
	}
}

func TestCertificateIsFollowedThroughLinks(t *testing.T) {
	t.Parallel() // it waits for a poll
	pair := newPair(t, "first.example")
	r := start(t, pair.use)
	before := r.Certificate()
	if before.Subject != "CN=first.example" || strings.Join(before.Names, " ") != "first.example 127.0.0.1" ||
		before.Error != "" || before.LoadedAt.IsZero() || time.Until(before.NotAfter) <= 0 {
		t.Errorf("status %+v", before)
	}
	if name := presented(t, r); name != "first.example" {
		t.Errorf("presents %s", name)
	}
	cert, key := selfSigned(t, "second.example", inAnHour())
	pair.project(t, cert, key)
	eventually(t, "the poll finds the new certificate", func() bool { return presented(t, r) == "second.example" })
	if after := r.Certificate(); after.Subject != "CN=second.example" || !after.LoadedAt.After(before.LoadedAt) {
		t.Errorf("status %+v", after)
	}
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

func TestBadPairKeepsTheOldOne(t *testing.T) {
	otherCert, otherKey := selfSigned(t, "second.example", inAnHour())
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, *pair)
		says  string
	}{
		{"mismatched", func(t *testing.T, p *pair) { p.project(t, otherCert, p.key) }, "private key does not match"},
		{"no PEM", func(t *testing.T, p *pair) { p.project(t, []byte("hello"), otherKey) }, "failed to find any PEM data"},
		{"empty", func(t *testing.T, p *pair) { p.project(t, nil, nil) }, "failed to find any PEM data"},
		{"too large", func(t *testing.T, p *pair) { p.project(t, bytes.Repeat([]byte("x"), 1<<20+1), otherKey) }, "larger than"},
		{"gone", func(t *testing.T, p *pair) { _ = os.Remove(filepath.Join(p.dir, "tls.key")) }, "tls.key: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair := newPair(t, "first.example")
			r := start(t, pair.use)
			loaded := r.Certificate().LoadedAt
			c.spoil(t, pair)
			for range 3 {
				if err := r.Reload(); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Reload: %v", err)
				}
			}
			if name := presented(t, r); name != "first.example" {
				t.Errorf("presents %s", name)
			}
			status := r.Certificate()
			if !strings.Contains(status.Error, c.says) || !status.LoadedAt.Equal(loaded) || status.Subject != "CN=first.example" {
				t.Errorf("status %+v", status)
			}
			if alarms := strings.Count(r.log.String(), "the old certificate stays in force"); alarms != 1 {
				t.Errorf("%d alarms for one change", alarms)
			}
			if strings.Contains(r.log.String(), "PRIVATE KEY-----") {
				t.Error("the key is in the log")
			}
			_ = os.Remove(filepath.Join(pair.dir, "tls.key"))
			_ = os.Symlink(filepath.Join("..data", "tls.key"), filepath.Join(pair.dir, "tls.key"))
			pair.project(t, otherCert, otherKey)
			if err := r.Reload(); err != nil {
				t.Errorf("a good pair after it: %v", err)
			}
			if name := presented(t, r); name != "second.example" || r.Certificate().Error != "" {
				t.Errorf("presents %s, status %+v", name, r.Certificate())
			}
		})
	}
}

func TestCertificateAtStart(t *testing.T) {
	good := newPair(t, "first.example")
	other := newPair(t, "second.example")
	cert, key := filepath.Join(good.dir, "tls.crt"), filepath.Join(good.dir, "tls.key")
	for _, c := range []struct {
		name, cert, key string
		says            []string
	}{
		{"no such file", cert + "x", key, []string{"listen.tls.cert", cert + "x", "no such file", "correct the path"}},
		{"no such key", cert, key + "x", []string{"listen.tls.key", key + "x", "no such file"}},
		{"another's key", cert, filepath.Join(other.dir, "tls.key"), []string{cert, other.dir, "does not match", "its own key"}},
		{"a directory", good.dir, key, []string{"listen.tls.cert", "directory"}},
		{"a key alone", "", key, []string{key, "set listen.tls.cert"}},
		{"a certificate alone", cert, "", []string{cert, "set listen.tls.key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := server.New(server.Options{Address: "127.0.0.1:0", CertFile: c.cert, KeyFile: c.key})
			if err == nil {
				_ = s.Close()
				t.Fatal("started")
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

func TestExpiredCertificateIsServedWithAWarning(t *testing.T) {
	pair := newPair(t, "first.example")
	cert, key := selfSigned(t, "old.example", time.Now().Add(-time.Hour))
	pair.project(t, cert, key)
	r := start(t, pair.use)
	for range 3 {
		if err := r.Reload(); err != nil {
			t.Error(err)
		}
	}
	if name := presented(t, r); name != "old.example" {
		t.Errorf("presents %s", name)
	}
	if n := strings.Count(r.log.String(), "the certificate has expired"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, r.log)
	}
}
