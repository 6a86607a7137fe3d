package emulator

import (
	"bufio"
	"net"
	"net/http"
	"strings"
)

// ProxyURL is the address of an HTTP proxy that leads every registered host here: CONNECT for https, a whole URL in
// the request line for http. It is for programs that know nothing of the emulator: HTTPS_PROXY, HTTP_PROXY and
// SSL_CERT_FILE in their environment are enough. A host that nobody registered is answered with 502.
func (e *Emulator) ProxyURL() string { return "http://" + e.plain.Addr().String() }

// serveProxy answers on the plain port: as a proxy, and as the metadata service for those who were dialed straight here.
// It leads to registered hosts alone and is no open proxy, though it is on the loopback address anyway.
func (e *Emulator) serveProxy(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		e.connect(w, r)
		return
	}
	host := hostOnly(r.Host)
	if !e.resolves(host, true) {
		noSuchHost(w, host)
		return
	}
	e.answer(w, r, host, e.sites.find(host, true))
}

// connect turns the connection over to the TLS server.
//
// The name is looked up here, as the client leaves that to its proxy, so a fault of names shows as a 502.
func (e *Emulator) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" || !e.resolves(host, false) {
		noSuchHost(w, hostOnly(r.Host))
		return
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot be tunnelled", http.StatusInternalServerError)
		return
	}
	if _, err := buffered.WriteString("HTTP/1.1 200 Connection established\r\n\r\n"); err != nil || buffered.Flush() != nil {
		_ = raw.Close()
		return
	}
	e.tunnels.hand(&tunnelled{Conn: raw, early: buffered.Reader})
}

// tunnelled reads what the client sent along with its CONNECT before what comes after it.
type tunnelled struct {
	net.Conn
	early *bufio.Reader
}

func (t *tunnelled) Read(p []byte) (int, error) {
	if t.early.Buffered() > 0 {
		return t.early.Read(p)
	}
	return t.Conn.Read(p)
}

// NetConn is the connection that the proxy took over.
func (t *tunnelled) NetConn() net.Conn { return t.Conn }

func noSuchHost(w http.ResponseWriter, host string) {
	http.Error(w, "the emulator has no host "+strings.ToLower(host), http.StatusBadGateway)
}

// hostOnly is the host of a Host header, lower-cased, without its port.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}
