package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// crowd is the connections of a listener, by the client that each is from: those that are in, each of which has a place, and
// those that wait for one.
//
// While there are places, nobody looks at clients. When there are none, whoever has fewer connections than another comes
// first, and the one who has most loses one that asks for nothing: so no client keeps the others out with connections
// that say nothing. A proxy before us is one client; as long as nobody else comes, it loses nothing and waits, as all would.
type crowd struct {
	limit, room int // who may be in, and who may wait
	log         zerolog.Logger

	mu       sync.Mutex
	changed  *sync.Cond
	clients  map[netip.Prefix]*visitor
	in       int
	waiters  int
	closed   bool
	arriving bool  // somebody may arrive, even if it is closed
	failure  error // of the listener, for the next caller of next
	order    uint64
	told     time.Time // when the log was last told that a client lost a connection
}

// visitor is one client.
type visitor struct {
	in      map[*limitedConn]*standing
	waiting []*net.TCPConn
}

// standing is what a connection that is in does, and since when in the order of such changes.
type standing struct {
	state http.ConnState
	since uint64
}

func newCrowd(limit, room int, log zerolog.Logger) *crowd {
	c := &crowd{limit: limit, room: room, log: log, clients: map[netip.Prefix]*visitor{}}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// clientOf tells clients apart: by address, and of IPv6 by the 64 bits of a network, within which anybody has all addresses.
func clientOf(conn net.Conn) netip.Prefix {
	tcp, _ := conn.RemoteAddr().(*net.TCPAddr)
	if tcp == nil { // gone already
		return netip.Prefix{}
	}
	address := tcp.AddrPort().Addr().Unmap()
	client, _ := address.Prefix(min(address.BitLen(), 64))
	return client
}

// visitor finds or makes a client's.
func (c *crowd) visitor(client netip.Prefix) *visitor {
	v := c.clients[client]
	if v == nil {
		v = &visitor{in: map[*limitedConn]*standing{}}
		c.clients[client] = v
	}
	return v
}

// roomToWait waits until one more connection may wait; false once the listener is closed.
func (c *crowd) roomToWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.waiters >= c.room && !c.closed {
		c.changed.Wait()
	}
	c.arriving = !c.closed
	c.changed.Broadcast()
	return c.arriving
}

// arrive takes a connection that comes. Where all places are taken, it returns the one to be closed for it, if any.
func (c *crowd) arrive(conn *net.TCPConn) (victim *limitedConn) {
	client := clientOf(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.visitor(client)
	v.waiting = append(v.waiting, conn)
	c.waiters++
	c.changed.Broadcast()
	if c.in+c.waiters <= c.limit {
		return nil
	}
	return c.yield(v)
}

// fail hands an error of the listener to the next caller of next.
func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
	c.changed.Broadcast()
}

// close lets in whoever waits, and ends next.
func (c *crowd) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
}

// next waits until somebody may come in. Of those who wait it is one whose client has fewest in. Once the listener is closed,
// places do not count: a connection that was accepted is served.
func (c *crowd) next() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.waiters > 0 && (c.in < c.limit || c.closed):
			return c.admit(), nil
		case c.closed && !c.arriving:
			return nil, net.ErrClosed
		case c.failure != nil:
			err := c.failure
			c.failure = nil
			return nil, err
		}
		c.changed.Wait()
	}
}

// admit lets one in. mu is held, and somebody waits.
func (c *crowd) admit() net.Conn {
	var client netip.Prefix
	var v *visitor
	for of, other := range c.clients {
		if len(other.waiting) > 0 && (v == nil || len(other.in) < len(v.in)) {
			client, v = of, other
		}
	}
	conn := &limitedConn{TCPConn: v.waiting[0]}
	conn.leave = func() { c.leave(client, conn) }
	if v.waiting = v.waiting[1:]; len(v.waiting) == 0 {
		v.waiting = nil
	}
	c.order++
	v.in[conn] = &standing{http.StateNew, c.order}
	c.waiters--
	c.in++
	c.changed.Broadcast()
	return conn
}

// leave gives a place back.
func (c *crowd) leave(client netip.Prefix, conn *limitedConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.clients[client]
	if v == nil || v.in[conn] == nil {
		return // it left before
	}
	delete(v.in, conn)
	c.in--
	if len(v.in) == 0 && len(v.waiting) == 0 {
		delete(c.clients, client)
	}
	c.changed.Broadcast()
}

// yield picks a connection that is to end in favour of a client who waits: one that asks for nothing, of the client that
// has most, if that one then still has no fewer. Idle ones come first, the longest idle first of all; then those that have
// not asked yet, the newest first. mu is held.
func (c *crowd) yield(to *visitor) (victim *limitedConn) {
	var most *visitor
	for _, v := range c.clients {
		if most == nil || len(v.in) > len(most.in) {
			most = v
		}
	}
	if len(most.in)-1 < len(to.in)+len(to.waiting) {
		return nil
	}
	var worst *standing
	for conn, s := range most.in {
		if s.state != http.StateActive && (worst == nil || s.before(worst)) {
			victim, worst = conn, s
		}
	}
	if worst != nil {
		worst.state = http.StateActive // nobody picks it again
		c.tell(victim, len(most.in))
	}
	return victim
}

// before tells whether s is to end rather than t.
func (s *standing) before(t *standing) bool {
	if s.state != t.state {
		return s.state == http.StateIdle
	}
	if s.state == http.StateIdle {
		return s.since < t.since
	}
	return s.since > t.since
}

// tell says in the log, once a minute, that a client loses connections.
func (c *crowd) tell(conn *limitedConn, has int) {
	if now := time.Now(); now.Sub(c.told) >= time.Minute {
		c.told = now
		c.log.Warn().Stringer("client", clientOf(conn)).Int("connections", has).Int("limit", c.limit).
			Msg("connections run short: the client that has most of them loses idle and silent ones to others")
	}
}

// note is the http.Server's ConnState hook.
// A connection that is let in counts as new from then on, since its request may be in the kernel already.
func (c *crowd) note(conn net.Conn, state http.ConnState) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	limited, ok := conn.(*limitedConn)
	if !ok {
		return
	}
	client := clientOf(limited)
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.clients[client]; v != nil && v.in[limited] != nil {
		c.order++
		*v.in[limited] = standing{state, c.order}
	}
}

// crowded tells whether less than a quarter of the places is free.
func (c *crowd) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in*4 > c.limit*3
}

// waiting counts the connections that may still want an answer, and among them those that asked and have none.
func (c *crowd) waiting() (all, unanswered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.clients {
		for _, s := range v.in {
			switch s.state {
			case http.StateNew:
				all++
			case http.StateActive:
				all++
				unanswered++
			}
		}
	}
	return all, unanswered
}
