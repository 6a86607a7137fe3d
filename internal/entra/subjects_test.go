package entra_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

const otherClient = "3f2a4c55-1111-4222-8333-999999999999"

// ofRepo makes the subject that an issuer of ours would, and the assertion for it; it keeps for which builds one was made.
type ofRepo struct {
	mu    sync.Mutex
	w     *world
	built []string
}

func (o *ofRepo) subject(r secret.Request) (string, error) {
	if r.Repo.UID == "" {
		return "", secret.Fail(secret.Denied, secret.ReasonUID, "the request says no uid")
	}
	return "drone:d:repo:" + r.Repo.UID, nil
}

func (o *ofRepo) assert(ctx context.Context, subject string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.built = append(o.built, fmt.Sprintf("%s#%d", secret.RequestOf(ctx).Repo.Slug, secret.RequestOf(ctx).Build.Number))
	return o.w.Assertion(emulator.AssertionOptions{Subject: subject}), nil
}

func (w *world) perRepo(clients map[string]string) (*entra.Identity, *ofRepo) {
	o := &ofRepo{w: w}
	return w.identity(func(e *entra.Options) {
		e.AssertionFile, e.Assertion, e.Subjects = "", o.assert, o.subject
		if clients != nil {
			e.ClientID, e.Clients = "", clients
		}
	}), o
}

func build(uid string, number int64) secret.Request {
	return secret.Request{Repo: secret.Repo{UID: uid, Slug: "acme/r" + uid}, Build: secret.Build{Number: number}}
}

func tokenFor(t *testing.T, i *entra.Identity, r secret.Request) (string, *secret.Error) {
	t.Helper()
	return get(t, secret.WithRequest(t.Context(), r), i.Credential(i.Subject(r)))
}

// MSAL's cache would hand a second subject the first one's token (it does not look at the assertion). Here each repository
// is itself: its own application, its own token, asked for once, with the facts of the build that asked.
func TestEachRepositoryIsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, o := w.perRepo(map[string]string{"1": client, "2": otherClient})
	w.Register(emulator.App{Tenant: tenant, ClientID: client, Subject: "drone:d:repo:1"})
	w.Register(emulator.App{Tenant: tenant, ClientID: otherClient, Subject: "drone:d:repo:2"})
	tokens := map[string]bool{}
	for _, r := range []secret.Request{build("1", 7), build("2", 7), build("1", 8), build("2", 9)} {
		token, err := tokenFor(t, i, r)
		works(t, err)
		tokens[token] = true
	}
	if len(tokens) != 2 || w.TokenRequests(client) != 1 || w.TokenRequests(otherClient) != 1 {
		t.Errorf("%d tokens, %d and %d exchanges", len(tokens), w.TokenRequests(client), w.TokenRequests(otherClient))
	}
	if got := strings.Join(o.built, " "); got != "acme/r1#7 acme/r2#7" {
		t.Errorf("assertions were made for %s", got)
	}
	_, err := tokenFor(t, i, build("3", 1))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, `"3"`, "clients")
	_, err = tokenFor(t, i, build("", 1))
	want(t, err, secret.Denied, secret.ReasonUID, "says no uid")
	if s := i.Status(); s.Assertion != "issuer" || s.Clients != 2 || s.Subjects == 0 || s.ClientID != "" {
		t.Errorf("the status is %+v", s)
	}
}

// A federated credential that was deleted in Entra stops its repository and no other, and the failure names the subject.
func TestARevokedRepositoryIsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, _ := w.perRepo(map[string]string{"1": client, "2": otherClient})
	w.Register(emulator.App{Tenant: tenant, ClientID: otherClient, Subject: "drone:d:repo:2"})
	_, err := tokenFor(t, i, build("1", 1)) // whose application trusts another subject
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "AADSTS700213", "drone:d:repo:1")
	_, err = tokenFor(t, i, build("2", 1))
	works(t, err)
	_, err = tokenFor(t, i, build("1", 2))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "AADSTS700213")
	if s := i.Status(); s.State != entra.Failing || !strings.Contains(s.Error, "drone:d:repo:1") { // not broken: the other one works
		t.Errorf("the status is %+v", s)
	}
}

