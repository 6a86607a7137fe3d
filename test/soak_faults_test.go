//go:build soak && linux

package test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// breakage is one way to break something.
type breakage struct {
	scope, what string
	mends       time.Duration        // what it takes until nobody feels it any more
	begin       func() (end func())  // nil if it could not be done
	limit       func() time.Duration // how long it may last; nil: as long as any
}

// mends is what things take to mend: a vault that can't answer is tried again after four seconds at most, and after what it
// asks for; an exchange that hangs goes on for twelve.
const (
	mends     = 10 * time.Second
	mendsHung = 15 * time.Second
)

// breaks breaks things for as long as the storm of a round lasts: in some lanes side by side, each one thing after the other.
func (k *soak) breaks(n int) {
	r := k.chooser("lanes", n)
	end := time.Now().Add(k.storm)
	var lanes sync.WaitGroup
	defer lanes.Wait()
	for _, lane := range k.lanes() {
		if r.IntN(100) >= lane.often {
			continue // what is whole must not feel the others
		}
		choose := k.chooser(lane.name, n)
		lanes.Go(func() {
			for {
				if !within(end, time.Duration(choose.Int64N(int64(lane.pause)))) {
					return
				}
				b := lane.choose(choose)
				lasts := time.Duration(float64(5*time.Millisecond) * math.Pow(2000, choose.Float64())) // 5 ms to 10 s
				if b.limit != nil {
					lasts = min(lasts, b.limit())
				}
				k.lasts(b, end, lasts)
			}
		})
	}
	k.operate(n, end)
}

// lasts breaks one thing for a while.
func (k *soak) lasts(b breakage, end time.Time, lasts time.Duration) {
	tr := k.troubles.begin(b.scope, b.what)
	defer k.troubles.end(tr, b.mends)
	mend := b.begin()
	if mend == nil {
		return
	}
	kind, _, _ := strings.Cut(b.scope, " ")
	k.count(kind)
	within(end, lasts)
	mend()
}

func (k *soak) count(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[what]++
}

// within waits, and is false once the storm is over.
func within(end time.Time, d time.Duration) bool {
	time.Sleep(max(0, min(d, time.Until(end))))
	return time.Now().Before(end)
}

// lane breaks one thing at a time.
type lane struct {
	name   string
	often  int           // in how many of a hundred rounds
	pause  time.Duration // the longest between two
	choose func(*rand.Rand) breakage
}

func (k *soak) lanes() (all []lane) {
	for _, name := range []string{"a", "b", "c"} {
		all = append(all,
			lane{"vault " + name, 60, 2 * time.Second, func(r *rand.Rand) breakage { return k.vaultFault(r, name, "") }},
			lane{"secret " + name, 40, 2 * time.Second, func(r *rand.Rand) breakage {
				return k.vaultFault(r, name, steady[r.IntN(len(steady))])
			}},
			lane{"attributes " + name, 50, 2 * time.Second, func(r *rand.Rand) breakage { return k.attributes(r, name) }})
	}
	all = append(all, lane{"entra", 50, 2 * time.Second, k.entraFault})
	for i := range k.slots {
		all = append(all,
			lane{fmt.Sprint("token ", i), 40, 2 * time.Second, func(r *rand.Rand) breakage { return k.tokenFile(r, k.slots[i]) }},
			lane{fmt.Sprint("record ", i), 30, 4 * time.Second, func(*rand.Rand) breakage { return k.fullDisk(k.slots[i]) }},
			lane{fmt.Sprint("configuration ", i), 70, 4 * time.Second, func(r *rand.Rand) breakage { return k.reconfigure(r, k.slots[i]) }})
	}
	return append(all, lane{"certificate", 60, 2 * time.Second, k.certificates})
}

// everywhere is each host that the program connects to.
func (k *soak) everywhere() []emulator.Target {
	all := []emulator.Target{emulator.Login()}
	for _, name := range []string{"a", "b", "c", "calm"} {
		all = append(all, k.vault(name).Target())
	}
	return all
}

