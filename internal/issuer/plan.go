package issuer

import (
	"slices"
	"time"
)

const (
	// PublishLead is how long a key must have been published before it signs. For how long Entra remembers a key set is
	// documented nowhere, so this is a guess on the safe side.
	PublishLead = 24 * time.Hour
	// Slack is added to the life of the last token that an old key signed: the clocks of replicas differ, and so do those of
	// whoever verifies.
	Slack = time.Hour
	// MaxKeys is how many keys of a set Entra keeps, the first ones.
	MaxKeys = 100
)

// Situation is what a plan looks at: the configuration, the published document and the key vault, all as of Now.
type Situation struct {
	Now       time.Time
	URL       string        // the issuer's
	Vault     string        // the key vault's name in Azure, for commands
	Key       string        // the key's name there, for commands
	Listed    []Listed      // the configuration's keys; exactly one without From, as New demands
	Published Published     // what relying parties find at the URL
	Versions  []Version     // what the vault has of the key; none where it could not be asked
	TokenLife time.Duration // the longest lifetime of an ID token in the configuration
}

// Published is the key set at the issuer's URL.
type Published struct {
	Known bool     // false: it could not be fetched
	KIDs  []string // as ParseKeySet read them: they came from a server and may be any text
}

// Listed is one of the configuration's keys.
type Listed struct {
	Name string // as in the configuration: alias/key@version
	KID  string
	From time.Time
}

// Version is a version of the signing key in Key Vault.
type Version struct {
	Name    string // as the configuration would have it: alias/key@version
	Created time.Time
	Enabled bool
}

// State says what is to be done about a step.
type State string

// The states of a step.
const (
	StateDone  State = "done"
	StateNow   State = "now"
	StateWait  State = "wait"  // nothing before NotBefore
	StateLater State = "later" // after what stands before it
	StateWrong State = "wrong" // no step of a rotation: what must be put right before any other
)

// Action says what a step is about.
type Action string

// The steps of a rotation, in their order.
const (
	ActionCreate  Action = "create"  // a new version comes into being in Key Vault
	ActionList    Action = "list"    // it is listed in the configuration, with `from`
	ActionAdd     Action = "publish" // it is published beside the old key
	ActionSwitch  Action = "switch"  // it begins to sign; nobody does anything
	ActionRetire  Action = "retire"  // the old key leaves the configuration
	ActionRemove  Action = "remove"  // and the published document
	ActionDisable Action = "disable" // and its version is disabled in Key Vault
)

// What can be Wrong, beside a key that is not published, which is an ActionAdd.
const (
	ActionFetch  Action = "fetch"  // the published key set can't be fetched
	ActionMove   Action = "move"   // a `from` is too soon
	ActionEnable Action = "enable" // a listed version is disabled, or not there
	ActionTrim   Action = "trim"   // more keys than Entra keeps
)

// Step is one step of a rotation.
type Step struct {
	Action    Action    `json:"action"`
	State     State     `json:"state"`
	Text      string    `json:"text"`                // what to do and why, in sentences; safe to print
	NotBefore time.Time `json:"not_before,omitzero"` // zero: no time has to pass
	Commands  []string  `json:"commands,omitempty"`  // for a shell; DIR stands for the directory that is published
}

// plan is a situation that has been looked at.
type plan struct {
	Situation
	signing  Listed
	old      []Listed  // listed, and superseded by signing
	coming   []Listed  // listed, and later than Now, the next one first
	missing  []Listed  // listed, and not published
	extra    []string  // published, and not listed
	fresh    string    // the newest version, if it is newer than all that are listed
	leftover []Version // enabled, older than the one that signs, and not listed
}

// Plan says how to rotate the signing key so that no token is lost, and which step is now. It does nothing itself and
// remembers nothing: each time it looks at the situation anew, so the steps may be done days apart and by several people.
//
// While it is followed, each valid token has its key in the published document, and that key had been there for PublishLead
// before it first signed. What endangers this comes first, as StateWrong; a step that would be now is then later. That a key which is published was so in time is taken
// for granted: a document does not say since when it has a key.
//
// Where no rotation is under way, it plans a new one.
func Plan(s Situation) []Step {
	p, ok := look(s)
	if !ok {
		return []Step{{Action: ActionList, State: StateWrong, Text: "No listed key signs now: under issuer.keys, list exactly one key without `from`."}}
	}
	steps := p.wrong()
	endangered := len(steps) > 0
	finish := p.finish()
	// A version that is merely to be disabled need not keep the next rotation waiting, if that has begun.
	if finishing := len(p.old) > 0 || len(p.extra) > 0 || finish != nil && p.fresh == ""; finishing && len(p.coming) == 0 {
		steps = slices.Concat(steps, p.begun(), finish)
	} else {
		steps = slices.Concat(steps, finish, p.begin(), p.end())
	}
	for i := range steps {
		if endangered && steps[i].State == StateNow {
			steps[i].State = StateLater
		}
	}
	return steps
}

// look sorts what there is by what is to become of it. It is false if no listed key signs.
func look(s Situation) (*plan, bool) {
	p := &plan{Situation: s}
	froms := make([]time.Time, len(s.Listed))
	for i, l := range s.Listed {
		froms[i] = l.From
	}
	signing := signingAt(s.Now, froms)
	if signing < 0 {
		return nil, false
	}
	p.signing = s.Listed[signing]
	for i, l := range s.Listed {
		switch {
		case l.From.After(s.Now):
			p.coming = append(p.coming, l)
		case i != signing:
			p.old = append(p.old, l)
		}
		if s.Published.Known && !slices.Contains(s.Published.KIDs, l.KID) {
			p.missing = append(p.missing, l)
		}
	}
	slices.SortStableFunc(p.coming, func(a, b Listed) int { return a.From.Compare(b.From) })
	for _, kid := range s.Published.KIDs {
		if s.Published.Known && !slices.ContainsFunc(s.Listed, func(l Listed) bool { return l.KID == kid }) {
			p.extra = append(p.extra, kid)
		}
	}
	p.lookAtVersions()
	return p, true
}

// lookAtVersions finds the version to rotate to, and those that have had their time. A disabled version is neither.
func (p *plan) lookAtVersions() {
	var newest, current time.Time // of all listed, and of the one that signs
	for _, v := range p.Versions {
		if p.lists(v) && v.Created.After(newest) {
			newest = v.Created
		}
		if v.Name == p.signing.Name {
			current = v.Created
		}
	}
	for _, v := range p.Versions {
		switch {
		case !v.Enabled || p.lists(v):
		case v.Created.After(newest):
			newest, p.fresh = v.Created, v.Name
		case v.Created.Before(current):
			p.leftover = append(p.leftover, v)
		}
	}
}

func (p *plan) lists(v Version) bool {
	return slices.ContainsFunc(p.Listed, func(l Listed) bool { return l.Name == v.Name })
}

// until is when nothing is valid any more that was signed before the key began to sign; zero for one that always did.
func (p *plan) until(l Listed) time.Time {
	if l.From.IsZero() {
		return time.Time{}
	}
	return l.From.Add(AssertionLifetime + p.TokenLife + Slack)
}
