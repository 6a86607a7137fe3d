package server

import (
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
)

// answer is a ResponseWriter that knows whether the answer has begun, and that decides then whether the connection lives on.
// It belongs to the goroutine of its handler.
type answer struct {
	http.ResponseWriter
	closing func() bool
	body    *watchedBody // nil where an unread body delays nothing
	started bool
}

// watchedBody knows whether it was read to its end.
type watchedBody struct {
	io.ReadCloser
	ended atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// newAnswer wraps the writer, and the body where it matters: HTTP/2 ends a stream by itself and leaves the connection.
func newAnswer(w http.ResponseWriter, r *http.Request, closing func() bool) *answer {
	a := &answer{ResponseWriter: w, closing: closing}
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		a.body = &watchedBody{ReadCloser: r.Body}
		r.Body = a.body
	}
	return a
}

// begin runs once, before the status leaves.
//
// A refusal of a body that was not read ends its connection. Otherwise net/http would first read on, for as long as a slow
// client likes within the read timeout, and only then send the refusal.
func (a *answer) begin(status int) {
	a.started = true
	refused := status >= 400 && a.body != nil && !a.body.ended.Load()
	if refused || a.closing() {
		a.Header().Set("Connection", "close") // to HTTP/2, net/http says it as GOAWAY
	}
}

// WriteHeader sends the status; an informational one does not begin the answer.
func (a *answer) WriteHeader(status int) {
	if !a.started && status >= 200 {
		a.begin(status)
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body, after status 200 if there was none yet.
func (a *answer) Write(p []byte) (int, error) {
	if !a.started {
		a.begin(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController.Flush calls.
func (a *answer) FlushError() error {
	if !a.started {
		a.begin(http.StatusOK)
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController set deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// finish begins the answer of a handler that wrote nothing.
// net/http would send the 200 itself, but without begin.
func (a *answer) finish() {
	if !a.started {
		a.WriteHeader(http.StatusOK)
	}
}

// writeError answers in the one form that every refusal has.
func writeError(w http.ResponseWriter, status int, message string) {
	body, _ := json.Marshal(struct { // a string always marshals
		Message string `json:"message"`
	}{message})
	writeJSON(w, status, body)
}

// writeJSON answers with a document that is complete already.
func writeJSON(w http.ResponseWriter, status int, document []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(document, '\n')) // a client that went away is no failure of ours
}
