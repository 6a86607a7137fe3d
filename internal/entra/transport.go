package entra

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxAnswer bounds what an answer may hold, in bytes. A token's is a few KiB.
const maxAnswer = 1 << 20

var errFenced = errors.New("an answer named another host than the authority")

// dialTimeout ends a try to connect, and a wait for one to be allowed.
const dialTimeout = 3 * time.Second

// NewTransport makes the transport of a process towards Azure: the system's roots, the proxy of the environment, TLS 1.2
// at least, and every wait bounded. One serves all identities and vaults. It opens no more than that many connections at
// once, of which a quarter may be idle; 0 means as many as are asked for. Beyond it a try to connect waits for its turn.
//
// It speaks HTTP/1.1 alone: what came over HTTP/2, a secret among it, stays in that connection's buffers until something
// as large comes over it again. Dialling and the handshake end soon enough for a second try within the 12 s of an exchange.
func NewTransport(connections int) *Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: connected,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    4 * time.Second,
		Protocols:              &protocols,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if connections > 0 {
		t.DialContext = rationed(t.DialContext, connections)
		t.MaxIdleConns = max(1, min(t.MaxIdleConns, connections/4)) // 0 would mean any number
		t.MaxIdleConnsPerHost = min(t.MaxIdleConnsPerHost, t.MaxIdleConns)
	}
	return &Transport{t}
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// rationed bounds how many connections are open at once, so that files are left for everything else.
func rationed(next dial, connections int) dial {
	ration := make(chan struct{}, connections)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		wait := time.NewTimer(dialTimeout)
		defer wait.Stop()
		select {
		case ration <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wait.C:
			return nil, fmt.Errorf("all %d connections that open files leave room for are in use", connections)
		}
		conn, err := next(ctx, network, address)
		if err != nil {
			<-ration
			return nil, err
		}
		return &rationedConn{Conn: conn, leave: sync.OnceFunc(func() { <-ration })}, nil
	}
}

type rationedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection and lets another be opened.
func (c *rationedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// fence is the last thing before the network: it lets requests go to the authority only (an answer of Entra's may name
// any host as its token endpoint), bounds the answers and notes what happened.
type fence struct {
	next  http.RoundTripper
	hosts []string // the authority's names; none: any host, for the endpoints of managed identities, which take no assertion
}

// RoundTrip sends the request, unless it would leave the authority.
// What has no trace is fenced all the same. Hosts compare without case, but with the port: another one is elsewhere.
func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	t, _ := req.Context().Value(traceKey{}).(*trace)
	if t == nil {
		t = &trace{}
	}
	if f.hosts != nil && (req.URL.Scheme != "https" || !slices.Contains(f.hosts, strings.ToLower(req.URL.Host))) {
		t.set(func() { t.transport, t.status = errFenced, 0 })
		return nil, errFenced
	}
	resp, err := f.next.RoundTrip(req)
	if err != nil {
		t.set(func() { t.transport, t.status = err, 0 })
		return nil, err
	}
	t.set(func() { t.transport, t.status = nil, resp.StatusCode })
	resp.Body = noted{http.MaxBytesReader(nil, resp.Body, maxAnswer), t}
	return resp, nil
}

// noted is a body whose reading may fail after the head came well.
// MSAL would report a body that broke off as JSON that can't be read, which looks like a proxy's doing.
type noted struct {
	io.ReadCloser
	trace *trace
}

// Read reads and notes a failure.
func (b noted) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.trace.set(func() { b.trace.transport = err })
	}
	return n, err
}
