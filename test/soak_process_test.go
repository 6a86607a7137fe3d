//go:build soak && linux

package test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// most is what a replica may take of memory, with the limit that the program gives itself. The race detector's memory is its
// own, so the replica that lives throughout is built without it.
const most = 128 << 10 // KiB

// slot is a replica, and whoever takes its place with the same record.
type slot struct {
	soak   *soak
	number int
	dir    string
	read   map[string]int64 // of each file of the record, what has been judged
	idle   int              // descriptors without any load
	disk   sync.Mutex       // held while the disk is full, and while the replica ends in order

	mu         sync.Mutex
	server     *server
	generation int64
	told       time.Time // when it was last told to end
	killed     []span
	lines      []*line // connections that are kept, the last used last
	samples    []sample

	ready atomic.Int64 // the generation that is ready
}

// span is a time, from and to.
type span struct{ from, to time.Time }

// sample is what a process took of memory, in KiB.
type sample struct {
	at time.Time
	kb int
}

// now is the replica of this moment.
func (s *slot) now() (*server, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server, s.generation
}

func (s *slot) isReady() bool {
	_, generation := s.now()
	return s.ready.Load() == generation
}

// lags is for how long requests still come to a replica that was told to end, as a service learns of that late.
const lags = time.Second

// takes tells whether requests come to the replica.
func (s *slot) takes() bool {
	s.mu.Lock()
	told := s.told
	s.mu.Unlock()
	return s.isReady() || time.Since(told) < lags
}

// start has a replica take the place.
func (s *slot) start() {
	k := s.soak
	k.starting.Lock()
	defer k.starting.Unlock()
	begun := start(k.t, k.configuration(s, "20s", false, ""), func(o *setup) {
		o.emulator, o.state, o.scheme, o.plain = k.emulator, s.dir, "https", s.number == 0
		o.canaries = k.leaks
		o.env["PROD_KEY"] = prodKey
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = begun
	s.generation++
}

// replace ends the replica in order and starts the next one. Nobody who asks may notice.
func (s *slot) replace() {
	s.disk.Lock()
	before, _ := s.now()
	s.mu.Lock()
	s.told = time.Now()
	s.mu.Unlock()
	before.stop() // verifies the record, and scans
	s.disk.Unlock()
	s.start()
}

// kill ends it as a machine that loses power, and starts the next one, which mends the record.
func (s *slot) kill() {
	before, _ := s.now()
	from := time.Now()
	s.mu.Lock()
	s.killed = append(s.killed, span{from, from.Add(patience)})
	s.mu.Unlock()
	before.kill()
	s.mu.Lock()
	s.killed[len(s.killed)-1].to = time.Now().Add(time.Second)
	s.mu.Unlock()
	s.disk.Lock() // a disk that is full leaves half a line until there is room again
	defer s.disk.Unlock()
	s.start()
	after, _ := s.now()
	after.verify()
}

// diedIn tells whether a kill can be why a request had no answer.
func (s *slot) diedIn(from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.killed, func(k span) bool { return !to.Before(k.from) && !from.After(k.to) })
}

// watch asks whether the replica is ready, as a kubelet does, and how much memory it takes.
func (s *slot) watch(stop <-chan struct{}) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.soak.trusted, ServerName: "127.0.0.1"}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(25 * time.Millisecond):
		}
		server, generation := s.now()
		if n%10 == 0 && s.number == 0 {
			s.sample(server)
		}
		answer, err := client.Get(server.URL + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
		}
		if err != nil || answer.StatusCode != http.StatusOK {
			generation = -1
		}
		s.ready.Store(generation)
	}
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func (s *slot) sample(server *server) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.child.Process.Pid))
	found := resident.FindSubmatch(status)
	if err != nil || found == nil {
		return // it has ended
	}
	kb, _ := strconv.Atoi(string(found[1]))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, sample{time.Now(), kb})
	if kb > most {
		s.soak.t.Errorf("the program took %d KiB of memory, more than %d", kb, most)
	}
}