// oneOf chooses.
func oneOf[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// vaultFault is a fault of a vault, or of one secret in it.
func (k *soak) vaultFault(r *rand.Rand, name, secret string) breakage {
	v := k.vault(name)
	all := []emulator.Fault{
		{Status: 429}, {Status: 429, RetryAfter: time.Second}, {Status: 429, RetryAfter: 2 * time.Second}, {Status: 500}, {Status: 503},
		{Status: 503, RetryAfter: time.Second}, {Status: 504}, {Kind: emulator.Hang}, {Kind: emulator.Reset},
		{Kind: emulator.Delay, Wait: time.Duration(r.Int64N(int64(5 * time.Second)))},
	}
	if nonsense := r.IntN(2) == 0; nonsense {
		all = []emulator.Fault{
			{Status: 401}, {Status: 403}, {Status: 404}, {Status: 403, Body: "<html>no</html>"},
			{Kind: emulator.HangBody}, {Kind: emulator.Drip, Wait: 20 * time.Millisecond}, {Kind: emulator.BrokenJSON}, {Kind: emulator.HTML},
			{Kind: emulator.WrongTypes}, {Kind: emulator.NullValue}, {Kind: emulator.EmptyValue},
			{Kind: emulator.Redirect, Location: "https://evil.example/secrets/s0"}, {Kind: emulator.ForeignChallenge}, {Kind: emulator.OddChallenge},
		}
	}
	target := v.Target()
	if secret != "" {
		target = v.Secret(secret)
	} else {
		all = append(all, emulator.Fault{Kind: emulator.ExpiredCertificate}, emulator.Fault{Kind: emulator.WrongCertificate},
			emulator.Fault{Kind: emulator.UntrustedCertificate}, emulator.Fault{Kind: emulator.UnknownHost})
		if r.IntN(20) == 0 {
			return breakage{"vault " + name, "no role", mends, func() func() { v.Forbid(clientID); return func() { v.Allow(clientID) } }, nil}
		}
	}
	fault := oneOf(r, all)
	if r.IntN(5) == 0 {
		fault.Times = 1 + r.IntN(8)
	}
	return breakage{"vault " + name, fmt.Sprintf("%s %s: %s", v.Host(), secret, told(fault)), mends, func() func() { return k.emulator.Fault(target, fault) }, nil}
}

// told is a fault in a few words.
func told(f emulator.Fault) string {
	text := f.Kind.String()
	for _, part := range []struct {
		name  string
		value any
		zero  bool
	}{
		{"status", f.Status, f.Status == 0}, {"AADSTS", f.AADSTS, f.AADSTS == 0}, {"Retry-After", f.RetryAfter, f.RetryAfter == 0},
		{"each", f.Wait, f.Wait == 0}, {"times", f.Times, f.Times == 0},
	} {
		if !part.zero {
			text += fmt.Sprintf(" %s %v", part.name, part.value)
		}
	}
	return text
}

func (k *soak) entraFault(r *rand.Rand) breakage {
	target, takes := emulator.TokenEndpoint(), mends
	fault := oneOf(r, []emulator.Fault{
		{Status: 400, AADSTS: 700213}, {Status: 400, AADSTS: 70025}, {Status: 401, AADSTS: 700027}, {Status: 400, AADSTS: 53003},
		{Status: 429, RetryAfter: time.Second}, {Status: 429}, {Status: 500}, {Status: 503}, {Status: 504},
		{Kind: emulator.Hang}, {Kind: emulator.HangBody}, {Kind: emulator.Drip, Wait: 5 * time.Millisecond},
		{Kind: emulator.Delay, Wait: time.Duration(r.Int64N(int64(5 * time.Second)))},
		{Kind: emulator.Reset}, {Kind: emulator.BrokenJSON}, {Kind: emulator.HTML}, {Kind: emulator.WrongTypes}, {Kind: emulator.EmptyValue},
		{Kind: emulator.UnknownHost}, {Kind: emulator.UntrustedCertificate},
	})
	switch fault.Kind {
	case emulator.UnknownHost, emulator.UntrustedCertificate:
		target = emulator.Login()
	case emulator.Hang, emulator.HangBody, emulator.Drip, emulator.Delay:
		takes = mendsHung
	}
	return breakage{"entra", told(fault), takes, func() func() { return k.emulator.Fault(target, fault) }, nil}
}

// tokenFile spoils the file with the projected token of one replica.
func (k *soak) tokenFile(r *rand.Rand, s *slot) breakage {
	server, _ := s.now()
	good := k.emulator.Assertion(emulator.AssertionOptions{})
	what := oneOf(r, []string{"missing", "empty", "half", "garbage", "replaced", "out of date"})
	return breakage{fmt.Sprint("token ", s.number), what, mends, func() func() {
		var err error
		switch what {
		case "missing":
			err = os.Remove(server.Token)
		case "empty":
			err = emulator.Project(server.Token, "")
		case "half":
			err = emulator.Project(server.Token, good[:len(good)/2])
		case "garbage":
			err = emulator.Project(server.Token, "\x00"+k.prefix+"\nno token")
		case "replaced":
			err = emulator.Project(server.Token, good)
		case "out of date":
			err = emulator.Project(server.Token, k.emulator.Assertion(emulator.AssertionOptions{Lifetime: -time.Hour}))
		}
		k.must(err)
		return func() { k.must(emulator.Project(server.Token, good)) }
	}, nil}
}

// must notes what the test itself could not do.
func (k *soak) must(err error) {
	if err != nil {
		k.t.Errorf("the soak itself: %v", err)
	}
}

// fullDisk keeps the record of one replica from growing, as a full disk does, in the middle of a line.
func (k *soak) fullDisk(s *slot) breakage {
	server, _ := s.now()
	pid := server.child.Process.Pid
	return breakage{fmt.Sprint("record ", s.number), "no file may grow", mends, func() func() {
		if !s.disk.TryLock() {
			return nil // it is being replaced, and has its last line to write
		}
		var old unix.Rlimit
		info, err := os.Stat(server.Record)
		if err == nil {
			err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &old)
		}
		if err == nil {
			err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(info.Size()) + 100, Max: old.Max}, nil)
		}
		if err != nil { // it was killed meanwhile
			s.disk.Unlock()
			return nil
		}
		return func() {
			_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &old, nil)
			s.disk.Unlock()
		}
	}, func() time.Duration { return time.Second }}
}

