package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// atOnce has each message sent over a connection of its own, and only then, with all of them open, takes the answers, in
// any order. The race detector knows no more than 8,128 goroutines, so a few share the connections.
//
// Tests with as much to do as these take all processors, so nothing runs beside them: others would wait for seconds.
func (s *server) atOnce(t *testing.T, messages []*message, take func(*http.Response)) {
	t.Helper()
	const hands = 50
	conns := make([]net.Conn, len(messages))
	var sent, taken sync.WaitGroup
	share := func(group *sync.WaitGroup, do func(i int, in *bufio.Reader) error) {
		for hand := range hands {
			group.Go(func() {
				in := bufio.NewReader(nil)
				for i := hand; i < len(conns); i += hands {
					if err := do(i, in); err != nil {
						t.Errorf("connection %d: %v", i, err)
					}
				}
			})
		}
		group.Wait()
	}
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	share(&sent, func(i int, _ *bufio.Reader) (err error) {
		if conns[i], err = net.DialTimeout("tcp", s.Address, patience); err == nil {
			_ = conns[i].SetDeadline(time.Now().Add(3 * patience))
			_, err = conns[i].Write(messages[i].bytes())
		}
		return err
	})
	share(&taken, func(i int, in *bufio.Reader) error {
		if conns[i] == nil {
			return nil
		}
		in.Reset(conns[i])
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		take(response)
		return response.Body.Close()
	})
}

// data is the value in an answer, or a word about why there is none.
func data(key string, response *http.Response) string {
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		if response.Header.Get("Content-Encoding") == "aesgcm" {
			body, err = unseal(key, body)
		}
		var answer struct{ Data string }
		if err == nil && json.Unmarshal(body, &answer) == nil {
			return answer.Data
		}
	}
	return fmt.Sprintf("%s, %v", response.Status, err)
}

// Ten thousand ask for one secret that nobody has read yet, each over a connection of his own: all are answered, by one
// reading a second at most and with one token, and it all fits into memory.
func TestV8ManyAskAtOnce(t *testing.T) {
	const most = 128 << 10 // KiB
	asks := 10_000
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if room := int(min(files.Cur, 1<<20)) - 500; room < asks { // the emulator and the test itself need some
		asks = max(room, 100)
		t.Logf("only %d files may be open, so only %d ask", files.Cur, asks)
	}
	f := startFaulty(t, doors, withoutRace())
	f.fill("kv-faulty/db")
	messages := make([]*message, asks)
	for i := range messages {
		b := push("acme/app").number(4711) // one build; its steps differ in a field that decides nothing
		b.build.Message = fmt.Sprint(i)
		messages[i] = genuine(b.body("strict", "db")).sign(runnerKey, five)
	}
	began, want := time.Now(), f.valueAt(t, "kv-faulty/db")
	f.atOnce(t, messages, func(r *http.Response) {
		if got := data(runnerKey, r); got != want {
			t.Errorf("got %.200q", got)
		}
	})
	took := time.Since(began)
	t.Logf("%d answers in %s", asks, took)
	if reads := f.Emulator.Count("kv-faulty.vault.azure.net", "/secrets/db"); reads > 2+int(took/time.Second) { // the first is the challenge
		t.Errorf("%d reads in %s", reads, took)
	}
	if tokens := f.Emulator.TokenRequests(clientID); tokens != 1 {
		t.Errorf("%d tokens were asked for", tokens)
	}
	if released := count(f.events(), "released"); released != asks {
		t.Errorf("%d of %d answers are on record", released, asks)
	}
	f.fits(t, most)
	f.finds(t, f.next(), "shared/ci-token", f.valueAt(t, "kv-shared/ci-token"))
}

// Whoever holds a key asks in the name of ever new repositories for ever new names: nothing of them stays in memory but the
// signature, which is remembered for minutes so that its repetitions are counted, and the page of an operator does not grow.
func TestR4EverNewNamesTakeNoMemory(t *testing.T) {
	const round, most = 16 * 313, 10 << 10 // KiB, for two rounds: a kilobyte for each request
	f := startFaulty(t, one, withoutRace())
	f.good(t)
	n, began := 0, time.Now()
	ask := func() {
		t.Helper()
		var asking sync.WaitGroup
		for hand := range 16 {
			first, conn := n+hand, f.dial()
			_ = conn.SetDeadline(time.Now().Add(3 * patience))
			asking.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for i := first; i < first+round; i += 16 {
					slug, name := "acme/app", fmt.Sprintf("name-%d", i)
					if i%32 < 16 {
						slug = fmt.Sprintf("acme/app-%d", i)
					}
					b := push(slug).number(int64(i)).branch(fmt.Sprint("main-", i))
					if _, err := conn.Write(genuine(b.body("shared", name)).sign(runnerKey, five).bytes()); err != nil {
						t.Error(err)
						return
					}
					response, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					if response.StatusCode != http.StatusNotFound {
						t.Errorf("answered %s", response.Status)
					}
				}
			})
		}
		asking.Wait()
		n += round
	}
	ask()
	before, page := f.kibibytes(t, "VmRSS"), len(f.status().text)
	ask()
	ask()
	after := f.kibibytes(t, "VmRSS")
	t.Logf("%d KiB after %d names, %d KiB after %d, %s", before, round, after, n, time.Since(began))
	if after-before > most {
		t.Errorf("%d more names took %d KiB of memory", 2*round, after-before)
	}
	if now := len(f.status().text); now > page+200 {
		t.Errorf("/status takes %d bytes, %d before", now, page)
	}
	if denied := count(f.events(), "denied"); denied != n {
		t.Errorf("%d of %d are on record", denied, n)
	}
	f.finds(t, f.next(), "shared/ci-token", f.valueAt(t, "kv-shared/ci-token"))
}
