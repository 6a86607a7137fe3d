package drone

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Call is one of Drone's extension calls: the media type that its requests carry in their signed Accept, and who answers.
// Adding a call to an Endpoint is all it takes to serve it.
type Call struct {
	accept string
	// answer reads the proven body and returns the bytes of a 200, or an *secret.Error. It puts what it decides on
	// record, unless the body is malformed: then it returns an Invalid error and the endpoint does.
	answer func(ctx context.Context, caller secret.Caller, body []byte) ([]byte, error)
}

// Endpoint serves every call at one address, told apart by the signed Accept.
//
// Nothing in it changes once it is made, and what it remembers is its guard's Memory. So a reload makes another one,
// and a request that has reached the old one ends there. It is safe for concurrent use.
type Endpoint struct {
	guard   *Guard
	record  secret.Recorder
	calls   map[string]Call
	budget  time.Duration
	encrypt bool
	config  string
}

// EndpointOptions say how an Endpoint answers.
type EndpointOptions struct {
	Guard    *Guard
	Recorder secret.Recorder
	Budget   time.Duration // for the whole answer; whoever serves the endpoint bounds the reading of the body
	Plain    bool          // answer in clear; the default is to encrypt every 200 under the key that verified its request
	Config   string        // SHA-256 of the configuration in force, for the record
}

// takeTime is what a client has to take his answer, after the time that it may take to be made.
const takeTime = 10 * time.Second

// NewEndpoint makes the handler for the calls.
// Of two calls with the same Accept the last one counts.
func NewEndpoint(o EndpointOptions, calls ...Call) *Endpoint {
	e := &Endpoint{guard: o.Guard, record: o.Recorder, calls: map[string]Call{}, budget: o.Budget, encrypt: !o.Plain, config: o.Config}
	for _, c := range calls {
		e.calls[c.accept] = c
	}
	return e
}

// ServeHTTP proves, answers and writes. Every request gets an id that stands in its answer, its log line and its record.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{Endpoint: e, w: w, r: r}
	x.caller.ID, x.caller.Remote, x.caller.Arrived = newID(), host(r.RemoteAddr), e.guard.now()
	w.Header().Set("X-Request-Id", x.caller.ID)
	ctx, cancel := context.WithTimeout(r.Context(), e.budget)
	defer cancel()
	// A writer that knows no deadlines, as a test's, has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(e.budget + takeTime))
	// From here the budget runs. It does not bound the reading of the body, which has no context: the server does.
	data, err := x.run(ctx)
	if err != nil {
		x.refuse(err)
		return
	}
	defer clear(data)
	x.release(data)
}

// exchange is one request on its way.
// It belongs to one goroutine. caller fills up as more is proven: ID and Remote first, then Pool and Key, then Repeat.
type exchange struct {
	*Endpoint
	w      http.ResponseWriter
	r      *http.Request
	caller secret.Caller
	proof  proof
	read   bool // the body was read
}

// run returns the bytes of a 200. Whatever it refuses is on record when it returns.
//
// The order is what protects us: no byte of the body is read before the head is proven, none is parsed before the
// digest is compared, and nothing counts as a repeat before both. Else a stranger could fill the memory with bodies,
// reach the JSON parser, or use up the repeats of a signature that he overheard.
func (x *exchange) run(ctx context.Context) ([]byte, error) {
	// Both are asked before either is answered: an unproven request to a wrong path is a scanner's and is not put on
	// record; a proven one is a runner's with a wrong setting, whose operator must find it there.
	wrong := x.addressed()
	call, failure := x.proveHead()
	switch {
	case failure != nil && wrong != nil: // whoever looks around here is none of ours
		return nil, wrong
	case failure != nil:
		x.note(ctx, secret.EventUnproven, secret.Refused, failure)
		if media := x.media(); media != nil { // says nothing that a stranger doesn't know, and helps who set a proxy up wrongly
			return nil, media
		}
		return nil, failure
	}
	if wrong == nil {
		wrong = x.media()
	}
	if wrong != nil {
		return nil, x.malformed(ctx, wrong)
	}
	// A body without a length, or with one above the limit, needs no room: body refuses it before it reads anything.
	room := max(x.r.ContentLength, 0)
	if room <= x.guard.maxBody {
		if !x.guard.memory.bodies.TryAcquire(room) {
			return nil, x.failed(ctx, secret.Fail(secret.Busy, secret.ReasonBusy, "too many bodies are being read"), nil)
		}
		defer x.guard.memory.bodies.Release(room)
	}
	body, err := x.body()
	if err != nil {
		return nil, x.malformed(ctx, err)
	}
	defer clear(body) // it carries repo.secret
	// No constant time is needed: the sum came in clear, and there is nothing to guess in it.
	if sha256.Sum256(body) != x.proof.digest {
		failure := unproven(secret.ReasonDigest, "the body is not what was signed")
		x.note(ctx, secret.EventUnproven, secret.Refused, failure)
		return nil, failure
	}
	// A Date counts from skew before now until skew after it, so one signature can be shown for twice the skew.
	if x.caller.Repeat = x.guard.memory.repeats.count(x.proof.mac, 2*x.guard.skew); x.caller.Repeat >= x.guard.repeats {
		return nil, x.failed(ctx, secret.Fail(secret.Busy, secret.ReasonBusy, "the same request too many times"), nil)
	}
	data, err := x.answer(ctx, call, body)
	if _, invalid := errors.AsType[*invalid](err); invalid {
		return nil, x.malformed(ctx, err)
	}
	return data, err
}

