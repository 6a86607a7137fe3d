package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// How long the strings of a line may be, in bytes before escaping. What the pipeline asked for needs no more than a
// reference can have. Everything else that a stranger chose has a bound too: a request of 1 MiB may be all branch name, and it must
// not cost 1 MiB of disk a second time for every retry. No forge takes a ref, slug or login of even half of maxText, so
// a real one is never cut; an object in which something was cut says "cut": true, and such an event is not replayed.
const (
	maxAsked  = 256
	maxText   = 1024
	maxDetail = 4096
	maxLine   = 512 << 10 // above the sum of all of them, each byte escaped as \u0000
)

const timeFormat = "2006-01-02T15:04:05.000000Z"

// head is the end of a chain: the number and hash of its last line. The zero head is that of an empty chain.
type head struct {
	seq  uint64
	hash [2 * sha256.Size]byte // lower-case hex
}

// text is the hash as `prev` has it: empty before the first line.
func (h *head) text() []byte {
	if h.seq == 0 {
		return nil
	}
	return h.hash[:]
}

// appendLine appends the event as the line that follows h, newline included, and moves h on to it. facts are what appendFacts
// made of the event. It allocates nothing but what dst grows by.
//
// A line, shortened: {"v":1,"seq":7,"time":"…","id":"…","kind":"secret",…,"prev":"<hash of line 6>","hash":"<hash>"}.
// The hash is over all bytes of the line before `,"hash"`. As prev is among them, to change a line means to change
// every later one.
func appendLine(dst []byte, h *head, at time.Time, facts []byte) []byte {
	from := len(dst)
	dst = append(dst, `{"v":1,"seq":`...)
	dst = strconv.AppendUint(dst, h.seq+1, 10)
	dst = append(dst, `,"time":"`...)
	dst = at.UTC().AppendFormat(dst, timeFormat)
	dst = append(append(append(dst, '"'), facts...), `,"prev":"`...)
	dst = append(append(dst, h.text()...), '"')

	sum := sha256.Sum256(dst[from:])
	hex.Encode(h.hash[:], sum[:])
	h.seq++
	dst = append(append(dst, `,"hash":"`...), h.hash[:]...)
	return append(dst, "\"}\n"...)
}

// appendFacts appends what a line says of the event, wherever in the chain it will stand. This is most of the work, and needs
// no lock. count is for an unproven event: how many since the last line about the same.
func appendFacts(dst []byte, instance string, count uint64, e *secret.Event) []byte {
	w := object{buf: dst}
	w.text("id", e.Caller.ID)
	w.text("instance", instance)
	w.always("kind", string(e.Kind))
	w.always("outcome", string(e.Outcome))
	w.text("reason", string(e.Reason))
	w.text("pool", e.Caller.Pool)
	w.text("key", e.Caller.Key)
	w.text("remote", e.Caller.Remote)
	if (e.Kind == secret.EventSecret || e.Kind == secret.EventRegistry) && e.Request != (secret.Request{}) {
		w.request(&e.Request)
	}
	w.text("secret", e.Secret)
	w.text("version", e.Version)
	if !e.Expires.IsZero() {
		w.name("expires")
		w.buf = append(e.Expires.UTC().AppendFormat(append(w.buf, '"'), time.RFC3339), '"')
	}
	w.text("binding", e.Binding)
	w.text("denied_by", e.DeniedBy)
	w.text("identity", e.Identity)
	w.text("config", e.Config)
	w.millis("ms", e.Took)
	w.text("how", e.How)
	w.number("repeat", int64(e.Caller.Repeat))
	if e.Reason == secret.ReasonDate {
		w.number("skew", int64(e.Caller.Skew.Round(time.Second)/time.Second))
	}
	w.number("count", int64(count))
	w.limited("detail", e.Detail, maxDetail)
	return w.buf
}

// object writes the members of a JSON object, leaving out what is empty.
type object struct {
	buf []byte
	cut bool // whether a text since the last begin was cut
}

// name writes what stands before a value, with a comma unless the value is the object's first. What is empty goes on from
// somewhere else.
func (w *object) name(s string) {
	if len(w.buf) == 0 || w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(append(append(w.buf, '"'), s...), '"', ':')
}

func (w *object) text(name, s string) { w.limited(name, s, maxText) }

func (w *object) limited(name, s string, limit int) {
	if s != "" {
		w.quoted(name, s, limit)
	}
}

func (w *object) always(name, s string) { w.quoted(name, s, maxText) }

// quoted writes a text of at most limit bytes before escaping, and notes when it had to be cut.
func (w *object) quoted(name, s string, limit int) {
	s, cut := cutAt(s, limit)
	w.cut = w.cut || cut
	w.name(name)
	w.buf = appendQuote(w.buf, s)
}

func (w *object) number(name string, n int64) {
	if n != 0 {
		w.name(name)
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
}

// millis writes a duration in milliseconds, to the microsecond.
// 1234567 ns become 1.235; what rounds to nothing is left out.
func (w *object) millis(name string, d time.Duration) {
	if us := d.Round(time.Microsecond).Microseconds(); us > 0 {
		w.name(name)
		w.buf = strconv.AppendFloat(w.buf, float64(us)/1000, 'f', -1, 64)
	}
}

// begin opens an object inside, end closes it or, if nothing was written to it, takes it back.
// It also forgets whether something was cut, since "cut" speaks of one object. Objects are not nested any deeper.
func (w *object) begin(name string) (from int) {
	from, w.cut = len(w.buf), false
	w.name(name)
	w.buf = append(w.buf, '{')
	return from
}

func (w *object) end(from int) {
	if w.buf[len(w.buf)-1] == '{' {
		w.buf = w.buf[:from]
		return
	}
	if w.cut {
		w.buf = append(w.buf, `,"cut":true`...)
	}
	w.buf = append(w.buf, '}')
}

// request writes what the policy saw and what leads a person to the build. What a runner sends beyond it, repo.secret
// above all, never gets this far.
func (w *object) request(q *secret.Request) {
	repo := w.begin("repo")
	w.text("slug", q.Repo.Slug)
	w.text("uid", q.Repo.UID)
	w.text("default_branch", q.Repo.DefaultBranch)
	w.end(repo)

	build := w.begin("build")
	w.number("number", q.Build.Number)
	w.text("event", q.Build.Event)
	w.text("ref", q.Build.Ref)
	w.text("sha", q.Build.SHA)
	w.text("source", q.Build.Source)
	w.text("source_repo", q.Build.SourceRepo)
	w.text("target", q.Build.Target)
	w.text("deploy_to", q.Build.DeployTo)
	w.text("cron", q.Build.Cron)
	w.text("trigger", q.Build.Trigger)
	w.text("sender", q.Build.Sender)
	w.text("link", q.Build.Link)
	w.end(build)

	w.text("actor", q.Build.Actor())

	asked := w.begin("asked")
	w.limited("path", q.Path, maxAsked)
	w.limited("name", q.Name, maxAsked)
	w.end(asked)
}
