package entra_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// sts is an Entra of a few lines, for fake time: no network is involved.
type sts struct {
	mu      sync.Mutex
	life    int           // of a token, in seconds
	latency time.Duration // of an answer
	broken  bool
	hang    bool
	asked   []time.Time
}

func (s *sts) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/token") {
		return discoveryOnly().RoundTrip(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	if s.latency > 0 {
		s.mu.Unlock()
		time.Sleep(s.latency)
		s.mu.Lock()
	}
	if s.hang {
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
		return nil, r.Context().Err()
	}
	status, body := 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":%d,"access_token":"eyJ.%d"}`, s.life, len(s.asked))
	if s.broken {
		status, body = 400, `{"error":"invalid_request","error_codes":[90002],"error_description":"AADSTS90002: x"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: r, Body: readCloser{strings.NewReader(body)}}, nil
}

func (s *sts) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *sts) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked...)
}

func (s *sts) identity(t *testing.T, changes ...func(*entra.Options)) *entra.Identity {
	t.Helper()
	o := entra.Options{Name: "pay", TenantID: tenant, ClientID: client, Transport: s, Log: zerolog.Nop(),
		Assertion: func(context.Context, string) (string, error) { return "a.b.c", nil }}
	for _, change := range changes {
		change(&o)
	}
	i, err := entra.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A token is there before anybody asks, and a newer one before it ends, for days, without a request.
func TestAKeptTokenIsRenewedBeforeItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sts{life: 4200}
		i := s.identity(t)
		defer i.Close()
		if !i.Settled() {
			t.Error("something is waited for before anything was asked")
		}
		i.Keep(vaults)
		i.Keep(vaults)
		if i.Settled() {
			t.Error("settled before the first exchange")
		}
		synctest.Wait()
		if !i.Settled() {
			t.Error("not settled after the first exchange")
		}
		if n := len(s.times()); n != 1 {
			t.Fatalf("%d exchanges at the start", n)
		}
		for range 48 * 60 {
			time.Sleep(time.Minute)
			before := len(s.times())
			if _, err := get(t, t.Context(), i.Credential("")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := len(s.times()); n != before {
				t.Fatalf("a request made the exchange number %d", n)
			}
		}
		spread := map[time.Duration]bool{}
		times := s.times()
		for n := range len(times) - 1 {
			gap := times[n+1].Sub(times[n])
			spread[gap] = true
			if gap < 55*time.Minute || gap > 65*time.Minute {
				t.Errorf("renewed after %s", gap)
			}
		}
		if len(times) < 44 || len(spread) < 10 {
			t.Errorf("%d exchanges, %d different pauses: replicas would go in step", len(times), len(spread))
		}
	})
}

// While Entra is down, a kept token serves at once until it ends; it is tried again, ever more rarely, and found when Entra is back.
func TestAnExchangeThatFailsBlocksNothingThatHasAToken(t *testing.T) {
	for name, fault := range map[string]func(*sts){
		"refuses": func(s *sts) { s.broken = true },
		"hangs":   func(s *sts) { s.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sts{life: 4200}
				i := s.identity(t)
				defer i.Close()
				i.Keep(vaults)
				synctest.Wait()
				s.set(func() { fault(s) })
				for end := time.Now().Add(69 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
					began := time.Now()
					if _, err := get(t, t.Context(), i.Credential("")); err != nil || time.Since(began) > 0 {
						t.Fatalf("after %s: %v", time.Since(began), err)
					}
				}
				tried := s.times()
				if n := len(tried); n < 3 || n > 60 {
					t.Errorf("%d exchanges in the outage", n)
				}
				time.Sleep(2 * time.Minute)
				if _, err := get(t, t.Context(), i.Credential("")); err == nil {
					t.Error("a token after its end")
				}
				s.set(func() { s.broken, s.hang = false, false })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				before := len(s.times())
				_, err := get(t, t.Context(), i.Credential(""))
				works(t, err)
				if len(s.times()) != before {
					t.Error("the request had to fetch the token")
				}
			})
		})
	}
}

func TestNothingIsKeptOfWhomNobodyKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, _ := w.perRepo(nil)
	i.Keep(vaults)
	time.Sleep(20 * time.Millisecond)
	if n := len(w.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A federated credential that was made just now is known to some of Entra's nodes and not to others.
func TestPropagationIsWaitedFor(t *testing.T) {
	t.Parallel()
	for code, exchanges := range map[int]int{70021: 3, 70025: 3, 700211: 3, 700213: 3, 700016: 1, 53003: 1} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Times: 2})
			_, err := w.token(w.identity())
			if exchanges == 3 {
				works(t, err)
			} else {
				want(t, err, secret.Unavailable, secret.ReasonIdentity, fmt.Sprintf("AADSTS%d", code))
			}
			if n := w.TokenRequests(""); n != exchanges {
				t.Errorf("%d exchanges, want %d", n, exchanges)
			}
		})
	}
}

// A token that Key Vault does not take is shown no longer than it takes to get another one; whoever takes it keeps it meanwhile.
func TestARefusedTokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sts{life: 4200}
		i := s.identity(t)
		defer i.Close()
		token := func() string {
			t.Helper()
			token, err := get(t, t.Context(), i.Credential(""))
			works(t, err)
			synctest.Wait()
			return token
		}
		i.Refused("", vaults) // of nothing, which means nothing
		first := token()
		i.Refused("", vaults)
		if token() != first || len(s.times()) != 1 {
			t.Error("refused tokens make exchanges within ten seconds")
		}
		time.Sleep(10 * time.Second)
		if token() != first {
			t.Error("a caller had to wait")
		}
		if token() == first || len(s.times()) != 2 {
			t.Errorf("the refused token serves on after %d exchanges", len(s.times()))
		}
		time.Sleep(time.Minute)
		if token(); len(s.times()) != 2 {
			t.Error("a good token is replaced, too")
		}
	})
}
