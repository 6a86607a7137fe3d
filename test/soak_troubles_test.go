//go:build soak && linux

package test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// trouble is something that was broken for a while, and in what it may excuse an answer that is none.
type trouble struct {
	scope, what string
	from, to    time.Time // to is zero while it lasts
	until       time.Time // whoever asked before may still have felt it
}

// String is a line of the time line.
func (tr *trouble) String() string {
	lasted := "lasts"
	if !tr.to.IsZero() {
		lasted = tr.to.Sub(tr.from).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s  %-10s %s (%s)", tr.from.Format("15:04:05.000"), tr.scope, tr.what, lasted)
}

// chronicle is all troubles of late.
type chronicle struct {
	mu  sync.Mutex
	all []*trouble
}

func (c *chronicle) begin(scope, what string) *trouble {
	tr := &trouble{scope: scope, what: what, from: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, tr)
	return tr
}

// end: the trouble is over, and what comes of it within the time that things take to mend.
func (c *chronicle) end(tr *trouble, mends time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tr.to = time.Now()
	tr.until = tr.to.Add(mends)
}

// healed: every door has answered since, so what is over excuses nobody any more. It forgets what is long over.
func (c *chronicle) healed(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tr := range c.all {
		if !tr.to.IsZero() && tr.until.After(at) {
			tr.until = at
		}
	}
	c.all = slices.DeleteFunc(c.all, func(tr *trouble) bool { return !tr.to.IsZero() && at.Sub(tr.to) > 5*time.Minute })
}

// excuses tells whether one of the scopes was in trouble in that time.
func (c *chronicle) excuses(scopes []string, from, to time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.all, func(tr *trouble) bool {
		return slices.Contains(scopes, tr.scope) && !tr.from.After(to) && (tr.to.IsZero() || from.Before(tr.until))
	})
}

// around is the time line of what broke around an answer, of all or of some scopes. What happened to replicas has none.
func (c *chronicle) around(scopes []string, from, to time.Time) (lines string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tr := range c.all {
		if tr.scope != "" && !slices.Contains(scopes, tr.scope) {
			continue
		}
		if tr.from.Before(to.Add(time.Second)) && (tr.to.IsZero() || tr.to.After(from.Add(-15*time.Second))) {
			lines += "\n    " + tr.String()
		}
	}
	return lines
}
