package drone_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// padded is the genuine body with an unknown field that makes it size bytes long.
func padded(size int) string {
	const open, end = `"padding":"`, `",`
	fill := strings.Repeat("x", size-len(genuineBody)-len(open)-len(end))
	return "{" + open + fill + end + genuineBody[1:]
}

func chunked(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

func TestTheLengthOfABody(t *testing.T) {
	framed := func(line, payload string) func(*message) {
		return func(m *message) { m.framing, m.payload = line, &payload }
	}
	sized := func(size int) func(*message) {
		return func(m *message) { m.body = padded(size); m.set("Digest", digestOf(m.body)) }
	}
	meets(t, []hostile{
		{name: "exactly what is allowed", edit: sized(maxBody), status: 200},
		{name: "J7 a byte more", edit: sized(maxBody + 1), status: 413, reason: secret.ReasonMalformed},
		{name: "J7 a byte more, without any proof", edit: sized(maxBody + 1), tamper: drops("Signature"), status: 401, reason: secret.ReasonSignature},
		{name: "far more declared, nothing sent", tamper: framed("Content-Length: 1099511627776", ""), status: 413, reason: secret.ReasonMalformed},
		{name: "chunked", tamper: framed("Transfer-Encoding: chunked", chunked(genuineBody)), status: 411, reason: secret.ReasonMalformed},
		{name: "shorter than declared", tamper: framed(fmt.Sprintf("Content-Length: %d", len(genuineBody)+1), genuineBody),
			status: 400, reason: secret.ReasonMalformed, says: "the body ended early or came too slowly"},
		{name: "longer than declared", tamper: framed(fmt.Sprintf("Content-Length: %d", len(genuineBody)-1), genuineBody),
			status: 401, reason: secret.ReasonDigest},
	})
}

// What nobody has proven is answered before a byte of its body has come, however much of it there is to be.
func TestAnUnprovenBodyIsNotRead(t *testing.T) {
	for _, framing := range []string{"Transfer-Encoding: chunked", "Content-Length: 1073741824", "Content-Length: 9"} {
		for _, expect := range []bool{false, true} {
			t.Run(fmt.Sprintf("P9 %s, expecting to be told to go on: %t", framing, expect), func(t *testing.T) {
				w := newWorld(t)
				m := genuine(genuineBody)
				m.framing = framing
				if expect {
					m.add("Expect", "100-continue")
				}
				c := w.dial()
				fmt.Fprint(c, m.head()) // and then nothing, with the connection left open
				r := w.read(c)
				w.refused(r, 401, messages[401])
				if strings.Contains(r.raw, "100 Continue") {
					t.Error("it was told to send its body")
				}
				w.recorded(r, secret.EventUnproven, secret.Refused, secret.ReasonSignature)
				w.stillServes()
			})
		}
	}
}

// The same holds for what is not addressed to us at all.
func TestTheBodyOfAnotherAddressIsNotRead(t *testing.T) {
	for status, m := range map[int]*message{405: {method: "PUT", target: "/"}, 404: {method: "POST", target: "/secret"}} {
		w := newWorld(t)
		m.framing = "Content-Length: 9"
		c := w.dial()
		fmt.Fprint(c, m.head()) // and then nothing, with the connection left open
		w.refused(w.read(c), status, messages[status])
		w.silent()
	}
}

func TestAProvenSenderWhoAsksFirstIsToldToGoOn(t *testing.T) {
	w := newWorld(t)
	m := genuine(genuineBody).sign(runnerKey, five)
	m.add("Expect", "100-continue")
	c := w.dial()
	fmt.Fprint(c, m.head())
	in := bufio.NewReader(c)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := in.ReadString('\n'); line != want {
			t.Fatalf("got %q (%v), want %q", line, err, want)
		}
	}
	fmt.Fprint(c, m.body)
	w.released(w.read(in), runnerKey, "password", theValue)
}

// Two requests on one connection are two: the first one's rest is never taken for the second.
func TestAConnectionIsKeptAfterAnAnswer(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	in := bufio.NewReader(c)
	for range 3 {
		if _, err := c.Write(genuine(genuineBody).sign(runnerKey, five).bytes()); err != nil {
			t.Fatal(err)
		}
		w.released(w.read(in), runnerKey, "password", theValue)
	}
}

func TestNothingIsServedBehindAnUnreadBody(t *testing.T) {
	w := newWorld(t)
	inner := genuine(genuineBody).sign(runnerKey, five).bytes()
	outer := genuine(string(inner)) // unsigned; its body is a good request
	c := w.dial()
	if _, err := c.Write(outer.bytes()); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	w.refused(w.read(in), 401, messages[401])
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("after the refusal came %q", rest)
	}
	if len(w.asked) > 0 {
		t.Errorf("%v was asked from inside a body", w.asked)
	}
}
