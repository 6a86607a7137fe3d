package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const withTLS = one + `
listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", tls: {cert: $ETC/tls.crt, key: $ETC/tls.key}}
`

// certificate makes a certificate for the loopback address, signed by itself, and the pool that trusts it.
func certificate(t *testing.T) (cert, key string, trusted *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "drone-entra"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"drone-entra.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	trusted = x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(cert))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), trusted
}

func TestP11WhereTLSIsRequiredPlainHTTPIsRefused(t *testing.T) {
	t.Parallel()
	cert, key, trusted := certificate(t)
	s := start(t, withTLS, file("tls.crt", cert), file("tls.key", key), behindTLS(), canary(strings.Split(key, "\n")[1]))
	s.fill("kv-shared/ci-token")
	s.servesOne(t) // by drone-go's client

	before := len(s.events())
	conn := s.dial()
	_, _ = conn.Write(attack{}.message().bytes())
	answer, _ := io.ReadAll(conn) // net/http says 400 in clear, and may cut the connection before all of that is read
	_ = conn.Close()
	if line, _, _ := strings.Cut(string(answer), "\r\n"); line != "" && line != "HTTP/1.0 400 Bad Request" {
		t.Errorf("plain HTTP is answered %q", answer)
	}
	if events := s.events()[before:]; len(events) != 0 {
		t.Errorf("a request in clear came as far as the record: %+v", events)
	}

	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted, ServerName: "drone-entra.example", MaxVersion: tls.VersionTLS12}))
	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}))
	for _, old := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		conn := tls.Client(s.dial(), &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10, MaxVersion: old})
		if err := conn.Handshake(); err == nil {
			t.Errorf("%s is spoken", tls.VersionName(old))
		}
		_ = conn.Close()
	}
	s.servesOne(t)
}

// secure sends the good request over a connection of its own.
func (s *server) secure(t *testing.T, config *tls.Config) reply {
	t.Helper()
	conn := tls.Client(s.dial(), config)
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return s.exchange(conn, attack{}.message().bytes())
}

// A proxy in between may speak HTTP/2.
func TestHTTP2CarriesTheSameRequest(t *testing.T) {
	t.Parallel()
	cert, key, trusted := certificate(t)
	s := start(t, withTLS, file("tls.crt", cert), file("tls.key", key), behindTLS())
	s.fill("kv-shared/ci-token")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	send := func(m *message) reply {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/", bytes.NewReader([]byte(m.body)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.fields {
			request.Header.Add(f[0], f[1])
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.ProtoMajor != 2 {
			t.Fatalf("it came by %s", response.Proto)
		}
		return reply{response.Status, response.StatusCode, response.Header, body, true}
	}
	s.gotOne(t, send(attack{}.message()))
	s.unproven(t, send(attack{tamper: without("Signature")}.message()), "signature")
	s.unproven(t, send(attack{edit: set("Digest", digest("other"))}.message()), "digest")
	s.gotOne(t, send(attack{}.message()))
}

// Beyond the loopback address it serves in clear only when somebody says that a proxy ends TLS.
func TestP11AWiderAddressNeedsTLS(t *testing.T) {
	t.Parallel()
	const wide = one + `listen: {address: "0.0.0.0:0", admin: "127.0.0.1:0"}` + "\n"
	const stated = one + `listen: {address: "0.0.0.0:0", admin: "127.0.0.1:0", plain_http: true}` + "\n"
	for name, options := range map[string][]option{"": nil, "false": {env("DRONE_ENTRA_PLAIN_HTTP", "false")}, "a word": {env("DRONE_ENTRA_PLAIN_HTTP", "sure")}} {
		t.Run("P11 refused with DRONE_ENTRA_PLAIN_HTTP "+name, func(t *testing.T) {
			code, out := refuses(t, wide, options...)
			if code != 1 || !strings.Contains(out, "listen.tls") || !strings.Contains(out, "plain_http") {
				t.Errorf("it ends with %d and says %s", code, out)
			}
		})
	}
	for name, s := range map[string]*server{
		"in the file":        start(t, stated),
		"in the environment": start(t, wide, env("DRONE_ENTRA_PLAIN_HTTP", "true")),
	} {
		t.Run("P11 served when it is stated "+name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(s.Address)
			s.Address, s.URL = "127.0.0.1:"+port, "http://127.0.0.1:"+port
			s.fill("kv-shared/ci-token")
			s.servesOne(t)
		})
	}
}
