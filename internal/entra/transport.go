package entra

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxAnswer bounds what an answer may hold, in bytes. A token's is a few KiB.
const maxAnswer = 1 << 20

var errFenced = errors.New("an answer named another host than the authority")

// NewTransport makes the transport of a process towards Azure: the system's roots, the proxy of the environment, TLS 1.2
// at least, and every wait bounded. One serves all identities and vaults.
//
// Dialling and the handshake end soon enough for a second try within the 12 s of an exchange.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    4 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}, // a dead connection is found
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
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
