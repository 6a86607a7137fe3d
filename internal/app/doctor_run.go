package app

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Bounds of an examination.
const (
	examineLimit = 38 * time.Second // all of it; a Doctor may have less
	stepLimit    = 10 * time.Second
	stepGrace    = 500 * time.Millisecond // for a step to say itself what kept it
	sideBySide   = 8
)

// check is one step that was planned. Its function fills in the Finding, whose verdict is ok unless it says otherwise.
type check struct {
	area, step string
	after      []string // the steps without which it makes no sense
	behind     []string // those that it waits for and does not need
	run        func(context.Context, *Finding)
}

// run is a check under way; finding is written before done closes.
type run struct {
	done    chan struct{}
	finding Finding
	root    string // the step that failed, if this one is skipped for it or failed itself
}

// begin starts all steps. Each waits for those before it, so that the order of the plan is one in which they can end.
func begin(ctx context.Context, checks []check) []*run {
	turns := make(chan struct{}, sideBySide)
	byName := map[string]*run{}
	runs := make([]*run, 0, len(checks))
	for _, c := range checks {
		r := &run{done: make(chan struct{})}
		before := lookUp(byName, c.after)
		others := lookUp(byName, c.behind)
		go func() {
			defer close(r.done)
			for _, other := range append(others, before...) {
				<-other.done
			}
			for _, b := range before {
				if b.finding.Verdict == VerdictFail || b.finding.Verdict == VerdictSkip {
					r.skipAfter(c, b)
					return
				}
			}
			turns <- struct{}{}
			defer func() { <-turns }()
			r.finding = c.examine(ctx)
			if r.finding.Verdict == VerdictFail || r.finding.Verdict == VerdictSkip {
				r.root = cmp.Or(r.finding.After, stepName(c.area, c.step))
			}
		}()
		byName[stepName(c.area, c.step)] = r
		runs = append(runs, r)
	}
	return runs
}

func lookUp(by map[string]*run, names []string) (found []*run) {
	for _, name := range names {
		if r := by[name]; r != nil {
			found = append(found, r)
		}
	}
	return found
}

// skipAfter names the step that has to be put right, which may be some steps back.
func (r *run) skipAfter(c check, b *run) {
	r.root = b.root
	r.finding = Finding{Area: c.area, Step: c.step}
	r.finding.skipAfter(b.root)
}

// examine makes one step within its time. One that does not look at its context goes on behind, and is not waited for.
func (c check) examine(ctx context.Context) Finding {
	began := time.Now()
	if ctx.Err() != nil {
		f := Finding{Area: c.area, Step: c.step}
		f.fail("the time for all steps was over before this one began", "put right what is slow above, and ask again")
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	done := make(chan Finding, 1)
	go func() {
		f := Finding{Area: c.area, Step: c.step, Verdict: VerdictOK}
		defer func() {
			if p := recover(); p != nil {
				f.fail(fmt.Sprintf("the step panicked with a %T", p), "please report it")
			}
			done <- f
		}()
		c.run(ctx, &f)
	}()
	f := Finding{Area: c.area, Step: c.step}
	select {
	case f = <-done:
	case <-ctx.Done():
		late := time.NewTimer(stepGrace)
		defer late.Stop()
		select {
		case f = <-done:
		case <-late.C:
			f.fail(fmt.Sprintf("no end within %s", stepLimit), "look at egress rules and at the proxy")
		}
	}
	f.Took = time.Since(began)
	return f
}
