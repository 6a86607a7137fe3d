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
//
// It is a suggestion to a person who may edit the configuration, never applied by itself. The zero Remedy suggests
// nothing.
type Remedy struct {
	Rule  string // the binding's id
	Text  string // the key as it would have to stand in the configuration; empty: no single change would do
	Taken string // what had to be taken as given besides; empty: nothing
}

// Remedy finds the nearest binding that one change would make grant the request. It only ever names a change that it has
// tried, denies included. It names none for another repository or a fork's code, nor one that would give a secret to every
// repository of a pattern: who may be trusted there is not for a tool to suggest.
//
// A deny and an ambiguity have no remedy either: both are somebody's decision about others, not a missing word in a
// list.
func (d *Decision) Remedy() Remedy {
	if d.policy == nil || d.Grant != nil || d.DeniedBy != "" || d.Reason == ReasonAmbiguous {
		return Remedy{}
	}
	request, taken := d.request, ""
	if request.Build.Event == string(PullRequest) && request.Build.SourceRepo == "" && request.Repo.UID == UnknownUID {
		// An offline question that leaves out where the code comes from is about the repository's own.
		request.Build.SourceRepo = request.Repo.Slug
		request.Build.Target = cmp.Or(request.Build.Target, request.Repo.DefaultBranch)
		taken = "for a branch of " + request.Repo.Slug + " itself, into " + request.Build.Target
	}
	candidates := d.candidates()
	for _, c := range candidates {
		if c.at == atRead && slices.ContainsFunc(candidates, func(o candidate) bool { return o.at != atRead && o.binding.gives(o.ref) }) {
			continue // another binding gives the secret and asks for a repository, an id or a pool with it
		}
		// A shallow copy: allow clones each list before it appends, since the policy's own is shared and immutable.
		changed := *c.binding.Binding
		text := changed.allow(&request, c)
		if text == "" {
			continue
		}
		tried := binding{&changed, c.binding.actors}
		if c.at == atActor {
			tried.actors = compilePeople(changed.Actors, nil)
		}
		// The change is tried by the evaluator, so a suggestion that would not work is never shown.
		if tried.station(&request, c.repo, c.ref) == granted && d.policy.denied(&request, c.ref) == "" {
			return Remedy{c.binding.ID, text, taken}
		}
	}
	return Remedy{}
}

// allow changes the binding at the station where it stopped, and writes the key that changed.
//
// It returns "" where it suggests nothing. b must be a copy. The station atFork is missing on purpose: `from: any`
// hands secrets to strangers' code, which nobody should paste from a tool.
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
		// With a pattern, the secret would go to every repository that it matches.
		if err != nil || !b.Repos[c.repo].Slug.Literal() {
			return ""
		}
		b.Read = append(slices.Clone(b.Read), p)
		return "read: " + list(words(b.Read, ReadPattern.String))
	case atEvent, atRef, atDeployTo, atCron:
		b.When = slices.Clone(b.When)
		if len(b.When) == 0 {
			b.When = []Condition{pushToDefault}
		}
		if c.at == atEvent {
			b.When = append(b.When, conditionFor(r))
		} else {
			b.widen(r, c.at)
		}
		return "when: {" + strings.Join(words(b.When, Condition.source), ", ") + "}"
	case atActor:
		if r.Build.Actor() == "" {
			return ""
		}
		b.Actors = Actors{Names: append(slices.Clone(b.Actors.Names), r.Build.Actor())}
		return "actors: " + list(b.Actors.Names)
	}
	return ""
}

// widen adds the request's branch, tag, target or job to the conditions of its event.
// b.When must be a clone; the lists of its conditions are cloned by exactly.
func (b *Binding) widen(r *Request, at station) {
	for i := range b.When {
		c := &b.When[i]
		if string(c.Event) != r.Build.Event {
			continue
		}
		switch branch, isBranch := strings.CutPrefix(r.Build.Ref, "refs/heads/"); {
		case at == atDeployTo:
			exactly(&c.DeployTo, r.Build.DeployTo)
		case at == atCron:
			exactly(&c.Cron, r.Build.Cron)
		case c.Event == PullRequest:
			stateDefault(&c.Into, r)
			exactly(&c.Into, r.Build.Target)
		case isBranch && c.Event != Tag:
			if c.Tags == nil {
				stateDefault(&c.Branches, r)
			}
			exactly(&c.Branches, branch)
		case c.Event == Tag || c.Event == Promote || c.Event == Rollback:
			if c.Event != Tag && c.Tags == nil {
				stateDefault(&c.Branches, r)
			}
			exactly(&c.Tags, strings.TrimPrefix(r.Build.Ref, "refs/tags/"))
		}
	}
}

// stateDefault states the default branch where it was implied: a list that is stated says all that is meant.
func stateDefault(patterns *[]Pattern, r *Request) {
	if *patterns == nil && r.Repo.DefaultBranch != "" {
		exactly(patterns, r.Repo.DefaultBranch)
	}
}

// conditionFor is the narrowest condition that the request satisfies.
// It names the default branch by leaving the branch out, as a person would write it.
func conditionFor(r *Request) Condition {
	c := Condition{Event: BuildEvent(r.Build.Event)}
	switch c.Event {
	case PullRequest:
		c.From = FromSameRepo
		if r.Build.Target != r.Repo.DefaultBranch {
			exactly(&c.Into, r.Build.Target)
		}
		return c
	case Promote, Rollback:
		exactly(&c.DeployTo, r.Build.DeployTo)
	case Cron:
		exactly(&c.Cron, r.Build.Cron)
	}
	if tag, ok := strings.CutPrefix(r.Build.Ref, "refs/tags/"); ok {
		exactly(&c.Tags, tag)
	} else if branch, ok := strings.CutPrefix(r.Build.Ref, "refs/heads/"); ok && branch != r.Repo.DefaultBranch {
		exactly(&c.Branches, branch)
	}
	return c
}

// source writes the condition as it stands in a configuration.
//
// For example: promote: {deploy_to: [production], branches: [main]}.
func (c Condition) source() string {
	var parts []string
	for _, part := range []struct {
		name     string
		patterns []Pattern
	}{{"deploy_to", c.DeployTo}, {"cron", c.Cron}, {"branches", c.Branches}, {"tags", c.Tags}, {"into", c.Into}} {
		if part.patterns != nil {
			parts = append(parts, part.name+": "+list(words(part.patterns, Pattern.String)))
		}
	}
	if c.From != "" {
		parts = append([]string{"from: " + string(c.From)}, parts...)
	}
	return string(c.Event) + ": {" + strings.Join(parts, ", ") + "}"
}

// exactly adds a pattern that matches s and nothing else. Where no pattern can say s, the attempt fails when it is tried.
func exactly(patterns *[]Pattern, s string) {
	if p, err := ParsePattern(s); err == nil && p.literal {
		*patterns = append(slices.Clone(*patterns), p)
	}
}

// list writes YAML's flow form, quoting what a reader might take for something else.
//
// The result can be pasted: [main, "1.10", "yes", "v*"]. Unquoted, 1.10 would be the number 1.1, and a leading * an
// alias.
func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, w := range texts {
		quoted[i] = w
		if !plain(w) {
			quoted[i] = strconv.Quote(w)
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// plain tells whether YAML reads w as the string it is without quotes.
//
// It says no too often rather than too seldom: quotes never hurt.
func plain(w string) bool {
	switch fold(w) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return false
	}
	return charset(w, len(w), "-_/.") && charset(w[:1], 1, "") && strings.Trim(w[:1], "0123456789") != ""
}
