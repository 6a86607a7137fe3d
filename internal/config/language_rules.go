package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/drone-entra/drone-entra/secret"
)

// The part of the language that says who may read what.

// scope is what a binding and a deny have in common. Left out, each of them means the default in a binding and
// everything in a deny.
type scope struct {
	repos  list[repo, *repo]
	when   when
	actors actors
	pools  texts
	reads  texts
}

// refuses sends what somebody wrote beside when into it. People write `branches: [main]` beside when, as other tools
// have it; a spelling close to a condition or an event is enough.
func (*scope) refuses(key string) string {
	for _, event := range secret.BuildEvents {
		c := condition{event: event}
		for _, name := range append(keysOf(c.fields()), string(event)) {
			if nearest(key, []string{name}) == "" {
				continue
			}
			if name == string(event) {
				return fmt.Sprintf("did you mean %q? It stands in when, as in when: {%s}", name, c.example())
			}
			return fmt.Sprintf("did you mean %q? It stands with its event, as in when: {%s: {%s: …}}", name, event, name)
		}
	}
	return ""
}

// binding gives secrets. It needs repos, and read or names.
type binding struct {
	head
	id text
	scope
	names dict[text, *text]
}

func (b *binding) read(r *reader, n *yaml.Node) { r.object(n, b) }
func (*binding) what() string                   { return "a binding" }
func (b *binding) fields() []field {
	return []field{
		{"id", &b.id, required},
		{"repos", &b.repos, required},
		{"when", &b.when, optional},
		{"actors", &b.actors, optional},
		{"pools", &b.pools, optional},
		{"read", &b.reads, optional},
		{"names", &b.names, optional},
	}
}

// deny takes secrets away, whatever gives them. All but its id may be left out: then it holds for everything.
type deny struct {
	head
	id, reason text
	scope
}

func (d *deny) read(r *reader, n *yaml.Node) { r.object(n, d) }
func (*deny) what() string                   { return "a deny" }
func (d *deny) fields() []field {
	return []field{
		{"id", &d.id, required},
		{"repos", &d.repos, optional},
		{"when", &d.when, optional},
		{"actors", &d.actors, optional},
		{"pools", &d.pools, optional},
		{"read", &d.reads, optional},
		{"reason", &d.reason, optional},
	}
}

// repo is a slug's pattern, or a mapping of it and the forge's id. A slug can pass to another repository when it is
// renamed or deleted; the id does not.
type repo struct {
	head
	slug, uid text
}

func (*repo) what() string { return "a repository" }
func (p *repo) fields() []field {
	return []field{{"slug", &p.slug, required}, {"uid", &p.uid, optional}}
}

func (p *repo) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		r.object(n, p)
	} else if p.begin(r, n) {
		p.slug.read(r, n)
		p.ok = p.slug.ok
	}
}

// actors is the word any, or a list of logins and groups. A group called any is refused, so the word has one meaning.
type actors struct {
	texts
	any bool
}

func (a *actors) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "any" {
		a.begin(r, n)
		a.any, a.ok = true, true
		return
	}
	a.texts.read(r, n)
}

// when is a mapping from events to their conditions.
type when struct {
	head
	events []condition // those that are there, in the order of secret.BuildEvents
}

func (*when) what() string { return "when" }
func (*when) noun() string { return "event" }

// read takes the mapping, and words the two mistakes that are most likely. An empty mapping could be meant as "never"
// or as "always".
func (w *when) read(r *reader, n *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) == 0:
		w.begin(r, n)
		r.errorf(w.place, "%q is an empty mapping, which says nothing: leave it out, or name an event", r.key)
	case n.Kind == yaml.ScalarNode && isEvent(n.Value):
		w.begin(r, n)
		r.errorf(w.place, "%q is a mapping from events: write {%s: {}}", r.key, n.Value)
	default:
		w.readEvents(r, n)
	}
}

// readEvents keeps the events that are there: most rules have one or two of the seven. A condition is big, so the room
// for all seven is the reader's and used again for each rule. In the end w.events has a copy of those that are set; the
// room itself is never kept.
func (w *when) readEvents(r *reader, n *yaml.Node) {
	if r.conditions == nil {
		r.conditions = make([]condition, len(secret.BuildEvents))
	}
	clear(r.conditions)
	w.events = r.conditions
	r.object(n, w)
	w.events = nil
	for i := range r.conditions {
		if r.conditions[i].set {
			w.events = append(w.events, r.conditions[i])
		}
	}
}

// fields has one key for each event that Drone has. One that Drone adds some day is unknown here, and so matches
// nothing.
func (w *when) fields() (fields []field) {
	if w.events == nil {
		w.events = make([]condition, len(secret.BuildEvents))
	}
	for i, event := range secret.BuildEvents {
		w.events[i].event = event
		fields = append(fields, field{string(event), &w.events[i], optional})
	}
	return fields
}

// isEvent tells whether s is one of Drone's events, by its exact name.
func isEvent(s string) bool {
	return slices.Contains(secret.BuildEvents[:], secret.BuildEvent(s))
}

// condition is one entry of when. Which keys it has depends on its event.
type condition struct {
	head
	event                                secret.BuildEvent
	branches, tags, into, deployTo, cron texts
	from                                 choice
}

func (c *condition) what() string { return string(c.event) }

// read refuses a bare `push:`, as it reads like a heading whose lines were lost. {} says that nothing more is meant.
func (c *condition) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		c.begin(r, n)
		r.errorf(c.place, "nothing is written for %s: write %s", c.event, c.example())
		return
	}
	r.object(n, c)
}

// example is an entry that states what its event needs.
func (c *condition) example() string {
	return string(c.event) + ": " + map[secret.BuildEvent]string{
		secret.Push: "{}", secret.Custom: "{}", secret.Tag: `{tags: ["v*"]}`, secret.Cron: "{cron: [nightly]}",
		secret.Promote: "{deploy_to: [production]}", secret.Rollback: "{deploy_to: [production]}",
		secret.PullRequest: "{from: same-repo}",
	}[c.event]
}

// fields gives only the keys that can be true of the event, so that a branch stated for a tag is an unknown key and no
// condition that never holds.
func (c *condition) fields() []field {
	branches := field{"branches", &c.branches, optional}
	switch c.event {
	case secret.Push, secret.Custom:
		return []field{branches}
	case secret.Tag:
		return []field{{"tags", &c.tags, optional}}
	case secret.Cron:
		return []field{{"cron", &c.cron, optional}, branches}
	case secret.PullRequest:
		return []field{
			{"from", c.from.of(string(secret.FromSameRepo), string(secret.FromAny)), optional},
			{"into", &c.into, optional},
		}
	case secret.Promote, secret.Rollback:
		return []field{{"deploy_to", &c.deployTo, optional}, branches, {"tags", &c.tags, optional}}
	}
	return nil
}
