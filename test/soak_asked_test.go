//go:build soak && linux

package test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/drone/drone-go/drone"
)

// wish is what must become of a question.
type wish uint8

const (
	granted   wish = iota // the value
	forbidden             // 404, by policy
	movable               // either, as the configuration says that is on record
	absent                // 404, as the vault has none
	unproven              // 401
	garbled               // 400
	left                  // the client does not wait
	dawdled               // the client does not finish, and the server ends it
)

// question is what somebody asks, and how.
type question struct {
	says        string
	wish        wish
	who         build
	pool        string // whose key signs
	path, name  string
	alias, item string        // where that leads, if it is granted
	part        string        // of the item
	message     []byte        // as it is sent
	leaves      time.Duration // the client's patience, where it leaves
}

// answer is what became of it.
type answer struct {
	*question
	slot     int
	from, to time.Time
	status   int
	id       string
	text     string // the value
	err      error
}

// String is the answer without any value.
func (a *answer) String() string {
	return fmt.Sprintf("%s: build %d of %s asks for %s/%s of replica %d from %s to %s (%s): status %d, id %q, %d bytes, error %v",
		a.says, a.who.build.Number, a.who.repo.Slug, a.path, a.name, a.slot, a.from.Format("15:04:05.000"), a.to.Format("15:04:05.000"),
		a.to.Sub(a.from).Round(time.Millisecond), a.status, a.id, len(a.text), a.err)
}

func keyOf(pool string) string {
	if pool == "prod" {
		return prodKey
	}
	return runnerKey
}

func (k *soak) number() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.numbers++
	return k.numbers
}

func (q *question) signed() *question {
	q.message = genuine(q.who.body(q.path, q.name)).sign(keyOf(q.pool), five).bytes()
	return q
}

// granted is a build of its own that asks for a secret by one door.
func (k *soak) granted(alias, item string) *question {
	return k.asks(push("acme/app").number(k.number()), alias, item)
}

func (k *soak) asks(who build, alias, item string) *question {
	q := &question{says: "granted", who: who, pool: "default", path: alias, name: item, alias: alias, item: item}
	return q.signed()
}

// crowd is who asks in a round: builds that ask several times, and messages that come again.
type crowd struct {
	*soak
	*rand.Rand
	builds []build
	last   *question
}

// next is one more question.
func (c *crowd) next() *question {
	switch n := c.IntN(100); {
	case n < 62:
		return c.good()
	case n < 76:
		return c.denied()
	case n < 80:
		q := &question{says: "moving", wish: movable, who: push("moving/app").number(c.number()), pool: "default", path: "calm", name: oneOf(c.Rand, steady)}
		q.alias, q.item = "calm", q.name
		return q.signed()
	case n < 83:
		q := c.granted(oneOf(c.Rand, aliases), "none")
		q.wish, q.says = absent, "absent"
		return q
	case n < 90:
		return c.stranger()
	case n < 94:
		return c.nonsense()
	case n < 98:
		q := c.good()
		q.wish, q.says, q.leaves = left, "leaves", time.Duration(c.Int64N(int64(300*time.Millisecond)))
		return q
	}
	q := c.good()
	q.wish, q.says = dawdled, "dawdles"
	q.message = oneOf(c.Rand, [][]byte{q.message[:len(q.message)-10], q.message[:100], []byte("\x16\x03\x01 no HTTP\r\n\r\n"), nil})
	return q
}

