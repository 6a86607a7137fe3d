package secret

import (
	"iter"
	"strings"
)

// A cell's generic request has in each place of a "*" a character that no pattern can hold, so that a pattern matches it
// only if it matches everything that the cell's own pattern matches. What Decide says of the generic request therefore
// holds for the cell as a whole: it is denied if and only if one deny holds for all of the cell.

// anything stands for a text that nobody thought of. The grammar of patterns refuses it.
// So in a generic request only a "*" or a "**" matches it. A test pairs random patterns and texts to prove that.
const anything = "?"

// template is a request with "*" in its texts, each to be filled with the same word.
//
// It is not parsed on its way to a decision: ref and alone are given to Decide's own parts, since "?" is in no valid
// name. Trigger and UID are never filled: people and ids are not patterns.
type template struct {
	Request
	ref   Ref    // the secret
	alone string // asked for by this name alone, not by the reference
}

// generic is the request with the character that no pattern holds.
func (t *template) generic() template { return t.filled(anything) }

// filled puts the word in the place of each "*" and returns a copy. All places get the same word, so that the slug
// and the source repository of a pull request stay equal.
func (t *template) filled(word string) template {
	f := *t
	for _, s := range [...]*string{
		&f.Repo.Slug, &f.Repo.DefaultBranch, &f.Build.Ref, &f.Build.SourceRepo, &f.Build.Target, &f.Build.DeployTo, &f.Build.Cron,
		&f.ref.Name, &f.ref.Version, &f.ref.Key,
	} {
		if strings.IndexByte(*s, '*') >= 0 {
			*s = strings.ReplaceAll(*s, "*", word)
		}
	}
	return f
}

// decide is Decide for a reference that was never a text: a generic one would not parse.
// It runs the same code as Decide behind the parser: a second evaluator could disagree with the first.
func (p *Policy) decide(t *template) Decision {
	d := Decision{Reason: ReasonName, policy: p, request: t.Request}
	if t.alone != "" {
		p.decideName(&d, t.alone)
	} else {
		p.decideRef(&d, t.ref)
	}
	return d
}

// grants tells whether the decision gives what the template is about: a name may lead elsewhere.
// Without that, a name that another binding maps elsewhere would count as access to this secret.
func (t *template) grants(d *Decision) bool {
	return d.Allowed() && (t.alone == "" || d.Grant.Ref == t.ref)
}

