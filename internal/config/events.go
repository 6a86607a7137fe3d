package config

import (
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// bindingWhen compiles a binding's when, and checks that each event states what would otherwise give nothing.
//
// The people are looked at outside the cached part: two bindings with the same words under when may name different
// ones.
func (b *builder) bindingWhen(d *binding, out *secret.Binding) {
	var personal []string
	for i := range d.when.events {
		c := &d.when.events[i]
		if c.event.ProvesPersonOnly() {
			personal = append(personal, string(c.event))
		}
	}
	// An event that needs more has a problem, so its words are not cached and every binding that repeats them is told.
	out.When = b.same.when.get(b.report, d.when.key, func() (conditions []secret.Condition) {
		for i := range d.when.events {
			if c := &d.when.events[i]; c.ok {
				b.needs(c)
				conditions = append(conditions, b.condition(c))
			}
		}
		return conditions
	})
	if personal == nil {
		return
	}
	proves := joined(personal, "and") + " proves"
	if len(personal) > 1 {
		proves = joined(personal, "and") + " prove"
	}
	// With promote, rollback and custom a writer of the repository can choose the commit behind the ref.
	switch {
	case !d.actors.set:
		b.errorf(d.place, `%s a person, not a commit: name the "actors" who may (or write actors: any)`, proves)
	case d.actors.any:
		b.warnf(d.place, rulePersonOnly, `%s: %s a person, not a commit; "actors: any" lets every writer deploy`, d.id.value, proves)
	}
}

// needs checks the conditions that a binding must state for an event. A deny is not asked: there, what is left out
// means everything.
func (b *builder) needs(c *condition) {
	missing := func(h *head, key string) {
		if !h.set {
			b.errorf(c.place, "%s needs %q, as in %s", c.event, key, c.example())
		}
	}
	switch c.event {
	case secret.Tag:
		missing(&c.tags.head, "tags")
	case secret.Cron:
		missing(&c.cron.head, "cron")
	case secret.Promote, secret.Rollback:
		missing(&c.deployTo.head, "deploy_to")
	case secret.PullRequest:
		missing(&c.from.head, "from")
	}
}

// condition compiles one entry of when, of a binding or of a deny. A nil list means that it was left out.
func (b *builder) condition(c *condition) secret.Condition {
	b.refPrefix(&c.branches, "refs/heads/", "branch")
	b.refPrefix(&c.into, "refs/heads/", "branch")
	b.refPrefix(&c.tags, "refs/tags/", "tag")
	return secret.Condition{
		Event:    c.event,
		Branches: b.patterns(&c.branches, secret.ParseRefPattern),
		Tags:     b.patterns(&c.tags, secret.ParseRefPattern),
		Into:     b.patterns(&c.into, secret.ParseRefPattern),
		DeployTo: b.patterns(&c.deployTo, secret.ParsePattern),
		Cron:     b.patterns(&c.cron, secret.ParsePattern),
		From:     secret.From(c.from.value),
	}
}

// patterns compiles a list. It is nil where nothing was written. A word that could not be read is left out, and the list
// may then be shorter, or mean "left out" itself: the error keeps it from ever being used.
func (b *builder) patterns(l *texts, parse func(string) (secret.Pattern, error)) (patterns []secret.Pattern) {
	for _, t := range l.items {
		if !t.ok {
			continue
		}
		p, err := parse(t.value)
		if err != nil {
			b.errorf(t.place, "%v", err)
		}
		b.dotStar(t)
		patterns = append(patterns, p)
	}
	return patterns
}

// dotStar warns of a regular expression's "anything": in a pattern the dot is a dot. Behind a digit it is one of a version's.
//
//	release/.*   did you mean "release/*"?
//	v1.*         fine: the dot is that of a version
func (b *builder) dotStar(t text) {
	if i := strings.Index(t.value, ".*"); i >= 0 && (i == 0 || t.value[i-1] < '0' || t.value[i-1] > '9') {
		b.warnf(t.place, ruleNearMiss, "%q: in a pattern . is a dot and no regular expression's: did you mean %q?", t.value, strings.Replace(t.value, ".*", "*", 1))
	}
}

// refPrefix warns of a branch or tag that is written as a whole ref: the pattern would look for refs/heads/refs/heads/….
func (b *builder) refPrefix(l *texts, prefix, what string) {
	for _, t := range l.items {
		if name, ok := strings.CutPrefix(t.value, prefix); ok && t.ok {
			b.warnf(t.place, ruleWholeRef, "%q is matched against the %s's name, which rarely begins with %s: did you mean %q?", t.value, what, prefix, name)
		}
	}
}

// ambiguity looks for bindings that map one name to two secrets and may both match a request. It compares what is
// trivially equal, so that a warning is always worth reading, and gives up after a bounded number of comparisons. The
// policy denies such a request whatever is said here: this tells the operator before a build finds out.
type ambiguity struct {
	byName   map[string][]mapping
	compared int
}

const maxCompared = 1_000_000

type mapping struct {
	id, at  string
	binding *secret.Binding
}

// add compares a binding with those before it, then adds it. It warns once for each of its names.
func (a *ambiguity) add(b *builder, d *binding, compiled *secret.Binding) {
	if a.byName == nil {
		a.byName = map[string][]mapping{}
	}
	for _, e := range d.names.entries {
		name := e.name.value
		ref, ok := compiled.Names[name]
		if !ok {
			continue
		}
		for _, m := range a.byName[name] {
			if a.compared += len(m.binding.Repos) * len(compiled.Repos); a.compared > maxCompared {
				return
			}
			if m.binding.Names[name] != ref && overlap(m.binding, compiled) {
				b.warnf(e.name.place, secret.LintAmbiguous, "%q is %s here and %s in %s at %s: a request that both bindings match is denied as ambiguous",
					name, ref, m.binding.Names[name], m.id, m.at)
				break
			}
		}
		a.byName[name] = append(a.byName[name], mapping{compiled.ID, compiled.At, compiled})
	}
}

// overlap tells whether two bindings obviously share a repository, a pool and an event. False may also mean that it
// takes more than a look: the lint of package secret goes further.
func overlap(x, y *secret.Binding) bool {
	return shareRepo(x.Repos, y.Repos) && share(orDefault(x.Pools), orDefault(y.Pools)) && share(events(x), events(y))
}

// shareRepo tells whether some repository is obviously in both lists. Two different uids are two repositories, whatever
// their slugs are.
func shareRepo(xs, ys []secret.RepoPattern) bool {
	for _, x := range xs {
		for _, y := range ys {
			if x.UID == "" || y.UID == "" || x.UID == y.UID {
				if alike(x.Slug, y.Slug) {
					return true
				}
			}
		}
	}
	return false
}

// alike tells whether two patterns are one, or one of them is a repository that the other matches.
func alike(x, y secret.Pattern) bool {
	s, t := x.String(), y.String()
	if max(len(s), len(t)) > maxSlug {
		return false
	}
	return fold(s) == fold(t) || x.Literal() && y.Match(s) || y.Literal() && x.Match(t)
}

const maxSlug = 256 // of what is worth comparing

// orDefault puts in what a rule means that names no pool.
func orDefault(pools []string) []string {
	if pools == nil {
		return []string{secret.DefaultPool}
	}
	return pools
}

// events lists a binding's events. Without when it is for pushes.
func events(b *secret.Binding) (events []string) {
	for _, c := range b.When {
		events = append(events, string(c.Event))
	}
	if b.When == nil {
		events = []string{string(secret.Push)}
	}
	return events
}

func share(xs, ys []string) bool {
	return slices.ContainsFunc(xs, func(x string) bool { return slices.Contains(ys, x) })
}
