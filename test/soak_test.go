//go:build soak && linux

// The soak: the program serves under load while one thing after the other breaks, for as long as it is told.
//
//	go test -tags soak -run TestSoak -timeout 0 ./test -soak.for 2h
//
// It says which seed it chooses by; with -soak.seed the same is chosen again. Only what is chosen can be repeated, and not
// how the machine's threads meet. It needs Linux, as it looks into /proc.

package test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/fnv"
	mathrand "math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

var (
	soakFor  = flag.Duration("soak.for", time.Minute, "for how long TestSoak breaks things")
	soakSeed = flag.Uint64("soak.seed", 0, "what TestSoak chooses by; 0 has it choose that, too")
	soakRate = flag.Int("soak.rate", 60, "how many requests TestSoak makes a second")
)

// soakConfig opens three vaults that faults hit by two doors each, one of which lets the last value serve, and one that only
// what all of them share can keep from answering. %s: the record, twice the certificate, the budget, how old a value may be
// behind the last door, and what a reload adds.
const soakConfig = `version: 1
record: {file: %s}
listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", tls: {cert: %s, key: %s}}
limits: {budget: %s, drain: 3s}
pools: {default: {keys: [{id: d1, env: DRONE_SECRET}]}, prod: {keys: [{id: p1, env: PROD_KEY}]}}
vaults:
  strict-a:  {url: https://kv-soak-a.vault.azure.net}
  lenient-a: {url: https://kv-soak-a.vault.azure.net, stale: 20s}
  strict-b:  {url: https://kv-soak-b.vault.azure.net}
  lenient-b: {url: https://kv-soak-b.vault.azure.net, stale: 20s}
  strict-c:  {url: https://kv-soak-c.vault.azure.net}
  lenient-c: {url: https://kv-soak-c.vault.azure.net, stale: %s}
  calm:      {url: https://kv-soak-calm.vault.azure.net}
bindings:
  - {id: apps, repos: ["acme/*"], read: ["strict-a/*", "lenient-a/*", "strict-b/*", "lenient-b/*", "strict-c/*", "lenient-c/*", "calm/*"]}
  - {id: tags, repos: ["acme/*"], when: {tag: {tags: ["v*"]}}, read: ["calm/*"]}
  - {id: named, repos: ["acme/*"], names: {db_password: strict-a/doc/password}}
  - {id: deploys, repos: ["live/*"], when: {promote: {deploy_to: [production]}}, actors: [alice], pools: [prod], read: ["strict-b/*"]}
denies:
  - {id: root, read: ["calm/root"], reason: nobody reads it}
%s`

// moving is the binding that reloads add and take away.
const moving = `  - {id: moving, repos: ["moving/*"], read: ["calm/*"]}` + "\n"

// mostStale is how old a value may be behind a lenient door, whatever a reload makes of it.
const mostStale = 20 * time.Second

// soak is one run.
type soak struct {
	t        *testing.T
	seed     uint64
	budget   time.Duration
	storm    time.Duration // of a round, while things break
	calm     time.Duration // and while nothing does
	emulator *emulator.Emulator
	slots    [2]*slot // the first lives throughout; the second is replaced, and killed
	prefix   string   // each value begins with it
	leaks    []string // what must not be seen
	trusted  *x509.CertPool
	pairs    []string   // certificates with their keys
	pair     string     // the file that has the one in force
	starting sync.Mutex // held while a replica starts, and while that file may be bad
	ledger   ledger
	troubles chronicle
	waiting  sync.WaitGroup // requests under way
	dawdling sync.WaitGroup // and those that go on beyond a round
	medians  []int          // of the memory in each round

	mu       sync.Mutex
	answers  []*answer
	policies map[string]bool // configuration → whether it has the binding moving
	reloaded time.Time       // when the last configuration was written
	numbers  int64
	faults   map[string]int // by what they hit
	skipped  int            // requests that found no room
	unread   int            // requests whose body did not come, which may be on record without anything of it
}

func TestSoak(t *testing.T) {
	k := newSoak(t)
	t.Logf("seed %d", k.seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the same is chosen again by: go test -tags soak -run TestSoak -timeout 0 ./test -soak.for %s -soak.rate %d -soak.seed %d", *soakFor, *soakRate, k.seed)
		}
	})
	end := k.open()
	defer end()
	defer k.dawdling.Wait()
	began := time.Now()
	k.round(0)
	for n := 1; !t.Failed() && (n == 1 || time.Since(began) < *soakFor); n++ {
		k.round(n)
	}
	k.dawdling.Wait()
	k.judge()
	if !t.Failed() {
		k.flat()
	}
}

