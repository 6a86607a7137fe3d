package secret

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Check is one predicate of one rule, as it turned out for a request.
type Check struct {
	Rule    string // the id of the binding or deny
	At      string // where it stands: file:line
	Deny    bool   // the rule is a deny; it is listed only if it matched
	Station Reason // which predicate
	OK      bool
	Want    string // what the rule asks for
	Got     string // what the request has
}

// String words the check: "repo ok", or what was wanted and what was there.
func (c Check) String() string {
	switch {
	case c.OK:
		return string(c.Station) + " ok"
	case c.Deny && c.Want == "":
		return "deny matches"
	case c.Deny:
		return "deny: " + c.Want
	}
	return fmt.Sprintf("%s: wants %s, got %s", c.Station, given(c.Want), given(printable(c.Got)))
}

// given shows an empty text as such: "got " with nothing behind it reads like a fault.
func given(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// printable shows a stranger's text as one harmless line.
// Branch names may hold line breaks, terminal escapes and U+202E: printed raw, one could forge a line of the log or
// turn a denial into what looks like a grant.
func printable(s string) string {
	q := strconv.QuoteToASCII(s)
	if q[1:len(q)-1] == s {
		return s
	}
	return q
}

// Why words a denial for log and record in one line: the predicate at which the nearest binding stopped. Unlike Checks it
// looks at one rule only, so that it costs little while a build waits. It is empty for a grant.
func (d *Decision) Why() string {
	switch {
	case d.Allowed():
		return ""
	case d.DeniedBy != "":
		return d.denyCheck().Rule + ": " + d.denyCheck().String()
	case d.Reason == ReasonAmbiguous:
		return d.meanings()
	case d.Reason == ReasonRepo:
		return "no binding names the repository and gives this secret"
	case d.at <= atRepo:
		return d.unresolved()
	}
	b := &d.policy.bindings[d.nearest.rule]
	want, got, _ := b.describe(&d.request, d.at, candidate{binding: b, repo: d.nearest.repo, ref: d.Ref, at: d.at})
	return b.ID + ": " + Check{Station: d.Reason, Want: clip(want, maxWords), Got: clip(got, maxWords)}.String()
}

// meanings lists what the bindings that match take an ambiguous name for.
// Only bindings that would grant are listed: the others are none of this build's business.
func (d *Decision) meanings() string {
	_, alone, _ := asked(d.request.Path, d.request.Name)
	var list []string
	d.policy.candidates(&d.request, func(e entry) {
		b := &d.policy.bindings[e.rule]
		if ref, ok := b.Names[alone]; ok && b.station(&d.request, e.repo, ref) == granted {
			list = append(list, b.ID+" means "+ref.String())
		}
	})
	slices.Sort(list)
	return printable(alone) + " is ambiguous: " + clip(strings.Join(slices.Compact(list), ", "), maxWords)
}

// unresolved says why what was asked for is no secret at all.
func (d *Decision) unresolved() string {
	ref, alone, ok := asked(d.request.Path, d.request.Name)
	switch {
	case alone != "":
		return printable(clip(alone, maxWords)) + " is a name alone, and no binding of " + printable(clip(d.request.Repo.Slug, maxWords)) + " maps it"
	case ok:
		return "no vault has the alias " + ref.Vault
	}
	_, err := ParseRef(strings.Trim(clip(d.request.Path, maxWords)+"/"+clip(d.request.Name, maxWords), "/"))
	if err == nil { // it was none only at its full length
		return "no secret has so long a name"
	}
	return err.Error()
}

// maxWords keeps a line of the log a line, in bytes: a group may have hundreds of members, and a branch's name is anybody's.
const maxWords = 160

// Checks yields the predicates of every rule that came near: first the deny that decided, then each binding that names
// the repository or gives the secret, the nearest to a grant first, each up to the predicate where it stopped. It is worked
// out only when somebody ranges over it.
func (d *Decision) Checks() iter.Seq[Check] {
	return func(yield func(Check) bool) {
		if d.policy == nil {
			return
		}
		if d.DeniedBy != "" && !yield(d.denyCheck()) {
			return
		}
		for _, c := range d.candidates() {
			for _, check := range c.binding.checks(&d.request, c) {
				if !yield(check) {
					return
				}
			}
		}
	}
}

// denyCheck must only be called where DeniedBy is set, which is the id of one of the policy's denies.
func (d *Decision) denyCheck() Check {
	i := slices.IndexFunc(d.policy.denies, func(x deny) bool { return x.ID == d.DeniedBy })
	rule := d.policy.denies[i]
	return Check{Rule: rule.ID, At: rule.At, Deny: true, Station: ReasonDeny, Want: rule.Reason, Got: d.Ref.String()}
}

// candidate is a binding seen through the repository pattern that brought it furthest.
type candidate struct {
	binding *binding
	repo    int32
	ref     Ref
	at      station
}

// candidates goes through all bindings, not the index: those that give the secret to other repositories are shown,
// too. A request for a vault that is not configured, or for no secret at all, has none.
func (d *Decision) candidates() []candidate {
	ref, alone, ok := asked(d.request.Path, d.request.Name)
	if !ok || alone == "" && d.policy.vaults[ref.Vault] == nil {
		return nil
	}
	var found []candidate
	valid := validSlug(d.request.Repo.Slug)
	for i := range d.policy.bindings {
		b := &d.policy.bindings[i]
		best := candidate{binding: b, ref: ref, at: atRepo}
		if alone != "" {
			if best.ref, ok = b.Names[alone]; !ok {
				continue
			}
		}
		for repo := range b.Repos {
			s := atRepo
			if e := (entry{int32(i), int32(repo)}); valid && alone != "" {
				s = d.policy.nameStation(&d.request, e, best.ref)
			} else if valid {
				s = b.station(&d.request, e.repo, best.ref)
			}
			if s > best.at || s == atDeny {
				best.at, best.repo = s, int32(repo)
			}
		}
		if best.at != atRepo || alone == "" && b.gives(ref) {
			found = append(found, best)
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(a.binding.ID, b.binding.ID))
	})
	return found
}

