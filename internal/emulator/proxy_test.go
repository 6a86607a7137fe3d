package emulator_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// viaProxy is an ordinary transport that knows only the proxy's address and the authority, as a program does that was
// told of them by its environment.
func viaProxy(t *testing.T, e *emulator.Emulator) *http.Client {
	t.Helper()
	address, err := url.Parse(e.ProxyURL())
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(address),
		TLSClientConfig:   &tls.Config{RootCAs: e.CAs()},
		ForceAttemptHTTP2: true,
	}}
}

func TestASecretIsReadThroughTheProxy(t *testing.T) {
	e, v := world(t)
	v.Set("db", "hunter2")
	options := azcore.ClientOptions{Transport: viaProxy(t, e), Retry: policy.RetryOptions{MaxRetries: -1}}
	source, err := azidentity.NewClientAssertionCredential(tenant, client, assertions(e), &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	c, err := azsecrets.NewClient(v.URL(), source, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetSecret(t.Context(), "db", "", nil)
	if err != nil || *got.Value != "hunter2" {
		t.Fatalf("got %v", err)
	}
	remove := e.Fault(v.Target(), emulator.Fault{Kind: emulator.Reset})
	if _, err := c.GetSecret(t.Context(), "db", "", nil); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset behind the proxy: got %v", err)
	}
	remove()
	e.Fault(v.Target(), emulator.Fault{Kind: emulator.UnknownHost})
	if _, err := c.GetSecret(t.Context(), "db", "", nil); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("an unknown host behind the proxy: got %v", err)
	}
}

func TestNobodyAnswersForAnUnknownHost(t *testing.T) {
	e, _ := world(t)
	for _, unknown := range []string{"https://kv-unknown.vault.azure.net/", "https://example.com/", "http://example.com/", "https://kv-pay-prod.vault.azure.net:8443/", "http://kv-pay-prod.vault.azure.net/"} {
		for way, c := range map[string]*http.Client{"directly": {Transport: e.Transport()}, "by the proxy": viaProxy(t, e)} {
			answer, err := c.Get(unknown)
			if err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusBadGateway {
					t.Errorf("%s %s: got %s", unknown, way, answer.Status)
				}
			}
		}
	}
	if n := e.Count("", ""); n != 0 {
		t.Errorf("%d requests were let in", n)
	}
}

func TestAHostMustBeTheOneThatTheCertificateIsFor(t *testing.T) {
	e, v := world(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "login.microsoftonline.com"
	answer, err := e.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("got %s", answer.Status)
	}
}

func TestBytesSentAlongWithConnectAreNotLost(t *testing.T) {
	e, v := world(t)
	raw, err := net.Dial("tcp", strings.TrimPrefix(e.ProxyURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	secure := tls.Client(&eager{Conn: raw, first: fmt.Sprintf("CONNECT %s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", v.Host())},
		&tls.Config{RootCAs: e.CAs(), ServerName: v.Host()})
	if _, err := io.WriteString(secure, "GET / HTTP/1.1\r\nHost: "+v.Host()+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Fatalf("got %v, %v", answer, err)
	}
	_ = answer.Body.Close()
}

// eager sends its CONNECT together with the first bytes of TLS and takes the proxy's answer off the front of what comes.
type eager struct {
	net.Conn
	first  string
	reader *bufio.Reader
}

func (c *eager) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(append([]byte(c.first), p...))
	n -= len(c.first)
	c.first = ""
	return max(n, 0), err
}

func (c *eager) Read(p []byte) (int, error) {
	if c.reader == nil {
		c.reader = bufio.NewReader(c.Conn)
		for {
			line, err := c.reader.ReadString('\n')
			if err != nil {
				return 0, err
			}
			if line == "\r\n" {
				break
			}
		}
	}
	return c.reader.Read(p)
}

// childURL in the environment makes the test binary an ordinary program that reads one URL.
const childURL = "EMULATOR_TEST_READ"

// program knows nothing of an emulator: it uses net/http as everybody does and prints the status that it got.
func program(url string) int {
	answer, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_ = answer.Body.Close()
	fmt.Println(answer.Status)
	return 0
}

func TestAnyProgramCanBeLedHereByItsEnvironment(t *testing.T) {
	e, v := world(t)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, e.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		v.URL() + "/secrets/db/":                                "401 Unauthorized",
		"http://169.254.169.254/metadata/identity/oauth2/token": "400 Bad Request",
		e.IssuerURL() + "/.well-known/openid-configuration":     "200 OK",
	} {
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), childURL+"="+url, "HTTPS_PROXY="+e.ProxyURL(), "HTTP_PROXY="+e.ProxyURL(), "NO_PROXY=", "SSL_CERT_FILE="+authority)
		output, err := child.CombinedOutput()
		if err != nil || strings.TrimSpace(string(output)) != want {
			t.Errorf("%s: got %s, %v; want %s", url, output, err, want)
		}
	}
}
