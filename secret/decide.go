package secret

import "strings"

// station is how far a binding came on a request's way. A later station is nearer to a grant.
// The order is part of the record's meaning: a denial is explained by the furthest station, so that a binding for the
// right repository and secret that wants another branch is named rather than a hundred that are about other
// repositories.
type station uint8

const (
	atName station = iota
	atAmbiguous
	atDeny
	atRepo
	atUID
	atPool
	atRead
	atEvent
	atFork
	atRef
	atDeployTo
	atCron
	atActor
	granted
)

// stationReasons is indexed by station, granted left out.
var stationReasons = [...]Reason{
	ReasonName, ReasonAmbiguous, ReasonDeny, ReasonRepo, ReasonUID, ReasonPool, ReasonRead, ReasonEvent,
	ReasonFork, ReasonRef, ReasonDeployTo, ReasonCron, ReasonActor,
}

// Decision is the answer of the policy to one request. The zero value denies.
//
// It keeps the policy and the request, so that Why, Checks and Remedy explain this very decision and not a later one.
// It must not outlive its use by much: the policy stays in memory with it.
type Decision struct {
	Grant    *Grant // nil: denied
	Reason   Reason // of a denial: the station where the furthest binding stopped; empty with a Grant
	Ref      Ref    // what was asked for, as far as it could be resolved
	DeniedBy string // the id of the deny that matched

	policy  *Policy
	request Request
	nearest entry   // the binding that came furthest, where a station past atRepo says that there is one
	at      station // where it stopped
}

// Allowed tells whether there is a grant.
func (d *Decision) Allowed() bool { return d.Grant != nil }

// Decide is the one evaluator: what serves a build, explains a denial and checks an expectation all ask it. It depends on
// nothing but the rules and the request, neither on the rules' order nor on time, and does not allocate on the way to a
// denial.
//
// Outside, all denials look alike: the reason is for the record and for those who run drone-entra. It is safe for
// concurrent use, and looks only at the rules whose patterns may name the repository.
func (p *Policy) Decide(request Request) Decision {
	d := Decision{Reason: ReasonName, policy: p, request: request}
	ref, alone, ok := asked(request.Path, request.Name)
	switch {
	case !ok:
	case alone != "":
		p.decideName(&d, alone)
	default:
		p.decideRef(&d, ref)
	}
	return d
}

// decideRef answers a request that names its vault.
//
// The denies come first: a deny wins over every binding, so none needs to be asked about a secret that is withheld.
// Among bindings at the same station the id that sorts first is named, which makes the answer the same in any order
// of rules.
func (p *Policy) decideRef(d *Decision, ref Ref) {
	if p.vaults[ref.Vault] == nil {
		return // equal to a name that means nothing: what is configured shows to nobody
	}
	if d.DeniedBy = p.denied(&d.request, ref); d.DeniedBy != "" {
		d.conclude(atDeny, ref, "")
		return
	}
	best, by := atRepo, ""
	p.candidates(&d.request, func(e entry) {
		b := &p.bindings[e.rule]
		s := b.station(&d.request, e.repo, ref)
		if s > best || s == best && b.ID < by {
			best, by, d.nearest = s, b.ID, e
		}
	})
	d.conclude(best, ref, by)
}

// decideName answers a request for a name alone, which only the names of the repository's own bindings can resolve.
//
// Whether two bindings disagree is found out before any deny is asked, so that a deny never turns "ambiguous" into a grant.
//
// A binding of another repository does not count: else whoever writes a binding of his own could make a name
// ambiguous, and so unreadable, for others; nor does one whose conditions do not hold for this build.
func (p *Policy) decideName(d *Decision, name string) {
	best, by, target := atName, "", Ref{}
	ambiguous := false
	p.candidates(&d.request, func(e entry) {
		b := &p.bindings[e.rule]
		ref, ok := b.Names[name]
		if !ok {
			return
		}
		s := p.nameStation(&d.request, e, ref)
		if s == atRepo {
			return // not this repository's
		}
		ambiguous = ambiguous || s == granted && best == granted && ref != target
		if s > best || s == best && b.ID < by {
			best, by, target, d.nearest = s, b.ID, ref, e
		}
	})
	switch {
	case ambiguous:
		d.Reason = ReasonAmbiguous
		return
	case best == granted || best == atDeny:
		if d.DeniedBy = p.denied(&d.request, target); d.DeniedBy != "" {
			best = atDeny
		}
	}
	d.conclude(best, target, by)
}