// cells splits a line into its products of one alternative each.
//
// Their number is the product of the lengths of When, Repos, Pools, Asked and Actors. The patterns themselves are
// never split: "acme/*" is one alternative. Lists are cut with their capacity, so that joining one cell can't write
// into another's.
func (l *Line) cells() iter.Seq[Line] {
	return func(yield func(Line) bool) {
		// One alternative, "whoever", where no actor is needed.
		actors := [][]string{nil}
		if l.Actors != nil {
			actors = actors[:0]
			for i := range l.Actors {
				actors = append(actors, l.Actors[i:i+1:i+1])
			}
		}
		for i := range l.When {
			for condition := range l.When[i].alternatives {
				when := []Condition{condition}
				for r := range l.Repos {
					for p := range l.Pools {
						for a := range l.Asked {
							for _, actor := range actors {
								c := *l
								c.When, c.Repos, c.Pools, c.Actors = when[:1:1], l.Repos[r:r+1:r+1], l.Pools[p:p+1:p+1], actor
								c.Asked = l.Asked[a : a+1 : a+1]
								if !yield(c.owning()) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// owning gives the cell a condition of its own, which joining changes in place.
func (l Line) owning() Line {
	l.When = []Condition{l.When[0]}
	return l
}

// alternatives splits a condition, as a binding means it, into those with one pattern in each list. It yields none for a
// condition that never holds.
//
// For example, with tags first:
//
//	promote {deploy_to: [eu, us], branches: [main], tags: [v*]}
//	  →  eu on tag v*,  us on tag v*,  eu on main,  us on main
func (c Condition) alternatives(yield func(Condition) bool) {
	if c.Event == PullRequest {
		base := Condition{Event: c.Event, From: c.From}
		if c.From == "" {
			return
		}
		if c.Into == nil {
			yield(base)
			return
		}
		for i := range c.Into {
			base.Into = c.Into[i : i+1 : i+1]
			if !yield(base) {
				return
			}
		}
		return
	}
	deploys, crons := oneByOne(c.DeployTo, c.Event == Promote || c.Event == Rollback), oneByOne(c.Cron, c.Event == Cron)
	for _, ref := range c.refAlternatives() {
		for _, to := range deploys {
			for _, cron := range crons {
				ref.DeployTo, ref.Cron = to, cron
				if !yield(ref) {
					return
				}
			}
		}
	}
}

// oneByOne splits a list that has to be stated; where it says nothing, there is one alternative without it.
func oneByOne(list []Pattern, matters bool) (single [][]Pattern) {
	if !matters {
		return [][]Pattern{nil}
	}
	for i := range list {
		single = append(single, list[i:i+1:i+1])
	}
	return single
}

// refAlternatives has one condition for each tag and each branch. Neither stated is the default branch, except that a
// tag event without tags never holds. With tags alone, the default branch is not meant.
func (c *Condition) refAlternatives() (list []Condition) {
	for i := range c.Tags {
		list = append(list, Condition{Event: c.Event, Tags: c.Tags[i : i+1 : i+1]})
	}
	switch {
	case c.Event == Tag:
	case c.Branches == nil && c.Tags == nil:
		list = append(list, Condition{Event: c.Event})
	default:
		for i := range c.Branches {
			list = append(list, Condition{Event: c.Event, Branches: c.Branches[i : i+1 : i+1]})
		}
	}
	return list
}

// templates yields the requests that stand for a cell: one for each number of segments that a "**" may have, the largest
// first, up to deepest, beyond which one more makes no difference; and for a secret with keys the whole and a key.
//
// The cell must have one entry in each of its lists. An id that is not pinned becomes UnknownUID: Decide gives
// nothing to a request without an id. A trigger is the actor's login, which is the plainest proof of a person.
func (l *Line) templates(deepest int) iter.Seq[template] {
	return func(yield func(template) bool) {
		base := template{ref: l.Secret.template(), alone: l.Asked[0]}
		base.Pool, base.Repo.UID = l.Pools[0], l.Repos[0].UID
		if base.Repo.UID == "" {
			base.Repo.UID = UnknownUID
		}
		if l.Actors != nil {
			base.Build.Trigger = l.Actors[0]
		}
		for _, slug := range l.Repos[0].Slug.templates(deepest) {
			base.Repo.Slug = slug
			for t := range l.builds(base, deepest) {
				if !yield(t) {
					return
				}
				// The whole and its keys are two things to another rule, which may give one alone.
				if base.alone == "" && !l.Exact && t.ref.Key == "" {
					t.ref.Key = "*"
					if !yield(t) {
						return
					}
				}
			}
		}
	}
}

// builds yields the template with each kind of build of the cell's condition.
//
// Each is the most credible build of its kind: a pull request from the repository's own branch where the condition
// wants that, else from a fork; a branch or a tag by its full ref.
func (l *Line) builds(t template, deepest int) iter.Seq[template] {
	c := &l.When[0]
	t.Build.Event = string(c.Event)
	return func(yield func(template) bool) {
		for _, branch := range l.branchTemplates(deepest) {
			switch {
			case c.Event == PullRequest:
				t.Build.Ref, t.Build.Target, t.Build.SourceRepo = "refs/pull/1/head", branch, t.Repo.Slug
				if c.From == FromAny {
					t.Build.SourceRepo += "-fork"
				}
			case c.Tags != nil:
				t.Build.Ref = "refs/tags/" + branch
			default:
				t.Build.Ref = "refs/heads/" + branch
			}
			// The default branch is then, by definition, the branch that was pushed to or is to be merged into.
			if c.defaultBranch() {
				t.Repo.DefaultBranch = branch
			}
			for _, to := range listTemplates(c.DeployTo, deepest) {
				for _, cron := range listTemplates(c.Cron, deepest) {
					t.Build.DeployTo, t.Build.Cron = to, cron
					if !yield(t) {
						return
					}
				}
			}
		}
	}
}

// defaultBranch tells whether the cell's condition means the default branch.
func (c *Condition) defaultBranch() bool {
	if c.Event == PullRequest {
		return c.Into == nil
	}
	return c.Branches == nil && c.Tags == nil
}

// branchTemplates are the names of branches or tags that stand for the cell.
func (l *Line) branchTemplates(deepest int) []string {
	c := &l.When[0]
	switch {
	case c.defaultBranch() && l.DefaultIs != nil:
		return l.DefaultIs[0].templates(deepest)
	// Whatever the default branch is called: "*", and "*/*" for names with a slash.
	case c.defaultBranch():
		return starTemplates("", deepest, "")
	case c.Event == PullRequest:
		return c.Into[0].templates(deepest)
	case c.Tags != nil:
		return c.Tags[0].templates(deepest)
	}
	return c.Branches[0].templates(deepest)
}

// listTemplates takes a list of at most one pattern; a nil one leaves the field empty.
func listTemplates(list []Pattern, deepest int) []string {
	if list == nil {
		return []string{""}
	}
	return list[0].templates(deepest)
}

// template is the reference with the pattern's own stars in it. A pinned pattern stands for a pinned reference,
// although "@*" gives the current version, too.
func (p *ReadPattern) template() Ref {
	r := Ref{Vault: p.vault, Name: p.name}
	if p.pinned {
		r.Version = p.version
	}
	if p.keyed {
		r.Key = p.key
	}
	return r
}

// manyStars is how many "**" of one pattern are varied one by one; more of them change together.
// With n of them there would be deepest^n templates.
const manyStars = 2

// templates spells out each "**" as one, two, … deepest segments.
//
// For example, acme/** with 3:  acme/*/*/*,  acme/*/*,  acme/*. The depth matters since another rule may have one
// segment less or more: a deny of acme/* does not hold for acme/a/b. Beyond one segment more than any rule has, only
// a "**" can match, and to that one more makes no difference.
func (p Pattern) templates(deepest int) (list []string) {
	text := p.text
	if p.fold {
		text = fold(text)
	}
	if p.literal || !strings.Contains(text, "**") {
		return []string{text}
	}
	parts := strings.Split(text, "**")
	if len(parts)-1 > manyStars {
		for n := deepest; n > 0; n-- {
			list = append(list, strings.Join(parts, starTemplates("", n, "")[0]))
		}
		return list
	}
	list = parts[:1]
	for _, part := range parts[1:] {
		var longer []string
		for _, head := range list {
			longer = append(longer, starTemplates(head, deepest, part)...)
		}
		list = longer
	}
	return list
}

// starTemplates puts deepest to one segments between head and tail.
func starTemplates(head string, deepest int, tail string) (list []string) {
	for n := deepest; n > 0; n-- {
		list = append(list, head+strings.Repeat("/*", n)[1:]+tail)
	}
	return list
}
