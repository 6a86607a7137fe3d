package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/server"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second // far beyond what anything here takes, also on a busy machine; only a failure waits that long

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// running is a server under test.
type running struct {
	*server.Server
	t      *testing.T
	log    *journal
	stop   context.CancelFunc
	result chan error
}

// start runs a server on free ports until the test ends.
func start(t *testing.T, change func(*server.Options)) *running {
	t.Helper()
	r := &running{t: t, log: &journal{}, result: make(chan error, 1)}
	options := server.Options{
		Address: "127.0.0.1:0", Admin: "127.0.0.1:0", Log: zerolog.New(r.log), Drain: patience,
		Status: func() any { return map[string]any{"vaults": []string{"pay-prod"}} },
	}
	if change != nil {
		change(&options)
	}
	var err error
	if r.Server, err = server.New(options); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.result <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if r.result != nil {
			r.ended()
		}
	})
	return r
}

// ended waits for Run to return, and returns what it did.
func (r *running) ended() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		r.result = nil
		return err
	case <-time.After(2 * patience):
		r.t.Fatal("Run does not return")
		return nil
	}
}

func (r *running) url(path string) string      { return "http://" + r.Addr().String() + path }
func (r *running) adminURL(path string) string { return "http://" + r.AdminAddr().String() + path }

// client opens one connection for each request, as Drone's runners do.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

type reply struct {
	status int
	header http.Header
	body   string
	closes bool
}

// ask gets an answer, whole, or fails the test; try is the same for other goroutines than the test's own.
func ask(t *testing.T, c *http.Client, method, url string) reply {
	t.Helper()
	got, err := try(t, c, method, url)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func try(t *testing.T, c *http.Client, method, url string) (reply, error) {
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		return reply{}, err
	}
	response, err := c.Do(request)
	if err != nil {
		return reply{}, err
	}
	return take(response)
}

func take(response *http.Response) (reply, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(body), response.Close}, err
}

// crowd is many clients that ask one thing at the same time.
func crowd(t *testing.T, c *http.Client, clients int, url string) (answers <-chan reply) {
	all := make(chan reply, clients)
	for range clients {
		go func() {
			got, err := try(t, c, "POST", url)
			if err != nil {
				t.Errorf("lost: %v", err)
			}
			all <- got
		}()
	}
	return all
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) })
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

func TestSurfaces(t *testing.T) {
	var reasons atomic.Value
	reasons.Store([]string(nil))
	r := start(t, func(o *server.Options) { o.Ready = func() []string { return reasons.Load().([]string) } })
	r.Swap(text("handled"))
	c := client(t)

	check := func(method, url string, status int, body string) {
		t.Helper()
		got := ask(t, c, method, url)
		if got.status != status || got.body != body {
			t.Errorf("%s %s: %d %q, want %d %q", method, url, got.status, got.body, status, body)
		}
		if got.header.Get("Server") != "" || got.header.Get("Cache-Control") != "no-store" ||
			got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: headers %v", method, url, got.header)
		}
	}
	check("GET", r.url("/healthz"), 200, `{"status":"live"}`+"\n")
	check("HEAD", r.url("/healthz"), 200, "")
	check("GET", r.url("/readyz"), 200, `{"status":"ready"}`+"\n")
	check("HEAD", r.url("/readyz"), 200, "")
	check("POST", r.url("/healthz"), 200, "handled")
	check("GET", r.url("/healthz/"), 200, "handled")
	check("GET", r.url("//readyz"), 200, "handled")
	check("POST", r.url("/"), 200, "handled")
	check("GET", r.url("/status"), 200, "handled")
	check("GET", r.adminURL("/healthz"), 200, `{"status":"live"}`+"\n")
	check("GET", r.adminURL("/status"), 200, "{\n  \"vaults\": [\n    \"pay-prod\"\n  ]\n}\n")
	const nothing = `{"message":"not found: this listener has GET /status and GET /healthz"}` + "\n"
	check("POST", r.adminURL("/status"), 404, nothing)
	check("GET", r.adminURL("/"), 404, nothing)

	reasons.Store([]string{"record not writable", "first probes unfinished"})
	check("GET", r.url("/readyz"), 503, `{"status":"not ready","reasons":["record not writable","first probes unfinished"]}`+"\n")
	check("HEAD", r.url("/readyz"), 503, "")
	check("GET", r.url("/healthz"), 200, `{"status":"live"}`+"\n")
}

