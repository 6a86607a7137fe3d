package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Replicas share nothing: two of them, with a record each, behind one address.

// pair gives one secret to acme/app, and drains long enough for a balancer that is kept waiting by a busy machine. Answers are
// not encrypted, so that a connection of its own for each request is all that it takes to ask.
const pair = one + "limits: {drain: 3s}\n" + `listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", encrypt: false}` + "\n"

// startPair starts two replicas with the same configuration before the same Entra and Key Vault.
func startPair(t *testing.T) [2]*server {
	t.Helper()
	first := start(t, pair)
	first.fill("kv-shared/ci-token", "kv-shared/other")
	second := start(t, pair, func(o *setup) {
		o.emulator = first.Emulator
		o.canaries = append(o.canaries, first.watched()...)
	})
	second.world.values, second.world.versions = maps.Clone(first.world.values), maps.Clone(first.world.versions)
	if first.Record == second.Record || first.Address == second.Address {
		t.Fatal("these are no two replicas")
	}
	return [2]*server{first, second}
}

func TestReplicasGiveTheSameAnswers(t *testing.T) {
	t.Parallel()
	replicas := startPair(t)
	for i, r := range []row{
		{"a push", push("acme/app"), "shared/ci-token", gets("kv-shared/ci-token")},
		{"what it may not read", push("acme/app"), "shared/other", denied("read")},
		{"what is not there", push("acme/app"), "shared/ci-none", verdict{reason: "not-found", status: http.StatusNotFound}},
		{"a pull request", pull("acme/app"), "shared/ci-token", denied("event")},
		{"somebody else", push("mallory/app"), "shared/ci-token", denied("repo")},
	} {
		t.Run(r.says, func(t *testing.T) {
			b := r.who.number(int64(100 + i))
			one, other := replicas[0].expect(t, b, r.asks, r.want), replicas[1].expect(t, b, r.asks, r.want)
			if one.Version != other.Version || one.Binding != other.Binding || one.ID == other.ID {
				t.Errorf("they decided differently:\n%s\n%s", one.Line, other.Line)
			}
		})
	}
}

// A build's second request meets the other replica, which knows nothing of the first: it reads for itself, and the build has its
// value; also of a secret that was changed in between.
func TestABuildsSecondRequestMeetsTheOtherReplica(t *testing.T) {
	t.Parallel()
	replicas := startPair(t)
	b := push("acme/app").number(7)
	for round := range 2 {
		for i, r := range replicas {
			e := r.expect(t, b, "shared/ci-token", gets("kv-shared/ci-token"))
			if want := [...]string{"fetched", "build"}[round]; e.How != want {
				t.Errorf("replica %d, request %d: the value was %s, want %s", i, round, e.How, want)
			}
		}
	}
	version := replicas[0].Vault("kv-shared").Set("ci-token", "canary-value-of-the-next-version")
	next := push("acme/app").number(8)
	for i, r := range replicas {
		r.world.watch("canary-value-of-the-next-version")
		if value, err := r.find(next, "shared/ci-token"); err != nil || value != "canary-value-of-the-next-version" {
			t.Errorf("replica %d: got %q, %v", i, value, err)
		}
		all := r.events()
		if e := all[len(all)-1]; e.Version != version {
			t.Errorf("replica %d released %s, want %s", i, e.Version, version)
		}
	}
}

// One of two is told to end amid the load, as in a rolling replacement: nobody who asks the common address goes without an answer,
// each answer is on one record, and each record is a chain of its own.
func TestAReplicaIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	const workers, before, after = 8, 100, 100
	replicas := startPair(t)
	address := balance(t, replicas)
	var builds, got, left atomic.Int64
	var asking sync.WaitGroup
	done, want := make(chan struct{}), replicas[1].valueAt(t, "kv-shared/ci-token")
	for range workers {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n := builds.Add(1)
				if value, err := ask(address, push("acme/app").number(n)); err != nil || value != want {
					t.Errorf("build %d: got %q, %v", n, value, err)
				}
				got.Add(1)
				if replicas[0].ended() {
					left.Add(1)
				}
				time.Sleep(5 * time.Millisecond) // what is wanted is load throughout the drain, and not all there can be
			}
		})
	}
	eventually(t, "load on both", func() bool {
		return got.Load() >= before && count(replicas[0].events(), "released") > 0 && count(replicas[1].events(), "released") > 0
	})
	replicas[0].signal(syscall.SIGTERM)
	eventually(t, "an end of it, and load beyond", func() bool { return left.Load() >= after || t.Failed() })
	close(done)
	asking.Wait()
	replicas[0].stop() // verifies its record, and so does the other's end

	on := map[int64]string{}
	for _, r := range replicas {
		for _, e := range r.events() {
			if e.Outcome != "released" {
				continue
			}
			if where := on[e.Build.Number]; where != "" {
				t.Errorf("build %d is on two records", e.Build.Number)
			}
			on[e.Build.Number] = r.Record
		}
	}
	if int64(len(on)) != got.Load() {
		t.Errorf("%d builds have their secret, and %d are on record", got.Load(), len(on))
	}
	for _, r := range replicas {
		if e := r.events()[0]; e.Seq != 1 {
			t.Errorf("a chain begins with %s", e.Line)
		}
	}
	if all := replicas[0].events(); all[len(all)-1].Kind != "stop" {
		t.Errorf("the record of the one that ended ends with %s", all[len(all)-1].Line)
	}
}

// ask makes one request with a connection of its own, so that each meets whichever replica is next.
func ask(address string, b build) (value string, err error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(genuine(b.body("shared", "ci-token")).sign(runnerKey, five).bytes()); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var secret struct{ Data string }
	if err := json.NewDecoder(response.Body).Decode(&secret); err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %w", response.Status, err)
	}
	return secret.Data, nil
}

// balance leads each connection to the next replica that says it is ready, as the service of a cluster does: it knows nothing of
// requests, and a replica that stops without having said so first loses what it gets.
func balance(t *testing.T, replicas [2]*server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ready [2]atomic.Bool
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, r := range replicas {
		eventually(t, fmt.Sprintf("replica %d ready", i), func() bool { return readiness(ctx, r) })
		ready[i].Store(true)
		running.Go(func() {
			for ctx.Err() == nil {
				ready[i].Store(readiness(ctx, r))
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	running.Go(func() {
		for next := 0; ; next++ {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			if !ready[next%2].Load() {
				next++
			}
			to := replicas[next%2].Address
			running.Go(func() { join(client, to) })
		}
	})
	t.Cleanup(func() { cancel(); _ = listener.Close(); running.Wait() })
	return listener.Addr().String()
}

// readiness asks as a kubelet does, with a connection of its own each time.
func readiness(ctx context.Context, s *server) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// join copies both ways until either side has ended. A replica that can't be reached shows as a connection that breaks.
func join(client net.Conn, to string) {
	defer client.Close()
	replica, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer replica.Close()
	go func() { _, _ = io.Copy(replica, client); _ = replica.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(client, replica)
}
