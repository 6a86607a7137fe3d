package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

func TestWhatHappenedIsToldInOrder(t *testing.T) {
	e, v, _ := reader(t)
	const login = "login.microsoftonline.com"
	want := []emulator.Seen{
		{Host: host, Method: "GET", Path: "/secrets/db/", Status: 401},
		{Host: login, Method: "GET", Path: "/common/discovery/instance", Status: 200},
		{Host: login, Method: "GET", Path: "/" + tenant + "/v2.0/.well-known/openid-configuration", Status: 200},
		{Host: login, Method: "POST", Path: "/" + tenant + "/oauth2/v2.0/token", Status: 200, Client: client},
		{Host: "oidc.cluster.example", Method: "GET", Path: "/.well-known/openid-configuration", Status: 200},
		{Host: "oidc.cluster.example", Method: "GET", Path: "/openid/v1/jwks", Status: 200},
		{Host: host, Method: "GET", Path: "/secrets/db/", Status: 200, Token: true, Client: client},
	}
	if diff := cmp.Diff(want, e.Requests(), cmpopts.IgnoreFields(emulator.Seen{}, "Time")); diff != "" {
		t.Error(diff)
	}
	if e.TokenRequests(client) != 1 || e.TokenRequests("") != 1 || e.TokenRequests(stranger) != 0 {
		t.Error("one token was asked for, by the client")
	}
	if e.Count(strings.ToUpper(host), "/SECRETS/DB") != 2 || e.Count("", "") != len(want) || e.Count(login, "/secrets") != 0 {
		t.Error("the counts are not those of the list")
	}
	if told := fmt.Sprintf("%+v", e.Requests()); strings.Contains(told, "hunter2") || strings.Contains(told, "eyJ") {
		t.Error("a value or a token is told")
	}
	e.Forget()
	if len(e.Requests()) != 0 || e.Count(v.Host(), "") != 0 {
		t.Error("something was not forgotten")
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	e, _ := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Await(ctx, 1, host, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	e, v, read := reader(t)
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for range 20 {
				if got, err := read(t.Context()); err != nil || !strings.HasPrefix(*got.Value, "hunter") {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	for i := range 50 {
		v.Set("db", fmt.Sprintf("hunter%d", i))
		v.Allow(client, "ci-*")
		e.Requests()
		e.Fault(v.Secret("another"), emulator.Fault{Kind: emulator.Hang})()
	}
	clients.Wait()
	if n := e.Count(host, "/secrets/db"); n != 2+16*20 {
		t.Errorf("%d reads are told of, want %d", n, 2+16*20)
	}
}

func BenchmarkRead(b *testing.B) {
	e, err := emulator.Start(emulator.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	e.Register(emulator.App{Tenant: tenant, ClientID: client})
	v := e.Vault(host, tenant)
	v.Allow(client)
	v.Set("db", "hunter2")
	c := secrets(b, e, v, credential(b, e, emulator.AssertionOptions{}))
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := c.GetSecret(b.Context(), "db", "", nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := emulator.Start(emulator.Options{})
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}
