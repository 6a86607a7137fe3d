package drone_test

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// messages is what people outside read, by status: nothing that tells why.
var messages = map[int]string{
	400: "malformed request", 401: "unproven request", 404: "not available", 405: "only POST is served here",
	411: "a request says its Content-Length", 413: "the request is too large",
	415: "a request is application/json, not compressed", 429: "too many requests", 500: "internal error",
	502: "the source answered nonsense", 503: "unavailable", 504: "no answer in time",
}

// closes tells after which statuses the connection ends: a body may be left unread.
var closes = map[int]bool{401: true, 411: true, 413: true, 415: true}

// released checks that r is a 200 that decrypts, under key, to the value of that name.
func (w *world) released(r reply, key, name, value string) {
	w.t.Helper()
	if r.StatusCode != 200 {
		w.t.Fatalf("answered %s %s, want 200", r.Status, r.body)
	}
	if r.Header.Get("Content-Encoding") != "aesgcm" || r.Header.Get("Content-Type") != "application/octet-stream" {
		w.t.Errorf("answered with %v, want aesgcm", r.Header)
	}
	w.noCanary(r.raw)
	plain, err := unseal(key, r.body)
	if err != nil {
		w.t.Fatalf("the answer does not decrypt: %v", err)
	}
	w.isSecret(plain, name, value)
}

func (w *world) isSecret(plain []byte, name, value string) {
	w.t.Helper()
	want := map[string]any{"name": name, "data": value, "pull_request": true}
	var got map[string]any
	if err := json.Unmarshal(plain, &got); err != nil {
		w.t.Fatalf("the answer is no JSON: %v", err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("answered %v, want %v", got, want)
	}
}

func unseal(key string, sealed []byte) ([]byte, error) {
	block, err := aes.NewCipher([]byte(key)[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(sealed) < gcm.NonceSize() {
		return nil, fmt.Errorf("only %d bytes", len(sealed))
	}
	return gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():], nil)
}

var requestID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// refused checks that r is an error of exactly the form that all have.
func (w *world) refused(r reply, status int, message string) {
	w.t.Helper()
	if r.StatusCode != status {
		w.t.Fatalf("answered %s %s, want %d", r.Status, r.body, status)
	}
	id := r.Header.Get("X-Request-Id")
	if !requestID.MatchString(id) {
		w.t.Errorf("the request id is %q", id)
	}
	if want := fmt.Sprintf("{\"message\":%q,\"request\":%q}\n", message, id); string(r.body) != want {
		w.t.Errorf("the body is %q, want %q", r.body, want)
	}
	for name, want := range errorHeaders(status) {
		if got := r.Header.Get(name); got != want {
			w.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if closes[status] && !r.Close {
		w.t.Errorf("a %d keeps the connection, whose body may be unread", status)
	}
	w.noCanary(r.raw)
}

func errorHeaders(status int) map[string]string {
	h := map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Content-Encoding": "", "Allow": "", "Retry-After": "", "WWW-Authenticate": "",
	}
	switch status {
	case 401:
		h["WWW-Authenticate"] = `Signature realm="drone-entra",headers="` + five + `"`
	case 405:
		h["Allow"] = http.MethodPost
	case 429, 503:
		h["Retry-After"] = "1"
	}
	return h
}

// recorded takes the only event there is, checks that it is the reply's, and returns it.
func (w *world) recorded(r reply, kind secret.EventKind, outcome secret.Outcome, reason secret.Reason) secret.Event {
	w.t.Helper()
	events := w.record.take()
	if len(events) != 1 {
		w.t.Fatalf("%d events on record, want one %s %s %s: %+v", len(events), kind, outcome, reason, events)
	}
	e := events[0]
	if e.Kind != kind || e.Outcome != outcome || e.Reason != reason {
		w.t.Errorf("on record is %s %s %q, want %s %s %q", e.Kind, e.Outcome, e.Reason, kind, outcome, reason)
	}
	if e.Caller.ID != r.Header.Get("X-Request-Id") || e.Caller.Remote != "127.0.0.1" || e.Config != configSHA {
		w.t.Errorf("on record is caller %+v, config %q; the answer says %q", e.Caller, e.Config, r.Header.Get("X-Request-Id"))
	}
	w.noCanary(fmt.Sprintf("%+v", e))
	return e
}

func (w *world) silent() {
	w.t.Helper()
	if events := w.record.take(); len(events) != 0 {
		w.t.Errorf("on record are %+v, want nothing", events)
	}
}

// noCanary checks that no secret is in what anybody may see.
func (w *world) noCanary(text string) {
	w.t.Helper()
	for _, canary := range []string{runnerKey, oldKey, repoSecret, theValue} {
		if strings.Contains(text, canary) {
			w.t.Errorf("%q is in %q", canary, text)
		}
	}
}

// stillServes checks that a good request right after gets its secret.
func (w *world) stillServes() {
	w.t.Helper()
	w.record.take()
	r := w.send(genuine(genuineBody).sign(runnerKey, five).bytes())
	w.released(r, runnerKey, "password", theValue)
	w.recorded(r, secret.EventSecret, secret.Released, "")
}

// hostile is one message of a stranger, a mistaken proxy or a thief, and what must become of it.
type hostile struct {
	name   string
	edit   func(*message) // before it is signed
	list   string         // the headers that are signed; empty: the five
	tamper func(*message) // after
	status int
	reason secret.Reason // on record; empty for a 200, and for what is not put on record
	says   string        // to the sender; empty: what the status always says
}

func (h hostile) message() *message {
	m := genuine(genuineBody)
	if h.edit != nil {
		h.edit(m)
	}
	list := h.list
	if list == "" {
		list = five
	}
	m.sign(runnerKey, list)
	if h.tamper != nil {
		h.tamper(m)
	}
	return m
}

// meets sends each message to a world of its own and checks the answer, the record, and that life goes on.
func meets(t *testing.T, cases []hostile) {
	for _, h := range cases {
		t.Run(h.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.send(h.message().bytes())
			h.check(w, r)
			w.stillServes()
		})
	}
}

func (h hostile) check(w *world, r reply) {
	w.t.Helper()
	if h.status == 200 {
		w.released(r, runnerKey, "password", theValue)
		w.recorded(r, secret.EventSecret, secret.Released, "")
		return
	}
	w.refused(r, h.status, cmp.Or(h.says, messages[h.status]))
	if (h.status == 404 || h.status == 405) && !r.Close { // closes does not say so: policy answers 404 after the body was read
		w.t.Errorf("a %d keeps the connection, whose body is unread", h.status)
	}
	if len(w.asked) != 0 {
		w.t.Errorf("%v reached the policy", w.asked)
	}
	switch {
	case h.reason == "":
		w.silent()
	case h.reason == secret.ReasonMalformed:
		if e := w.recorded(r, secret.EventSecret, secret.Failed, h.reason); e.Caller.Pool != "default" || e.Caller.Key != "2026-11" {
			w.t.Errorf("on record is %+v, want the key that proved it", e.Caller)
		}
	default:
		w.recorded(r, secret.EventUnproven, secret.Refused, h.reason)
	}
}
