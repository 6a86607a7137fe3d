//go:build !linux

package load

import "time"

// processor is not asked for elsewhere.
func processor() time.Duration { return 0 }

// inMemory is a directory on no disk, of which only Linux is known to have one.
func inMemory() string { return "" }
