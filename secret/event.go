package secret

import (
	"context"
	"time"
)

// EventKind says what an entry of the record is about.
type EventKind string

// The kinds of entries.
const (
	EventStart    EventKind = "start"    // the process began to write this record
	EventConfig   EventKind = "config"   // a configuration was accepted or refused
	EventSecret   EventKind = "secret"   // a proven request for a secret
	EventRegistry EventKind = "registry" // a proven request for the credentials of registries
	EventUnproven EventKind = "unproven" // a request that nobody we know sent
	EventStop     EventKind = "stop"     // the process ended in order
)

// Outcome is how it ended.
// It is from a closed vocabulary: people and programs search the record by it.
type Outcome string

// The outcomes.
const (
	Released      Outcome = "released" // may have left
	DeniedOutcome Outcome = "denied"   // policy or the source said no
	Failed        Outcome = "failed"   // no answer could be given
	Accepted      Outcome = "accepted" // of a configuration
	Refused       Outcome = "refused"  // of a configuration, or of an unproven request
	Started       Outcome = "started"
	Stopped       Outcome = "stopped"
)

// Event is one entry of the record before it is written. It never holds a value, a token, a key or a request body.
//
// Fields that do not apply to the kind stay empty. Path, name, branch and actor in Request are a stranger's text:
// whoever writes the entry escapes and cuts them.
type Event struct {
	Kind    EventKind
	Outcome Outcome
	Reason  Reason
	Caller  Caller
	Request Request // zero for entries that are not about a parsed request

	Secret   string        // the resolved reference, as vault/name[@version][/key]
	Version  string        // the source's version of the value
	Binding  string        // the id of the binding that grants
	DeniedBy string        // the id of the deny that matched
	Identity string        // the identity's name in the configuration
	How      string        // one of the How constants
	Config   string        // lower-case hex SHA-256 of the configuration in force
	Expires  time.Time     // when a short-lived token that was released ends; zero for what is stored
	Detail   string        // a safe sentence for people: what a configuration changed, why a source failed
	Took     time.Duration // from the request's head to the decision to release
}

// Recorder puts events on record.
//
// Record returns only when the event is as durable as its kind demands: synced to disk, or, where the same release is on
// disk already, written. An error means that nothing that depends on the event may leave. It is safe for concurrent use
// and returns about a second after the disk stopped to answer. An unproven event is only counted and returns at once.
//
// The context never ends; it tells when the answer is due (see Lasting).
type Recorder interface {
	Record(context.Context, Event) error
}

// Lasting returns a context that does not end with ctx, or a client could leave no trace by hanging up, and that still
// tells its deadline.
func Lasting(ctx context.Context) context.Context { return lasting{ctx} }

type lasting struct{ context.Context }

func (lasting) Done() <-chan struct{} { return nil }
func (lasting) Err() error            { return nil }

// Fetcher brings what a Grant names.
//
// Fetch returns within ctx's deadline, an *Error on failure, and a Fetched whose Value is not empty on success. It never
// judges validity (nbf, exp, disabled): that is Policy.Admit's. It must not be asked for anything that Policy.Decide did
// not grant.
type Fetcher interface {
	Fetch(context.Context, Request, Grant) (Fetched, error)
}
