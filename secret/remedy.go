package secret

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// UnknownUID stands for a forge's id that nobody stated, in an offline question: a binding that pins an id stops at it,
// one that pins none does not ask. No forge has such an id.
const UnknownUID = "(not given)"

// Remedy is the one change to a binding that would have allowed a request.
type Remedy struct {
	Rule string // the binding's id
	Text string // the change, as it is written in a configuration; empty: no single change would do
}

// Remedy finds the nearest binding that one change would make grant the request. It only ever names a change that it has
// tried. For another repository, a fork's code or a deny it names none: who may be trusted there is not for a tool to
// suggest.
func (d *Decision) Remedy() Remedy {
	if d.policy == nil || d.Grant != nil || d.DeniedBy != "" || d.Reason == ReasonAmbiguous {
		return Remedy{}
	}
	request := d.request
	if request.Build.Event == string(PullRequest) && request.Build.SourceRepo == "" && request.Repo.UID == UnknownUID {
		// An offline question that leaves out where the code comes from is about the repository's own.
		request.Build.SourceRepo = request.Repo.Slug
		request.Build.Target = cmp.Or(request.Build.Target, request.Repo.DefaultBranch)
	}
	for _, c := range d.candidates() {
		changed := *c.binding.Binding
		text := changed.allow(&request, c)
		if text == "" {
			continue
		}
		tried := binding{&changed, compilePeople(changed.Actors, nil)}
		if c.at != atActor {
			tried.actors = c.binding.actors
		}
		if tried.station(&request, c.repo, c.ref) == granted {
			return Remedy{c.binding.ID, text}
		}
	}
	return Remedy{}
}

// allow changes the binding at the station where it stopped, and says how.
func (b *Binding) allow(r *Request, c candidate) string {
	switch c.at {
	case atPool:
		if b.Pools == nil {
			b.Pools = []string{DefaultPool}
		}
		b.Pools = append(slices.Clone(b.Pools), r.Pool)
		return "pools: " + list(b.Pools)
	case atRead:
		p, err := ParseRead(c.ref.String())
		if err != nil {
			return ""
		}
		b.Read = append(slices.Clone(b.Read), p)
		return "read: " + list([]string{c.ref.String()})
	case atEvent:
		if b.When == nil {
			b.When = []Condition{pushToDefault}
		}
		added, text := conditionFor(r)
		b.When = append(slices.Clone(b.When), added)
		return text
	case atActor:
		if r.Build.Actor() == "" {
			return ""
		}
		b.Actors = Actors{Names: append(slices.Clone(b.Actors.Names), r.Build.Actor())}
		return "actors: " + list(b.Actors.Names)
	case atRef, atDeployTo, atCron:
		return b.widen(r, c.at)
	}
	return ""
}

// widen adds the request's branch, tag, target or job to the conditions of its event.
func (b *Binding) widen(r *Request, at station) (text string) {
	b.When = slices.Clone(b.When)
	if len(b.When) == 0 {
		b.When = []Condition{pushToDefault}
	}
	for i := range b.When {
		c := &b.When[i]
		if string(c.Event) != r.Build.Event {
			continue
		}
		switch branch, isBranch := strings.CutPrefix(r.Build.Ref, "refs/heads/"); {
		case at == atDeployTo:
			text = c.Event.clause(exactly(&c.DeployTo, "deploy_to", r.Build.DeployTo))
		case at == atCron:
			text = c.Event.clause(exactly(&c.Cron, "cron", r.Build.Cron))
		case c.Event == PullRequest:
			stateDefault(&c.Into, r)
			text = c.Event.clause(exactly(&c.Into, "into", r.Build.Target))
		case isBranch && c.Event != Tag:
			if c.Tags == nil {
				stateDefault(&c.Branches, r)
			}
			text = c.Event.clause(exactly(&c.Branches, "branches", branch))
		case c.Event == Tag || c.Event == Promote || c.Event == Rollback:
			text = c.Event.clause(exactly(&c.Tags, "tags", strings.TrimPrefix(r.Build.Ref, "refs/tags/")))
		}
	}
	return text
}

// stateDefault states the default branch where it was implied: a list that is stated says all that is meant.
func stateDefault(patterns *[]Pattern, r *Request) {
	if *patterns == nil && r.Repo.DefaultBranch != "" {
		exactly(patterns, "", r.Repo.DefaultBranch)
	}
}

// conditionFor is the narrowest condition that the request satisfies.
func conditionFor(r *Request) (Condition, string) {
	c := Condition{Event: BuildEvent(r.Build.Event)}
	var parts []string
	switch c.Event {
	case PullRequest:
		c.From = FromSameRepo
		parts = append(parts, "from: same-repo")
		if r.Build.Target != r.Repo.DefaultBranch {
			parts = append(parts, exactly(&c.Into, "into", r.Build.Target))
		}
	case Promote, Rollback:
		parts = append(parts, exactly(&c.DeployTo, "deploy_to", r.Build.DeployTo))
	case Cron:
		parts = append(parts, exactly(&c.Cron, "cron", r.Build.Cron))
	}
	if tag, ok := strings.CutPrefix(r.Build.Ref, "refs/tags/"); ok && c.Event != PullRequest {
		parts = append(parts, exactly(&c.Tags, "tags", tag))
	} else if branch, ok := strings.CutPrefix(r.Build.Ref, "refs/heads/"); ok && branch != r.Repo.DefaultBranch {
		parts = append(parts, exactly(&c.Branches, "branches", branch))
	}
	return c, c.Event.clause(strings.Join(parts, ", "))
}

func (e BuildEvent) clause(conditions string) string {
	return "when: {" + string(e) + ": {" + conditions + "}}"
}

// exactly adds a pattern that matches s and nothing else, and writes the list. Where no pattern can say s, the attempt
// fails when it is tried.
func exactly(patterns *[]Pattern, name, s string) string {
	if p, err := ParsePattern(s); err == nil && p.literal {
		*patterns = append(slices.Clone(*patterns), p)
	}
	texts := make([]string, 0, len(*patterns))
	for _, p := range *patterns {
		texts = append(texts, p.text)
	}
	return name + ": " + list(texts)
}

// list writes YAML's flow form, quoting what a reader might take for something else.
func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if !plain(w) {
			quoted[i] = strconv.Quote(w)
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// plain tells whether YAML reads w as the string it is without quotes.
func plain(w string) bool {
	switch fold(w) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return false
	}
	return charset(w, len(w), "-_/.") && charset(w[:1], 1, "") && strings.Trim(w[:1], "0123456789") != ""
}
