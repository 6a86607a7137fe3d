package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// Who proved nothing doesn't make anybody read a body.
func TestP9AStrangersBodyIsNotRead(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for name, edit := range map[string]func(*message){
		"a chunked body without end": func(m *message) { m.drop("Content-Length").add("Transfer-Encoding", "chunked") },
		"1 GiB announced":            set("Content-Length", fmt.Sprint(1<<30)),
		"1 GiB announced, and asked whether to go on": func(m *message) {
			m.set("Content-Length", fmt.Sprint(1<<30)).add("Expect", "100-continue")
		},
	} {
		t.Run("P9 "+name, func(t *testing.T) {
			m := genuine("")
			edit(m)
			conn := s.dial()
			defer conn.Close()
			written := make(chan int, 1)
			go func() { written <- flood(conn, m) }()
			s.unproven(t, s.read(conn), "signature")
			// The system's buffers take some before the connection ends; nobody took a gigabyte.
			if n := <-written; n >= 256<<20 {
				t.Errorf("the server took %d bytes of a stranger's body", n)
			}
			s.servesOne(t)
		})
	}
}

// flood writes the head and then chunks for as long as somebody takes them, 1 GiB at most.
func flood(conn net.Conn, m *message) (n int) {
	if _, err := conn.Write(m.bytes()); err != nil {
		return 0
	}
	chunk := []byte("10000\r\n" + strings.Repeat("A", 0x10000) + "\r\n")
	for n < 1<<30 {
		wrote, err := conn.Write(chunk)
		if n += wrote; err != nil {
			break
		}
	}
	return n
}

// proven are requests of a key's holder that are refused as HTTP means it; each is on record.
func TestP9P10WhatAHolderOfTheKeyMayNotSend(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for _, c := range []struct {
		name   string
		edit   func(*message)
		status int
	}{
		{"P9 a chunked body without end", func(m *message) { m.drop("Content-Length").add("Transfer-Encoding", "chunked") }, 411},
		{"P9 1 GiB", set("Content-Length", fmt.Sprint(1<<30)), 413},
		{"P10 a form", set("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"P10 text", set("Content-Type", "text/plain"), 415},
		{"P10 no type that can be read", set("Content-Type", "json"), 415},
		{"P10 compressed", also("Content-Encoding", "gzip"), 415},
		{"P10 encrypted", also("Content-Encoding", "aesgcm"), 415},
		{"P10 said to be as it is", also("Content-Encoding", "identity"), 415},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := genuine(theBody)
			c.edit(m)
			r := s.send(m.sign(runnerKey, five))
			e := s.recorded(r.refused(t, c.status))
			if e.Kind != "secret" || e.Outcome != "failed" || e.Reason != "malformed" || e.Pool != "default" || e.Key != "DRONE_SECRET" {
				t.Errorf("on record is %s, want it failed: malformed", e.Line)
			}
			if !r.Close {
				t.Error("the connection is kept though its body was not read")
			}
			s.servesOne(t)
		})
	}
}

// What is not addressed to the endpoint is refused, signed or not. A runner's own that went astray is on record, so that
// its operator learns of it.
func TestP10OnlyPOSTToTheRootIsServed(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for _, c := range []struct {
		line   string
		status int
	}{
		{"GET / HTTP/1.1", 405}, {"PUT / HTTP/1.1", 405}, {"DELETE / HTTP/1.1", 405}, {"PATCH / HTTP/1.1", 405},
		{"OPTIONS / HTTP/1.1", 405}, {"TRACE / HTTP/1.1", 405}, {"post / HTTP/1.1", 405}, {"PROPFIND / HTTP/1.1", 405},
		{"POST /secret HTTP/1.1", 404}, {"POST //evil.example/ HTTP/1.1", 404}, {"POST /../ HTTP/1.1", 404}, {"POST /%2e HTTP/1.1", 404},
		{"POST /healthz HTTP/1.1", 404}, {"POST /status HTTP/1.1", 404}, {"GET /status HTTP/1.1", 404}, {"GET /metrics HTTP/1.1", 404},
		{"GET /debug/pprof/ HTTP/1.1", 404}, {"OPTIONS * HTTP/1.1", 404},
	} {
		for _, signed := range []bool{false, true} {
			t.Run(fmt.Sprintf("P10 %s signed %t", c.line, signed), func(t *testing.T) {
				m := genuine(theBody)
				if m.line = c.line; signed {
					m.sign(runnerKey, five)
				}
				r := s.send(m)
				id := r.refused(t, c.status)
				if signed {
					if e := s.recorded(id); e.Kind != "secret" || e.Outcome != "failed" || e.Reason != "malformed" {
						t.Errorf("on record is %s", e.Line)
					}
				}
				if c.status == 405 && r.Header.Get("Allow") != "POST" {
					t.Errorf("a 405 says %q is allowed", r.Header.Get("Allow"))
				}
				s.servesOne(t)
			})
		}
	}
}

