package provider

import (
	"time"

	"golang.org/x/time/rate"
)

// pace is how fast reads of one host may begin: so many at will within any ten seconds, which is how Key Vault counts, and
// beyond those a few each second. So a burst of builds waits for nothing, and after one that took all, whoever comes next
// still has his turn soon: by the ten seconds alone he would wait them out.
//
// It is guarded by Router.mu.
type pace struct {
	burst   int
	slots   [windowSlots + 1]int // how many began at will in each slot, as a ring; the oldest counts until it is wholly out
	latest  int64                // the number of the newest slot, since 1970
	used    int                  // in all slots
	trickle *rate.Limiter
}

// The window of Key Vault's limits, and in how many parts of it we count.
const (
	window      = 10 * time.Second
	windowSlots = 40
	slot        = window / windowSlots
)

func newPace(burst, perSecond int) *pace {
	return &pace{burst: burst, trickle: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// take has a read begin now, if it may.
func (p *pace) take(now time.Time) bool {
	p.turn(now)
	trickles := p.trickle.AllowN(now, 1) // taken in any case, so that nothing is saved up for the end of a burst
	if p.used < p.burst {
		p.slots[p.latest%int64(len(p.slots))]++
		p.used++
		return true
	}
	return trickles
}

// turn lets slots go that are ten seconds old.
func (p *pace) turn(now time.Time) {
	n := now.UnixNano() / int64(slot)
	if n-p.latest >= int64(len(p.slots)) {
		p.slots, p.used, p.latest = [len(p.slots)]int{}, 0, n
		return
	}
	for p.latest < n { // a clock that was set back waits until it is there again
		p.latest++
		i := p.latest % int64(len(p.slots))
		p.used -= p.slots[i]
		p.slots[i] = 0
	}
}

// wait returns how long it takes until a read may begin, where none may now.
// At least a millisecond, as the trickle's tokens are a floating-point number that may be a hair below one then.
func (p *pace) wait(now time.Time) time.Duration {
	wait := time.Duration((1 - p.trickle.TokensAt(now)) / float64(p.trickle.Limit()) * float64(time.Second))
	for n := p.latest - int64(len(p.slots)) + 1; n <= p.latest; n++ {
		if p.slots[n%int64(len(p.slots))] > 0 { // the oldest, which is the first to go
			wait = min(wait, time.Unix(0, (n+int64(len(p.slots)))*int64(slot)).Sub(now))
			break
		}
	}
	return max(time.Millisecond, wait)
}