// good is a question that is granted.
func (c *crowd) good() *question {
	switch n := c.IntN(100); {
	case n < 5 && c.last != nil:
		again := *c.last
		again.says = "the same message again"
		return &again
	case n < 10:
		q := &question{says: "granted by tag", who: tag("acme/app", "v1").number(c.number()), pool: "default", path: "calm", name: "doc", alias: "calm", item: "doc"}
		return q.signed()
	case n < 20:
		q := &question{says: "granted by name", who: push("acme/app").number(c.number()), pool: "default", name: "db_password", alias: "strict-a", item: "doc", part: "password"}
		return q.signed()
	case n < 30:
		q := &question{says: "granted to a deployment", who: promote("live/app", "production").number(c.number()), pool: "prod", path: "strict-b", name: oneOf(c.Rand, steady), alias: "strict-b"}
		q.item = q.name
		return q.signed()
	case n < 40:
		q := &question{says: "granted a part", who: push("acme/app").number(c.number()), pool: "default", alias: oneOf(c.Rand, aliases), item: "doc", part: "password", name: "password"}
		q.path = q.alias + "/doc"
		return q.signed()
	}
	if len(c.builds) == 0 || c.IntN(3) == 0 {
		c.builds = append(c.builds, push(fmt.Sprint("acme/app-", c.IntN(20))).number(c.number()))
		c.builds = c.builds[max(0, len(c.builds)-20):]
	}
	q := c.asks(oneOf(c.Rand, c.builds), oneOf(c.Rand, aliases), oneOf(c.Rand, append(append([]string{}, steady...), fickle...)))
	kept := *q // what the caller makes of q is not its affair
	c.last = &kept
	return q
}

// denied is a question to which the answer is no, whatever state the world is in.
func (c *crowd) denied() *question {
	n, alias, item := c.number(), oneOf(c.Rand, aliases), oneOf(c.Rand, steady)
	q := oneOf(c.Rand, []*question{
		{says: "denied: a pull request", who: pull("acme/app"), path: alias, name: item},
		{says: "denied: a fork", who: pull("acme/app").from("mallory/app"), path: alias, name: item},
		{says: "denied: another repository", who: push("mallory/app"), path: alias, name: item},
		{says: "denied: a branch", who: push("acme/app").branch("feature"), path: alias, name: item},
		{says: "denied: a tag", who: tag("acme/app", "nightly"), path: "calm", name: item},
		{says: "denied: nobody may", who: push("acme/app"), path: "calm", name: "root"},
		{says: "denied: no such vault", who: push("acme/app"), path: "nowhere", name: item},
		{says: "denied: no such name", who: push("acme/app"), name: "api_key"},
		{says: "denied: a deployment by another", who: promote("live/app", "production").by("mallory"), pool: "prod", path: "strict-b", name: item},
		{says: "denied: a deployment of other runners", who: promote("live/app", "production"), path: "strict-b", name: item},
	})
	q.wish, q.who = forbidden, q.who.number(n)
	if q.pool == "" {
		q.pool = "default"
	}
	return q.signed()
}

// stranger is a request that proves nothing.
func (c *crowd) stranger() *question {
	body := push("acme/app").number(c.number()).body("calm", "s0")
	type form struct {
		says string
		m    *message
	}
	f := oneOf(c.Rand, []form{
		{"unsigned", genuine(body)},
		{"a wrong key", genuine(body).sign(strings.Repeat("k", 48), five)},
		{"another digest", genuine(body).set("Digest", digest(body+" ")).sign(runnerKey, five)},
		{"too old", dated(body, time.Now().Add(-10*time.Minute)).sign(runnerKey, five)},
		{"one header less", genuine(body).sign(runnerKey, "accept accept-encoding content-type date")},
		{"another date than the signed one", genuine(body).sign(runnerKey, five).set("Date", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))},
	})
	return &question{says: "a stranger: " + f.says, wish: unproven, message: f.m.bytes()}
}

// nonsense is signed, and says nothing that could be answered.
func (c *crowd) nonsense() *question {
	body := push("acme/app").number(c.number()).body("calm", "s0")
	body = oneOf(c.Rand, []string{body[:len(body)/2], body + body, `{"path":"calm","name":"s0"}`, "[]", "{}", "null",
		strings.Replace(body, `"path"`, `"path":"calm","path"`, 1), body[:len(body)-1] + "\xff\"}"})
	return &question{says: "malformed", wish: garbled, message: genuine(body).sign(runnerKey, five).bytes()}
}

