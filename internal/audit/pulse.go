package audit

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A disk hangs once a call of it has lasted for maxBeats of beatEvery: about a second.
const (
	beatEvery = 99 * time.Millisecond
	maxBeats  = 10
)

// pulse beats while the disk works. How long a call takes is counted in beats and not read from a clock: where thousands of
// goroutines want a processor, the one whose call has returned waits for its turn, and so does the one that beats. Only a
// disk that hangs falls behind. It is guarded by Record.mu.
type pulse struct {
	timer   *time.Timer // runs Record.beat
	beats   uint64
	running bool
}

// call is when a call of the disk began: the number of the beat before it, and one; zero while there is none. It begins under
// Record.mu, and is over without: not only once its goroutine has come to a lock that thousands want.
type call struct{ began atomic.Uint64 }

func (c *call) over() { c.began.Store(0) }

// begin notes that a call begins. mu is held.
func (r *Record) begin(c *call) {
	c.began.Store(r.pulse.beats + 1)
	if !r.pulse.running {
		r.pulse.running = true
		r.pulse.timer.Reset(beatEvery)
	}
}

// beat is the timer's.
//
// It yields first: who does so goes to the end of the one queue that a goroutine stands in whose system call has returned
// while all processors are taken. A timer's would overtake it.
func (r *Record) beat() {
	runtime.Gosched()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulse.beats++
	if r.pulse.running = r.writing.began.Load() != 0 || r.syncing.began.Load() != 0; r.pulse.running {
		r.pulse.timer.Reset(beatEvery)
	}
}

// hangs tells whether the disk has not answered for about a second. mu is held.
func (r *Record) hangs() bool { return r.lasts(&r.writing) || r.lasts(&r.syncing) }

func (r *Record) lasts(c *call) bool {
	began := c.began.Load()
	return began != 0 && r.pulse.beats+1-began >= maxBeats
}
