//go:build !linux

package load

import "time"

// processor is not asked for elsewhere.
func processor() time.Duration { return 0 }

// others is not known elsewhere.
func others() string { return "unknown" }

// inMemory is a directory on no disk, of which only Linux is known to have one.
func inMemory() string { return "" }