// checks lists the predicates up to the one where the binding stopped.
func (b *binding) checks(r *Request, c candidate) []Check {
	if c.at == atDeny {
		return []Check{{Rule: b.ID, At: b.At, Station: ReasonDeny, Want: "no deny to match", Got: c.ref.String()}}
	}
	var list []Check
	for s := atRepo; s <= min(c.at, atActor); s++ {
		want, got, relevant := b.describe(r, s, c)
		if relevant || s == c.at {
			list = append(list, Check{Rule: b.ID, At: b.At, Station: stationReasons[s], OK: s != c.at, Want: want, Got: got})
		}
	}
	return list
}

// describe says what the binding wants at a station and what the request has; relevant is false where there is nothing
// to say unless it failed.
//
// got is the stranger's text as it came: whoever prints it makes it printable first, as Check.String does.
func (b *binding) describe(r *Request, s station, c candidate) (want, got string, relevant bool) {
	condition := b.condition(r)
	switch s {
	case atRepo:
		return join(b.Repos, func(p RepoPattern) string { return p.Slug.text }), r.Repo.Slug, true
	case atUID:
		want := join(b.Repos, func(p RepoPattern) string { return cmp.Or(p.UID, "any id") })
		return want, r.Repo.UID, b.Repos[c.repo].UID != ""
	case atPool:
		return strings.Join(b.poolNames(), " or "), r.Pool, true
	case atRead:
		return b.reads(), c.ref.String(), true
	case atEvent:
		return b.events(), r.Build.Event, true
	case atFork:
		return "code of this repository", origin(r), r.Build.Event == string(PullRequest)
	case atRef:
		if r.Build.Event == string(PullRequest) {
			return "target " + condition.refs(r), given(r.Build.Target), true
		}
		return condition.refs(r), r.Build.Ref, true
	case atDeployTo:
		return join(condition.DeployTo, Pattern.String), r.Build.DeployTo, condition.DeployTo != nil
	case atCron:
		return join(condition.Cron, Pattern.String), r.Build.Cron, condition.Cron != nil
	}
	actor := r.Build.Actor()
	if actor == "" {
		actor = "nobody"
	}
	return b.persons(), actor, b.actors.stated
}

// condition is the one for the request's event that came furthest. A binding without `when` has pushToDefault; so has,
// as a stand-in, one that knows nothing of the event, which stops there.
func (b *binding) condition(r *Request) *Condition {
	best, at := &pushToDefault, atName
	for i := range b.When {
		if s := b.When[i].station(r); b.When[i].Event == BuildEvent(r.Build.Event) && s >= at {
			best, at = &b.When[i], s
		}
	}
	return best
}

func (b *binding) events() string {
	return join(b.conditions(), func(c Condition) string { return string(c.Event) })
}

// reads says what the binding gives: its patterns, and each name with its target.
func (b *binding) reads() string {
	names := make([]string, 0, len(b.Names))
	for name, ref := range b.Names {
		names = append(names, name+" → "+ref.String())
	}
	slices.Sort(names)
	return strings.Join(append(strings.Fields(joinWith(b.Read, ReadPattern.String, " ")), names...), " or ")
}

// persons says whom the binding wants behind a build, with the groups dissolved into logins.
func (b *binding) persons() string {
	switch {
	case b.actors.any:
		return "anybody"
	case !b.actors.stated:
		return "actors to be named"
	}
	return strings.Join(append(slices.Clone(b.actors.logins), members(b.actors.groups)...), " or ")
}

// members lists the logins of all groups in order; one who is in two groups is there twice.
func members(groups []map[string]struct{}) []string {
	var logins []string
	for _, group := range groups {
		for login := range group {
			logins = append(logins, login)
		}
	}
	slices.Sort(logins)
	return logins
}

// refs says which branches or tags the condition takes.
func (c *Condition) refs(r *Request) string {
	branches, none := c.Branches, r.Repo.DefaultBranch
	if c.Event == PullRequest {
		branches = c.Into
	}
	if none == "" {
		none = "the default branch"
	}
	var wants []string
	switch {
	case branches != nil:
		wants = append(wants, join(branches, Pattern.String))
	case c.Tags == nil:
		wants = append(wants, none)
	}
	if c.Tags != nil {
		wants = append(wants, "tag "+join(c.Tags, Pattern.String))
	}
	return strings.Join(wants, " or ")
}

// origin describes where a build's code comes from, as far as Drone's claims go.
func origin(r *Request) string {
	switch {
	case strings.HasPrefix(r.Build.Ref, "refs/merge-requests/"):
		return r.Build.Ref + ", as GitLab's merge requests always count as a fork's"
	case r.Build.SourceRepo == "":
		return fmt.Sprintf("%s from an unknown repository", r.Build.Ref)
	case strings.HasPrefix(r.Build.Source, "refs/"):
		return fmt.Sprintf("%s pushed as %s", r.Build.Ref, r.Build.Source)
	}
	return fmt.Sprintf("%s from %s", r.Build.Ref, r.Build.SourceRepo)
}

func join[T any](list []T, text func(T) string) string { return joinWith(list, text, " or ") }

func joinWith[T any](list []T, text func(T) string, separator string) string {
	return strings.Join(words(list, text), separator)
}

func words[T any](list []T, text func(T) string) []string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = text(list[i])
	}
	return texts
}