func TestBeforeTheFirstSwap(t *testing.T) {
	r := start(t, nil)
	c := client(t)
	if got := ask(t, c, "POST", r.url("/")); got.status != 503 || !strings.HasPrefix(got.body, `{"message":`) {
		t.Errorf("the handler's place: %d %q", got.status, got.body)
	}
	if got := ask(t, c, "GET", r.url("/readyz")); got.status != 503 {
		t.Errorf("readyz: %d %q", got.status, got.body)
	}
	if got := ask(t, c, "GET", r.url("/healthz")); got.status != 200 {
		t.Errorf("healthz: %d %q", got.status, got.body)
	}
}

func TestStatusThatIsNoJSON(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Status = func() any { return func() {} } })
	if got := ask(t, client(t), "GET", r.adminURL("/status")); got.status != 500 {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestWithoutAdmin(t *testing.T) {
	r := start(t, func(o *server.Options) { o.Admin = "" })
	if r.AdminAddr() != nil {
		t.Errorf("an admin listener at %v", r.AdminAddr())
	}
	if r.Certificate().Subject != "" || r.Reload() != nil {
		t.Error("a certificate without TLS")
	}
	if got := ask(t, client(t), "GET", r.url("/healthz")); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
}

func TestBindErrorsNameAddressAndRemedy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().String()
	for _, c := range []struct {
		name, address, admin string
		want                 []string
	}{
		{"public port taken", port, "", []string{"listen.address", port, "already in use", "choose another listen.address"}},
		{"admin port taken", "127.0.0.1:0", port, []string{"listen.admin", port, "choose another listen.admin"}},
		{"empty", "", "", []string{"listen.address is empty", "127.0.0.1:3000"}},
		{"no port", "127.0.0.1", "", []string{"listen.address", "127.0.0.1", "host:port"}},
		{"not our address", "192.0.2.1:0", "", []string{"192.0.2.1:0", "no such address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := server.New(server.Options{Address: c.address, Admin: c.admin})
			if err == nil {
				_ = s.Close()
				t.Fatal("bound")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

func TestFailedAdminFreesThePublicPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := taken.Addr().String()
	_ = taken.Close()
	if _, err := server.New(server.Options{Address: free, Admin: "nonsense"}); err == nil {
		t.Fatal("bound")
	}
	s, err := server.New(server.Options{Address: free})
	if err != nil {
		t.Fatalf("the port is still held: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestRunOnce(t *testing.T) {
	r := start(t, nil)
	r.stop()
	if err := r.ended(); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}

// Under load, each request sees exactly one handler from head to end, and none is lost while they change.
func TestSwapUnderLoad(t *testing.T) {
	r := start(t, nil)
	generation := func(n int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Generation", fmt.Sprint(n))
			fmt.Fprint(w, n)
		})
	}
	r.Swap(generation(0))
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	keeping := &http.Client{Transport: transport, Timeout: patience}
	var clients sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		clients.Go(func() {
			for last := -1; answered.Load() < 2000; answered.Add(1) {
				got, err := try(t, keeping, "POST", r.url("/"))
				if err != nil {
					t.Errorf("lost: %v", err)
				}
				var n int
				if err := json.Unmarshal([]byte(got.body), &n); err != nil || got.header.Get("Generation") != got.body {
					t.Errorf("half of one and half of another: %q %q", got.header.Get("Generation"), got.body)
				}
				if n < last {
					t.Errorf("generation %d after %d", n, last)
				}
				last = n
			}
		})
	}
	for n := 1; answered.Load() < 2000; n++ {
		r.Swap(generation(n))
	}
	clients.Wait()
}