// nameStation is where a binding stops that maps a name to ref: at a deny of ref before anything else, unless it would
// grant.
// A binding that would grant is left to decideName, which must count it for ambiguity before the deny is heard.
func (p *Policy) nameStation(r *Request, e entry, ref Ref) station {
	s := p.bindings[e.rule].station(r, e.repo, ref)
	if s > atDeny && s != atRepo && s != granted && p.denied(r, ref) != "" {
		return atDeny
	}
	return s
}

// candidates calls yield for every pattern of a binding that may name the request's repository.
// A slug that names no repository has none. The request's field is the stranger's, hence the check here and not in
// the index.
func (p *Policy) candidates(r *Request, yield func(entry)) {
	if validSlug(r.Repo.Slug) {
		p.byRepo.each(r.Repo.Slug, yield)
	}
}

// conclude is the only place where a grant is made.
func (d *Decision) conclude(best station, ref Ref, by string) {
	d.Ref, d.at = ref, best
	if best != granted {
		d.Reason = stationReasons[best]
		return
	}
	d.Grant, d.Reason = &Grant{ref, by}, ""
}

// station tells where the binding stops, seen through one of its repository patterns. The slug is a valid one.
//
// An empty id is refused even by a binding that pins none: Drone always sends the forge's, so a request without it is
// not one of Drone's. Each check looks only at a field that proves what it claims; which these are, Build says.
func (b *binding) station(r *Request, repo int32, ref Ref) station {
	switch {
	case !b.Repos[repo].Slug.Match(r.Repo.Slug):
		return atRepo
	case r.Repo.UID == "" || b.Repos[repo].UID != "" && b.Repos[repo].UID != r.Repo.UID:
		return atUID
	case !b.pool(r.Pool):
		return atPool
	case !b.gives(ref):
		return atRead
	}
	s := b.when(r)
	if s == granted && !b.people(r) {
		return atActor
	}
	return s
}

// pool tells whether the binding trusts the runners whose key signed the request.
func (b *binding) pool(pool string) bool {
	if b.Pools == nil {
		return pool == DefaultPool
	}
	return contains(b.Pools, pool)
}

// gives tells whether the binding reads ref: by a pattern, or because one of its names leads exactly there.
func (b *binding) gives(ref Ref) bool {
	for i := range b.Read {
		if b.Read[i].Gives(ref) {
			return true
		}
	}
	for _, target := range b.Names {
		if target == ref {
			return true
		}
	}
	return false
}

// people tells whether the actor may. Without actors, only events that prove a commit pass.
func (b *binding) people(r *Request) bool {
	switch {
	case b.actors.any:
		return true
	// Stated actors are asked on every event, a push included.
	case b.actors.stated:
		return b.actors.has(r.Build.Actor())
	}
	return !BuildEvent(r.Build.Event).ProvesPersonOnly()
}

// pushToDefault is what a binding without `when` means.
var pushToDefault = Condition{Event: Push}

// when tells where the binding's conditions stop: granted if one of them holds.
func (b *binding) when(r *Request) station {
	if b.When == nil {
		return pushToDefault.station(r)
	}
	best := atEvent
	for i := range b.When {
		best = max(best, b.When[i].station(r))
	}
	return best
}

// station tells where this condition stops. The fork comes before the ref: a promoted pull request of a fork has a
// target like any other, and must be named for what it is.
func (c *Condition) station(r *Request) station {
	switch {
	case r.Build.Event != string(c.Event):
		return atEvent
	case !c.fork(r):
		return atFork
	case !c.ref(r):
		return atRef
	case (c.Event == Promote || c.Event == Rollback) && !matchAny(c.DeployTo, r.Build.DeployTo):
		return atDeployTo
	case c.Event == Cron && !matchAny(c.Cron, r.Build.Cron):
		return atCron
	}
	return granted
}

// fork tells whether the code's origin is acceptable: a fork's code needs `pull_request: {from: any}`.
func (c *Condition) fork(r *Request) bool {
	if c.Event != PullRequest {
		return !r.Build.forkLike(r.Repo.Slug)
	}
	return c.From == FromAny || c.From == FromSameRepo && r.Build.sameRepoPull(r.Repo.Slug)
}

