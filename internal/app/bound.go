package app

import "runtime/debug"

// softLimit is where Go's runtime begins to clean up more often than it would, in bytes. What can be in use at once is mostly
// far below; what lies around uncollected after a flood of requests would be as much again. It leaves room for what the
// runtime does not count, so that the whole stays below 128 MiB.
const softLimit = 96 << 20

// bound sets the limit, unless the operator has set one of his own or "off".
func bound(getenv func(string) string) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit)
	}
}
