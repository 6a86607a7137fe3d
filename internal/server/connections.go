package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// keptDescriptors is how many open files stay free for what answers a request: connections to Entra and Key Vault, the
// record, configuration files, the admin listener.
const keptDescriptors = 256

// connectionLimit lowers the wanted number of connections to what the process may open, so that a flood of clients never
// takes the descriptors that their answers need.
//
// With 1,024 open files and 1,024 connections wanted there are 768; with 256 files it is a quarter of them, 64.
func connectionLimit(wanted int, log zerolog.Logger) int {
	files, ok := maxOpenFiles()
	if !ok {
		return wanted
	}
	limit := max(files-keptDescriptors, files/4, 1)
	if wanted <= limit {
		return wanted
	}
	log.Warn().Int("wanted", wanted).Int("connections", limit).Int("open_files", files).
		Msg("fewer connections than configured: raise the limit of open files (ulimit -n) or lower limits.connections")
	return limit
}

// limitedListener accepts while there is room; beyond that, connections wait in the kernel's queue. What it accepts is
// still a TCP connection to net/http, which needs to close one direction of it: a client that is refused while it is still
// writing reads the refusal only then.
type limitedListener struct {
	*net.TCPListener
	places    chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
}

// limit makes the listener accept that many connections at once.
func limit(listener *net.TCPListener, connections int) *limitedListener {
	return &limitedListener{TCPListener: listener, places: make(chan struct{}, connections), closed: make(chan struct{})}
}

// Accept waits for room and then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{TCPConn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close ends Accept, also one that waits for room. Accepted connections live on. It can be called again.
func (l *limitedListener) Close() error {
	var err error
	l.closeOnce.Do(func() {
		close(l.closed)
		err = l.TCPListener.Close()
	})
	return err
}

// limitedConn gives its place back once, however often it is closed.
type limitedConn struct {
	*net.TCPConn
	leave func()
}

// Close closes the connection and makes room for another.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

// connections knows how many connections are open and which of them owe an answer.
type connections struct {
	limit int
	mu    sync.Mutex
	open  int
	busy  map[net.Conn]http.ConnState // new ones, whose first request may be on its way, and active ones, with a request in hand
}

func newConnections(limit int) *connections {
	return &connections{limit: limit, busy: map[net.Conn]http.ConnState{}}
}

// note is the http.Server's ConnState hook.
// A connection that is opened counts as busy from then on, since its request may be in the kernel already.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
		c.busy[conn] = state
	case http.StateActive:
		c.busy[conn] = state
	case http.StateIdle:
		delete(c.busy, conn)
	case http.StateClosed, http.StateHijacked:
		c.open--
		delete(c.busy, conn)
	}
}

// crowded tells whether less than a quarter of the connections is free.
func (c *connections) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open*4 > c.limit*3
}

// waiting counts the connections that may still want an answer, and among them those that asked and have none.
func (c *connections) waiting() (all, unanswered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, state := range c.busy {
		if state == http.StateActive {
			unanswered++
		}
	}
	return len(c.busy), unanswered
}

// quiet waits until no connection may want an answer, or until ctx ends. One that was opened and says nothing counts until
// the time for a request's head is over.
func (c *connections) quiet(ctx context.Context) {
	for ctx.Err() == nil {
		if all, _ := c.waiting(); all == 0 {
			return
		}
		wait(ctx, 5*time.Millisecond)
	}
}
