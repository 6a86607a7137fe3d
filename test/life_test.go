package test

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// Told to end while requests are at work, it ends after the last of them: nobody who was let in goes without an answer.
func TestS1ToldToEndWithRequestsInFlight(t *testing.T) {
	t.Parallel()
	const inFlight = 50
	f := startFaulty(t, doors+"limits: {drain: 1s}\n")
	v := f.Vault("kv-faulty")
	for i := range inFlight {
		f.fill(fmt.Sprintf("kv-faulty/s%d", i))
	}
	f.expect(t, f.next(), "strict/s0", gets("kv-faulty/s0"))
	f.Emulator.Forget()
	release := f.Emulator.Fault(v.Target(), emulator.Fault{Kind: emulator.Hold})
	before := len(f.events())
	var waiting sync.WaitGroup
	for i := range inFlight {
		b, secret := f.next(), fmt.Sprintf("s%d", i)
		waiting.Go(func() {
			if value, err := f.find(b, "strict/"+secret); err != nil || value != f.valueAt(t, "kv-faulty/"+secret) {
				t.Errorf("S1: %s: got %q, %v", secret, value, err)
			}
		})
	}
	for i := range inFlight { // each by itself: a read that is held for long is tried again, and would count for two
		if err := f.Emulator.Await(t.Context(), 1, v.Host(), fmt.Sprintf("/secrets/s%d/", i)); err != nil {
			t.Fatal(err)
		}
	}
	f.signal(syscall.SIGTERM)
	f.await("draining")
	release()
	waiting.Wait()
	f.wait() // a second signal would end it at once
	f.stop()
	if released := count(f.events()[before:], "released"); released != inFlight {
		t.Errorf("%d of %d answers are on record", released, inFlight)
	}
	if all := f.events(); all[len(all)-1].Kind != "stop" {
		t.Errorf("the record ends with %s", all[len(all)-1].Line)
	}
}

func count(all []event, outcome string) (n int) {
	for _, e := range all {
		if e.Outcome == outcome {
			n++
		}
	}
	return n
}

// Killed amid the load, it has every answer that anybody got on record, and goes on from there.
func TestS2KilledUnderLoad(t *testing.T) {
	t.Parallel()
	const workers, enough, most = 8, 150, 5000
	s := startOne(t)
	var builds atomic.Int64
	var answered sync.Map // build → true
	var got atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for n := builds.Add(1); n <= most; n = builds.Add(1) {
				value, err := s.find(push("acme/app").number(n), "shared/ci-token")
				if err != nil {
					return // it is gone
				}
				if value != s.valueAt(t, "kv-shared/ci-token") {
					t.Errorf("build %d got %q", n, value)
				}
				answered.Store(n, true)
				got.Add(1)
			}
		})
	}
	eventually(t, "enough load", func() bool { return got.Load() >= enough })
	s.kill()
	group.Wait()
	if got.Load() >= most {
		t.Fatal("the load was over before the kill: that proves nothing")
	}

	recorded := func() map[int64]bool {
		found := map[int64]bool{}
		for _, e := range s.events() {
			if e.Outcome == "released" {
				found[e.Build.Number] = true
			}
		}
		return found
	}
	at := recorded()
	answered.Range(func(n, _ any) bool {
		if !at[n.(int64)] {
			t.Errorf("build %d got its secret and is not on record", n)
		}
		return true
	})
	again := start(t, one, after(s))
	again.fill("kv-shared/ci-token")
	again.servesOne(t)
	for n := range at {
		if !recorded()[n] {
			t.Fatalf("the restart lost build %d", n)
		}
		break // one is as good as all: the chain is verified at the end
	}
	last := event{}
	for _, e := range again.events() {
		if e.Kind == "start" {
			last = e
		}
	}
	if last.Seq <= 1 {
		t.Errorf("the restart is not on record behind what was there: %s", last.Line)
	}
}