// ref tells whether branch or tag match. It looks at build.ref; only `into` looks at the target.
//
// build.target would be the obvious choice, and is wrong: it is the base branch of a pull request, so every
// stranger's pull request against main would count as main. Prefixes are cut once: a branch may itself be called
// "refs/heads/main", and then is not main.
func (c *Condition) ref(r *Request) bool {
	if c.Event == PullRequest {
		return branchMatches(c.Into, r.Build.Target, r.Repo.DefaultBranch)
	}
	if tag, ok := strings.CutPrefix(r.Build.Ref, "refs/tags/"); ok {
		return matchAny(c.Tags, tag)
	}
	branch, ok := strings.CutPrefix(r.Build.Ref, "refs/heads/")
	if !ok || c.Event == Tag || c.Branches == nil && c.Tags != nil {
		return false
	}
	return branchMatches(c.Branches, branch, r.Repo.DefaultBranch)
}

// An unknown default branch, "", is matched by nothing, not by an empty branch either.
func branchMatches(patterns []Pattern, branch, byDefault string) bool {
	if patterns == nil {
		return branch != "" && branch == byDefault
	}
	return matchAny(patterns, branch)
}

// denied returns the id of the deny that withholds ref from the request, the first by name if several do, or "".
//
// The vault of ref must be one that the policy has. A malformed slug is looked at like any other: a deny without
// repositories holds for it.
func (p *Policy) denied(r *Request, ref Ref) (id string) {
	if len(p.denies) == 0 || len(r.Repo.Slug) > maxSlug { // which no binding names either
		return ""
	}
	doors := p.vaults[ref.Vault].doors
	p.denyRepo.each(r.Repo.Slug, func(e entry) {
		d := &p.denies[e.rule]
		if (id == "" || d.ID < id) && d.matches(r, e.repo, doors, ref.Name) {
			id = d.ID
		}
	})
	return id
}

// matches tells whether all that the deny states holds. A negative repo stands for "every repository".
func (d *deny) matches(r *Request, repo int32, doors []string, name string) bool {
	if repo >= 0 {
		want := &d.Repos[repo]
		if !want.Slug.Match(r.Repo.Slug) || want.UID != "" && want.UID != r.Repo.UID {
			return false
		}
	}
	return d.withholds(doors, name) &&
		(d.Pools == nil || contains(d.Pools, r.Pool)) &&
		(!d.actors.stated || d.actors.any || d.actors.has(r.Build.Actor())) &&
		d.when(r)
}

// withholds tells whether the deny is about the secret, under any alias of its vault.
func (d *deny) withholds(doors []string, name string) bool {
	if d.Read == nil {
		return true
	}
	for i := range d.Read {
		for _, alias := range doors {
			if d.Read[i].covers(alias, name) {
				return true
			}
		}
	}
	return false
}

// when tells whether one of the deny's conditions holds; a deny without any holds on every event, also on one that
// policy does not know.
func (d *deny) when(r *Request) bool {
	if d.When == nil {
		return true
	}
	for i := range d.When {
		if d.When[i].holds(r) {
			return true
		}
	}
	return false
}

// holds reads the condition as a deny means it: what was not stated means everything.
//
// That is the opposite of station on purpose: for a binding as for a deny, what somebody forgot to write must end in
// less access. `from: any` therefore asks for nothing, and a deny of same-repo pull requests leaves those of forks to
// others.
func (c *Condition) holds(r *Request) bool {
	if r.Build.Event != string(c.Event) ||
		c.From == FromSameRepo && !r.Build.sameRepoPull(r.Repo.Slug) ||
		c.Into != nil && !matchAny(c.Into, r.Build.Target) ||
		c.DeployTo != nil && !matchAny(c.DeployTo, r.Build.DeployTo) ||
		c.Cron != nil && !matchAny(c.Cron, r.Build.Cron) {
		return false
	}
	if c.Branches == nil && c.Tags == nil {
		return true
	}
	if tag, ok := strings.CutPrefix(r.Build.Ref, "refs/tags/"); ok {
		return matchAny(c.Tags, tag)
	}
	branch, ok := strings.CutPrefix(r.Build.Ref, "refs/heads/")
	return ok && matchAny(c.Branches, branch)
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
