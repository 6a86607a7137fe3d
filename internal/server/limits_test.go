package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
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

func dial(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// send writes raw bytes and reads one answer.
func send(t *testing.T, conn net.Conn, raw string) reply {
	t.Helper()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := take(response)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// head is a request head of exactly this many bytes, from the method to the empty line.
func head(bytes int, more string) string {
	raw := "POST / HTTP/1.1\r\nHost: drone\r\n" + more + "X-Pad: "
	return raw + strings.Repeat("a", bytes-len(raw)-len("\r\n\r\n")) + "\r\n\r\n"
}

func TestHeaderLimitIsExact(t *testing.T) {
	r := start(t, nil)
	r.Swap(text("handled"))
	many := strings.Repeat("A: b\r\n", 2000)
	for _, c := range []struct {
		name, raw string
		status    int
	}{
		{"exactly 16 KiB", head(16384, ""), 200},
		{"and one byte", head(16385, ""), 431},
		{"in many fields", head(16384, many), 200},
		{"in many fields, and one byte", head(16385, many), 431},
		{"with a length", head(16384, "Content-Length: 0\r\n"), 200},
		{"with a length, and one byte", head(16385, "Content-Length: 0\r\n"), 431},
		{"chunked, with a trailer", head(16384, "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n") + "0\r\n\r\n", 200},
		{"chunked, with a trailer, and one byte", head(16385, "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n") + "0\r\n\r\n", 431},
		{"in the request line", strings.Replace(head(16384, ""), "POST /", "POST /x", 1), 431},
		{"beyond net/http's own limit", head(64<<10, ""), 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := send(t, dial(t, r.Addr()), c.raw)
			if got.status != c.status {
				t.Errorf("%d bytes: %d %q", len(c.raw), got.status, got.body)
			}
		})
	}
	t.Run("again on a kept connection", func(t *testing.T) {
		conn := dial(t, r.Addr())
		for _, size := range []int{100, 16384, 16384, 16385} {
			got := send(t, conn, head(size, ""))
			if want := map[bool]int{true: 200, false: 431}[size <= 16384]; got.status != want {
				t.Errorf("%d bytes: %d", size, got.status)
			}
		}
	})
	t.Run("said in JSON", func(t *testing.T) {
		got := send(t, dial(t, r.Addr()), head(16385, ""))
		if got.body != `{"message":"the request line and headers exceed 16384 bytes"}`+"\n" {
			t.Errorf("%q", got.body)
		}
	})
}

// The same request has the same size however it came.
func TestHeaderLimitIsExactForHTTP2(t *testing.T) {
	pair := newPair(t, "first.example")
	r := start(t, pair.use)
	r.Swap(text("handled"))
	for _, size := range []int{16384, 16385} {
		for _, fields := range []int{0, 300} {
			status := askHTTP2(t, r, pair, size, fields)
			if want := map[bool]int{true: 200, false: 431}[size <= 16384]; status != want {
				t.Errorf("%d bytes in %d fields: %d", size, fields+1, status)
			}
		}
	}
}

func askHTTP2(t *testing.T, r *running, pair *pair, size, fields int) int {
	t.Helper()
	c := pair.client(t, true)
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := "GET / HTTP/1.1\r\nHost: " + r.Addr().String() + "\r\nUser-Agent: \r\nX-Pad: \r\n\r\n"
	request.Header.Set("User-Agent", "u")
	request.Header.Set("Accept-Encoding", "identity")
	raw += "uAccept-Encoding: identity\r\n"
	for i := range fields {
		name := fmt.Sprintf("X-%d", i)
		request.Header.Set(name, "v")
		raw += name + ": v\r\n"
	}
	request.Header.Set("X-Pad", strings.Repeat("a", size-len(raw)))
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.ProtoMajor != 2 {
		t.Fatalf("spoke %s", response.Proto)
	}
	got, err := take(response)
	if err != nil {
		t.Fatal(err)
	}
	return got.status
}

// gone waits until the server has closed the connection.
func gone(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error("the connection is still open")
		}
	}
}

func quick(o *server.Options) {
	o.ReadTimeout, o.WriteTimeout, o.IdleTimeout = time.Second, 2*time.Second, 300*time.Millisecond
}

