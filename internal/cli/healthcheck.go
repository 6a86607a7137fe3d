package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/config"
)

// healthcheckCommand asks whether the process lives, and not whether Azure does: restarting it would not repair a
// vault.
type healthcheckCommand struct {
	Config []string `sep:"none" help:"Configuration that says where the extension listens (default: drone-entra.yaml)." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
	URL    string   `name:"url" help:"Where to ask instead, as http://127.0.0.1:3000." placeholder:"URL"`
}

// healthcheckTimeout is below the three seconds that orchestrators often grant.
const healthcheckTimeout = 2 * time.Second

// Run asks GET /healthz; exit code 1 unless the answer is 200.
func (c healthcheckCommand) Run(ctx context.Context, env Env, out *printer) error {
	url := c.URL
	if url == "" {
		url = c.address(env)
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+"/healthz", nil)
	if err != nil {
		return usageError(err.Error())
	}
	// The certificate names the host that runners use, not the loopback address asked here, and nothing secret is sent.
	// RoundTrip alone follows no redirect, and this transport has no proxy: HTTP_PROXY would send the question to
	// another machine.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s answers %s", url, response.Status)
	}
	out.printf("healthy\n")
	return nil
}

// address finds where the extension of this machine listens. A configuration that can't be read means the defaults: it
// may be a newer one that the running extension has refused. Where it listens on every interface, the loopback address
// reaches it.
func (c healthcheckCommand) address(env Env) string {
	listen := config.Listen{}
	if loaded, _ := config.Load(orDefault(c.Config)); loaded != nil {
		listen = loaded.Listen
	}
	scheme := "http"
	if listen.CertFile != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(app.Address(listen, env.Getenv))
	if err != nil {
		return scheme + "://" + config.DefaultAddress
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
