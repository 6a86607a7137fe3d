package secret

import (
	"slices"
	"strings"
)

// String words a condition of a binding in the words of the configuration: "promote to production on main", "push to the
// default branch", "pull_request from the same repository into main".
func (c Condition) String() string { return string(c.Event) + c.rest(nil) }

// rest is what follows the event; byDefault narrows the default branch.
func (c *Condition) rest(byDefault []Pattern) string {
	branches, on := c.Branches, " on "
	var words string
	switch c.Event {
	case PullRequest:
		branches, on = c.Into, " into "
		words = map[From]string{FromSameRepo: " from the same repository", FromAny: " from any repository"}[c.From]
	case Promote, Rollback:
		words = " to " + anyOf(c.DeployTo)
	case Cron:
		words = " " + anyOf(c.Cron)
	case Push:
		on = " to "
	case Tag:
		return " " + anyOf(c.Tags)
	}
	switch {
	case branches != nil && c.Tags != nil:
		return words + on + anyOf(branches) + " or tag " + anyOf(c.Tags)
	case c.Tags != nil:
		return words + on + "tag " + anyOf(c.Tags)
	case branches != nil:
		return words + on + anyOf(branches)
	case byDefault != nil:
		return words + on + "the default branch where that is " + anyOf(byDefault)
	}
	return words + on + "the default branch"
}

// anyOf joins patterns by "or". A nil list here is one that a binding must state and does not: the condition never
// holds.
func anyOf(list []Pattern) string {
	if list == nil {
		return "(none stated)"
	}
	return join(list, func(p Pattern) string { return printable(p.text) })
}

// Conditions words when the line gives its secret: events, people, pools that are not the default one, and ids of
// repositories. Each entry is one condition; events that differ in nothing else are one entry.
func (l *Line) Conditions() []string {
	var rests []string
	events := map[string][]string{}
	for i := range l.When {
		rest := l.When[i].rest(l.DefaultIs)
		if events[rest] == nil {
			rests = append(rests, rest)
		}
		events[rest] = append(events[rest], string(l.When[i].Event))
	}
	list := make([]string, len(rests))
	for i, rest := range rests {
		list[i] = strings.Join(events[rest], " or ") + rest + l.byWhom(events[rest])
	}
	return list
}

// byWhom says who, where that matters.
func (l *Line) byWhom(events []string) string {
	switch {
	case l.Actors == nil && slices.ContainsFunc(events, func(e string) bool { return BuildEvent(e).ProvesPersonOnly() }):
		return " by anybody"
	case l.Actors == nil:
		return ""
	}
	return " by " + strings.Join(l.Actors, " or ")
}

// PoolWords words what has to hold of the runner, if that is not just the pool "default".
func (l *Line) PoolWords() string {
	if len(l.Pools) == 1 && l.Pools[0] == DefaultPool {
		return ""
	}
	return "pool " + strings.Join(l.Pools, " or ")
}

// String words a repository pattern: the slug, and the forge's id where it is pinned.
func (r RepoPattern) String() string {
	if r.UID == "" {
		return printable(r.Slug.text)
	}
	return printable(r.Slug.text) + " (uid " + printable(r.UID) + ")"
}

// Withholds words what the exception takes away, in what it states: secrets, repositories, conditions, people, pools.
func (e *Exception) Withholds() string {
	if e.Ambiguous() {
		return printable(e.Name) + " means something else there, too, so neither is given: " + strings.Join(e.parts(), ", ")
	}
	if parts := e.parts(); len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	return "everything"
}

// parts words each list that the rule states. What a binding leaves out was filled in by the survey, so its default
// pool is not said.
func (e *Exception) parts() (parts []string) {
	add := func(head string, list []string) {
		if len(list) > 0 {
			parts = append(parts, head+strings.Join(list, " or "))
		}
	}
	if !e.Ambiguous() {
		add("", words(e.Read, ReadPattern.String))
	}
	add("in ", words(e.Repos, RepoPattern.String))
	conditions := words(e.When, func(c Condition) string {
		if e.Ambiguous() {
			return c.String()
		}
		return c.denied()
	})
	add("", []string{strings.Join(conditions, "; ")}[:min(1, len(conditions))])
	if !e.Actors.Any {
		add("by ", e.Actors.Names)
	}
	if !e.Ambiguous() || !slices.Equal(e.Pools, defaultPools) {
		add("pool ", e.Pools)
	}
	return parts
}

// denied words a condition as a deny means it: what is not stated is not said.
// `from: any` is not said either: in a deny it means the same as nothing.
func (c Condition) denied() string {
	text := string(c.Event)
	for _, part := range [...]struct {
		before string
		list   []Pattern
	}{{" to ", c.DeployTo}, {" ", c.Cron}, {" into ", c.Into}, {" on ", c.Branches}, {" on tag ", c.Tags}} {
		if part.list != nil {
			text += part.before + anyOf(part.list)
		}
	}
	if c.From == FromSameRepo {
		text += " from the same repository"
	}
	return text
}
