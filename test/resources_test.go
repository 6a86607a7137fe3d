package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whoever is slow, or says nothing, or doesn't take his answers loses his connection in time, and nobody else notices.
func TestR1SlowClientsAreClosedInTime(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, one+hanging)
	f.Vault("kv-shared").Set("ci-large", secretText(25<<10))
	f.expect(t, f.next(), "shared/ci-token", gets("kv-shared/ci-token"))
	const head = "POST / HTTP/1.1\r\nHost: drone-entra.example\r\n"
	signed := string(genuine(theBody).sign(runnerKey, five).bytes())
	proven := signed[:len(signed)-len(theBody)]
	answers := map[string]string{}
	var mu sync.Mutex
	var slow sync.WaitGroup
	for name, says := range map[string]func(net.Conn){
		"R1 says nothing":          func(net.Conn) {},
		"R1 begins and stops":      func(c net.Conn) { _, _ = io.WriteString(c, head) },
		"R1 a head without end":    func(c net.Conn) { drip(c, head, "X-A: b\r\n") },
		"R1 no body":               func(c net.Conn) { _, _ = io.WriteString(c, proven) },
		"R1 a body bit by bit":     func(c net.Conn) { drip(c, proven, "x") },
		"R1 a body but for a byte": func(c net.Conn) { _, _ = io.WriteString(c, signed[:len(signed)-1]) },
	} {
		conn := f.dial()
		slow.Go(func() {
			defer conn.Close()
			says(conn)
			answer, err := io.ReadAll(conn)
			if late, ok := err.(net.Error); ok && late.Timeout() {
				t.Errorf("%s: it is still connected", name)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name] = string(answer)
		})
	}
	slow.Go(func() { f.neverReads(t) })
	for range 20 {
		f.finds(t, f.next(), "shared/ci-token", f.valueAt(t, "kv-shared/ci-token"))
	}
	slow.Wait()
	f.good(t)

	for name, answer := range answers {
		f.world.answered(answer)
		line, _, _ := strings.Cut(answer, "\r\n")
		if body := strings.Contains(name, "body"); body && line != "HTTP/1.1 400 Bad Request" || !body && strings.Contains(line, "200") {
			t.Errorf("%s: answered %q", name, line)
		}
	}
	cut := 0
	for _, e := range f.events() {
		if e.Outcome == "failed" && e.Reason == "malformed" {
			cut++
		}
	}
	if cut != 3 {
		t.Errorf("%d requests without a whole body are on record, want 3", cut)
	}
}

// drip writes first, then one piece after the other until nobody takes them.
func drip(conn net.Conn, first, piece string) {
	for _, err := io.WriteString(conn, first); err == nil; _, err = io.WriteString(conn, piece) {
		time.Sleep(50 * time.Millisecond)
	}
}

// neverReads asks one time after the other over one connection, and takes no answer. What is between the two ends is full
// at some time, and from then on the program waits for this client.
func (f *faulty) neverReads(t *testing.T) {
	conn := f.dial()
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	b := push("acme/app").number(1 << 40)
	for n := 0; ; n++ {
		_ = conn.SetDeadline(time.Now().Add(45 * time.Second)) // the budget is 8 s, and he has 10 more
		b.build.Message = fmt.Sprint(n)                        // so that none is a repetition
		_, err := conn.Write(genuine(b.body("shared", "ci-large")).sign(runnerKey, five).bytes())
		if err == nil {
			continue
		}
		if late, ok := err.(net.Error); ok && late.Timeout() {
			t.Errorf("R1 never reads: still connected after %d questions", n)
		}
		return
	}
}

// A request's head is 16 KiB at most, to the byte, and it makes no difference whether it is proven.
func TestR3AHeadHasABound(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	const most = 16 << 10
	for _, signed := range []bool{true, false} {
		for _, more := range []int{0, 1, 1 << 10, 48 << 10} {
			t.Run(fmt.Sprintf("R3 16 KiB and %d bytes signed %t", more, signed), func(t *testing.T) {
				m := genuine(theBody)
				if signed {
					m.sign(runnerKey, five)
				}
				m.add("X-Pad", "")
				m.set("X-Pad", strings.Repeat("a", most+more-(len(m.bytes())-len(m.body))))
				before := len(s.events())
				r := s.send(m)
				switch {
				case more > 0: // what is far too large the HTTP library refuses by itself, in words of its own
					if r.Status != http.StatusRequestHeaderFieldsTooLarge || more < most && !strings.Contains(string(r.Body), fmt.Sprint(most)) || !r.Close {
						t.Errorf("answered %s %s, closes %t", r.Line, r.Body, r.Close)
					}
					if all := s.events()[before:]; len(all) != 0 {
						t.Errorf("it got as far as the record: %+v", all)
					}
				case signed:
					s.gotOne(t, r)
				default:
					s.unproven(t, r, "signature")
				}
				s.servesOne(t)
			})
		}
	}
}