func TestSlowClientsAreClosed(t *testing.T) {
	r := start(t, quick)
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "late", http.StatusRequestTimeout)
			return
		}
		block := make([]byte, 1<<20)
		for range 64 { // more than the buffers of both ends
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	t.Run("says nothing", func(t *testing.T) { gone(t, dial(t, r.Addr())) })
	t.Run("a slow head", func(t *testing.T) {
		conn := dial(t, r.Addr())
		drip(t, conn, "POST / HTTP/1.1\r\n", "X-A: b\r\n")
		gone(t, conn)
	})
	t.Run("a slow body", func(t *testing.T) {
		conn := dial(t, r.Addr())
		drip(t, conn, "POST / HTTP/1.1\r\nHost: drone\r\nContent-Length: 1000000\r\n\r\n", "x")
		gone(t, conn)
	})
	t.Run("idle", func(t *testing.T) {
		conn := dial(t, r.Addr())
		if got := send(t, conn, "GET /healthz HTTP/1.1\r\nHost: drone\r\n\r\n"); got.status != 200 || got.closes {
			t.Errorf("%d, closes %v", got.status, got.closes)
		}
		gone(t, conn)
	})
	t.Run("never reads", func(t *testing.T) {
		conn := dial(t, r.Addr())
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: drone\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection is closed", func() bool { // a write fails once the peer is gone
			_, err := conn.Write([]byte("x"))
			return err != nil
		})
	})
	if got := ask(t, client(t), "GET", r.url("/healthz")); got.status != 200 {
		t.Errorf("others: %d", got.status)
	}
}

// drip writes first, then one piece after the other until the server hangs up.
func drip(t *testing.T, conn net.Conn, first, piece string) {
	t.Helper()
	if _, err := io.WriteString(conn, first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server hangs up", func() bool {
		_, err := io.WriteString(conn, piece)
		return err != nil
	})
}

// A refusal is sent at once, although the body that it refuses never comes.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	r := start(t, func(o *server.Options) { o.ReadTimeout = 10 * patience })
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	conn := dial(t, r.Addr())
	got := send(t, conn, "POST / HTTP/1.1\r\nHost: drone\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if got.status != 401 || !got.closes {
		t.Errorf("%d, closes %v", got.status, got.closes)
	}
	_ = conn.Close()
}

func TestRefusalOfAReadBodyKeepsTheConnection(t *testing.T) {
	r := start(t, nil)
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNotFound)
	}))
	conn := dial(t, r.Addr())
	for range 3 {
		got := send(t, conn, "POST / HTTP/1.1\r\nHost: drone\r\nContent-Length: 5\r\n\r\nhello")
		if got.status != 404 || got.closes {
			t.Errorf("%d, closes %v", got.status, got.closes)
		}
	}
}

// Beyond the cap, connections wait their turn; the admin listener has its own.
func TestConnectionsCap(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Connections = 4 })
	release := make(chan struct{})
	var inside atomic.Int64
	r.Swap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := inside.Add(1); n > 4 {
			t.Errorf("%d at once", n)
		}
		defer inside.Add(-1)
		<-release
		fmt.Fprint(w, "handled")
	}))
	const clients = 12
	answers := crowd(t, client(t), clients, r.url("/"))
	eventually(t, "four are served", func() bool { return inside.Load() == 4 })
	for range 5 {
		if got := ask(t, client(t), "GET", r.adminURL("/healthz")); got.status != 200 {
			t.Errorf("admin: %d", got.status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	full, err := http.NewRequestWithContext(ctx, "GET", r.url("/healthz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := client(t).Do(full); err == nil {
		_ = response.Body.Close()
		t.Error("a thirteenth connection was served past the cap")
	}
	close(release)
	for range clients {
		if got := <-answers; got.status != 200 {
			t.Errorf("got %d", got.status)
		}
	}
}

// More connections than the process may open files are never accepted: the answers need some as well.
func TestConnectionsLeaveDescriptorsForTheirAnswers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the number of open files may have no bound")
	}
	r := start(t, func(o *server.Options) { o.Connections = 1 << 29 })
	if !strings.Contains(r.log.String(), "fewer connections than configured: raise the limit of open files") {
		t.Errorf("no warning:\n%s", r.log)
	}
}

// When connections run short, an answered one ends, so that idle ones keep nobody out.
func TestCrowdedConnectionsEnd(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Connections = 4 })
	const request = "GET /healthz HTTP/1.1\r\nHost: drone\r\n\r\n"
	for i := range 3 {
		if got := send(t, dial(t, r.Addr()), request); got.closes {
			t.Errorf("connection %d ends although there is room", i)
		}
	}
	for range 5 { // each would wait for ever if the one before stayed
		if got := send(t, dial(t, r.Addr()), request); !got.closes {
			t.Error("the last free connection is kept idle")
		}
	}
}

func TestPlainHTTPIsRefusedOnTheTLSPort(t *testing.T) {
	r := start(t, newPair(t, "first.example").use)
	r.Swap(text("handled"))
	got := send(t, dial(t, r.Addr()), "POST / HTTP/1.1\r\nHost: drone\r\n\r\n")
	if got.status != 400 || strings.Contains(got.body, "handled") {
		t.Errorf("%d %q", got.status, got.body)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	pair := newPair(t, "first.example")
	r := start(t, pair.use)
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		// the old version is the point
		conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: pair.roots(t), ServerName: "first.example",
			MinVersion: version, MaxVersion: version})
		if served := err == nil; served != (version >= tls.VersionTLS12) {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}
