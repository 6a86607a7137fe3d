package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// listen binds a TCP address. The setting is what the operator has to change.
func listen(setting, address string) (*net.TCPListener, error) {
	if address == "" {
		return nil, fmt.Errorf("%s is empty: write host:port, such as 127.0.0.1:3000", setting)
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %s: %w: %s", setting, address, cause(err), remedy(setting, err))
	}
	return listener.(*net.TCPListener), nil
}

// cause drops the address from a network error, which the caller names already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	return err
}

// remedy says what to do about the usual reasons.
func remedy(setting string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has this port: stop it or choose another " + setting
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need a privilege: choose another " + setting
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address: choose another " + setting + ", or :PORT for every address"
	}
	return "write " + setting + " as host:port, such as 127.0.0.1:3000"
}
