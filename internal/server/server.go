// Package server is the listener side of drone-entra: it binds, ends TLS, bounds what a stranger can cost, answers health
// checks, and hands everything else to whichever handler is in force.
//
// Contract: New binds or says which address failed and what to do; Swap replaces the handler between two requests, so
// that each request sees exactly one; Run serves until its context ends and then loses no request that it has accepted
// (see Run for how). Nothing that a request carries reaches the log: no path, no header, no body, and of a panic only the
// names of functions.
//
// What it trusts: its options, and the handler to bound its own work in time. What it does not trust: anybody who can open
// a connection. Whoever they are, they get a bounded number of connections, of header bytes and of seconds.
package server

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Defaults of Options.
const (
	defaultMaxHeaderBytes = 16 << 10
	defaultConnections    = 1024
	defaultReadTimeout    = 10 * time.Second
	defaultWriteTimeout   = 30 * time.Second // above the 20 s in which every request is answered
	// above the 90 s for which Go's clients, as runners are, keep a connection, and the 60 s of load balancers: a request that
	// meets the end of its connection is lost, so it has to be they who close first
	defaultIdleTimeout = 100 * time.Second
	defaultDrain       = 25 * time.Second // a request that came last still has its 20 s
)

const (
	maxHeadTime      = 5 * time.Second // for the TLS handshake, and again for a request's head
	adminConnections = 64
)

// Options says where to listen and what a client may cost. A zero number or duration means the default, if it has one.
type Options struct {
	Address  string // host:port of the public listener
	CertFile string // PEM, leaf first; empty together with KeyFile: plain HTTP
	KeyFile  string // PEM
	Admin    string // host:port of the admin listener, plain HTTP; empty: none

	MaxHeaderBytes int // of one request's head, as headSize counts it; more is answered 431
	Connections    int // open at once on the public listener; lowered where the process may open too few files

	ReadTimeout  time.Duration // for a whole request, its body included, from its first byte
	WriteTimeout time.Duration // from a request's head to the last byte of its answer; must exceed the handler's own limit
	IdleTimeout  time.Duration // between two requests of a connection
	Grace        time.Duration // how long Run goes on accepting while /readyz says that it drains; zero: not at all
	Drain        time.Duration // how long Run then waits for answers; whoever stops the process must wait for Grace + Drain

	Ready  func() []string // why no answer can be right; empty: ready. Public, so nothing secret. nil: always ready
	Status func() any      // what GET /status on the admin listener answers as JSON; nil: 404
	Log    zerolog.Logger
}

// Server is two listeners, bound by New and served by Run.
type Server struct {
	options      Options
	certificates *certificates // nil: plain HTTP
	handler      atomic.Pointer[http.Handler]
	connections  *crowd
	draining     atomic.Bool
	ran          atomic.Bool

	listener *limitedListener
	public   *http.Server

	adminListener *limitedListener // nil, as admin is: none
	admin         *http.Server
}

// New reads the certificate and binds both addresses; it serves nothing before Run. An error names the file or the address,
// the setting it came from, and the remedy. A server that is never run must be closed.
func New(options Options) (*Server, error) {
	s := &Server{options: withDefaults(options)}
	if err := s.readCertificate(); err != nil {
		return nil, err
	}
	limit := connectionLimit(s.options.Connections, s.options.Log)
	s.connections = newCrowd(limit, waitingRoom(limit), s.options.Log)
	if err := s.bind(); err != nil {
		return nil, err
	}
	s.public = s.newHTTPServer(s.answerPublic, s.closing)
	s.public.ConnState = s.connections.note
	if s.certificates != nil {
		s.public.TLSConfig = s.certificates.config()
	}
	if s.adminListener != nil {
		s.admin = s.newHTTPServer(s.answerAdmin, s.draining.Load)
	}
	return s, nil
}

func withDefaults(o Options) Options {
	fill(&o.MaxHeaderBytes, defaultMaxHeaderBytes)
	fill(&o.Connections, defaultConnections)
	fill(&o.ReadTimeout, defaultReadTimeout)
	fill(&o.WriteTimeout, defaultWriteTimeout)
	fill(&o.IdleTimeout, defaultIdleTimeout)
	fill(&o.Drain, defaultDrain)
	return o
}

