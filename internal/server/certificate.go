package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	pollInterval = 5 * time.Second
	maxPEM       = 1 << 20 // bytes of a file; a real chain takes some thousands
)

// CertificateStatus is what the operator may know of the public listener's certificate.
type CertificateStatus struct {
	Subject  string    `json:"subject"`         // the leaf's distinguished name
	Names    []string  `json:"names"`           // the DNS names and IP addresses that it is valid for
	NotAfter time.Time `json:"not_after"`       // when it expires
	LoadedAt time.Time `json:"loaded_at"`       // when it came into force here
	Error    string    `json:"error,omitempty"` // why what the files hold now is not in force; empty if it is
}

// certificates keeps the pair of files in force, follows their content, and never lets go of a good pair for a bad one.
//
// A handshake only loads a pointer: neither reading files nor a bad pair can hold it up.
type certificates struct {
	certFile, keyFile string
	log               zerolog.Logger
	current           atomic.Pointer[served]

	mu      sync.Mutex // held by one check at a time; guards what follows
	seen    [sha256.Size]byte
	failure error
	warned  bool // that the pair in force has expired
}

// served is a pair in force and what is to be told about it; it never changes.
type served struct {
	pair   *tls.Certificate
	status CertificateStatus
}

// newCertificates reads the pair for the first time.
func newCertificates(certFile, keyFile string, log zerolog.Logger) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// config asks for the certificate at each handshake, so that a new one needs no new listener. Suites and curves are
// Go's defaults.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load().pair, nil
		},
	}
}

// poll checks until ctx ends. It looks at content, not at times: a projected volume is swapped by a symbolic link, and
// neither notifications nor the file's own time follow one reliably.
func (c *certificates) poll(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = c.check() // logged, and in the status
		}
	}
}

// check puts what the files hold in force, if it is new and good. It returns why they do not hold what is in force.
//
// A state that was looked at is not judged again, so a bad pair is logged once and not every five seconds. The warning
// that the pair in force has expired needs no change of the files, and is asked for each time.
func (c *certificates) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	certPEM, keyPEM, err := c.read()
	state := fingerprint(certPEM, keyPEM, err)
	if state == c.seen {
		c.warnExpired()
		return c.failure
	}
	c.seen = state
	if err == nil {
		err = c.load(certPEM, keyPEM)
	}
	c.failure = err
	if err != nil {
		c.keep(err)
	}
	return err
}

// load puts a pair in force.
// X509KeyPair refuses a key that is another certificate's. An expired pair is taken: it may be the only one there is,
// and clients decide what they accept.
func (c *certificates) load(certPEM, keyPEM []byte) error {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("listen.tls: the certificate %s and the key %s cannot be used together: %w: put the "+
			"certificate's chain, leaf first, and its own key there, both as PEM", c.certFile, c.keyFile, err)
	}
	status := CertificateStatus{
		Subject: pair.Leaf.Subject.String(), Names: append([]string{}, pair.Leaf.DNSNames...), NotAfter: pair.Leaf.NotAfter, LoadedAt: time.Now(),
	}
	for _, ip := range pair.Leaf.IPAddresses {
		status.Names = append(status.Names, ip.String())
	}
	c.current.Store(&served{&pair, status})
	c.warned = false
	c.log.Info().Str("file", c.certFile).Str("subject", status.Subject).Time("not_after", status.NotAfter).
		Msg("certificate in force")
	if pair.Leaf.NotBefore.After(status.LoadedAt) {
		c.log.Warn().Str("file", c.certFile).Time("not_before", pair.Leaf.NotBefore).
			Msg("the certificate is not valid yet: clients will refuse it; check it and this machine's clock")
	}
	c.warnExpired()
	return nil
}

// keep leaves the old pair in force, if there is one, and tells.
func (c *certificates) keep(err error) {
	old := c.current.Load()
	if old == nil {
		return // at start: the error itself is told, and ends the program
	}
	status := old.status
	status.Error = err.Error()
	c.current.Store(&served{old.pair, status})
	c.log.Error().Err(err).Time("not_after", status.NotAfter).Msg("the old certificate stays in force")
}

// warnExpired says once for each pair that its time is over; mu is held.
func (c *certificates) warnExpired() {
	in := c.current.Load()
	if in == nil || c.warned || time.Now().Before(in.status.NotAfter) {
		return
	}
	c.warned = true
	c.log.Warn().Str("file", c.certFile).Time("not_after", in.status.NotAfter).
		Msg("the certificate has expired: clients will refuse it; replace the files, they are read again by themselves")
}

// read takes both files as they belong together: if the certificate changed while the key was read, it reads again.
// After three changes in a row it takes what it has: if the two do not fit together, load refuses them, and the next
// poll reads again.
func (c *certificates) read() (certPEM, keyPEM []byte, err error) {
	for range 3 {
		if certPEM, err = readPEM("listen.tls.cert", c.certFile); err != nil {
			return nil, nil, err
		}
		if keyPEM, err = readPEM("listen.tls.key", c.keyFile); err != nil {
			return nil, nil, err
		}
		again, err := readPEM("listen.tls.cert", c.certFile)
		if err == nil && bytes.Equal(again, certPEM) {
			break
		}
	}
	return certPEM, keyPEM, nil
}

// readPEM reads a file of at most maxPEM bytes. The setting is what the operator has to change.
func readPEM(setting, name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, unreadable(setting, name, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPEM+1))
	if err != nil {
		return nil, unreadable(setting, name, err)
	}
	if len(content) > maxPEM {
		return nil, fmt.Errorf("%s: %s is larger than %d bytes: point it to a PEM file", setting, name, maxPEM)
	}
	return content, nil
}

func unreadable(setting, name string, err error) error {
	remedy := "let this process read it"
	if errors.Is(err, fs.ErrNotExist) {
		remedy = "put it there or correct the path"
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the path is named already
	}
	return fmt.Errorf("%s: cannot read %s: %w: %s", setting, name, err, remedy)
}

// fingerprint tells one state of the files from another, unreadable ones included.
func fingerprint(certPEM, keyPEM []byte, err error) [sha256.Size]byte {
	cert, key := sha256.Sum256(certPEM), sha256.Sum256(keyPEM)
	state := append(cert[:], key[:]...)
	if err != nil {
		state = append(state, err.Error()...)
	}
	return sha256.Sum256(state)
}
