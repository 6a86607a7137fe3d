package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Neither the answer nor the log tells a panic's value, and nobody else notices.
func TestS3APanicOfAHandler(t *testing.T) {
	const secret = "hunter2-hunter2"
	r := start(t, nil)
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Secret", secret)
		switch r.URL.Path {
		case "/late":
			_, _ = io.WriteString(w, "half an ans")
			_ = http.NewResponseController(w).Flush()
			panic(secret)
		case "/runtime":
			var nothing *http.Request
			nothing.Method = secret
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/good":
			return
		}
		leaveWith(struct{ value string }{secret})
	}))
	c := client(t)
	for _, path := range []string{"/", "/runtime", "/" + secret} {
		got := ask(t, c, "POST", r.url(path))
		if got.status != 500 || got.body != `{"message":"internal error"}`+"\n" || got.header.Get("X-Secret") != "" ||
			got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q %v", path, got.status, got.body, got.header)
		}
	}
	for _, path := range []string{"/late", "/abort"} {
		response, err := c.Post(r.url(path), "", nil)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a cut answer looks whole", path)
		}
	}
	if got := ask(t, c, "POST", r.url("/good")); got.status != 200 {
		t.Errorf("after it: %d", got.status)
	}
	log := r.log.String()
	if strings.Contains(log, secret) {
		t.Errorf("the log tells the value:\n%s", log)
	}
	if !strings.Contains(log, "server_test.leaveWith:") || strings.Count(log, "its value is withheld") != 4 {
		t.Errorf("the log does not tell four panics and where:\n%s", log)
	}
}

func leaveWith(value any) { panic(value) }

// What net/http logs of its own accord quotes nothing that a client sent or a handler answered.
func TestNetHTTPsOwnLogQuotesNothing(t *testing.T) {
	const secret = "hunter2-hunter2"
	r := start(t, nil)
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", secret)
		w.WriteHeader(200)
		w.WriteHeader(201)
	}))
	if got := ask(t, client(t), "POST", r.url("/")); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	log := r.log.String()
	if strings.Contains(log, secret) || !strings.Contains(log, `"level":"debug","cause":"http: invalid Content-Length of `) ||
		!strings.Contains(log, "superfluous") {
		t.Errorf("log:\n%s", log)
	}
}
