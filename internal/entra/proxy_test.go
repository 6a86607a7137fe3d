package entra_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// behind gives the transport of production that goes through a proxy, whose name leads to address where it is not empty.
func behind(t *testing.T, proxy, address string) *entra.Transport {
	t.Helper()
	transport := entra.NewTransport(0)
	t.Cleanup(transport.CloseIdleConnections)
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	transport.Proxy = http.ProxyURL(u)
	if address != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	return transport
}

// badProxy is a proxy that answers every CONNECT as it is told.
func badProxy(t *testing.T, status int, fields ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range fields {
			w.Header().Add("Proxy-Authenticate", f)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "canary-of-the-proxy")
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// listening takes connections and does with them as it is told.
func listening(t *testing.T, with func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			with(c)
			defer c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A fault of the proxy is told as the proxy's, with its remedy, by whoever asks for whatever. Its login is never told.
func TestAProxyAtFault(t *testing.T) {
	t.Parallel()
	const place = "proxy.acme.example:3128"
	const login = "canary-name:canary-word@"
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		scheme, login, address string
		reason                 secret.Reason
		says                   []string
	}{
		"no name":            {"http", "", "", secret.ReasonNetwork, []string{"can't be resolved", "correct it in HTTPS_PROXY"}},
		"closed":             {"http", "", closed(t), secret.ReasonNetwork, []string{"refuses connections", "NO_PROXY"}},
		"silent":             {"http", "", listening(t, func(net.Conn) {}), secret.ReasonTimeout, []string{"does not answer in time", "NO_PROXY"}},
		"breaks off":         {"http", "", listening(t, func(c net.Conn) { _ = c.Close() }), secret.ReasonNetwork, []string{"breaks the connection"}},
		"speaks SSH":         {"http", "", listening(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-canary\r\n\r\n") }), secret.ReasonNetwork, []string{"does not speak as a proxy"}},
		"403":                {"http", "", badProxy(t, 403), secret.ReasonNetwork, []string{"answered 403 for login.microsoftonline.com", "allow login.microsoftonline.com"}},
		"404":                {"http", "", badProxy(t, 404), secret.ReasonNetwork, []string{"no proxy", "correct its address in HTTPS_PROXY"}},
		"407":                {"http", "", badProxy(t, 407, `Basic realm="canary"`), secret.ReasonNetwork, []string{"wants a login (407)", "http://NAME:PASSWORD@HOST:PORT"}},
		"407, login":         {"http", login, badProxy(t, 407, "Negotiate", `Basic realm="canary"`), secret.ReasonNetwork, []string{"does not take the login", "%40"}},
		"407, NTLM":          {"http", login, badProxy(t, 407, "NTLM", "Negotiate canary"), secret.ReasonNetwork, []string{"NTLM or Negotiate", "let it pass"}},
		"502":                {"http", "", badProxy(t, 502), secret.ReasonNetwork, []string{"answered 502 for login.microsoftonline.com", "resolves and reaches it"}},
		"https, plain":       {"https", login, badProxy(t, 200), secret.ReasonNetwork, []string{"does not speak TLS", "write http://"}},
		"https, nobody's":    {"https", login, secure.Listener.Addr().String(), secret.ReasonNetwork, []string{"certificate", "SSL_CERT_FILE"}},
		"https, silent":      {"https", login, listening(t, func(net.Conn) {}), secret.ReasonTimeout, []string{"does not answer in time"}},
		"https, breaks off":  {"https", login, listening(t, func(c net.Conn) { _ = c.Close() }), secret.ReasonNetwork, []string{"breaks the connection"}},
		"socks5, breaks off": {"socks5", login, listening(t, func(c net.Conn) { _ = c.Close() }), secret.ReasonNetwork, []string{"breaks the connection"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transport := behind(t, c.scheme+"://"+c.login+place, c.address)
			if name == "no name" {
				transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if c.reason != secret.ReasonTimeout {
				ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			}
			defer cancel()
			_, _, err := entra.Clock(ctx, transport, "", time.Now)
			e := secret.AsError(err)
			if e.Kind != secret.Unavailable || e.Reason != c.reason {
				t.Errorf("%s, %s", e.Kind, e.Reason)
			}
			// An issuer's documents are fetched in the same way.
			_, flaw := entra.Published(ctx, transport, "https://login.microsoftonline.com")
			if flaw == nil || c.reason != secret.ReasonTimeout && !flaw.Mild {
				t.Fatalf("%+v", flaw)
			}
			for _, want := range append(c.says, "the proxy "+place+" (HTTPS_PROXY) ") {
				if !strings.Contains(e.Detail, want) {
					t.Errorf("%q is not in %q", want, e.Detail)
				}
				if text := flaw.Cause + ": " + flaw.Remedy; c.reason != secret.ReasonTimeout && !strings.Contains(text, want) {
					t.Errorf("%q is not in %q", want, text)
				}
			}
			if strings.Contains(e.Detail+flaw.Cause+flaw.Remedy, "canary") {
				t.Errorf("%q, %+v", e.Detail, flaw)
			}
		})
	}
}

// What the other side does behind a proxy that works is not the proxy's, and nobody is blamed by who gave up himself.
func TestAProxyThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent := listening(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err := entra.Clock(ctx, behind(t, "http://"+silent, ""), "", time.Now)
	if e := secret.AsError(err); e.Reason != secret.ReasonTimeout || strings.Contains(e.Detail, "HTTPS_PROXY") {
		t.Errorf("who hangs behind the proxy: %s", e)
	}
	_, _, err = entra.Clock(t.Context(), behind(t, w.ProxyURL(), ""), "", time.Now)
	if e := secret.AsError(err); e.Reason != secret.ReasonIdentity || strings.Contains(e.Detail, "HTTPS_PROXY") {
		t.Errorf("a certificate of nobody: %s", e)
	}
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	_, _, err = entra.Clock(given, behind(t, "http://"+closed(t), ""), "", time.Now)
	if strings.Contains(secret.AsError(err).Detail, "HTTPS_PROXY") {
		t.Errorf("who gave up: %s", err)
	}
}

// An address of a proxy that can't be read may have a login in it.
func TestAProxysAddressThatCantBeRead(t *testing.T) {
	t.Parallel()
	transport := entra.NewTransport(0)
	transport.Proxy = func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "ht tp://canary-name:canary-word@x"`)
	}
	_, _, err := entra.Clock(t.Context(), transport, "", time.Now)
	if e := secret.AsError(err); e.Reason != secret.ReasonNetwork || !strings.Contains(e.Detail, "HTTPS_PROXY holds no address of a proxy: write") || strings.Contains(e.Detail, "canary") {
		t.Errorf("%s", e)
	}
}

// The exchange behind such a proxy tells it, too, through all that the SDK makes of it, and so does a managed identity's plain HTTP.
func TestAnExchangeBehindAProxyAtFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	transport := behind(t, "http://proxy.acme.example:3128", badProxy(t, 403))
	_, err := w.token(w.identity(func(o *entra.Options) { o.Transport = transport }))
	want(t, err, secret.Unavailable, secret.ReasonNetwork, login, "the proxy proxy.acme.example:3128 (HTTPS_PROXY) answered 403", "allow "+login)
	transport = behind(t, "http://proxy.acme.example:3128", closed(t))
	_, err = w.token(w.identity(func(o *entra.Options) {
		o.AssertionFile, o.TenantID, o.ClientID, o.Managed, o.Transport = "", "", "aaaaaaaa-0000-4000-8000-000000000008", true, transport
	}))
	want(t, err, secret.Unavailable, secret.ReasonNetwork, "the proxy proxy.acme.example:3128 (HTTP_PROXY) refuses connections", "add it to NO_PROXY")
}
