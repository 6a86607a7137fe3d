package emulator

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// metadataHost is where a virtual machine finds its metadata service, over plain HTTP and nothing else.
const metadataHost = "169.254.169.254"

// maxBody is how much of a request's body is read, in bytes; a token request has a few thousand.
const maxBody = 1 << 20

// sites are the hosts that exist, and who answers for each.
type sites struct {
	mu     sync.RWMutex
	secure map[string]http.Handler
	plain  map[string]http.Handler
}

// Handle lets a handler answer for one more host over TLS: a second issuer with documents of its own, say, or the host
// that a redirect leads to and that must see no token. It replaces what the host had. The host's requests are in
// [Emulator.Requests] like any other's, and faults apply to them.
func (e *Emulator) Handle(host string, handler http.Handler) {
	e.sites.mu.Lock()
	defer e.sites.mu.Unlock()
	e.sites.secure[strings.ToLower(host)] = handler
}

// mountOwn registers the hosts that every emulator has.
func (e *Emulator) mountOwn() {
	e.sites.secure = map[string]http.Handler{e.issuer.host: e.issuer}
	for _, c := range clouds() {
		entra := e.newEntra(c)
		for _, host := range c.hosts() {
			e.sites.secure[host] = entra
		}
	}
	e.sites.plain = map[string]http.Handler{metadataHost: http.HandlerFunc(e.serveMetadata)}
}

func (s *sites) find(host string, plain bool) http.Handler {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if plain {
		return s.plain[host]
	}
	return s.secure[host]
}

// reachable says whether somebody answers for the host.
func (e *Emulator) reachable(host string, plain bool) bool {
	return e.sites.find(strings.ToLower(host), plain) != nil
}

// resolves is reachable as seen by a client that looks the name up, which a fault may prevent.
func (e *Emulator) resolves(host string, plain bool) bool {
	return e.reachable(host, plain) && e.faults.take(strings.ToLower(host), "", Kind.ofName) == nil
}

// serveSecure answers what came over TLS.
// The Host header must be the name that the certificate was for: one connection can't speak for two hosts.
func (e *Emulator) serveSecure(w http.ResponseWriter, r *http.Request) {
	host := hostOnly(r.Host)
	site := e.sites.find(host, false)
	if site == nil || !strings.EqualFold(r.TLS.ServerName, host) {
		http.Error(w, "the certificate shown is not for this host", http.StatusMisdirectedRequest)
		return
	}
	c := connectionOf(r.Context())
	if c != nil && !c.faulty.Load() && e.faults.pending(host, Kind.ofCertificate) {
		// The connection is older than the fault: the client has to shake hands anew to see the certificate.
		panic(http.ErrAbortHandler)
	}
	e.answer(w, r, host, site)
}

// answer lets a site answer, with whatever faults are due, and keeps the journal.
func (e *Emulator) answer(w http.ResponseWriter, r *http.Request, host string, site http.Handler) {
	if site == nil || !e.handlers.enter() {
		panic(http.ErrAbortHandler)
	}
	defer e.handlers.leave()
	entry := e.journal.arrive(e.now(), host, r)
	out := &response{ResponseWriter: w}
	defer func() { e.journal.finish(entry, out) }()
	if err := swallow(r); err != nil {
		http.Error(out, "the body is larger than a mebibyte or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	if e.faults.none() {
		site.ServeHTTP(out, r)
		return
	}
	e.answerFaulty(out, r, host, site)
}

// swallow reads the body ahead: net/http notices that a client has gone only once the body is read, and a hanging
// handler must notice.
// It fails for a body above maxBody, or one that broke off; what was read of it is then of no use.
func swallow(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// response remembers what was answered, and can hold the body back for a fault to spoil.
// status is 0 until something was written. It belongs to the request's goroutine.
type response struct {
	http.ResponseWriter
	status int
	client string        // who asked, as far as proven
	held   *bytes.Buffer // nil: not held back
}

// WriteHeader notes the status and passes it on unless the answer is held back.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	if w.held == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write passes the body on, or holds it back.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.held != nil {
		return w.held.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// askedBy notes for the journal which client a request came from.
func askedBy(w http.ResponseWriter, client string) {
	if out, ok := w.(*response); ok {
		out.client = client
	}
}

// writeJSON answers with a JSON document as Azure does, which never lets it be cached.
func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, "the emulator cannot write this answer as JSON", http.StatusInternalServerError)
		return
	}
	writeBody(w, status, body)
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json; charset=utf-8"}
	header["Cache-Control"] = []string{"no-store, no-cache"}
	header["Pragma"] = []string{"no-cache"}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone away is its own affair
}
