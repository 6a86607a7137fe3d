package server

import (
	"context"
	"math"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// handshakeTime is how long a connection that is being opened gets to be complete.
const handshakeTime = 100 * time.Millisecond

// settle refuses new connections and waits until the accept loop has taken those that the kernel had completed.
//
// Closing a listener resets whatever waits in its queue, after the client has seen it open and sent its request. So
// the listener is first bound to a network interface that does not exist (which needs no privilege): nothing new reaches
// it, and who tries is refused at once and knows that nothing was asked. Handshakes that had begun still end in the queue.
// Once that is empty, closing loses nobody. Where the kernel does not grant it, the listener is closed as it is.
func settle(ctx context.Context, listener *net.TCPListener) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32)
	})
	if err != nil || failure != nil {
		return
	}
	wait(ctx, handshakeTime)
	for queued(listener) > 0 && ctx.Err() == nil {
		wait(ctx, time.Millisecond)
	}
}

// queued is how many complete connections wait to be accepted: for a listening socket, Linux reports it as tcpi_unacked.
func queued(listener *net.TCPListener) int {
	raw, err := listener.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { // an error leaves 0: the listener is closed already
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Unacked)
		}
	})
	return n
}