// Killed while a read is under way: nobody has an answer, and nothing claims that anybody had.
func TestS2KilledInTheMiddleOfARequest(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, doors)
	f.fill("kv-faulty/db")
	f.Emulator.Fault(f.Vault("kv-faulty").Target(), emulator.Fault{Kind: emulator.Hold})
	done := make(chan error)
	b := f.next()
	go func() { _, err := f.find(b, "strict/db"); done <- err }()
	if err := f.Emulator.Await(t.Context(), 1, "kv-faulty.vault.azure.net", "/secrets/db"); err != nil {
		t.Fatal(err)
	}
	f.kill()
	if err := <-done; err == nil {
		t.Error("an answer came from nowhere")
	}
	if n := count(f.events(), "released"); n != 0 {
		t.Errorf("%d releases are on record", n)
	}
	f.verify()
}

// A certificate is replaced as Kubernetes does it: by one symbolic link. A pair that doesn't fit leaves the old one in
// force, and says so.
func TestS4ACertificateIsReplaced(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	put := func(version, cert, key string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"tls.crt": cert, "tls.key": key} {
			if err := os.WriteFile(filepath.Join(dir, version, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(version, filepath.Join(dir, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	secretLine := func(key string) option { return canary(strings.Split(key, "\n")[1]) }
	cert1, key1, trusted1 := certificate(t)
	cert2, key2, trusted2 := certificate(t)
	_, key3, _ := certificate(t)
	cert4, key4, trusted4 := certificate(t)
	put("v1", cert1, key1)
	s := start(t, one+`listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", tls: {cert: `+dir+`/..data/tls.crt, key: `+dir+"/..data/tls.key}}\n",
		behindTLS(), secretLine(key1), secretLine(key2), secretLine(key3), secretLine(key4))
	s.fill("kv-shared/ci-token")
	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted1, ServerName: "127.0.0.1"}))
	first := s.serial(t)

	put("v2", cert2, key2)
	eventually(t, "the new certificate", func() bool { return s.serial(t).Cmp(first) != 0 || !s.pause() })
	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted2, ServerName: "127.0.0.1"}))
	second := s.serial(t)

	put("v3", cert4, key3) // a key of another certificate
	alarm := s.await("the old certificate stays in force")
	if alarm["level"] != "error" || !strings.Contains(fmt.Sprint(alarm["error"]), dir+"/..data/tls.key") {
		t.Errorf("the alarm doesn't name the files: %v", alarm)
	}
	if p := s.status(); !strings.Contains(p.Certificate.Error, "tls.key") || p.Certificate.Subject == "" {
		t.Errorf("/status doesn't tell: %+v", p.Certificate)
	}
	if s.serial(t).Cmp(second) != 0 {
		t.Error("the old certificate does not stay in force")
	}
	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted2, ServerName: "127.0.0.1"}))

	put("v4", cert4, key4)
	eventually(t, "the right pair", func() bool { return s.serial(t).Cmp(second) != 0 || !s.pause() })
	s.gotOne(t, s.secure(t, &tls.Config{RootCAs: trusted4, ServerName: "127.0.0.1"}))
	if p := s.status(); p.Certificate.Error != "" {
		t.Errorf("/status still says %q", p.Certificate.Error)
	}
}

// serial is that of the certificate which is served now, whoever signed it.
func (s *server) serial(t *testing.T) *big.Int {
	t.Helper()
	conn := tls.Client(s.dial(), &tls.Config{InsecureSkipVerify: true})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

// A pair that can't be used at the start keeps it from starting, with the files and the remedy.
func TestS4NoUsablePairAtStart(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	_, other, _ := certificate(t)
	for name, c := range map[string]struct {
		options []option
		says    string
	}{
		"no certificate":    {[]option{file("tls.key", key)}, "listen.tls.cert"},
		"no key":            {[]option{file("tls.crt", cert)}, "listen.tls.key"},
		"a mismatched pair": {[]option{file("tls.crt", cert), file("tls.key", other)}, "cannot be used together"},
		"the two exchanged": {[]option{file("tls.crt", key), file("tls.key", cert)}, "cannot be used together"},
		"empty files":       {[]option{file("tls.crt", ""), file("tls.key", "")}, "cannot be used together"},
	} {
		t.Run("S4 "+name, func(t *testing.T) {
			code, out := refuses(t, withTLS, append(c.options, canary(strings.Split(key, "\n")[1]), canary(strings.Split(other, "\n")[1]))...)
			if code != 1 || !strings.Contains(out, c.says) || !strings.Contains(out, "tls.crt") && !strings.Contains(out, "tls.key") {
				t.Errorf("it ends with %d and says %s", code, out)
			}
		})
	}
}