// A message whose end could be read in two ways is never served: a proxy in front might have read it the other way.
func TestAMessageThatEndsInTwoPlaces(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	for name, edit := range map[string]func(*message){
		"two lengths":            also("Content-Length", "10"),
		"two lengths in one":     func(m *message) { m.set("Content-Length", fmt.Sprintf("%d, 10", len(m.body))) },
		"a length and chunks":    also("Transfer-Encoding", "chunked"),
		"chunked twice":          also("Transfer-Encoding", "chunked, chunked"),
		"another coding":         also("Transfer-Encoding", "gzip"),
		"a negative length":      set("Content-Length", "-1"),
		"a length with a sign":   func(m *message) { m.set("Content-Length", fmt.Sprintf("+%d", len(m.body))) },
		"no host":                without("Host"),
		"two hosts":              also("Host", "evil.example"),
		"a blank before a colon": also("Digest ", "SHA-256=x"),
		"a folded line":          also("X-Folded", "a\r\n b"),
		"a NUL in a header":      also("X-Nul", "a\x00b"),
	} {
		t.Run(name, func(t *testing.T) {
			m := genuine(theBody).sign(runnerKey, five)
			edit(m)
			r := s.send(m)
			if name == "a folded line" { // RFC 9112 lets a server read it as one line
				s.gotOne(t, r)
			} else if r.Status < 400 || r.Status >= 600 {
				t.Errorf("answered %s %.200q", r.Line, r.Body)
			}
			s.servesOne(t)
		})
	}
}

// A holder of the key who goes away in the middle of the body leaves a trace, and nothing else.
func TestABodyThatEndsEarly(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	m := genuine(theBody).sign(runnerKey, five)
	conn := s.dial()
	defer conn.Close()
	request := m.bytes()
	if _, err := conn.Write(request[:len(request)-1]); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if e := s.recorded(s.read(conn).refused(t, 400)); e.Kind != "secret" || e.Outcome != "failed" || e.Reason != "malformed" {
		t.Errorf("on record is %s", e.Line)
	}
	s.servesOne(t)
}

// What stands in the unread body of a stranger is never taken for the next request of its connection.
func TestABodyIsNoRequest(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	inner := string(genuine(theBody).sign(runnerKey, five).bytes())
	for name, outer := range map[string]*message{
		"of a stranger":     genuine(inner),
		"of another path":   {line: "POST /x HTTP/1.1", fields: genuine(inner).fields, body: inner},
		"of another method": {line: "PUT / HTTP/1.1", fields: genuine(inner).fields, body: inner},
		"of a GET":          {line: "GET /healthz HTTP/1.1", fields: genuine(inner).fields, body: inner},
		"of what is no JSON": genuine(inner).set("Content-Type", "text/plain").
			sign(runnerKey, five),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.events())
			conn := s.dial()
			defer conn.Close()
			go func() {
				_, _ = conn.Write(append(outer.bytes(), "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"...))
			}()
			answers, _ := io.ReadAll(conn) // the server may cut it where it owes nothing more
			if n := strings.Count(string(answers), "HTTP/1.1 "); n < 1 || n > 2 {
				t.Errorf("%d answers: %.300q", n, answers)
			}
			if strings.Contains(string(answers), "aesgcm") {
				t.Errorf("the request inside the body was answered: %.300q", answers)
			}
			s.servesOne(t)
			for _, e := range s.events()[before:] {
				if e.Outcome == "released" && e.Remote != "127.0.0.1" {
					t.Errorf("the request inside the body is on record: %s", e.Line)
				}
			}
		})
	}
}

// Requests that come one behind the other on one connection are answered in turn.
func TestRequestsOfOneConnection(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	conn := s.dial()
	defer conn.Close()
	var all []byte
	for range 5 {
		all = append(all, genuine(theBody).sign(runnerKey, five).bytes()...)
	}
	go func() { _, _ = conn.Write(all) }()
	in := bufio.NewReader(conn)
	for range 5 {
		s.gotOne(t, s.readFrom(in))
	}
}