func newSoak(t *testing.T) *soak {
	k := &soak{
		t: t, seed: *soakSeed, budget: 20 * time.Second, storm: 20 * time.Second, calm: 5 * time.Second,
		prefix: "canary-soak-" + rand.Text() + "-", policies: map[string]bool{}, faults: map[string]int{}, trusted: x509.NewCertPool(),
	}
	if k.seed == 0 {
		k.seed = mathrand.Uint64()
	}
	if *soakFor < 2*time.Minute { // so that several rounds find their time in it
		k.budget, k.storm, k.calm = 6*time.Second, 7*time.Second, 2*time.Second
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < *soakFor+2*time.Minute {
		t.Fatalf("-timeout leaves no time for -soak.for %s: -timeout 0 takes the limit away", *soakFor)
	}
	return k
}

// chooser makes the random choices of one thing in one round. Things choose apart, so that each chooses the same again.
func (k *soak) chooser(what string, round int) *mathrand.Rand {
	sum := fnv.New64a()
	_, _ = fmt.Fprint(sum, what, " ", round)
	return mathrand.New(mathrand.NewPCG(k.seed, sum.Sum64()))
}

// open makes vaults, values and certificates, starts both replicas and returns what ends all that watches them.
func (k *soak) open() (end func()) {
	var err error
	if k.emulator, err = emulator.Start(emulator.Options{Keys: keys, TokenLifetime: 20 * time.Second}); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(k.emulator.Close)
	k.emulator.Handle("evil.example", http.NotFoundHandler())
	watch := newWorld()
	watch.watch(k.prefix[:39], runnerKey, prodKey, repoSecret)
	for range 3 {
		cert, key, _ := certificate(k.t)
		k.trusted.AppendCertsFromPEM([]byte(cert))
		k.pairs = append(k.pairs, cert+key)
		watch.watch(strings.Split(key, "\n")[1])
	}
	for text := range watch.canaries {
		k.leaks = append(k.leaks, text)
	}
	k.pair = filepath.Join(directory(k.t), "pair.pem")
	if err := emulator.Project(k.pair, k.pairs[0]); err != nil {
		k.t.Fatal(err)
	}
	k.fill()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	for i := range k.slots {
		k.slots[i] = &slot{soak: k, number: i, dir: directory(k.t), read: map[string]int64{}}
		k.slots[i].start()
		watching.Go(func() { k.slots[i].watch(stop) })
	}
	for _, s := range k.slots {
		eventually(k.t, fmt.Sprintf("replica %d ready", s.number), func() bool { return s.isReady() })
	}
	k.slots[0].idle = k.slots[0].settled(0)
	return func() { close(stop); watching.Wait() }
}

// configuration is that of a slot. It is known from now on what it gives.
func (k *soak) configuration(s *slot, stale string, moves bool, comment string) string {
	more := ""
	text := fmt.Sprintf(soakConfig, filepath.Join(s.dir, "audit.jsonl"), k.pair, k.pair, k.budget, stale, comment)
	if moves {
		more = moving
	}
	text = strings.Replace(text, "denies:\n", more+"denies:\n", 1)
	sum := sha256.Sum256([]byte(text))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.policies[hex.EncodeToString(sum[:])], k.reloaded = moves, time.Now()
	return text
}

// round is load while things break, then until every door answers, then while nothing is broken. Then there is none, and all
// of it is judged. In round 0 nothing breaks.
func (k *soak) round(n int) {
	halt := k.traffic(n)
	defer halt() // where a replica can't be started, the test ends here
	before := time.Now()
	if n > 0 {
		k.breaks(n)
	}
	shut := k.shut()
	healed := k.heal()
	still := time.Now()
	for time.Since(still) < k.calm && !k.t.Failed() {
		time.Sleep(50 * time.Millisecond)
	}
	halt()
	for _, s := range k.slots {
		s.hangUp()
	}
	summary := k.judge()
	median, highest := k.slots[0].memory(before)
	k.medians = append(k.medians, median)
	k.t.Logf("round %d, %s: %s; faults: %s; %d doors shut; healed after %s; memory %d KiB, at most %d", n, time.Since(before).Round(time.Second), summary,
		counted(k.faults), shut, healed.Round(10*time.Millisecond), median, highest)
	clear(k.faults)
	if k.skipped > 0 {
		k.t.Logf("%d requests were not made, as 400 had no answer yet", k.skipped)
		k.skipped = 0
	}
}