// memory is what there was of it since a time.
func (s *slot) memory(since time.Time) (median, highest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int
	for _, one := range s.samples {
		if one.at.After(since) {
			all = append(all, one.kb)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	s.samples = nil
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}

// settled waits until the replica has no more descriptors than at rest and returns how many there are. At most means that
// it must come down to so many; 0 is for the first look.
func (s *slot) settled(atMost int) (n int) {
	k := s.soak
	server, _ := s.now()
	dir := fmt.Sprintf("/proc/%d/fd", server.child.Process.Pid)
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		k.disconnect()
		open, err := os.ReadDir(dir)
		if err != nil {
			k.t.Logf("descriptors are not looked at: %v", err)
			return 0
		}
		n = len(open)
		if atMost == 0 || n <= atMost {
			return n
		}
		if time.Now().After(deadline) {
			var names []string
			for _, one := range open {
				name, _ := os.Readlink(filepath.Join(dir, one.Name()))
				names = append(names, name)
			}
			k.t.Errorf("the program has %d descriptors without any load, %d at the start: %s", n, s.idle, strings.Join(names, " "))
			return n
		}
	}
}

// disconnect closes all connections to Azure, which are kept for 90 seconds: a name that does not resolve for a moment does.
func (k *soak) disconnect() {
	for _, target := range k.everywhere() {
		k.emulator.Fault(target, emulator.Fault{Kind: emulator.UnknownHost})()
	}
}

// flat is judged at the end: neither memory nor descriptors nor goroutines have grown with what was asked.
func (k *soak) flat() {
	s := k.slots[0]
	early, last := k.medians[min(1, len(k.medians)-2)], k.medians[len(k.medians)-1]
	if last > early*13/10+16<<10 {
		k.t.Errorf("the program took %d KiB of memory at first and %d in the end", early, last)
	}
	k.mu.Lock()
	rest := time.Until(k.reloaded.Add(k.budget + 7*time.Second)) // by then the last old generation has ended
	k.mu.Unlock()
	time.Sleep(max(0, rest))
	n := s.settled(s.idle + 4)
	k.slots[1].replace()
	eventually(k.t, "a fresh replica", func() bool { return k.slots[1].isReady() })
	k.disconnect()
	time.Sleep(time.Second)
	old, fresh := s.goroutines(), k.slots[1].goroutines()
	k.t.Logf("%d descriptors, %d at the start; %d goroutines, %d in a fresh replica", n, s.idle, total(old), total(fresh))
	if total(old) > total(fresh)+5 {
		var more []string
		for place, n := range old {
			if n > fresh[place] {
				more = append(more, fmt.Sprintf("%d, and %d, %s", n, fresh[place], place))
			}
		}
		slices.Sort(more)
		k.t.Errorf("the program has %d goroutines without any load, a fresh one has %d:\n%s", total(old), total(fresh), strings.Join(more, "\n"))
	}
	if total(fresh) == 0 {
		k.t.Errorf("no goroutine was found")
	}
}

func total(of map[string]int) (n int) {
	for _, m := range of {
		n += m
	}
	return n
}

var goroutine = regexp.MustCompile(`(?m)^goroutine \d+ .*\[`)

// goroutines ends the replica by having it print them, and counts them by where they began.
func (s *slot) goroutines() map[string]int {
	server, _ := s.now()
	found := map[string]int{}
	server.stopping.Do(func() {
		server.out.take()
		server.signal(syscall.SIGQUIT)
		server.wait()
		for block := range strings.SplitSeq(server.out.take(), "\n\n") {
			if goroutine.MatchString(block) {
				_, place, _ := strings.Cut(block, "created by ")
				place, _, _ = strings.Cut(place, " in goroutine")
				found[place]++
			}
		}
	})
	return found
}

// take returns what was printed since the last time, and forgets it.
func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.text.String()
	o.text.Reset()
	return text
}
