package emulator

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// connection is a client's TCP connection with what its handshake was told.
type connection struct {
	net.Conn
	host   atomic.Pointer[string]
	faulty atomic.Bool // its certificate was a fault
	gone   func()
}

func (c *connection) Close() error {
	c.gone()
	return c.Conn.Close()
}

// NetConn is the connection inside, as tls.Conn names it.
func (c *connection) NetConn() net.Conn { return c.Conn }

// reset closes with RST instead of FIN, so that the client sees "connection reset by peer".
// It looks for the TCP connection through every wrapper; a linger of 0 makes the kernel send RST on close.
func (c *connection) reset() {
	raw := c.Conn
	for {
		wrapped, ok := raw.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// connections are the open ones.
type connections struct {
	mu  sync.Mutex
	all map[*connection]struct{}
}

func (s *connections) add(raw net.Conn) *connection {
	c := &connection{Conn: raw}
	c.gone = sync.OnceFunc(func() { s.remove(c) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*connection]struct{}{}
	}
	s.all[c] = struct{}{}
	return c
}

func (s *connections) remove(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// closeThose closes the connections that the condition picks.
// It closes outside the lock, which Close needs to remove the connection.
func (s *connections) closeThose(condition func(*connection) bool) {
	s.mu.Lock()
	var picked []*connection
	for c := range s.all {
		if condition(c) {
			picked = append(picked, c)
		}
	}
	s.mu.Unlock()
	for _, c := range picked {
		_ = c.Close()
	}
}

func (s *connections) closeAll() { s.closeThose(func(*connection) bool { return true }) }

// trackingListener registers each connection that it accepts.
type trackingListener struct {
	net.Listener
	emulator *Emulator
}

func (l trackingListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.emulator.tracked.add(raw), nil
}

type connectionKey struct{}

// withConnection lets a handler find the connection that it answers on.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionOf is the connection that the request came on, nil where it was none of ours.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// tunnels is a listener whose connections are handed in by the proxy: after CONNECT the client speaks TLS on the same
// connection, so it goes to the TLS server as it is, without a second socket and two copying goroutines.
type tunnels struct {
	address net.Addr
	queue   chan net.Conn
	closed  chan struct{}
	close   func()
}

func newTunnels(address net.Addr) *tunnels {
	t := &tunnels{address: address, queue: make(chan net.Conn), closed: make(chan struct{})}
	t.close = sync.OnceFunc(func() { close(t.closed) })
	return t
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.queue:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) Close() error {
	t.close()
	return nil
}

func (t *tunnels) Addr() net.Addr { return t.address }

// hand gives a connection to the server, or closes it when there is none any more.
func (t *tunnels) hand(c net.Conn) {
	select {
	case t.queue <- c:
	case <-t.closed:
		_ = c.Close()
	}
}
