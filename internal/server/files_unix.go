//go:build unix

package server

import "golang.org/x/sys/unix"

// maxOpenFiles is how many files the process may have open; false if that is unknown or without bound.
func maxOpenFiles() (int, bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > 1<<30 {
		return 0, false
	}
	return int(limit.Cur), true
}
