package provider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/provider"
	"github.com/drone-entra/drone-entra/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is what a source saw of one read.
type call struct {
	key   string // name@version subject
	began time.Time
	ended time.Time
	value string
	err   error
}

// source is a Source whose reads take latency and then bring a value of their own, or fail.
type source struct {
	mu      sync.Mutex
	latency time.Duration
	fail    error
	value   string // if empty, each read brings another value
	panics  any
	hang    bool
	deaf    bool // does not notice when its context ends
	subject func(secret.Request) string
	edit    func(*secret.Fetched)
	calls   []call
	handed  [][]byte // the very bytes that were given away
}

func (s *source) Subject(r secret.Request) string {
	if s.subject == nil {
		return ""
	}
	return s.subject(r)
}

func (s *source) Get(ctx context.Context, r secret.Request, ref secret.Ref) (secret.Fetched, error) {
	s.mu.Lock()
	n := len(s.calls)
	c := call{key: fmt.Sprintf("%s@%s%s %s", ref.Name, ref.Version, ref.Key, s.Subject(r)), began: time.Now(), value: s.value, err: s.fail}
	if c.value == "" {
		c.value = fmt.Sprintf("value-%d", n)
	}
	s.calls = append(s.calls, c)
	latency, hang, panics, edit := s.latency, s.hang, s.panics, s.edit
	if s.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	s.mu.Unlock()

	if panics != nil {
		panic(panics)
	}
	if hang {
		<-ctx.Done()
		return secret.Fetched{}, secret.Fail(secret.Late, secret.ReasonTimeout, "no answer")
	}
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return secret.Fetched{}, secret.Fail(secret.Late, secret.ReasonTimeout, "no answer")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[n].ended = time.Now()
	if c.err != nil {
		return secret.Fetched{}, c.err
	}
	b := []byte(c.value)
	s.handed = append(s.handed, b)
	f := secret.Fetched{Value: secret.NewValue(b), Version: "v1", Identity: "default", Enabled: true}
	if edit != nil {
		edit(&f)
	}
	return f, nil
}

func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *source) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// seen is what it saw so far.
func (s *source) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// bubble runs a test in fake time with one door, "shared".
func bubble(t *testing.T, o provider.Options, stale time.Duration, test func(*testing.T, *provider.Router, *source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		r := provider.NewRouter(map[string]provider.Door{"shared": {Source: s, Stale: stale}}, o)
		defer r.Close()
		test(t, r, s)
	})
}

func of(number int64) secret.Request {
	return secret.Request{Pool: "default", Repo: secret.Repo{UID: "42", Slug: "acme/app"}, Build: secret.Build{Number: number}}
}

func grant(ref string) secret.Grant {
	r, err := secret.ParseRef(ref)
	if err != nil {
		panic(err)
	}
	return secret.Grant{Ref: r, Binding: "ci"}
}

// within is a caller who waits no longer than d.
func within(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// ask fetches and returns "how value" or "kind reason".
func ask(r *provider.Router, req secret.Request, ref string) string {
	return describe(r.Fetch(context.Background(), req, grant(ref)))
}

func describe(f secret.Fetched, err error) string {
	if err == nil {
		return f.How + " " + string(f.Value.Reveal())
	}
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		return "no *secret.Error"
	}
	return e.Kind.String() + " " + string(e.Reason)
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func wantReads(t *testing.T, s *source, want int) {
	t.Helper()
	if got := s.reads(); got != want {
		t.Fatalf("%d reads, want %d", got, want)
	}
}
