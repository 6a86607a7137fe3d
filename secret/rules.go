package secret

import "time"

// DefaultPool is the pool that a binding means when it names none.
const DefaultPool = "default"

// BuildEvent is one of Drone's build events, by the name that build.event has.
type BuildEvent string

// The events that policy knows. One that Drone adds some day matches nothing.
const (
	Push        BuildEvent = "push"
	Tag         BuildEvent = "tag"
	Cron        BuildEvent = "cron"
	Promote     BuildEvent = "promote"
	Rollback    BuildEvent = "rollback"
	Custom      BuildEvent = "custom"
	PullRequest BuildEvent = "pull_request"
)

// BuildEvents lists every event that policy knows.
var BuildEvents = [...]BuildEvent{Push, Tag, Cron, Promote, Rollback, Custom, PullRequest}

// ProvesPersonOnly tells whether the event proves who asked but never which commit runs: the caller of a custom build
// picks branch and commit, and promote and rollback copy the ref of a parent build that may have been a custom one.
func (e BuildEvent) ProvesPersonOnly() bool { return e == Promote || e == Rollback || e == Custom }

// From says whose pull requests are meant.
type From string

// Whose pull requests. What is left out in a binding gives none; in a deny it means any.
const (
	FromSameRepo From = "same-repo"
	FromAny      From = "any"
)

// Condition is one entry of `when`: an event and what must hold of it. A nil list was not stated. In a binding, Branches
// and Into then mean the default branch (unless Tags are stated), and the others nothing at all; in a deny, everything.
type Condition struct {
	Event    BuildEvent
	Branches []Pattern // push, cron, promote, rollback, custom
	Tags     []Pattern // tag, promote, rollback
	Into     []Pattern // pull_request: the target branch
	DeployTo []Pattern // promote, rollback
	Cron     []Pattern // cron: names of jobs
	From     From      // pull_request
}

// RepoPattern names repositories by slug and, where UID is set, by the forge's id as well.
type RepoPattern struct {
	Slug Pattern
	UID  string
}

// Actors says which people are meant. The zero value was not stated: no condition, except that an event which proves
// only a person is never granted without.
type Actors struct {
	Any   bool     // `any`: no actor needed
	Names []string // logins, or groups; a group wins over a login of its name
}

func (a Actors) stated() bool { return a.Any || a.Names != nil }

// Scope is what a binding and a deny have in common: whom, when and what they are about. A nil list was not stated.
//
// Nil and empty differ: an empty list is refused when the rules are compiled, since it reads as "nobody" and as "not
// stated".
type Scope struct {
	Repos  []RepoPattern
	When   []Condition
	Actors Actors
	Pools  []string
	Read   []ReadPattern
}

// Binding gives secrets to builds. What it leaves out gives no access: no When means pushes to the default branch, no
// Pools the pool "default".
type Binding struct {
	ID string
	At string // file:line, for people
	Scope
	Names map[string]Ref // what the pipeline calls it → where it is; granted besides Read
}

// Deny withholds secrets and wins over every binding. What it leaves out means everything.
type Deny struct {
	ID string
	At string
	Scope
	Reason string // for people
}

// Vault is what policy knows of a vault: its alias, which vault that is, and what it demands of a secret.
type Vault struct {
	Alias      string
	Host       string        // two aliases of one host are one vault to a deny
	MaxAge     time.Duration // zero: any age
	MustExpire bool
}

// Rules is everything a Policy is made from.
//
// A Policy holds on to its slices and maps: whoever made it from them changes them no more.
type Rules struct {
	Vaults   []Vault
	Groups   map[string][]string // name → logins
	Bindings []Binding
	Denies   []Deny
}
