package provider

// Kept tells tests how many values lie in memory; nobody outside can see that.
func Kept(r *Router) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 && r.bytes != 0 {
		return -1
	}
	return len(r.entries)
}

// Bytes gives tests the very bytes that are kept, to see that they are overwritten.
func Bytes(r *Router) (all [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		all = append(all, e.fetched.Value.Reveal())
	}
	return all
}

// Idle tells tests that nothing waits or is under way, in any of the Router's books.
func Idle(r *Router) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	idle := len(r.active) == 0 && r.reads == 0
	for _, d := range r.doors {
		q := d.queue
		idle = idle && d.reads == 0 && d.queued == 0 && d.probe == nil && q.places == 0 && len(q.lines) == 0 && q.turns.Len() == 0
	}
	return idle
}