// A deploy target is a writer's text: what is remembered of it is bounded, and whoever is forgotten exchanges anew.
func TestSubjectsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, _ := w.perRepo(nil)
	first := i.Credential("drone:d:repo:0")
	for n := range 1023 {
		i.Credential(fmt.Sprintf("drone:d:repo:%d", n+1))
	}
	if i.Credential("drone:d:repo:0") != first {
		t.Error("forgotten although there is room")
	}
	i.Credential("one more")
	if s := i.Status(); s.Subjects != 1024 {
		t.Errorf("%d subjects are remembered", s.Subjects)
	}
	if i.Credential("drone:d:repo:0") != first {
		t.Error("the one that was asked for last was forgotten")
	}
}

// The machine's managed identity proves an application; neither a file nor a secret is there.
func TestAManagedIdentityProvesAnApplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const machine, app = "aaaaaaaa-0000-4000-8000-00000000000a", "bbbbbbbb-0000-4000-8000-00000000000a"
	managed := func(o *entra.Options) { o.AssertionFile, o.ClientID, o.AssertionManaged = "", app, machine }
	principal := w.ManagedIdentity(machine, tenant)
	w.Register(emulator.App{Tenant: tenant, ClientID: app, Issuer: w.ManagedIssuer(tenant), Subject: principal})
	i := w.identity(managed)
	_, err := w.token(i)
	works(t, err)
	if s := i.Status(); s.Assertion != "managed-assertion" || s.ClientID != app || w.TokenRequests(app) != 1 {
		t.Errorf("the status is %+v after %d exchanges", s, w.TokenRequests(app))
	}

	_, err = w.token(w.identity(managed, func(o *entra.Options) { o.AssertionManaged = "aaaaaaaa-0000-4000-8000-00000000000b" }))
	want(t, err, secret.Unavailable, secret.ReasonIdentity, "assign the managed identity", app)
	for name, c := range map[string]struct {
		fault  emulator.Fault
		reason secret.Reason
	}{
		"down":    {emulator.Fault{Status: 503}, secret.ReasonUnavailable},
		"away":    {emulator.Fault{Kind: emulator.UnknownHost}, secret.ReasonNetwork},
		"nothing": {emulator.Fault{Kind: emulator.EmptyValue}, secret.ReasonGarbled},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.with(t)
			id := map[string]string{"down": "c", "away": "d", "nothing": "e"}[name]
			id = "aaaaaaaa-0000-4000-8000-00000000000" + id
			w.ManagedIdentity(id, tenant)
			defer w.Fault(emulator.Metadata(), c.fault)()
			_, err := w.token(w.identity(managed, func(o *entra.Options) { o.AssertionManaged = id }))
			if err == nil || err.Reason != c.reason || !strings.Contains(err.Detail, "(managed, client "+id+")") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatEachCloudCallsThings(t *testing.T) {
	for cloud, want := range map[string][2]string{
		"":             {"api://AzureADTokenExchange", "https://management.azure.com/.default"},
		"public":       {"api://AzureADTokenExchange", "https://management.azure.com/.default"},
		"usgovernment": {"api://AzureADTokenExchangeUSGov", "https://management.usgovcloudapi.net/.default"},
		"china":        {"api://AzureADTokenExchangeChina", "https://management.chinacloudapi.cn/.default"},
	} {
		if got := [2]string{entra.Audience(cloud), entra.ResourceManager(cloud)}; got != want {
			t.Errorf("cloud %q: %q, want %q", cloud, got, want)
		}
	}
}

// What is kept may be about to end, and so is never handed to a build.
func TestAFreshTokenIsNobodyElses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	kept, err := w.token(i)
	works(t, err)
	before := i.Status()
	seen := map[string]bool{kept: true}
	for range 3 {
		token, err := i.Fresh(t.Context(), build("1", 1), elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		if seen[token.Token] {
			t.Error("a token that somebody has")
		}
		seen[token.Token] = true
	}
	if again, _ := w.token(i); again != kept {
		t.Error("the kept token is another one")
	}
	if s := i.Status(); s.TokenExpires != before.TokenExpires {
		t.Error("the status tells the life of a token that is not kept")
	}
	remove := w.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: 53003})
	_, failure := i.Fresh(t.Context(), build("1", 1), elsewhere)
	want(t, secret.AsError(failure), secret.Unavailable, secret.ReasonIdentity, "AADSTS53003")
	if s := i.Status(); s.State != entra.Failing {
		t.Errorf("the status is %+v", s)
	}
	remove()
	repo, _ := w.perRepo(map[string]string{})
	_, failure = repo.Fresh(t.Context(), build("9", 1), elsewhere)
	want(t, secret.AsError(failure), secret.Unavailable, secret.ReasonIdentity, "clients")
	_, failure = repo.Fresh(t.Context(), build("", 1), elsewhere)
	want(t, secret.AsError(failure), secret.Denied, secret.ReasonUID)
}

