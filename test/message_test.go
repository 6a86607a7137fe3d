package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// five are the headers that every runner signs.
const five = "accept accept-encoding content-type date digest"

const secretMedia = "application/vnd.drone.secret.v1+json"

// message is a request in full control of the test: what a thief, a broken proxy or a forger could send. It is written
// byte for byte as it stands here.
type message struct {
	line   string // the request line
	fields [][2]string
	body   string
}

// genuine is what a runner sends with this body, still unsigned.
func genuine(body string) *message { return dated(body, time.Now()) }

func dated(body string, at time.Time) *message {
	m := &message{line: "POST / HTTP/1.1", body: body}
	for _, f := range [][2]string{
		{"Host", "drone-entra.example"}, {"User-Agent", "Go-http-client/1.1"}, {"Content-Length", fmt.Sprint(len(body))},
		{"Accept", secretMedia}, {"Accept-Encoding", "identity"}, {"Content-Type", "application/json"},
		{"Date", at.UTC().Format(http.TimeFormat)}, {"Digest", digest(body)},
	} {
		m.add(f[0], f[1])
	}
	return m
}

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
}

func (m *message) add(name, value string) *message {
	m.fields = append(m.fields, [2]string{name, value})
	return m
}

func (m *message) drop(name string) *message {
	kept := m.fields[:0:0]
	for _, f := range m.fields {
		if !strings.EqualFold(f[0], name) {
			kept = append(kept, f)
		}
	}
	m.fields = kept
	return m
}

func (m *message) set(name, value string) *message { return m.drop(name).add(name, value) }

func (m *message) get(name string) string {
	var values []string
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			values = append(values, f[1])
		}
	}
	return strings.Join(values, ", ")
}

// sign adds the Signature that a holder of the key makes over the listed headers.
func (m *message) sign(key, list string) *message {
	return m.add("Signature", signature("hmac-sha256", list, m.mac(key, list)))
}

func (m *message) mac(key, list string) string {
	var lines []string
	for name := range strings.SplitSeq(list, " ") {
		value := m.get(name)
		if name == "(request-target)" {
			method, target, _ := strings.Cut(strings.TrimSuffix(m.line, " HTTP/1.1"), " ")
			value = strings.ToLower(method) + " " + target
		}
		lines = append(lines, name+": "+value)
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func signature(algorithm, list, mac string) string {
	return fmt.Sprintf(`keyId="hmac-key",algorithm=%q,signature=%q,headers=%q`, algorithm, mac, list)
}

func (m *message) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(m.line + "\r\n")
	for _, f := range m.fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	b.WriteString("\r\n" + m.body)
	return b.Bytes()
}

// reply is an answer, read to its end.
type reply struct {
	Line   string // the status line
	Status int
	Header http.Header
	Body   []byte
	Close  bool // the server ends the connection
}

// ID is the request id that the answer names.
func (r reply) ID() string { return r.Header.Get("X-Request-Id") }

// senders counts messages: each comes from an address of its own in 127.0.0.0/8, so that each unproven one has its own
// line on record.
var senders atomic.Uint32

// dial connects as somebody nobody has seen before.
func (s *server) dial() net.Conn {
	s.t.Helper()
	n := senders.Add(1)
	from := net.IPv4(127, 1+byte(n>>16), byte(n>>8), byte(n))
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := d.DialContext(context.Background(), "tcp", s.Address)
	if err != nil { // a system that has only 127.0.0.1
		d.LocalAddr = nil
		if conn, err = d.DialContext(context.Background(), "tcp", s.Address); err != nil {
			s.t.Fatal(err)
		}
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// send writes a message and reads the answer.
func (s *server) send(m *message) reply {
	s.t.Helper()
	return s.raw(m.bytes())
}

// raw writes bytes and reads one answer.
func (s *server) raw(request []byte) reply {
	s.t.Helper()
	conn := s.dial()
	defer conn.Close()
	return s.exchange(conn, request)
}

// exchange writes bytes to a connection and reads one answer. The server may answer and close before it has taken all.
func (s *server) exchange(conn net.Conn, request []byte) reply {
	s.t.Helper()
	go func() { _, _ = conn.Write(request) }()
	return s.read(conn)
}

func (s *server) read(conn net.Conn) reply {
	s.t.Helper()
	return s.readFrom(bufio.NewReader(conn))
}

// readFrom reads the next answer of a connection that has several.
func (s *server) readFrom(in *bufio.Reader) reply {
	s.t.Helper()
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("half an answer: %v", err)
	}
	r := reply{response.Proto + " " + response.Status, response.StatusCode, response.Header, body, response.Close}
	if r.Status != http.StatusOK {
		s.world.answered(fmt.Sprint(r.Header) + string(r.Body))
	}
	return r
}

var requestID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// refused checks that r is an error in exactly the form that all errors have, and returns its id.
func (r reply) refused(t *testing.T, status int) string {
	t.Helper()
	if r.Status != status {
		t.Fatalf("answered %d %.200q, want %d", r.Status, r.Body, status)
	}
	var body map[string]string
	if err := json.Unmarshal(r.Body, &body); err != nil || len(body) != 2 || body["message"] == "" {
		t.Errorf("the answer is not {message, request}: %s", r.Body)
	}
	if body["request"] != r.ID() || !requestID.MatchString(r.ID()) {
		t.Errorf("the request's id is %q in the body, %q in the head", body["request"], r.ID())
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Content-Encoding") != "" {
		t.Errorf("an error is JSON in clear, not %v", r.Header)
	}
	return r.ID()
}

// released checks that r is a 200 sealed under the key and returns what is in it.
func (r reply) released(t *testing.T, key string) map[string]any {
	t.Helper()
	if r.Status != http.StatusOK {
		t.Fatalf("answered %d %.200q, want 200", r.Status, r.Body)
	}
	plain := r.Body
	if r.Header.Get("Content-Encoding") == "aesgcm" {
		var err error
		if plain, err = unseal(key, r.Body); err != nil {
			t.Fatalf("the answer does not decrypt: %v", err)
		}
	}
	var answer map[string]any
	if err := json.Unmarshal(plain, &answer); err != nil {
		t.Fatalf("the answer is no JSON: %v", err)
	}
	return answer
}

// unseal decrypts as a runner does.
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
