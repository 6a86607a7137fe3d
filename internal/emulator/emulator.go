package emulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options change how an emulator behaves; the zero value is good.
type Options struct {
	// Now is the clock of tokens, assertions and secrets; time.Now when nil. Certificates always go by the real clock,
	// since that is the one a TLS client looks at.
	Now func() time.Time
	// TokenLifetime is how long Entra's access tokens last. Zero means at random between 60 and 90 minutes, as the
	// service does it; managed identities' tokens then last for 24 hours.
	TokenLifetime time.Duration
	// Keys are shared with the other emulators that get the same ones. Keys of its own when nil.
	Keys *Keys
}

// Emulator is one running instance. All its methods are safe for concurrent use.
type Emulator struct {
	now      func() time.Time
	lifetime time.Duration

	ca         *authority
	directory  directory
	vaults     vaults
	registries registries
	issuer     *issuer
	sites      sites
	faults     faults
	journal    journal
	verified   verified
	presented  presentations

	secure   net.Listener // TLS, raw connections
	plain    net.Listener // the proxy, and what is served over plain HTTP
	tunnels  *tunnels     // connections that came through CONNECT
	servers  []*http.Server
	upstream *http.Transport // Entra's own way to issuers' documents
	tracked  connections
	handlers gate

	context context.Context // ends at Close, and with it every handler
	cancel  context.CancelFunc
	serving sync.WaitGroup
	closing sync.Once
}

// Start makes a certificate authority and begins to listen on two free ports of the loopback address: one for TLS, one
// for the proxy. It fails when the machine has no port to give. The caller owns the result and must Close it.
func Start(options Options) (*Emulator, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Keys == nil {
		options.Keys = new(Keys)
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("emulator: making a certificate authority: %w", err)
	}
	e := &Emulator{now: options.Now, lifetime: options.TokenLifetime, ca: ca, issuer: newIssuer(defaultIssuerHost, options.Keys)}
	e.directory.keys = options.Keys
	e.context, e.cancel = context.WithCancel(context.Background())
	if err := e.listen(); err != nil {
		e.cancel()
		return nil, err
	}
	e.upstream = e.Transport()
	e.mountOwn()
	e.serve()
	return e, nil
}

// listen opens both ports.
func (e *Emulator) listen() error {
	var errs [2]error
	e.secure, errs[0] = net.Listen("tcp", "127.0.0.1:0")
	e.plain, errs[1] = net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(errs[:]...); err != nil {
		for _, l := range []net.Listener{e.secure, e.plain} {
			if l != nil {
				_ = l.Close()
			}
		}
		return fmt.Errorf("emulator: opening a port on 127.0.0.1: %w", err)
	}
	e.tunnels = newTunnels(e.secure.Addr())
	return nil
}

// serve starts the two servers: TLS for direct and for tunnelled connections, plain for the proxy.
func (e *Emulator) serve() {
	secure, plain := e.newServer(http.HandlerFunc(e.serveSecure)), e.newServer(http.HandlerFunc(e.serveProxy))
	e.servers = []*http.Server{secure, plain}
	config := e.tlsConfig()
	e.run(secure, tls.NewListener(trackingListener{e.secure, e}, config))
	e.run(secure, tls.NewListener(trackingListener{e.tunnels, e}, config))
	e.run(plain, trackingListener{e.plain, e})
}

// newServer makes one of the two servers. Its handlers' contexts end at Close, hanging ones included.
func (e *Emulator) newServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	// HTTP/1.1 only, as Key Vault speaks it: a connection then carries one request, so that resetting it hits that one.
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: 30 * time.Second,
		// Refused certificates and broken connections are what faults are for; they are no news.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return e.context },
		ConnContext: withConnection,
	}
}

func (e *Emulator) run(server *http.Server, listener net.Listener) {
	// Serve only ever ends with an error, and at Close it is ErrServerClosed.
	e.serving.Go(func() { _ = server.Serve(listener) })
}

// Close ends every connection and every handler, hanging ones included, and waits for them. It may be called repeatedly.
func (e *Emulator) Close() {
	e.closing.Do(func() {
		e.cancel()
		for _, server := range e.servers {
			_ = server.Close()
		}
		_ = e.tunnels.Close()
		e.tracked.closeAll()
		e.handlers.wait()
		e.upstream.CloseIdleConnections()
		e.serving.Wait()
	})
}

// CAs is a pool with the emulator's certificate authority and no other.
func (e *Emulator) CAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(e.ca.certificate)
	return pool
}

// CAPEM is the certificate authority in PEM, for a file that SSL_CERT_FILE names.
func (e *Emulator) CAPEM() []byte { return e.ca.pem() }

// Transport is a new transport that trusts only the emulator's authority and dials the emulator whatever the name, so
// that a client keeps using production host names. A name that nobody registered fails as in DNS. The caller may
// change it; its connections end at Close at the latest.
func (e *Emulator) Transport() *http.Transport {
	return &http.Transport{
		DialContext:         e.dial,
		TLSClientConfig:     &tls.Config{RootCAs: e.CAs(), MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
	}
}

// dial leads every known name to the listener of its port.
//
// Nothing is ever dialled but the loopback address: what is misspelt in a test or in dev can't reach the real Azure.
func (e *Emulator) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	target := e.secure.Addr()
	switch {
	case port == "80":
		target = e.plain.Addr()
	case port != "443":
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("the emulator serves ports 443 and 80, not %s", port)}
	}
	if !e.resolves(host, port == "80") {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return new(net.Dialer).DialContext(ctx, network, target.String())
}

// gate counts handlers that are under way and lets none in once it waits for the last.
// A WaitGroup alone would not do: Add must not run beside a Wait that may already have seen zero.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter is false once wait was called; who got true must leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

func (g *gate) wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}
