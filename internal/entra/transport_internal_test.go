package entra

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// HTTP/2's buffers would keep a secret's value that came through them.
func TestTheTransportSpeaksHTTP1(t *testing.T) {
	protocol := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { protocol <- r.Proto }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	transport := NewTransport(0)
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	resp, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if p := <-protocol; p != "HTTP/1.1" {
		t.Errorf("a server that speaks HTTP/2 too was asked in %s", p)
	}
}

func TestNoMoreConnectionsThanThereAreFilesFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := rationed(func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			_ = far.Close()
			return near, nil
		}, 2)
		open := func(ctx context.Context) (net.Conn, time.Duration, error) {
			began := time.Now()
			conn, err := dial(ctx, "tcp", "kv.vault.azure.net:443")
			return conn, time.Since(began), err
		}
		first, _, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, took, err := open(t.Context()); err == nil || took != dialTimeout {
			t.Errorf("a third one: %v after %s", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, took, err := open(ctx); err == nil || took != time.Second {
			t.Errorf("one whose caller left: %v after %s", err, took)
		}
		time.AfterFunc(time.Second, func() { _ = first.Close(); _ = first.Close() })
		third, took, err := open(t.Context())
		if err != nil || took != time.Second {
			t.Fatalf("one that waited for another's end: %v after %s", err, took)
		}
		if _, _, err := open(t.Context()); err == nil {
			t.Error("a connection that was closed twice made room for two")
		}
		_ = second.Close()
		_ = third.Close()
	})
}