// More builds than may exchange at once wait for their turn, and none hangs beyond its time.
func TestFreshTokensQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.identity()
	remove := w.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Hold})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := i.Fresh(t.Context(), build("1", 1), elsewhere); err != nil {
				t.Error(err)
			}
		})
	}
	within, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := w.Await(within, 16, login, "/"+tenant+"/oauth2"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := i.Fresh(ctx, build("1", 1), elsewhere)
	if e := secret.AsError(err); e.Kind != secret.Busy && e.Kind != secret.Late {
		t.Errorf("got %v", err)
	}
	remove()
	wg.Wait()
}

// Right after a start many repositories ask at once. Each is an exchange of its own, and one that must wait for its turn has
// not failed.
func TestManyRepositoriesAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sts{life: 4200, latency: time.Second}
		i := s.identity(t, perUID)
		defer i.Close()
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				_, err := tokenFor(t, i, build(strconv.Itoa(n), 1))
				if err != nil {
					t.Errorf("repository %d: %v", n, err)
				}
			})
		}
		wg.Wait()
		if n := len(s.times()); n != 100 {
			t.Errorf("%d exchanges", n)
		}
	})
}

// Nor does one wait for longer than an exchange may take, or past its caller's time.
func TestATurnThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sts{hang: true}
		i := s.identity(t, perUID)
		defer i.Close()
		ask := func(within time.Duration, number int) *secret.Error {
			ctx, cancel := context.WithTimeout(secret.WithRequest(t.Context(), build(strconv.Itoa(number), 1)), within)
			defer cancel()
			_, err := get(t, ctx, i.Credential(i.Subject(build(strconv.Itoa(number), 1))))
			return err
		}
		for n := range 32 { // those that have their turn first, and those that have it next
			go func() { _ = ask(time.Minute, n) }()
			if synctest.Wait(); n == 15 {
				time.Sleep(time.Second)
			}
		}
		start := time.Now()
		want(t, ask(time.Second, 32), secret.Late, secret.ReasonTimeout)
		want(t, ask(time.Minute, 33), secret.Busy, secret.ReasonBusy, "16 exchanges")
		if took := time.Since(start); took > 14*time.Second {
			t.Errorf("took %s", took)
		}
		time.Sleep(time.Minute)
	})
}

// Who waits for his turn when the identity is closed is told so at once.
func TestAClosedIdentityKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := (&sts{hang: true}).identity(t, perUID)
		start := time.Now()
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				_, err := tokenFor(t, i, build(strconv.Itoa(n), 1))
				want(t, err, secret.Unavailable, secret.ReasonUnavailable, "closed")
			})
		}
		synctest.Wait()
		i.Close()
		wg.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// However many builds ask for tokens of their own, and however slow that is: what opens the vaults has its own turns.
func TestFreshTokensDoNotHoldUpTheVaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sts{life: 4200, latency: 5 * time.Second}
		i := s.identity(t)
		defer i.Close()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { _, _ = i.Fresh(t.Context(), build("1", 1), elsewhere) })
		}
		synctest.Wait()
		start := time.Now()
		_, err := get(t, t.Context(), i.Credential(""))
		works(t, err)
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("took %s", took)
		}
		wg.Wait()
	})
}

// perUID makes an identity one whose subject is each repository's.
func perUID(o *entra.Options) {
	o.Subjects = func(r secret.Request) (string, error) { return "drone:d:repo:" + r.Repo.UID, nil }
}