// answer asks the call. One that panics, rather than what it calls, has put nothing on record; what the panic carries is
// dropped, as it may be part of the body.
func (x *exchange) answer(ctx context.Context, call Call, body []byte) (data []byte, err error) {
	defer func() {
		if recover() != nil {
			data, err = nil, x.failed(ctx, secret.Fail(secret.Internal, secret.ReasonInternal, "reading or answering panicked"), nil)
		}
	}()
	return call.answer(ctx, x.caller, body)
}

// addressed refuses what is not for this endpoint at all.
// The request's target is not among the signed headers, since proxies rewrite it: it proves nothing, and is not used to
// tell calls apart.
func (x *exchange) addressed() error {
	switch {
	case x.r.URL.Path != "/":
		return status(http.StatusNotFound, "not available") // as for whatever else is not to be had
	case x.r.Method != http.MethodPost:
		x.w.Header().Set("Allow", http.MethodPost)
		return status(http.StatusMethodNotAllowed, "only POST is served here")
	}
	return nil
}

// proveHead verifies the head and finds the call that its signed Accept names: a signature made for another kind of
// extension under the same key is no proof for this one.
func (x *exchange) proveHead() (call Call, failure *secret.Error) {
	x.proof, x.caller.Skew, failure = x.guard.head(x.r)
	if k := x.proof.key; k != nil {
		x.caller.Pool, x.caller.Key = k.pool, k.id
	}
	if failure != nil {
		return Call{}, failure
	}
	call, ok := x.calls[x.proof.accept]
	if !ok {
		return Call{}, unproven(secret.ReasonAccept, "no call of that Accept is served")
	}
	return call, nil
}

// media refuses a body that is not plain JSON. Content-Encoding is not signed, so nothing compressed is ever unpacked.
func (x *exchange) media() error {
	t, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || t != "application/json" || len(x.r.Header["Content-Encoding"]) > 0 {
		return status(http.StatusUnsupportedMediaType, "a request is application/json, not compressed")
	}
	return nil
}

// body reads the whole body, which must say its length and keep to it.
// A chunked body is refused with 411: no room could be set aside for it. The bytes are run's, which clears them.
func (x *exchange) body() ([]byte, error) {
	switch n := x.r.ContentLength; {
	case n < 0:
		return nil, status(http.StatusLengthRequired, "a request says its Content-Length")
	case n > x.guard.maxBody:
		return nil, status(http.StatusRequestEntityTooLarge, "the request is too large")
	default:
		x.read = true
		body := make([]byte, n)
		if _, err := io.ReadFull(x.r.Body, body); err != nil {
			return nil, status(http.StatusBadRequest, "the body ended early or came too slowly")
		}
		return body, nil
	}
}

// malformed puts a proven request on record that could not be read, and returns err.
// The detail on record is for the operator of a runner, so it names a wrong path before all else: an endpoint with a
// path in DRONE_SECRET_PLUGIN_ENDPOINT is a likely mistake, and the runner shows nothing of an error's body.
func (x *exchange) malformed(ctx context.Context, err error) error {
	detail := err.Error()
	if x.r.URL.Path != "/" {
		detail = "the endpoint is the root of this address, without a path"
	}
	return x.failed(ctx, secret.Fail(secret.Invalid, secret.ReasonMalformed, detail), err)
}

// failed puts a proven request on record that was not decided, and returns answer, or what was recorded if that is nil.
// Where even that can't be recorded, the Recorder's error is returned instead of both.
func (x *exchange) failed(ctx context.Context, e *secret.Error, answer error) error {
	if failure := x.note(ctx, secret.EventSecret, secret.Failed, e); failure != nil {
		return failure
	}
	if answer == nil {
		return e
	}
	return answer
}

// note records what came before a decision. It names no repository: the body is not read or not believed yet. The
// context's end does not stop it, or a client could leave no trace by hanging up.
func (x *exchange) note(ctx context.Context, kind secret.EventKind, outcome secret.Outcome, e *secret.Error) error {
	event := secret.Event{Kind: kind, Outcome: outcome, Reason: e.Reason, Detail: e.Detail, Caller: x.caller, Config: x.config}
	return x.record.Record(secret.Lasting(ctx), event)
}

// newID is a request id: 64 random bits, enough to tell requests apart and no secret.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// host leaves off the port, which is another one for each connection; what is not host:port stays as it is.
func host(remote string) string {
	if h, _, err := net.SplitHostPort(remote); err == nil {
		return h
	}
	return remote
}
