package emulator

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a fault does.
type Kind uint8

// The kinds of fault. Those that spoil an answer touch only one that would have been 200; the challenge before it stays.
const (
	Answer               Kind = iota // Status, Header, Body or AADSTS instead of what was asked for
	Hang                             // no answer until the client goes
	Hold                             // no answer until the fault is removed, then the right one
	Delay                            // the right answer, after Wait
	Reset                            // the connection is reset; net/http sends a GET again by itself if the connection was not new
	Redirect                         // 307 to Location
	ForeignChallenge                 // 401 with a challenge for another resource, in another tenant
	OddChallenge                     // 401 with a challenge whose authorization URL has no path
	HangBody                         // the head of the answer, then silence until the client goes
	Drip                             // the right answer, a byte each Wait (a second when zero)
	BrokenJSON                       // 200 with JSON that breaks off
	HTML                             // 200 with a web page, as a captive portal answers
	WrongTypes                       // 200, the value or token is a number
	NullValue                        // 200, the value or token is null
	EmptyValue                       // 200, the value or token is an empty string
	ExpiredCertificate               // the certificate's time is over
	WrongCertificate                 // the certificate is another host's
	UntrustedCertificate             // the certificate is by an authority that nobody trusts
	UnknownHost                      // the name does not resolve; for a whole host only
)

// String is the kind's name as written in Go.
func (k Kind) String() string {
	names := [...]string{"Answer", "Hang", "Hold", "Delay", "Reset", "Redirect", "ForeignChallenge", "OddChallenge", "HangBody",
		"Drip", "BrokenJSON", "HTML", "WrongTypes", "NullValue", "EmptyValue",
		"ExpiredCertificate", "WrongCertificate", "UntrustedCertificate", "UnknownHost"}
	if int(k) < len(names) {
		return names[k]
	}
	return "Kind?"
}

// The four groups follow the order of the constants: a new kind goes into the block it belongs to.
func (k Kind) instead() bool       { return k <= OddChallenge }
func (k Kind) spoils() bool        { return k >= HangBody && k <= EmptyValue }
func (k Kind) ofCertificate() bool { return k >= ExpiredCertificate && k <= UntrustedCertificate }
func (k Kind) ofName() bool        { return k == UnknownHost }

// Fault is something that goes wrong. Which fields count depends on the Kind.
type Fault struct {
	Kind Kind

	Status     int           // Answer: the HTTP status; 500 when zero
	Body       string        // Answer: the body; when empty, the one that the service has for that status
	Header     http.Header   // Answer: further headers
	AADSTS     int           // Answer, from Entra: the error of that code, with its own status unless Status is set
	RetryAfter time.Duration // Answer: a Retry-After header, in whole seconds, rounded up
	Location   string        // Redirect: where to
	Wait       time.Duration // Delay, Drip

	Times int // how many requests it hits; 0 means every one until it is removed
}

// Target is what a fault hits: an endpoint, or all of a host. Faults of certificates and names hit the host.
type Target struct {
	hosts  []string
	prefix string
	suffix string
}

// Host is everything that a host serves.
func Host(name string) Target { return Target{hosts: []string{strings.ToLower(name)}} }

// TokenEndpoint is Entra's, for every tenant in every cloud. The discovery that precedes it stays as it is.
func TokenEndpoint() Target { return Target{hosts: loginHosts(), suffix: tokenPath} }

// Login is all of Entra: discovery, keys and tokens, in every cloud.
func Login() Target { return Target{hosts: loginHosts()} }

// Metadata is the instance metadata service.
func Metadata() Target { return Host(metadataHost) }

// Target is everything that the vault serves.
func (v *Vault) Target() Target { return Host(v.host) }

// Secret is one secret of the vault, whether it exists or not, in all its versions.
func (v *Vault) Secret(name string) Target {
	return Target{hosts: []string{v.host}, prefix: "/secrets/" + strings.ToLower(name) + "/"}
}

// KeyTarget is one key of the vault, whether it exists or not: all its versions, and signing with them.
func (v *Vault) KeyTarget(name string) Target {
	return Target{hosts: []string{v.host}, prefix: "/keys/" + strings.ToLower(name) + "/"}
}

// Target is everything that the registry serves.
func (r *Registry) Target() Target { return Host(r.host) }

func loginHosts() (hosts []string) {
	for _, c := range clouds() {
		hosts = append(hosts, c.hosts()...)
	}
	return hosts
}

// hits says whether a request is meant. An empty path stands for the connection itself.
func (t Target) hits(host, path string) bool {
	if !slices.Contains(t.hosts, host) {
		return false
	}
	return path == "" || hasPrefixFold(path+"/", t.prefix) && strings.HasSuffix(path, t.suffix)
}

// active is a fault that was set and not yet removed.
type active struct {
	Fault
	target  Target
	left    atomic.Int64
	removed chan struct{}
}

// use takes one of the times that the fault is good for.
// It may be asked by many requests at once: each of them takes one time, and only as many as there are get true.
func (a *active) use() bool {
	if a.Times == 0 {
		return true
	}
	return a.left.Add(-1) >= 0
}

// spent says that no time is left.
func (a *active) spent() bool { return a.Times != 0 && a.left.Load() <= 0 }

// faults are the active ones, newest first. Reading costs one atomic load.
type faults struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*active]
}

// Fault makes something go wrong until the returned function is called or Times is used up. Of several faults for one
// request the newest counts. The function may be called repeatedly; it does not wait for requests that are under way.
func (e *Emulator) Fault(target Target, fault Fault) (remove func()) {
	a := &active{Fault: fault, target: target, removed: make(chan struct{})}
	a.left.Store(int64(fault.Times))
	e.faults.change(func(list []*active) []*active { return append([]*active{a}, list...) })
	if fault.Kind.ofCertificate() || fault.Kind.ofName() {
		// Connections that are open have looked the name up and seen a good certificate. New ones will not.
		e.tracked.closeThose(func(c *connection) bool {
			host := c.host.Load()
			return host != nil && target.hits(*host, "")
		})
	}
	return sync.OnceFunc(func() {
		e.faults.change(func(list []*active) []*active {
			return slices.DeleteFunc(slices.Clone(list), func(b *active) bool { return a == b })
		})
		close(a.removed)
	})
}

// change replaces the list by another one: who reads it beside this sees the old one, whole.
func (f *faults) change(how func([]*active) []*active) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := how(f.load())
	f.list.Store(&list)
}

func (f *faults) load() []*active {
	if list := f.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (f *faults) none() bool { return len(f.load()) == 0 }

// take is the newest fault of those kinds that hits and has a time left, which is thereby used. nil means none.
func (f *faults) take(host, path string, of func(Kind) bool) *active {
	for _, a := range f.load() {
		if of(a.Kind) && a.target.hits(host, path) && a.use() {
			return a
		}
	}
	return nil
}

// pending says whether take would find one for the host, without using it.
func (f *faults) pending(host string, of func(Kind) bool) bool {
	for _, a := range f.load() {
		if of(a.Kind) && a.target.hits(host, "") && !a.spent() {
			return true
		}
	}
	return false
}
