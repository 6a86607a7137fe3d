package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/server"
)

// dialFrom opens a connection from another address of the loopback network, which Linux has without being told.
func dialFrom(t *testing.T, from string, address net.Addr) net.Conn {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is but one loopback address")
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// alive tells whether the other side has left a silent connection open.
func alive(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	defer conn.SetReadDeadline(time.Now().Add(patience))
	_, err := conn.Read(make([]byte, 1))
	late, ok := err.(net.Error)
	return ok && late.Timeout()
}

func living(conns []net.Conn) (n int) {
	for _, c := range conns {
		if alive(c) {
			n++
		}
	}
	return n
}

const (
	plainAsk = "POST / HTTP/1.1\r\nHost: drone\r\nContent-Length: 0\r\n\r\n"
	onlyAsk  = "POST / HTTP/1.1\r\nHost: drone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

func few(o *server.Options) { o.Connections, o.ReadTimeout = 16, 10*patience }

// One client fills every place, and the queue behind it, with connections that say nothing. Others come in at once, and he
// loses no more than they need.
func TestAClientWhoSaysNothingKeepsNobodyOut(t *testing.T) {
	r := start(t, few)
	r.Swap(text("handled"))
	var silent []net.Conn
	for range 30 { // 16 are in, and 14 wait
		silent = append(silent, dialFrom(t, "127.0.0.2", r.Addr()))
	}
	for i := range 20 {
		began := time.Now()
		if got := send(t, dialFrom(t, "127.0.0.3", r.Addr()), plainAsk); got.status != 200 {
			t.Fatalf("another client is answered %d", got.status)
		}
		if took := time.Since(began); took > 3*time.Second { // the silent ones' time is 5 s
			t.Fatalf("another client waits for %s, request %d", took, i)
		}
	}
	if n := living(silent); n >= 30 || n < 10 {
		t.Errorf("%d of 30 silent connections are left", n)
	}
	if log := r.log.String(); strings.Count(log, "connections run short: the client that has most") != 1 || !strings.Contains(log, "127.0.0.2/32") {
		t.Errorf("the log does not tell it once:\n%s", log)
	}
}

// A proxy in front is one client. It waits, as it would without any of this, and loses nothing.
func TestOneClientAloneLosesNothing(t *testing.T) {
	r := start(t, few)
	r.Swap(text("handled"))
	var conns []net.Conn
	for range 24 {
		conns = append(conns, dialFrom(t, "127.0.0.2", r.Addr()))
	}
	time.Sleep(50 * time.Millisecond) // for whatever might be closed
	if n := living(conns); n != 24 {
		t.Errorf("%d of 24 connections are left", n)
	}
	for _, c := range conns {
		if got := send(t, c, onlyAsk); got.status != 200 {
			t.Errorf("answered %d", got.status)
		}
	}
}

// Who asks is not interrupted for anybody; and the next place is for the client who has fewest.
func TestWhoAsksKeepsHisPlace(t *testing.T) {
	r := start(t, few)
	release := make(chan struct{})
	var inside atomic.Int64
	var last atomic.Value
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.RemoteAddr)
		inside.Add(1)
		<-release
		fmt.Fprint(w, "handled")
	}))
	ask := func(from string) net.Conn {
		conn := dialFrom(t, from, r.Addr())
		if _, err := io.WriteString(conn, onlyAsk); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var many []net.Conn
	for range 16 {
		many = append(many, ask("127.0.0.2"))
	}
	eventually(t, "16 are inside", func() bool { return inside.Load() == 16 })
	for range 10 {
		many = append(many, ask("127.0.0.2"))
	}
	other := ask("127.0.0.3")
	if n := living(append(many, other)); n != 27 {
		t.Errorf("%d of 27 connections are left", n)
	}
	came := int64(0)
	for ; came < 3; came++ { // the others would be ten; and he may be on his way yet when the first place is free
		release <- struct{}{}
		eventually(t, "one more is inside", func() bool { return inside.Load() == 17+came })
		if strings.HasPrefix(last.Load().(string), "127.0.0.3:") {
			break
		}
	}
	if came == 3 {
		t.Errorf("the places went to others, the last one to %s", last.Load())
	}
	close(release)
	many = append(many, other)
	for i, c := range many {
		if response, err := io.ReadAll(c); err != nil || !strings.Contains(string(response), "handled") {
			t.Errorf("connection %d got %q, %v", i, response, err)
		}
	}
}

// Idle connections go before those that may be about to ask.
func TestIdleConnectionsGoFirst(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Connections, o.ReadTimeout, o.IdleTimeout = 16, 10*patience, 10*patience })
	r.Swap(text("handled"))
	var idle, silent []net.Conn
	for range 11 { // as many as are kept: less than a quarter free, and answers end their connections
		conn := dialFrom(t, "127.0.0.2", r.Addr())
		if got := send(t, conn, plainAsk); got.closes {
			t.Fatal("a connection ends although there is room")
		}
		idle = append(idle, conn)
	}
	for range 5 {
		silent = append(silent, dialFrom(t, "127.0.0.2", r.Addr()))
	}
	time.Sleep(200 * time.Millisecond) // until they are in, and the others count as idle
	for range 3 {
		dialFrom(t, "127.0.0.3", r.Addr())
	}
	eventually(t, "three idle ones are gone", func() bool { return living(idle) == 8 })
	if n := living(silent); n != 5 {
		t.Errorf("%d of 5 silent connections are left", n)
	}
	if living(idle[6:]) != 5 { // two that were answered right after each other may have become idle the other way round
		t.Error("it was not the longest idle that went")
	}
}

// Who waits for a place when the drain begins is served all the same.
func TestDrainServesThoseWhoWaitForAPlace(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Connections, o.ReadTimeout = 4, 10*patience })
	release := make(chan struct{})
	var inside atomic.Int64
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside.Add(1)
		<-release
		fmt.Fprint(w, "handled")
	}))
	var all []net.Conn
	for range 8 {
		conn := dial(t, r.Addr())
		if _, err := io.WriteString(conn, onlyAsk); err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	eventually(t, "four are inside", func() bool { return inside.Load() == 4 })
	time.Sleep(50 * time.Millisecond) // until the others wait
	r.stop()
	eventually(t, "all are let in", func() bool { return inside.Load() == 8 })
	close(release)
	for i, conn := range all {
		if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "handled") {
			t.Errorf("connection %d got %q, %v", i, answer, err)
		}
	}
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}
