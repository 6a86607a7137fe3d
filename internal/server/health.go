package server

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// answerPublic serves the public listener: the two health checks whatever handler is in force, then the handler.
//
// The paths of the health checks are never the handler's: a load balancer asks before a configuration is in force, and
// while it drains.
func (s *Server) answerPublic(w http.ResponseWriter, r *http.Request) {
	switch {
	case reads(r, "/healthz"):
		writeLive(w)
	case reads(r, "/readyz"):
		s.writeReady(w)
	default:
		if handler := s.handler.Load(); handler != nil {
			(*handler).ServeHTTP(w, r)
			return
		}
		writeError(w, http.StatusServiceUnavailable, "starting: no configuration is in force yet")
	}
}

// answerAdmin serves the admin listener.
func (s *Server) answerAdmin(w http.ResponseWriter, r *http.Request) {
	switch {
	case reads(r, "/healthz"):
		writeLive(w)
	case reads(r, "/status") && s.options.Status != nil:
		s.writeStatus(w)
	default:
		writeError(w, http.StatusNotFound, "not found: this listener has GET /status and GET /healthz")
	}
}

// reads tells whether the request is a GET or HEAD of exactly this path.
// With another method, such a path is like any other.
func reads(r *http.Request, path string) bool {
	return r.URL.Path == path && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

func writeLive(w http.ResponseWriter) { writeJSON(w, http.StatusOK, []byte(`{"status":"live"}`)) }

// writeReady says why not in words that are for anybody who can reach the port.
func (s *Server) writeReady(w http.ResponseWriter) {
	reasons := s.notReady()
	if len(reasons) == 0 {
		writeJSON(w, http.StatusOK, []byte(`{"status":"ready"}`))
		return
	}
	document, _ := json.Marshal(struct { // strings always marshal
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	}{"not ready", reasons})
	writeJSON(w, http.StatusServiceUnavailable, document)
}

// notReady adds to the application's reasons those that only the server knows.
func (s *Server) notReady() []string {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "draining")
	}
	if s.handler.Load() == nil {
		reasons = append(reasons, "no configuration is in force yet")
	}
	if s.options.Ready != nil {
		reasons = append(reasons, s.options.Ready()...)
	}
	return reasons
}

// writeStatus is for the operator alone, on the admin listener.
func (s *Server) writeStatus(w http.ResponseWriter) {
	document, err := json.MarshalIndent(s.options.Status(), "", "  ")
	if err != nil {
		// The error's text can quote what failed to marshal, so only its type is told.
		s.options.Log.Error().Str("error", fmt.Sprintf("%T", err)).Msg("the status cannot be written as JSON")
		writeError(w, http.StatusInternalServerError, "internal error")
		return
	}
	writeJSON(w, http.StatusOK, document)
}
