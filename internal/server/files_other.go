//go:build !unix

package server

// maxOpenFiles is unknown where the system has no such limit.
func maxOpenFiles() (int, bool) { return 0, false }