// traffic asks and asks, whether or not there are answers, until halt, which waits for the last of them.
func (k *soak) traffic(n int) (halt func()) {
	c := &crowd{soak: k, Rand: k.chooser("crowd", n)}
	stop := make(chan struct{})
	var working sync.WaitGroup
	room := make(chan struct{}, 400)
	working.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(*soakRate))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			q, s := c.next(), k.pick(c.Rand)
			waiting := &k.waiting
			if q.wish == dawdled {
				waiting = &k.dawdling
			}
			select {
			case room <- struct{}{}:
				waiting.Go(func() {
					defer func() { <-room }()
					k.put(q, s)
				})
			default:
				k.mu.Lock()
				k.skipped++
				k.mu.Unlock()
			}
		}
	})
	working.Go(func() { k.rotations(k.chooser("rotations", n), stop) })
	return sync.OnceFunc(func() {
		close(stop)
		working.Wait()
		k.waiting.Wait()
	})
}

// pick is the replica that a service would lead to: one that is ready. Where none is, it is the one that lives, and now and
// then it is that one anyway, as a service learns a little late who is ready.
func (k *soak) pick(r *rand.Rand) *slot {
	first, second := k.slots[0], k.slots[1]
	n := r.IntN(10)
	switch {
	case n < 5 && second.takes(), !first.takes() && n < 9 && second.takes():
		return second
	}
	return first
}

// line is a connection to a replica.
type line struct {
	*tls.Conn
	in         *bufio.Reader
	generation int64
	used       time.Time
}

// connect takes a connection that is kept, or makes one.
func (s *slot) connect(fresh bool) (*line, error) {
	s.mu.Lock()
	server, generation := s.server, s.generation
	for len(s.lines) > 0 && !fresh {
		l := s.lines[len(s.lines)-1]
		s.lines = s.lines[:len(s.lines)-1]
		if l.generation == generation && time.Since(l.used) < 30*time.Second {
			s.mu.Unlock()
			return l, nil
		}
		_ = l.Close()
	}
	s.mu.Unlock()
	raw, err := (&net.Dialer{Timeout: patience}).Dial("tcp", server.Address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: s.soak.trusted, ServerName: "127.0.0.1"})
	return &line{Conn: conn, in: bufio.NewReader(conn), generation: generation}, nil
}

func (s *slot) keep(l *line) {
	l.used = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

// hangUp closes what is kept.
func (s *slot) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		_ = l.Close()
	}
	s.lines = nil
}

// put asks a replica and notes what became of it.
func (k *soak) put(q *question, s *slot) *answer {
	a := &answer{question: q, slot: s.number, from: time.Now()}
	if q.wish == dawdled {
		k.mu.Lock()
		k.unread++
		k.mu.Unlock()
	}
	a.err = k.exchange(a, s)
	a.to = time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers = append(k.answers, a)
	return a
}

func (k *soak) exchange(a *answer, s *slot) error {
	l, err := s.connect(a.wish == dawdled || a.who.build.Number%4 == 0)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			_ = l.Close()
		}
	}()
	_ = l.SetDeadline(time.Now().Add(k.budget + patience))
	if a.wish == left {
		_ = l.SetDeadline(time.Now().Add(a.leaves))
	}
	if _, err := l.Write(a.message); err != nil {
		return err
	}
	response, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	a.status, a.id = response.StatusCode, response.Header.Get("X-Request-Id")
	if !response.Close {
		s.keep(l)
		kept = true
	}
	if a.status != http.StatusOK {
		k.scan("an answer", fmt.Sprint(response.Header)+string(body))
		return nil
	}
	if response.Header.Get("Content-Encoding") != "aesgcm" {
		return fmt.Errorf("a value that is not encrypted")
	}
	plain, err := unseal(keyOf(a.pool), body)
	if err != nil {
		return err
	}
	var secret drone.Secret
	if err := json.Unmarshal(plain, &secret); err != nil {
		return err
	}
	a.text = secret.Data
	return nil
}
