package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

// authority signs a certificate for each server name when a client first asks for it.
// Its key is in memory only: no machine can be left trusting it after Close, whatever its certificate was added to.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	made        time.Time

	mu     sync.RWMutex
	leaves map[string]*tls.Certificate
}

// newAuthority makes a self-signed authority that is valid for a year from a day ago, by the real clock.
func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	made := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "drone-entra emulator, for development only"},
		NotBefore:             made.Add(-day),
		NotAfter:              made.Add(365 * day),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: key, made: made, leaves: map[string]*tls.Certificate{}}, nil
}

const day = 24 * time.Hour

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// leaf is the certificate for a host, made on the first call.
// Two who ask at the same time may each get one of their own; both are good.
func (a *authority) leaf(host string) (*tls.Certificate, error) {
	a.mu.RLock()
	known := a.leaves[host]
	a.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	made, err := a.sign(host, a.made.Add(-time.Hour), a.made.Add(364*day))
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaves[host] = made
	return made, nil
}

// faulty is a certificate that a client must refuse, and the reason is the kind.
func (a *authority) faulty(host string, kind Kind) (*tls.Certificate, error) {
	switch kind {
	case ExpiredCertificate:
		return a.sign(host, a.made.Add(-20*time.Hour), a.made.Add(-time.Hour))
	case WrongCertificate:
		return a.sign("elsewhere.example", a.made.Add(-time.Hour), a.made.Add(day))
	case UntrustedCertificate:
		stranger, err := newAuthority()
		if err != nil {
			return nil, err
		}
		return stranger.leaf(host)
	}
	return nil, fmt.Errorf("emulator: %v is no fault of a certificate", kind)
}

// sign makes a server certificate for one DNS name, with a key of its own.
func (a *authority) sign(host string, from, to time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: host},
		DNSNames:     []string{host},
		NotBefore:    from,
		NotAfter:     to,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func serial() *big.Int {
	// 120 random bits: positive, and unique enough that two certificates of one authority never share a number.
	raw := make([]byte, 15)
	_, _ = rand.Read(raw)
	return new(big.Int).SetBytes(raw)
}

// tlsConfig offers HTTP/1.1 alone: see newServer.
func (e *Emulator) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// A resumed session shows no certificate, so a faulty one would go unseen.
		SessionTicketsDisabled: true,
		GetCertificate:         e.certificate,
	}
}

// certificate answers a ClientHello. An unknown name ends the handshake, so that nobody answers for that host.
func (e *Emulator) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := strings.ToLower(hello.ServerName)
	if !e.reachable(host, false) {
		return nil, fmt.Errorf("emulator: no such host %q", host)
	}
	c, _ := hello.Conn.(*connection)
	if fault := e.faults.take(host, "", Kind.ofCertificate); fault != nil {
		if c != nil {
			c.faulty.Store(true)
		}
		return e.ca.faulty(host, fault.Kind)
	}
	if c != nil {
		c.host.Store(&host)
	}
	return e.ca.leaf(host)
}
