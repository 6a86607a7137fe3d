package server

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"

	"github.com/rs/zerolog"
)

// edge is the outermost layer of a listener: what holds for every request and every answer, whoever handles it.
type edge struct {
	next      http.HandlerFunc
	closing   func() bool // whether the answer should end its connection
	headBytes int         // the most that a request's head may take
	log       zerolog.Logger
}

// ServeHTTP sets the headers before anything else, so that the refusals of this layer have them, too: no answer of ours
// may be kept by a cache or be taken for a page.
func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := newAnswer(w, r, e.closing)
	defer e.rescue(a, r)
	a.Header().Set("Cache-Control", "no-store")
	a.Header().Set("X-Content-Type-Options", "nosniff")
	if headSize(r) > e.headBytes {
		writeError(a, http.StatusRequestHeaderFieldsTooLarge,
			fmt.Sprintf("the request line and headers exceed %d bytes", e.headBytes))
		return
	}
	e.next(a, r)
	a.finish()
}

// headSize is how many bytes the head of a request takes as HTTP/1.1 writes it: the request line, each header field as
// "Name: value", the end of each of these lines (CRLF) and the empty line after them. Blanks around a value beyond the one
// after the colon do not count. A request that came by HTTP/2 is measured as if it had been written like that: what a
// client may send does not depend on the protocol that it negotiates.
func headSize(r *http.Request) int {
	n := len(r.Method+" "+r.RequestURI+" HTTP/1.1\r\n") + len("\r\n")
	field := func(name, value string) { n += len(name) + len(": ") + len(value) + len("\r\n") }
	for name, values := range r.Header {
		for _, value := range values {
			field(name, value)
		}
	}
	// net/http takes these three out of the map.
	if r.Host != "" {
		field("Host", r.Host)
	}
	for _, coding := range r.TransferEncoding {
		field("Transfer-Encoding", coding)
	}
	if len(r.Trailer) > 0 {
		names := make([]string, 0, len(r.Trailer))
		for name := range r.Trailer {
			names = append(names, name)
		}
		field("Trailer", strings.Join(names, ", "))
	}
	return n
}

// rescue turns a panic into a 500, or, once an answer has begun, into a connection cut short, so that nobody takes half an
// answer for a whole one. The panic's value is dropped unseen: it may hold a secret.
func (e *edge) rescue(a *answer, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	// A handler that aborts has logged what it wanted to.
	if cause == http.ErrAbortHandler { // the very value means "cut the connection", not a failure
		panic(http.ErrAbortHandler)
	}
	e.log.Error().Str("remote", remoteHost(r)).Str("protocol", r.Proto).Strs("stack", stack()).
		Msg("panic while handling a request; its value is withheld")
	if a.started {
		panic(http.ErrAbortHandler)
	}
	// What the handler has set, such as an encoding or a length, belongs to an answer that is not sent.
	clear(a.Header())
	a.Header().Set("Cache-Control", "no-store")
	a.Header().Set("X-Content-Type-Options", "nosniff")
	writeError(a, http.StatusInternalServerError, "internal error")
}

// remoteHost is the peer's address without its port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// stack names the functions between the panic and the edge, innermost first, with their lines and without arguments.
// Arguments are left out since they may point into what a request carried, and file names because they are those
// of the machine that built the program.
func stack() []string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	var names []string
	for {
		frame, more := frames.Next()
		if !more || strings.HasSuffix(frame.Function, "(*edge).ServeHTTP") {
			return names
		}
		if !strings.HasPrefix(frame.Function, "runtime.") {
			names = append(names, fmt.Sprintf("%s:%d", frame.Function, frame.Line))
		}
	}
}
