package app

import (
	"runtime/debug"

	"github.com/drone-entra/drone-entra/internal/config"
)

// softLimit is where Go's runtime begins to clean up more often than it would, in bytes, with a small configuration. What can
// be in use at once is mostly far below; what lies around uncollected after a flood of requests would be as much again. It
// leaves room for what the runtime does not count, so that the whole stays below 128 MiB.
const softLimit = 96 << 20

// inMemory is how many bytes the rules of one byte of configuration take, with those of the next generation beside them
// during a reload.
const inMemory = 8

// bound sets the limit, unless the operator has set one of his own or "off".
func bound(c *config.Config, getenv func(string) string) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit + inMemory*int64(len(c.Content)))
	}
}
