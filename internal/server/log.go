package server

import (
	"log"
	"strings"

	"github.com/rs/zerolog"
)

const maxNetHTTPLine = 200 // bytes

// errorLog takes what net/http logs on its own. Nearly all of it is about clients that misbehave, so it goes to debug; and
// as some of its lines quote a request, an answer or a panic, it passes through a filter.
type errorLog struct{ log zerolog.Logger }

func newErrorLog(l zerolog.Logger) *log.Logger { return log.New(errorLog{l}, "", 0) }

// Write logs one line of net/http's.
// It never fails: a log that can't be written must not stop the server.
func (e errorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.Contains(text, "panic serving"):
		e.log.Error().Msg("panic in net/http; its value is withheld")
	case strings.HasPrefix(text, "http: Accept error"):
		e.log.Warn().Str("cause", text).Msg("a connection could not be accepted: is the limit of open files too low?")
	default:
		e.log.Debug().Str("cause", harmless(text)).Msg("net/http")
	}
	return len(line), nil
}

// harmless cuts a line of net/http's before anything that it quotes: a header's value, a frame, a stack.
//
// For example `http: invalid header value "secret"` becomes `http: invalid header value `. A panic's own line does not
// come here: its value stands before any quote.
func harmless(text string) string {
	if i := strings.IndexAny(text, "\"{\n"); i >= 0 {
		text = text[:i]
	}
	if len(text) > maxNetHTTPLine {
		text = text[:maxNetHTTPLine]
	}
	return text
}
