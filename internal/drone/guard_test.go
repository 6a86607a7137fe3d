package drone_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// oldKey is the key that runnerKey replaces.
const oldKey = "canary-old-key-of-the-runners-0123456789"

func keys(list ...drone.Key) func(*options) { return func(o *options) { o.keys = list } }

func TestAKeyThatProvesNothingIsRefused(t *testing.T) {
	longKey := strings.Repeat(runnerKey, 2)
	sumOf := sha256.Sum256([]byte(longKey))
	for name, c := range map[string]struct {
		keys []drone.Key
		says []string
	}{
		"no key":              {nil, []string{"pools", "DRONE_SECRET"}},
		"P13 an empty key":    {[]drone.Key{pool("prod", "new", "")}, []string{`"new"`, `"prod"`, "0 bytes", "openssl rand"}},
		"P13 31 bytes":        {[]drone.Key{pool("prod", "new", runnerKey[:31])}, []string{`"new"`, `"prod"`, "31 bytes", "32"}},
		"P13 the second one":  {[]drone.Key{pool("a", "1", runnerKey), pool("b", "2", "short")}, []string{`"2"`, `"b"`, "5 bytes"}},
		"one key, two pools":  {[]drone.Key{pool("a", "1", runnerKey), pool("b", "2", runnerKey)}, []string{`"1"`, `"a"`, `"2"`, `"b"`}},
		"one key twice in it": {[]drone.Key{pool("a", "1", runnerKey), pool("a", "2", runnerKey)}, []string{`"1"`, `"2"`}},
		// An answer is sealed under the first 32 bytes alone, so one pool's runner would open the other's answers.
		"two keys that seal alike": {[]drone.Key{pool("a", "1", runnerKey[:32]+"-a"), pool("b", "2", runnerKey[:32]+"-b")}, []string{`"a"`, `"b"`, "32 bytes"}},
		// HMAC pads a key with zero bytes, and takes the SHA-256 of a long one for the key itself.
		"two keys that verify alike": {[]drone.Key{pool("a", "1", runnerKey), pool("b", "2", runnerKey+"\x00")}, []string{`"a"`, `"b"`}},
		"a long key and its sum":     {[]drone.Key{pool("a", "1", longKey), pool("b", "2", string(sumOf[:]))}, []string{`"a"`, `"b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := drone.NewGuard(drone.Options{Keys: c.keys, Skew: skew, MaxBody: maxBody, Repeats: 1, Now: now.UTC})
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %s", err, want)
				}
			}
			if strings.Contains(err.Error(), runnerKey[:16]) {
				t.Errorf("%q quotes the key", err)
			}
		})
	}
	newWorld(t, keys(pool("prod", "new", runnerKey[:32]))) // 32 bytes are enough
}

// While a pool's key rotates both are good, the record names the one that was used, and the answer is sealed under it.
func TestRotation(t *testing.T) {
	during := keys(pool("prod", "new", runnerKey), pool("prod", "old", oldKey))
	after := keys(pool("prod", "new", runnerKey))
	for _, c := range []struct {
		name, key, id string
		world         func(*options)
		status        int
	}{
		{"P12 the new key, during", runnerKey, "new", during, 200},
		{"P12 the old key, during", oldKey, "old", during, 200},
		{"P12 the new key, after", runnerKey, "new", after, 200},
		{"P12 the old key, after", oldKey, "", after, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.world)
			r := w.send(genuine(genuineBody).sign(c.key, five).bytes())
			if c.status == 401 {
				w.refused(r, 401, messages[401])
				w.recorded(r, secret.EventUnproven, secret.Refused, secret.ReasonKey)
				return
			}
			w.released(r, c.key, "password", theValue)
			e := w.recorded(r, secret.EventSecret, secret.Released, "")
			if e.Caller.Pool != "prod" || e.Caller.Key != c.id || w.asked[0].Pool != "prod" {
				t.Errorf("on record is %+v, policy saw the pool %q; want key %q of prod", e.Caller, w.asked[0].Pool, c.id)
			}
		})
	}
}

// A pool's runner is told apart by its key, and another pool's key does not open its answer.
func TestPools(t *testing.T) {
	w := newWorld(t, keys(pool("default", "1", runnerKey), pool("prod", "1", oldKey)))
	for name, key := range map[string]string{"default": runnerKey, "prod": oldKey} {
		w.asked = nil
		r := w.send(genuine(genuineBody).sign(key, five).bytes())
		w.released(r, key, "password", theValue)
		if w.asked[0].Pool != name {
			t.Errorf("the key of %s came out as pool %q", name, w.asked[0].Pool)
		}
		for _, other := range []string{runnerKey, oldKey} {
			if _, err := unseal(other, r.body); other != key && err == nil {
				t.Errorf("the answer to %s opens under another pool's key", name)
			}
		}
	}
}

func TestRepeatsAreCountedAndOnlyAbsurdOnesRefused(t *testing.T) {
	w := newWorld(t, func(o *options) { o.repeats = 3 })
	raw := genuine(genuineBody).sign(runnerKey, five).bytes()
	for i := range 3 {
		r := w.send(raw)
		w.released(r, runnerKey, "password", theValue)
		if e := w.recorded(r, secret.EventSecret, secret.Released, ""); e.Caller.Repeat != i {
			t.Errorf("P5 the request no. %d is on record as repeat %d", i+1, e.Caller.Repeat)
		}
	}
	r := w.send(raw)
	w.refused(r, 429, messages[429])
	if e := w.recorded(r, secret.EventSecret, secret.Failed, secret.ReasonBusy); e.Caller.Repeat != 3 {
		t.Errorf("on record is repeat %d, want 3", e.Caller.Repeat)
	}
	other := genuine(strings.Replace(genuineBody, "password", "token", 1)).sign(runnerKey, five)
	w.released(w.send(other.bytes()), runnerKey, "token", theValue)
}

// Only what was proven whole counts as a repeat: nobody can use up a runner's repeats with a stolen head.
func TestAStolenHeadUsesUpNoRepeats(t *testing.T) {
	w := newWorld(t, func(o *options) { o.repeats = 1 })
	stolen := genuine(genuineBody).sign(runnerKey, five)
	stolen.body = strings.Replace(stolen.body, "acme", "evil", 1)
	for range 3 {
		w.refused(w.send(stolen.bytes()), 401, messages[401])
	}
	w.stillServes()
}

// A request is remembered for as long as its Date is fresh, also when what is remembered changes generations meanwhile.
func TestARepeatIsKnownForAsLongAsItIsFresh(t *testing.T) {
	clock := now.Add(-3*skew + time.Second)
	w := newWorld(t, func(o *options) { o.repeats, o.now = 1, func() time.Time { return clock } })
	raw := hostile{}.message().bytes()
	clock = now.Add(-skew)
	w.released(w.send(raw), runnerKey, "password", theValue)
	clock = now.Add(skew)
	w.refused(w.send(raw), 429, messages[429])
	clock = clock.Add(time.Second)
	w.refused(w.send(raw), 401, messages[401])
}

// Nothing leaves that is not on record, and nothing else of the answer changes.
func TestWhatCannotBeRecorded(t *testing.T) {
	broken := secret.Fail(secret.Unavailable, secret.ReasonUnrecorded, "canary: the disk is full")
	for name, c := range map[string]struct {
		edit, tamper func(*message)
		status       int
	}{
		"a release":            {nil, nil, 503},
		"a malformed request":  {body("[]"), nil, 503},
		"a media type":         {sets("Content-Type", "text/plain"), nil, 503},
		"one without a length": {nil, func(m *message) { m.framing = "Transfer-Encoding: chunked" }, 503},
		"an unproven request":  {nil, drops("Signature"), 401},
		"a wrong digest":       {nil, func(m *message) { m.body += " " }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.record.broken = broken
			r := w.send(hostile{edit: c.edit, tamper: c.tamper}.message().bytes())
			w.refused(r, c.status, messages[c.status])
			w.record.broken = nil
			w.stillServes()
		})
	}
	t.Run("a busy one", func(t *testing.T) {
		w := newWorld(t, func(o *options) { o.repeats = 0 })
		w.record.broken = broken
		w.refused(w.send(hostile{}.message().bytes()), 503, messages[503])
	})
}

// Every kind of failure has its status, and no answer tells more than that.
func TestTheStatusOfEachKind(t *testing.T) {
	for kind, status := range map[secret.Kind]int{
		secret.Internal: 500, secret.Invalid: 400, secret.Denied: 404, secret.NotFound: 404, secret.Busy: 429,
		secret.Garbled: 502, secret.Unavailable: 503, secret.Late: 504,
	} {
		w := newWorld(t)
		w.answer = secret.Fail(kind, secret.ReasonDeny, "canary detail "+theValue)
		r := w.send(hostile{}.message().bytes())
		w.refused(r, status, messages[status])
	}
	w := newWorld(t)
	w.answer = errors.New("nobody vouched for this: " + theValue)
	w.refused(w.send(hostile{}.message().bytes()), 500, messages[500])
}

func TestAValueThatIsNoTextIsNotSent(t *testing.T) {
	w := newWorld(t, func(o *options) { o.value = theValue + "\xff" })
	w.refused(w.send(hostile{}.message().bytes()), 502, messages[502])
}