// fill puts the standard where nothing, or a negative number, was set.
func fill[T int | time.Duration](value *T, standard T) {
	if *value <= 0 {
		*value = standard
	}
}

// readCertificate leaves certificates nil for plain HTTP. One file without the other is a slip, never plain HTTP.
func (s *Server) readCertificate() error {
	o := &s.options
	switch {
	case o.CertFile == "" && o.KeyFile == "":
		return nil
	case o.CertFile == "":
		return errors.New("listen.tls has a key (" + o.KeyFile + ") and no certificate: set listen.tls.cert as well")
	case o.KeyFile == "":
		return errors.New("listen.tls has a certificate (" + o.CertFile + ") and no key: set listen.tls.key as well")
	}
	var err error
	s.certificates, err = newCertificates(o.CertFile, o.KeyFile, o.Log)
	return err
}

// bind opens both addresses or none.
func (s *Server) bind() error {
	public, err := listen("listen.address", s.options.Address)
	if err != nil {
		return err
	}
	s.listener = limit(public, s.connections)
	if s.options.Admin == "" {
		return nil
	}
	admin, err := listen("listen.admin", s.options.Admin)
	if err != nil {
		_ = public.Close()
		return err
	}
	s.adminListener = limit(admin, newCrowd(adminConnections, 1, s.options.Log))
	return nil
}

// newHTTPServer sets the limits that both listeners share.
//
// Each limit is against one way of holding a connection: a head or a body that drips, an answer that is not read, a
// connection that says nothing.
func (s *Server) newHTTPServer(next http.HandlerFunc, closing func() bool) *http.Server {
	o := &s.options
	return &http.Server{
		Handler: &edge{next: next, closing: closing, headBytes: o.MaxHeaderBytes, log: o.Log},
		// The edge counts exactly; this coarse limit (net/http adds some) ends the reading of what can only be too much, and leaves
		// room for the 32 bytes that HTTP/2 counts on top of every field.
		MaxHeaderBytes:               2 * o.MaxHeaderBytes,
		ReadHeaderTimeout:            min(maxHeadTime, o.ReadTimeout),
		ReadTimeout:                  o.ReadTimeout,
		WriteTimeout:                 o.WriteTimeout,
		IdleTimeout:                  o.IdleTimeout,
		ErrorLog:                     newErrorLog(o.Log),
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          32,
			MaxReceiveBufferPerConnection: 256 << 10, // times Connections is what unread bodies can hold
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               o.ReadTimeout,
			PingTimeout:                   o.ReadTimeout,
			WriteByteTimeout:              o.WriteTimeout,
		},
	}
}

// Swap puts a handler in force for everything but /healthz and /readyz. A request that has reached the old one stays there.
// Before the first Swap, everything else is answered 503.
func (s *Server) Swap(handler http.Handler) { s.handler.Store(&handler) }

// Addr is where the public listener is bound, with the real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// AdminAddr is where the admin listener is bound, or nil if there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.adminListener == nil {
		return nil
	}
	return s.adminListener.Addr()
}

// Certificate tells which certificate is served and whether the files hold another one that cannot be. It is zero for plain
// HTTP.
func (s *Server) Certificate() CertificateStatus {
	if s.certificates == nil {
		return CertificateStatus{}
	}
	return s.certificates.current.Load().status
}

// Reload reads the certificate's files now, without waiting for the next poll. If they hold no good pair, the old one stays
// in force and the error says why.
func (s *Server) Reload() error {
	if s.certificates == nil {
		return nil
	}
	return s.certificates.check()
}

// closing tells whether a connection should end with the answer it now gets: while draining, so that clients go elsewhere;
// and while connections run short, so that idle ones do not keep others out.
func (s *Server) closing() bool { return s.draining.Load() || s.connections.crowded() }

// Close ends both listeners and every connection at once. Run does so at its end; it is for a server that is not run.
func (s *Server) Close() error {
	err := errors.Join(s.listener.Close(), s.public.Close())
	if s.admin != nil {
		err = errors.Join(err, s.adminListener.Close(), s.admin.Close())
	}
	return err
}
