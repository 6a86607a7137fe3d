package drone_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	dronego "github.com/drone/drone-go/drone"
	plugin "github.com/drone/drone-go/plugin/secret"

	"github.com/drone-entra/drone-entra/secret"
)

// These tests ask with the client that is inside every runner, at the real time.

func realTime(o *options) { o.now = time.Now }

// ask is what a step of a build asks for.
var ask = &plugin.Request{
	Path: "shared/db", Name: "password",
	Repo:  dronego.Repo{UID: "1", Slug: "acme/app", Branch: "main", Secret: repoSecret},
	Build: dronego.Build{Number: 7, Event: "push", Ref: "refs/heads/main", Trigger: "@hook", Sender: "alice"},
}

func TestTheClientOfRunnersGetsItsSecret(t *testing.T) {
	awkward := "line one\nline \"two\"\t\u2028</script>\\ \u00e9 \U0001f600 \x7f"
	for _, tls := range []bool{false, true} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS %t, plain %t", tls, plain), func(t *testing.T) {
				w := &world{t: t, record: &record{}}
				handler := w.endpoint(realTime, func(o *options) { o.plain, o.value = plain, awkward })
				if w.server = httptest.NewServer(handler); tls {
					w.server.Close()
					w.server = httptest.NewTLSServer(handler)
				}
				t.Cleanup(w.server.Close)
				got, err := plugin.Client(w.server.URL, runnerKey, tls).Find(t.Context(), ask)
				if err != nil {
					t.Fatal(err)
				}
				want := dronego.Secret{Name: "password", Data: awkward, PullRequest: true}
				if *got != want {
					t.Errorf("got %+v, want %+v", *got, want)
				}
				if events := w.record.take(); len(events) != 1 || events[0].Outcome != secret.Released {
					t.Errorf("on record are %+v, want one release", events)
				}
			})
		}
	}
}

// A runner with encryption off reads the same JSON; nothing marks it as encrypted.
func TestAPlainAnswer(t *testing.T) {
	w := newWorld(t, func(o *options) { o.plain = true })
	r := w.send(hostile{}.message().bytes())
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Content-Encoding") != "" {
		t.Fatalf("answered %s %v", r.Status, r.Header)
	}
	w.isSecret(r.body, "password", theValue)
}

func TestTheClientOfRunnersIsToldOfErrors(t *testing.T) {
	for _, c := range []struct {
		name, key string
		answer    error
		status    int
	}{
		{"denied", runnerKey, secret.Fail(secret.Denied, secret.ReasonEvent, ""), http.StatusNotFound},
		{"unavailable", runnerKey, secret.Fail(secret.Unavailable, secret.ReasonNetwork, ""), http.StatusServiceUnavailable},
		{"late", runnerKey, secret.Fail(secret.Late, secret.ReasonLate, ""), http.StatusGatewayTimeout},
		{"garbled", runnerKey, secret.Fail(secret.Garbled, secret.ReasonGarbled, ""), http.StatusBadGateway},
		{"another key", oldKey, nil, http.StatusUnauthorized},
		{"a short key", "short", nil, http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, realTime)
			w.answer = c.answer
			got, err := plugin.Client(w.server.URL, c.key, false).Find(t.Context(), ask)
			failure, ok := errors.AsType[*dronego.Error](err)
			if !ok || failure.Code != c.status {
				t.Fatalf("got %+v, %v; want a %d", got, err, c.status)
			}
			if *got != (dronego.Secret{}) {
				t.Errorf("got %+v beside an error", got)
			}
			events := w.record.take()
			if len(events) != 1 {
				t.Fatalf("on record are %+v, want one event", events)
			}
			want := fmt.Sprintf("{\"message\":%q,\"request\":%q}\n", messages[c.status], events[0].Caller.ID)
			if failure.Message != want {
				t.Errorf("the runner was told %q, want %q", failure.Message, want)
			}
			w.noCanary(failure.Message)
		})
	}
}

// Two equal look-ups in one second carry one signature, and both are honest.
func TestTheClientOfRunnersMayAskAgain(t *testing.T) {
	w := newWorld(t, realTime)
	client := plugin.Client(w.server.URL, runnerKey, false)
	for range 5 {
		if _, err := client.Find(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.record.take()); n != 5 {
		t.Errorf("%d events on record, want 5", n)
	}
}
