package audit

import (
	"errors"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// write is the goroutine that owns the file: it appends, rotates, and reopens after a failure.
//
// But to rotate or to heal, it never waits for the syncer. So what comes in during a slow sync is written already when
// that ends, and the next sync is for all of it.
func (r *Record) write() {
	defer close(r.writerDone)
	heal, counts, heads := time.NewTicker(healEvery), time.NewTicker(countEvery), time.NewTicker(headEvery)
	defer heal.Stop()
	defer counts.Stop()
	defer heads.Stop()
	spare := &batch{}
	for {
		select {
		case <-r.wake:
			spare = r.flush(spare)
		case <-heal.C:
			r.heal()
		case <-counts.C:
			r.countStrangers()
		case <-heads.C:
			r.logHead()
		case <-r.closing:
			r.heal()
			r.countStrangers()
			r.flush(spare)
			return
		}
	}
}

// flush writes what has come together, leaving spare to collect what comes meanwhile. It returns the batch it wrote, as
// the next spare.
// mu is released for the write and taken again behind it.
func (r *Record) flush(spare *batch) *batch {
	r.mu.Lock()
	b := r.next
	if len(b.buf) == 0 || r.fault != nil {
		r.mu.Unlock()
		return spare
	}
	r.next = spare
	r.begin(&r.writing)
	r.mu.Unlock()

	err := r.journal.append(b)
	r.writing.over()

	r.mu.Lock()
	fault := r.fault
	if err == nil && fault == nil {
		r.handOver(b)
	}
	r.mu.Unlock()
	switch {
	case err != nil:
		r.fail(err, b.written, b.synced)
	case fault != nil: // the syncer failed meanwhile
		answer(b.written, fault)
		answer(b.synced, fault)
	default:
		answer(b.written, nil)
	}
	return b.reset()
}

// handOver gives what is written to the syncer: at once if somebody waits for it, else in a while. mu is held.
func (r *Record) handOver(b *batch) {
	d := r.due
	d.dirty, d.head = true, b.head
	d.synced = append(d.synced, b.synced...)
	d.keys = append(d.keys, b.keys...)
	if len(d.synced) > 0 {
		signal(r.wakeSync)
	} else if !r.lazyArmed {
		r.lazyArmed = true
		r.lazy.Reset(lazySync)
	}
}

// reset empties the batch for its next use; a buffer that a flood made large is let go.
func (b *batch) reset() *batch {
	if cap(b.buf) > 2*maxLine {
		return &batch{}
	}
	clear(b.written)
	clear(b.synced)
	*b = batch{buf: b.buf[:0], cuts: b.cuts[:0], written: b.written[:0], synced: b.synced[:0], keys: b.keys[:0]}
	return b
}

// sync is the goroutine that makes things durable, and the last one to go.
func (r *Record) sync() {
	spare := &due{}
	for {
		select {
		case <-r.wakeSync:
			spare = r.settle(spare)
		case <-r.lazy.C:
			spare = r.settle(spare)
		case <-r.writerDone:
			r.settle(spare)
			r.finish()
			return
		}
	}
}

// settle syncs once and tells everybody whose line was written before. However many they are, it is one sync.
//
// A release counts as one that can be repeated only from here on, when its line is safe.
func (r *Record) settle(spare *due) *due {
	r.mu.Lock()
	r.lazyArmed = false
	d := r.due
	if !d.dirty {
		r.mu.Unlock()
		return spare
	}
	r.due = spare
	r.begin(&r.syncing)
	r.mu.Unlock()

	err := r.journal.sync()
	r.syncing.over()

	r.mu.Lock()
	if err == nil {
		if d.head.seq > r.durable.seq {
			r.durable = d.head
		}
		r.released.add(d.keys)
	}
	r.mu.Unlock()
	if err != nil {
		r.fail(err, d.synced)
	} else {
		answer(d.synced, nil)
	}
	clear(d.synced)
	*d = due{synced: d.synced[:0], keys: d.keys[:0]}
	return d
}

// fail stops the record until it is healed, and tells everybody who waits.
//
// What is encoded and unwritten goes as well: its callers are told "unrecorded", and the chain, which had gone on from
// lines that may not be there, is taken up by heal from what the disk has.
func (r *Record) fail(err error, waiting ...[]*waiter) {
	r.mu.Lock()
	fault := r.unrecorded(err)
	r.fault = fault
	waiting = append(waiting, r.next.written, r.next.synced, r.due.synced)
	r.next, r.due = &batch{}, &due{}
	r.mu.Unlock()
	for _, w := range waiting {
		answer(w, fault)
	}
	r.opts.Log.Error().Err(err).Str("file", r.opts.File).Msg("the record can't be written: nothing is released")
}

// heal reopens the record after a failure. The chain goes on from the last good line on disk, which may be one whose
// caller was told "unrecorded". Should the disk have lost lines that were synced, or the file be gone, it goes on from what
// was synced: the gap stays visible to Verify.
func (r *Record) heal() {
	r.mu.Lock()
	fault, durable := r.fault, r.durable
	r.mu.Unlock()
	if fault == nil {
		return
	}
	h, fresh, err := r.journal.reopen()
	if err != nil {
		r.stillFailing(fault, r.unrecorded(err))
		return
	}
	log := r.opts.Log.Info()
	if h.seq < durable.seq {
		log = r.opts.Log.Error().Uint64("lost_from", h.seq+1).Uint64("lost_to", durable.seq)
		h, fresh = durable, false
		r.journal.continueAt(h)
	}
	r.mu.Lock()
	r.fault = nil
	r.resume(h, fresh)
	r.mu.Unlock()
	log.Str("file", r.opts.File).Uint64("seq", h.seq).Bytes("hash", h.text()).Msg("the record is written again")
}

// stillFailing keeps the latest cause, and logs it when it is another.
func (r *Record) stillFailing(before, now *secret.Error) {
	if before.Detail == now.Detail {
		return
	}
	r.mu.Lock()
	r.fault = now
	r.mu.Unlock()
	r.opts.Log.Error().Err(now).Msg("the record is not back yet")
}

// logHead tells the log, which is kept elsewhere, how far the chain goes: only so a cut tail can be seen.
func (r *Record) logHead() {
	seq, hash := r.Head()
	r.opts.Log.Info().Str("file", r.opts.File).Uint64("seq", seq).Str("hash", hash).Msg("head of the record")
}

// finish ends the record in order.
func (r *Record) finish() {
	r.logHead()
	r.closeErr = r.journal.close()
	r.mu.Lock()
	if r.fault != nil {
		r.closeErr = errors.Join(r.fault, r.closeErr)
	}
	r.mu.Unlock()
	close(r.closed)
}
