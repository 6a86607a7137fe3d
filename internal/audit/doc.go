// Package audit keeps the record: who asked for which secret, what was decided and why, one JSON object a line, each line
// chained to the one before by its hash.
//
// The contract with whoever releases a value: [Record.Record] returns nil only once the event is as durable as its kind
// demands, and otherwise an error, after which nothing may leave. It returns about a second after the
// disk stopped to answer, or when the answer is due. Events wait for an fsync(2), many of them for the same one; a repeat (the same release as one that is on disk
// already) waits for its write(2) alone, which a kill -9 does not undo, and is synced within a second; an unproven request
// is counted and waits for nothing. A line says what may have happened: an event whose caller was told "unrecorded", because the disk answered too
// late, can be on disk nevertheless. "released" therefore means "may have left", and never the reverse: nothing left
// without its line.
//
// [Verify] is the reader's half: it finds the first line that was changed, removed or moved. Two things no chain can show
// by itself: lines cut off at the end, and a chain rewritten as a whole. That is why its head goes to the log each minute.
//
// What the package trusts: the file system to keep what fsync(2) said it keeps, and that nobody else writes the file while
// the lock beside it is held. What it does not trust: any string in an event. They are cut, and escaped so that a line
// is one line of valid JSON and does nothing to a terminal.
package audit
