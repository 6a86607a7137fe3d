//go:build !linux

package server

import (
	"context"
	"net"
)

// settle does nothing: only Linux can stop new connections without resetting those that wait to be accepted.
func settle(context.Context, *net.TCPListener) {}
