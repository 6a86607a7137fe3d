package secret_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// counter is a service whose record and source several goroutines use, with what they saw.
type counter struct {
	secret.Service
	mu      sync.Mutex
	events  []secret.Event
	asked   []string          // the names that the source was asked for
	given   map[string][]byte // the bytes that it gave
	wrong   map[string]error  // what it fails with, by name
	unkept  map[string]bool   // what the record fails for, by name; "" is for what names no secret
	panics  string            // the name that makes the source panic
	content string
}

func newCounter(t *testing.T) *counter {
	b := binding("b")
	b.Read = reads("tokens/a", "tokens/b", "tokens/user/username", "tokens/root")
	p := given(t, secret.Rules{
		Vaults:   []secret.Vault{{Alias: "tokens", Host: "tokens"}},
		Bindings: []secret.Binding{b},
		Denies:   []secret.Deny{{ID: "no-root", Scope: secret.Scope{Read: denyReads("*/root")}}},
	}).p
	c := &counter{given: map[string][]byte{}, wrong: map[string]error{}, unkept: map[string]bool{}, content: canary}
	c.Service = secret.Service{
		Policy: p, Config: "c0ffee", Now: func() time.Time { return noon },
		Fetcher: fetch(func(_ context.Context, _ secret.Request, g secret.Grant) (secret.Fetched, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked = append(c.asked, g.Ref.String())
			if g.Ref.Name == c.panics {
				panic(canary)
			}
			if err := c.wrong[g.Ref.Name]; err != nil {
				return secret.Fetched{}, err
			}
			f := good(func(f *secret.Fetched) { f.Value = secret.NewValue([]byte(c.content)) })
			c.given[g.Ref.Name] = f.Value.Reveal()
			return f, nil
		}),
		Recorder: record(func(_ context.Context, e secret.Event) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, e)
			if _, name, _ := strings.Cut(e.Secret, "/"); c.unkept[name] {
				return secret.Fail(secret.Unavailable, secret.ReasonUnrecorded, "the disk is full")
			}
			return nil
		}),
	}
	return c
}

// collect asks for all of the names, and tells the names that were released, how each event ended, and the error's reason.
func (c *counter) collect(t *testing.T, request string, names ...string) (released, events string, err *secret.Error) {
	t.Helper()
	var refs []secret.Ref
	for _, name := range names {
		refs = append(refs, secret.Ref{Vault: "tokens", Name: name})
	}
	items, failure := c.Collect(context.Background(), caller, ask(t, request), refs)
	var got, ended []string
	for _, item := range items {
		if string(item.Value.Reveal()) != canary {
			t.Errorf("%s is %q", item.Ref, item.Value.Reveal())
		}
		got = append(got, item.Ref.Name)
	}
	for _, e := range c.events {
		if e.Kind != secret.EventRegistry || e.Caller != caller || e.Config != "c0ffee" {
			t.Errorf("an event is %+v", e)
		}
		unseen(t, "an event", fmt.Sprintf("%+v", e))
		ended = append(ended, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Secret, e.Outcome, e.Reason)))
	}
	slices.Sort(ended) // they are asked for side by side
	if failure != nil {
		if len(items) > 0 {
			t.Error("values beside an error, which nobody would clear")
		}
		unseen(t, "the error", fmt.Sprintf("%+v", failure))
		err = secret.AsError(failure)
	}
	return strings.Join(got, " "), strings.Join(ended, ", "), err
}

func TestCollectReleasesWhatTheBuildMayHave(t *testing.T) {
	passing := func(name string) func(*counter) {
		return func(c *counter) { c.wrong[name] = secret.Fail(secret.Unavailable, secret.ReasonNetwork, "away") }
	}
	both := []string{"a", "b"}
	for name, c := range map[string]struct {
		request  string
		names    []string
		change   func(*counter)
		released string
		events   string
		reason   secret.Reason
	}{
		"all":                    {"acme/app push main", both, nil, "a b", "tokens/a released, tokens/b released", ""},
		"what is denied is out":  {"acme/app push main", []string{"a", "root"}, nil, "a", "tokens/a released", ""},
		"a part is no whole":     {"acme/app push main", []string{"user"}, nil, "", "tokens/user denied read", ""},
		"none, by a deny":        {"acme/app push main", []string{"root"}, nil, "", "tokens/root denied deny", ""},
		"none, once":             {"acme/app push dev", both, nil, "", "tokens/a denied ref", ""},
		"none, the nearest":      {"acme/app push dev", []string{"root", "b", "other"}, nil, "", "tokens/b denied ref", ""},
		"none of another's":      {"acme/other push main", both, nil, "", "tokens/a denied repo", ""},
		"one is away":            {"acme/app push main", both, passing("a"), "b", "tokens/a failed network, tokens/b released", ""},
		"the only one is away":   {"acme/app push main", []string{"a"}, passing("a"), "", "tokens/a failed network", secret.ReasonNetwork},
		"one is not recorded":    {"acme/app push main", both, func(c *counter) { c.unkept["a"] = true }, "b", "tokens/a released, tokens/b released", ""},
		"none is recorded":       {"acme/app push main", both, func(c *counter) { c.unkept["a"], c.unkept["b"] = true, true }, "", "tokens/a released, tokens/b released", secret.ReasonUnrecorded},
		"a denial not recorded":  {"acme/app push dev", both, func(c *counter) { c.unkept["a"] = true }, "", "tokens/a denied ref", secret.ReasonUnrecorded},
		"one panics":             {"acme/app push main", both, func(c *counter) { c.panics = "a" }, "b", "tokens/a failed internal, tokens/b released", ""},
		"the only one panics":    {"acme/app push main", []string{"b"}, func(c *counter) { c.panics = "b" }, "", "tokens/b failed internal", secret.ReasonInternal},
		"not our error":          {"acme/app push main", []string{"b"}, func(c *counter) { c.wrong["b"] = errors.New(canary) }, "", "tokens/b failed internal", secret.ReasonInternal},
		"one without a value":    {"acme/app push main", []string{"a"}, func(c *counter) { c.content = "" }, "", "tokens/a failed garbled", secret.ReasonGarbled},
		"the same name, a pull":  {"acme/app pull_request refs/pull/7/head", both, nil, "", "tokens/a denied event", ""},
		"nothing is asked about": {"acme/app push main", []string{"other"}, nil, "", "tokens/other denied read", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newCounter(t)
			if c.change != nil {
				c.change(d)
			}
			released, events, err := d.collect(t, c.request, c.names...)
			if released != c.released || events != c.events {
				t.Errorf("released %q with the events %q; want %q with %q", released, events, c.released, c.events)
			}
			if err == nil && c.reason != "" || err != nil && err.Reason != c.reason {
				t.Errorf("the error is %v, want %q", err, c.reason)
			}
			if c.released == "" && strings.Contains(c.events, "denied") && len(d.asked) > 0 {
				t.Errorf("asked for %q without a grant", d.asked)
			}
			for name, b := range d.given {
				if !strings.Contains(" "+released+" ", " "+name+" ") && strings.Trim(string(b), "\x00") != "" {
					t.Errorf("%s was not released and is left in memory", name)
				}
			}
		})
	}
}
