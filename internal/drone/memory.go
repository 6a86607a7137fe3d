package drone

import (
	"time"

	"golang.org/x/sync/semaphore"
)

// maxBodies bounds, in bytes, the bodies that are being read at once. One signed head may be sent over many connections
// and streams, each with a body to come, so that the holder of one pool's key could fill the memory of all.
const maxBodies = 64 << 20

// Memory is what outlives a Guard when another takes its place: which requests came, and how much of them is being read.
// Were it the guard's own, each reload would start to count a captured request from zero, and a reload during a flood
// would grant the flood's bodies the same memory once more. It is safe for concurrent use.
type Memory struct {
	repeats *repeats
	bodies  *semaphore.Weighted
}

// NewMemory makes one for all the guards of a process, which judge time by now.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{repeats: newRepeats(now), bodies: semaphore.NewWeighted(maxBodies)}
}
