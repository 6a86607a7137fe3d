package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/server"
)

func TestDrainLosesNothingInFlight(t *testing.T) {
	pair := newPair(t, "first.example")
	for _, c := range []struct {
		name   string
		client func(*testing.T) *http.Client
		scheme string
		change func(*server.Options)
	}{
		{"HTTP/1.1", client, "http://", nil},
		{"HTTP/2", func(t *testing.T) *http.Client { return pair.client(t, true) }, "https://", pair.use},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, c.change)
			release, inside := make(chan struct{}), new(sync.WaitGroup)
			const clients = 100 // HTTP/2's are streams of one connection
			inside.Add(clients)
			r.Swap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				inside.Done()
				<-release
				fmt.Fprint(w, "whole")
			}))
			answers := crowd(t, c.client(t), clients, c.scheme+r.Addr().String()+"/")
			inside.Wait()
			r.stop()
			eventually(t, "the listener is closed", func() bool { return refused(r.Addr()) })
			if got := ask(t, client(t), "GET", r.adminURL("/healthz")); got.status != 200 {
				t.Errorf("admin while draining: %d", got.status)
			}
			close(release)
			for range clients {
				if got := <-answers; got.status != 200 || got.body != "whole" {
					t.Errorf("got %d %q", got.status, got.body)
				}
			}
			if err := r.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

func refused(address net.Addr) bool {
	conn, err := net.DialTimeout("tcp", address.String(), 100*time.Millisecond)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// During the grace period the server says that it leaves, and goes on serving.
func TestGrace(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *server.Options) { o.Grace = 3 * time.Second })
	r.Swap(text("handled"))
	kept := dial(t, r.Addr())
	if got := send(t, kept, "POST / HTTP/1.1\r\nHost: drone\r\n\r\n"); got.status != 200 || got.closes {
		t.Errorf("before: %d, closes %v", got.status, got.closes)
	}
	r.stop()
	var ready reply
	eventually(t, "readyz is 503", func() bool {
		ready = ask(t, client(t), "GET", r.url("/readyz"))
		return ready.status == 503
	})
	if !strings.Contains(ready.body, `"draining"`) {
		t.Errorf("%q", ready.body)
	}
	if got := ask(t, client(t), "GET", r.url("/healthz")); got.status != 200 {
		t.Errorf("healthz: %d", got.status)
	}
	for name, conn := range map[string]net.Conn{"a kept connection": kept, "a new one": dial(t, r.Addr())} {
		if got := send(t, conn, "POST / HTTP/1.1\r\nHost: drone\r\n\r\n"); got.status != 200 || !got.closes {
			t.Errorf("%s: %d, closes %v", name, got.status, got.closes)
		}
	}
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

// Clients that keep coming until nobody listens either get their answer or never get a connection.
func TestDrainLosesNothingThatArrives(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets a listener refuse new connections before it closes")
	}
	for range 5 {
		r := start(t, nil)
		r.Swap(text("whole"))
		var clients sync.WaitGroup
		var answered atomic.Int64
		for range 32 {
			clients.Go(func() {
				for {
					conn, err := net.DialTimeout("tcp", r.Addr().String(), patience)
					if err != nil {
						if !errors.Is(err, syscall.ECONNREFUSED) {
							t.Errorf("dial: %v", err)
						}
						return
					}
					if err := exchange(conn); err != nil {
						t.Errorf("lost after it was connected: %v", err)
						return
					}
					answered.Add(1)
				}
			})
		}
		eventually(t, "the load is on", func() bool { return answered.Load() > 500 })
		r.stop()
		clients.Wait()
		if err := r.ended(); err != nil {
			t.Error(err)
		}
	}
}

func exchange(conn net.Conn) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: drone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != "whole" {
		err = fmt.Errorf("got %d %q", response.StatusCode, body)
	}
	return err
}

// A connection on which nothing was ever asked is nothing that can be lost.
func TestDrainDoesNotWaitForTheSilent(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Drain = 300 * time.Millisecond })
	silent := dial(t, r.Addr())
	if got := ask(t, client(t), "GET", r.url("/healthz")); got.status != 200 { // so the silent one was accepted as well
		t.Errorf("got %d", got.status)
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	gone(t, silent)
}

func TestDrainHasALimit(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Drain = 300 * time.Millisecond })
	inside, done := make(chan struct{}), make(chan struct{})
	r.Swap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		defer close(done)
		close(inside)
		<-r.Context().Done()
	}))
	conn := dial(t, r.Addr())
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: drone\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-inside
	r.stop()
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "1 connections still had no answer") {
		t.Errorf("Run: %v", err)
	}
	gone(t, conn)
	<-done
}
