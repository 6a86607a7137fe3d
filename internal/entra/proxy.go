package entra

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/drone-entra/drone-entra/secret"
)

// Transport is the standard library's, but for one thing: what the proxy on the way did comes as a *secret.ProxyError. Else it
// would look like a fault of Entra's or of a vault's.
type Transport struct{ *http.Transport }

// RoundTrip sends the request.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.Proxy == nil {
		return t.Transport.RoundTrip(req)
	}
	proxy, err := t.Proxy(req)
	switch {
	case err != nil: // whose text has the address, and so a login that may be in it
		name := variable(req)
		return nil, &secret.ProxyError{Reason: secret.ReasonNetwork, Cause: name + " holds no address of a proxy", Remedy: "write http://HOST:PORT there"}
	case proxy == nil:
		return t.Transport.RoundTrip(req)
	}
	w := &way{}
	resp, err := t.Transport.RoundTrip(req.WithContext(w.watched(req.Context())))
	if err == nil {
		return resp, nil
	}
	if fault := w.fault(req, proxy, err); fault != nil {
		return nil, fault
	}
	return nil, err
}

// way is how far a request came that goes through a proxy. The transport dials in a goroutine of its own.
type way struct {
	begun, got atomic.Bool  // a connection to the proxy; one to the other side
	handshakes atomic.Int32 // that were begun
}

func (w *way) watched(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { // the transport may try again when a connection that it kept is dead
			w.begun.Store(false)
			w.got.Store(false)
			w.handshakes.Store(0)
		},
		DNSStart:          func(httptrace.DNSStartInfo) { w.begun.Store(true) },
		ConnectStart:      func(string, string) { w.begun.Store(true) },
		TLSHandshakeStart: func() { w.handshakes.Add(1) },
		GotConn:           func(httptrace.GotConnInfo) { w.got.Store(true) },
	})
}

// atProxy tells whether it came to the proxy and not beyond: the handshake with the other side had not begun. A proxy that is
// spoken to by TLS has one of its own before.
func (w *way) atProxy(req *http.Request, proxy *url.URL) bool {
	own := int32(0)
	if proxy.Scheme == "https" {
		own = 1
	}
	return req.URL.Scheme == "https" && w.begun.Load() && !w.got.Load() && w.handshakes.Load() <= own
}

// fault says what the proxy did; nil if it was not the proxy.
func (w *way) fault(req *http.Request, proxy *url.URL, err error) *secret.ProxyError {
	var refused *refusedByProxy
	var timeout net.Error
	var dns *net.DNSError
	toProxy, _ := errors.AsType[*net.OpError](err)
	name := variable(req)
	as := func(r secret.Reason, did, remedy string) *secret.ProxyError {
		return &secret.ProxyError{Reason: r, Cause: fmt.Sprintf("the proxy %s (%s) %s", proxy.Host, name, did), Remedy: remedy}
	}
	switch {
	case errors.As(err, &refused):
		did, remedy := refused.explained(req.URL.Hostname(), name, proxy.User != nil)
		return as(secret.ReasonNetwork, did, remedy)
	case errors.Is(err, context.Canceled):
		return nil
	case !(toProxy != nil && toProxy.Op == "proxyconnect") && !w.atProxy(req, proxy):
		return nil
	case errors.As(err, &dns) && !dns.IsTimeout:
		return as(secret.ReasonNetwork, "has a name that can't be resolved", "correct it in "+name+", or look at the DNS")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return as(secret.ReasonTimeout, "does not answer in time", "look whether it runs, at the address in "+name+" and at egress rules; "+direct(req))
	case errors.As(err, new(tls.RecordHeaderError)):
		return as(secret.ReasonNetwork, "does not speak TLS", "write http:// for https:// in "+name)
	case impostor(err):
		return as(secret.ReasonNetwork, "has a certificate that does not prove its name", "add the authority that signed it to the machine's roots (SSL_CERT_FILE), or write http:// for https:// in "+name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return as(secret.ReasonNetwork, "refuses connections", "look whether it runs, at its port in "+name+" and at egress rules; "+direct(req))
	}
	return as(secret.ReasonNetwork, "breaks the connection, or does not speak as a proxy does", "correct its address in "+name+", or look at egress rules and at the proxy's own log; "+direct(req))
}

// variable is the one of the environment that names the proxy.
func variable(req *http.Request) string {
	if req.URL.Scheme == "http" {
		return "HTTP_PROXY"
	}
	return "HTTPS_PROXY"
}

// direct is the other way out.
func direct(req *http.Request) string {
	return "where " + req.URL.Hostname() + " is reached without a proxy, add it to NO_PROXY"
}

// refusedByProxy is an answer to CONNECT other than 200.
type refusedByProxy struct {
	status  int
	schemes []string // of its Proxy-Authenticate
}

// Error has the status alone: what stands behind it is a stranger's text.
func (r *refusedByProxy) Error() string { return fmt.Sprintf("the proxy answered %d", r.status) }

// connected looks at a proxy's answer to CONNECT, of which the standard library would keep the words alone.
func connected(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	r := &refusedByProxy{status: answer.StatusCode}
	for _, challenge := range answer.Header.Values("Proxy-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		r.schemes = append(r.schemes, strings.ToLower(scheme))
	}
	return r
}

// explained says what an answer to CONNECT means, and what to do.
func (r *refusedByProxy) explained(host, variable string, login bool) (did, remedy string) {
	without := "if this machine reaches " + host + " without it, add that to NO_PROXY"
	switch {
	case r.status == http.StatusProxyAuthRequired && len(r.schemes) > 0 && !slices.Contains(r.schemes, "basic"):
		return "wants a login of a kind that is not spoken here, as NTLM or Negotiate (407)", "let it pass this machine without a login, or with Basic; " + without
	case r.status == http.StatusProxyAuthRequired && login:
		return "does not take the login that is in " + variable + " (407)", "correct it there; a sign as @ or / in a password is written %40 or %2F"
	case r.status == http.StatusProxyAuthRequired:
		return "wants a login (407)", "write " + variable + " as http://NAME:PASSWORD@HOST:PORT and keep it in a secret, or let it pass this machine without one; " + without
	case r.status >= 500:
		return fmt.Sprintf("answered %d for %s", r.status, host), "compare that name, and look whether the proxy resolves and reaches it; " + without
	case slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, r.status):
		return fmt.Sprintf("answered %d for %s, as a web server does that is no proxy", r.status, host), "correct its address in " + variable + "; " + without
	}
	return fmt.Sprintf("answered %d for %s", r.status, host), "allow " + host + " at the proxy; " + without
}