// reconfigure changes the configuration of one replica: to a good one, which nobody may feel but those whom it is about, or
// to a bad one, which nobody may feel at all.
func (k *soak) reconfigure(r *rand.Rand, s *slot) breakage {
	moves, stale, bad := r.IntN(2) == 0, oneOf(r, []string{"20s", "20s", "20s", "5s"}), r.IntN(3) == 0
	good := k.configuration(s, stale, moves, fmt.Sprintf("# %d\n", r.Uint64()))
	text, what := good, fmt.Sprintf("moving: %v, stale: %s", moves, stale)
	if bad {
		text = oneOf(r, []string{good + "bindings: [", good + "unknown: true\n", good[:len(good)/2], "", "\x00" + good})
		what = "one with an error"
	}
	asked := r.IntN(2) == 0
	return breakage{fmt.Sprint("configuration ", s.number), what, 0, func() func() {
		server, _ := s.now()
		server.write("drone-entra.yaml", text)
		if asked {
			server.signal(syscall.SIGHUP)
		}
		return func() {
			if bad {
				server.write("drone-entra.yaml", good)
			}
		}
	}, nil}
}

// certificates puts another pair in place, now and then one that is none. Nobody may feel it.
func (k *soak) certificates(r *rand.Rand) breakage {
	good, bad := oneOf(r, k.pairs), r.IntN(3) == 0
	return breakage{"certificate", fmt.Sprintf("replaced; a bad one: %v", bad), 0, func() func() {
		if !k.starting.TryLock() {
			return nil // with a bad one nobody starts, and rightly
		}
		text := good
		if bad {
			text = good[:len(good)-40]
		}
		k.must(emulator.Project(k.pair, text))
		return func() {
			k.must(emulator.Project(k.pair, good))
			k.starting.Unlock()
		}
	}, nil}
}

// operate is what becomes of the replicas: one is replaced, killed or held still at a time.
func (k *soak) operate(n int, end time.Time) {
	r := k.chooser("replicas", n)
	if r.IntN(100) >= 80 {
		return
	}
	for within(end, time.Duration(r.Int64N(int64(6*time.Second)))) && !k.t.Failed() {
		what := oneOf(r, []string{"killed", "replaced", "held still"})
		if what == "held still" {
			s := k.slots[r.IntN(2)]
			k.lasts(k.stillness(s), end, time.Duration(r.Int64N(int64(1500*time.Millisecond))))
			continue
		}
		tr := k.troubles.begin("", "replica 1 is "+what)
		k.count(what)
		if what == "killed" {
			k.slots[1].kill()
		} else {
			k.slots[1].replace()
		}
		k.troubles.end(tr, 0)
	}
}

// stillness stops a replica as a machine does that is suspended.
func (k *soak) stillness(s *slot) breakage {
	server, _ := s.now()
	return breakage{fmt.Sprint("replica ", s.number), "held still", mends, func() func() {
		server.signal(syscall.SIGSTOP)
		return func() { server.signal(syscall.SIGCONT) }
	}, nil}
}

// heal waits until every door of every replica gives again, each to a build of its own, and returns how long that took.
func (k *soak) heal() time.Duration {
	began := time.Now()
	k.settleConfigurations()
	for _, s := range k.slots {
		eventually(k.t, fmt.Sprintf("replica %d ready", s.number), func() bool { return s.isReady() })
		for _, alias := range aliases {
			for {
				a := k.put(k.granted(alias, "s0"), s)
				if a.status == http.StatusOK {
					break
				}
				if time.Since(began) > 20*time.Second+k.budget {
					k.report(a, "%s does not give any more, %s after the last fault", alias, time.Since(began))
					return time.Since(began)
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	took := time.Since(began)
	time.Sleep(2*time.Second - min(2*time.Second, took)) // whoever joins a read that hangs does so within a second
	k.troubles.healed(time.Now())
	return took
}

// settleConfigurations waits for each replica to have its last configuration in force.
func (k *soak) settleConfigurations() {
	for _, s := range k.slots {
		server, _ := s.now()
		text, err := os.ReadFile(server.ConfigAt)
		k.must(err)
		eventually(k.t, "the last configuration in force", func() bool { return server.status().Config.SHA256 == sumOf(string(text)) || !server.pause() })
	}
}

// shut counts the doors that let no request pass now, because their vault did not answer.
func (k *soak) shut() (n int) {
	for _, s := range k.slots {
		server, _ := s.now()
		for _, v := range server.status().Vaults {
			if v.Door.State != "closed" {
				n++
			}
		}
	}
	return n
}
