package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// keptDescriptors is how many open files stay free for what answers a request: connections to Entra and Key Vault, and
// ownDescriptors for the record, configuration files and the admin listener.
const (
	keptDescriptors = 512
	ownDescriptors  = adminConnections + 32
)

// kernelQueue is how many connections a kernel mostly keeps for a listener (net.core.somaxconn since Linux 5.4).
const kernelQueue = 4096

// connectionLimit lowers the wanted number of connections to what the process may open, so that a flood of clients never
// takes the descriptors that their answers need.
//
// With 1,024 open files and 1,024 connections wanted there are 512; with 256 files it is a quarter of them, 64.
func connectionLimit(wanted int, log zerolog.Logger) int {
	limit, files := mostConnections(wanted)
	if limit == wanted {
		return wanted
	}
	log.Warn().Int("wanted", wanted).Int("connections", limit).Int("open_files", files).
		Msg("fewer connections than configured: raise the limit of open files (ulimit -n) or lower limits.connections")
	return limit
}

// mostConnections returns how many of the wanted connections there are open files for, and how many open files there may be;
// 0 if that is unknown or without bound.
func mostConnections(wanted int) (connections, files int) {
	files, ok := maxOpenFiles()
	if !ok {
		return wanted, 0
	}
	return min(wanted, max(files-keptDescriptors, files/4, 1)), files
}

// Upstream returns how many connections to others the process may hold beside those of its clients, of which so many are
// wanted; 0 means any number. With 1,024 open files and 1,024 connections wanted it is 415; with 256 files, 95.
func Upstream(wanted int) int {
	limit, files := mostConnections(wanted)
	if files == 0 {
		return 0
	}
	return max(files-limit-waitingRoom(limit)-ownDescriptors, 8)
}

// waitingRoom is how many connections may wait for one of that many places, as far as there are descriptors for them. It is no
// smaller than the kernel's own queue, since who waits there has no name yet: one client could fill it, and others would
// wait behind him. It has room for one at least. Who waits costs a descriptor and hardly any memory.
func waitingRoom(connections int) int {
	room := max(connections, kernelQueue)
	files, ok := maxOpenFiles()
	if !ok {
		return room
	}
	return max(min(room, files-keptDescriptors-connections), 1)
}

// limitedListener lets in while there is room; beyond that, connections wait their turn, some with us and the rest in the
// kernel's queue. What it lets in is still a TCP connection to net/http, which needs to close one direction of it: a client
// that is refused while it is still writing reads the refusal only then.
type limitedListener struct {
	*net.TCPListener
	crowd     *crowd
	startOnce sync.Once
	closeOnce sync.Once
}

// limit makes the listener let in as many as the crowd may be.
func limit(listener *net.TCPListener, c *crowd) *limitedListener {
	return &limitedListener{TCPListener: listener, crowd: c}
}

// Accept waits for a connection that may come in.
func (l *limitedListener) Accept() (net.Conn, error) {
	l.startOnce.Do(func() { go l.welcome() })
	return l.crowd.next()
}

// welcome takes what the kernel has, for as long as the listener is open. An error is for the caller of Accept to judge; it is
// temporary, as one of too many open files, if the listener isn't closed.
func (l *limitedListener) welcome() {
	for l.crowd.roomToWait() {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			continue // and the crowd knows
		}
		if err != nil {
			l.crowd.fail(err)
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if victim := l.crowd.arrive(conn); victim != nil {
			_ = victim.Close()
		}
	}
}

// Close ends Accept once it has let in whoever waits with us. Connections that were let in live on. It can be called again.
func (l *limitedListener) Close() error {
	var err error
	l.closeOnce.Do(func() {
		l.crowd.close()
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

// quiet waits until no connection may want an answer, or until ctx ends. One that was opened and says nothing counts until
// the time for a request's head is over.
func (c *crowd) quiet(ctx context.Context) {
	for ctx.Err() == nil {
		if all, _ := c.waiting(); all == 0 {
			return
		}
		wait(ctx, 5*time.Millisecond)
	}
}
