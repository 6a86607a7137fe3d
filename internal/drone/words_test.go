package drone_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// These tests speak to an Endpoint over real TCP, byte by byte, since most of what a stranger can do wrong cannot be said
// through net/http's client. This file is their vocabulary: a world (an endpoint, its clock, its record, its answer), a
// message that is changed before or after it is signed by a signer of the tests' own, and a reply.

// What must never appear anywhere but in a released answer.
const (
	runnerKey  = "canary-key-of-the-runners-0123456789abcdef"
	repoSecret = "canary-repo-secret-QDpr0lQcTyeQ1L91"
	theValue   = "canary-value-hunter2"
)

const (
	configSHA = "5f0c0ffee"
	skew      = 120 * time.Second
	maxBody   = 1 << 20
)

// now is when everything here happens, unless a world says otherwise.
var now = time.Date(2026, 11, 23, 3, 0, 21, 0, time.UTC)

// world is one endpoint under test.
type world struct {
	t      testing.TB
	record *record
	server *httptest.Server
	asked  []secret.Request // what reached the answering station
	answer error            // what that station fails with, after it put its event on record
}

// options are what a test may want otherwise than usual.
type options struct {
	keys    []drone.Key
	now     func() time.Time
	repeats int
	plain   bool
	value   string
}

// newWorld serves an endpoint with one pool, one key, a clock that stands still, and encrypted answers.
func newWorld(t testing.TB, changes ...func(*options)) *world {
	t.Helper()
	w := &world{t: t, record: &record{}}
	w.server = httptest.NewServer(w.endpoint(changes...))
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) endpoint(changes ...func(*options)) http.Handler {
	w.t.Helper()
	o := options{keys: []drone.Key{pool("default", "2026-11", runnerKey)}, now: func() time.Time { return now }, repeats: 1000, value: theValue}
	for _, change := range changes {
		change(&o)
	}
	guard, err := drone.NewGuard(drone.Options{Keys: o.keys, Skew: skew, MaxBody: maxBody, Repeats: o.repeats, Now: o.now})
	if err != nil {
		w.t.Fatalf("the guard was refused: %v", err)
	}
	find := func(ctx context.Context, caller secret.Caller, request secret.Request) (secret.Value, error) {
		w.asked = append(w.asked, request)
		event := secret.Event{Kind: secret.EventSecret, Outcome: secret.Released, Caller: caller, Request: request, Config: configSHA}
		if w.answer != nil {
			event.Outcome, event.Reason = secret.Failed, secret.AsError(w.answer).Reason
		}
		if err := w.record.Record(ctx, event); err != nil {
			return secret.Value{}, err
		}
		return secret.NewValue([]byte(o.value)), w.answer
	}
	return drone.NewEndpoint(drone.EndpointOptions{Guard: guard, Recorder: w.record, Budget: 20 * time.Second, Plain: o.plain, Config: configSHA},
		drone.Secrets(find))
}

func pool(name, id, key string) drone.Key {
	return drone.Key{Pool: name, ID: id, Secret: []byte(key)}
}

// record is a Recorder that keeps what it is given, or fails.
type record struct {
	mu     sync.Mutex
	events []secret.Event
	broken error
}

// Record keeps the event.
func (r *record) Record(_ context.Context, e secret.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	r.events = append(r.events, e)
	return nil
}

// take returns what was recorded since the last take.
func (r *record) take() []secret.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// message is a request as bytes that may be anything.
type message struct {
	method, target string
	headers        [][2]string // in order, names as written
	body           string      // what is digested, and sent unless payload says otherwise
	framing        string      // a header line; empty: the body's Content-Length
	payload        *string     // what is sent after the head
}

// genuineBody is what a runner asks, shortened.
const genuineBody = `{"path":"shared/db","name":"password","repo":{"id":1,"uid":"1","slug":"acme/app","default_branch":"main","secret":"` +
	repoSecret + `"},"build":{"number":7,"event":"push","ref":"refs/heads/main","trigger":"@hook","sender":"alice"}}`

// genuine is an unsigned message with everything that a runner sends.
func genuine(body string) *message {
	m := &message{method: "POST", target: "/", body: body}
	m.add("Accept", drone.SecretMedia)
	m.add("Accept-Encoding", "identity")
	m.add("Content-Type", "application/json")
	m.add("Date", now.Format(http.TimeFormat))
	m.add("Digest", digestOf(body))
	return m
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
}

func (m *message) add(name, value string) { m.headers = append(m.headers, [2]string{name, value}) }

func (m *message) drop(name string) {
	m.headers = slices.DeleteFunc(m.headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

func (m *message) set(name, value string) {
	m.drop(name)
	m.add(name, value)
}

func (m *message) get(name string) string {
	for _, h := range m.headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

// replace changes a header's value, a part of it.
func (m *message) replace(name, old, new string) {
	if value := m.get(name); strings.Contains(value, old) {
		m.set(name, strings.Replace(value, old, new, 1))
		return
	}
	panic(fmt.Sprintf("%s: %q has no %q to replace", name, m.get(name), old))
}

const five = "accept accept-encoding content-type date digest"

// sign adds the Signature over the listed headers, as their values are now.
func (m *message) sign(key, list string) *message {
	m.add("Signature", fmt.Sprintf(`keyId="hmac-key",algorithm="hmac-sha256",signature="%s",headers="%s"`, m.mac(key, list), list))
	return m
}

func (m *message) mac(key, list string) string {
	var lines []string
	for name := range strings.SplitSeq(list, " ") {
		value := m.get(name)
		switch name {
		case "(request-target)":
			value = strings.ToLower(m.method) + " " + m.target
		case "host":
			value = "secrets.example"
		case "content-length":
			value = strconv.Itoa(len(m.body))
		}
		lines = append(lines, name+": "+value)
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// head is the message's head as sent, the empty line included.
func (m *message) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: secrets.example\r\n", m.method, m.target)
	framing := m.framing
	if framing == "" {
		framing = "Content-Length: " + strconv.Itoa(len(m.body))
	}
	b.WriteString(framing + "\r\n")
	for _, h := range m.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	return b.String() + "\r\n"
}

func (m *message) bytes() []byte {
	if m.payload != nil {
		return []byte(m.head() + *m.payload)
	}
	return []byte(m.head() + m.body)
}

// reply is what came back, also as bytes.
type reply struct {
	*http.Response
	body []byte
	raw  string
}

// send writes a message, closes the sending half, and reads all there is.
func (w *world) send(raw []byte) reply {
	w.t.Helper()
	c := w.dial()
	if _, err := c.Write(raw); err != nil {
		w.t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		w.t.Fatal(err)
	}
	return w.read(c)
}

func (w *world) dial() *net.TCPConn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // only ends a test that would hang
	return c.(*net.TCPConn)
}

// read reads one answer.
func (w *world) read(c io.Reader) reply {
	w.t.Helper()
	var raw bytes.Buffer
	response, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &raw)), nil)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatalf("the answer ended early: %v", err)
	}
	return reply{response, body, raw.String()}
}
