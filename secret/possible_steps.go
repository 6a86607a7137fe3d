package secret

import (
	"cmp"
	"slices"
	"strings"
)

// steps lists what is to be chosen for a build that the binding allows through one repository pattern and one condition.
//
// What the question states is never varied. Only origins depends on what was chosen before it: event and slug.
func (s *search) steps(b *binding, repo RepoPattern, c *Condition) []step {
	q := &s.q.Build
	return []step{
		each(s.slugs(repo.Slug), func(r *Request, v string) { r.Repo.Slug = v }),
		each(stated(s.q.UID, cmp.Or(repo.UID, UnknownUID)), func(r *Request, v string) { r.Repo.UID = v }),
		each(s.secrets(b), func(r *Request, v string) { r.Name = v }),
		each(stated(s.q.Pool, b.poolNames()...), func(r *Request, v string) { r.Pool = v }),
		each(stated(q.Event, string(c.Event)), func(r *Request, v string) { r.Build.Event, r.Repo.DefaultBranch = v, s.q.DefaultBranch }),
		each(s.words(c.DeployTo, q.DeployTo), func(r *Request, v string) { r.Build.DeployTo = v }),
		each(s.words(c.Cron, q.Cron), func(r *Request, v string) { r.Build.Cron = v }),
		each(s.refs(c), func(r *Request, v string) { r.Build.Ref = v }),
		each(s.into(c), func(r *Request, v string) { r.Build.Target = v }),
		s.origins,
		s.actors(b),
	}
}

// each sets one field to each of the values.
func each(values []string, set func(*Request, string)) step {
	return func(r Request) []Request {
		all := make([]Request, len(values))
		for i, v := range values {
			all[i] = r
			set(&all[i], v)
		}
		return all
	}
}

// stated is the question's own word, or what to try where it has none.
func stated(value string, otherwise ...string) []string {
	if value != "" {
		return []string{value}
	}
	return otherwise
}

// words stand for all that the patterns match: for each "*" a letter that no rule knows, for each "**" some segments of it.
// With nothing stated on either side that is one empty word: the field stays empty.
func (s *search) words(patterns []Pattern, known string) []string {
	if known != "" {
		return []string{known}
	}
	var all []string
	for _, p := range patterns {
		all = append(all, s.generic(p)...)
	}
	if all == nil {
		return []string{""}
	}
	return all
}

// slugs stand for all repositories that the pattern names. Where a source repository is known, that one is special: code
// from there is a fork's everywhere else.
func (s *search) slugs(p Pattern) []string {
	all := s.words([]Pattern{p}, s.q.Repo)
	if s.q.Repo == "" && s.q.Build.SourceRepo != "" {
		all = append(all, s.q.Build.SourceRepo)
	}
	return all
}

// generic spells out a pattern with the character that no rule knows: "acme/**" as "acme/?", "acme/?/?", … as deep as
// a deny can tell apart. A literal is itself.
func (s *search) generic(p Pattern) (words []string) {
	if p.literal {
		return []string{p.text}
	}
	for n := 1; n <= s.depth; n++ {
		segments := strings.Split(p.text, "/")
		deep := false
		for i, segment := range segments {
			if segment == "**" {
				deep, segment = true, strings.TrimSuffix(strings.Repeat("*/", n), "/")
			}
			segments[i] = strings.ReplaceAll(segment, "*", anything)
		}
		words = append(words, strings.Join(segments, "/"))
		if !deep {
			break
		}
	}
	return words
}

// secrets are the ways to ask the binding for what it gives.
func (s *search) secrets(b *binding) []string {
	if s.q.Secret != "" {
		return []string{s.q.Secret}
	}
	var all []string
	for i := range b.Read {
		all = append(all, b.Read[i].sample(s.letter))
	}
	for name, ref := range b.Names {
		all = append(all, ref.String(), name)
	}
	slices.Sort(all)
	return all
}

// sample is a reference that the pattern gives, with the letter for each "*".
// A version is left out where the pattern also takes the current one: "@*" is asked for as vault/name.
func (p *ReadPattern) sample(letter string) string {
	s := p.vault + "/" + strings.ReplaceAll(p.name, "*", letter)
	if p.pinned && !glob(p.version, "", false) {
		s += "@" + strings.ReplaceAll(p.version, "*", letter)
	}
	if p.keyed {
		s += "/" + strings.ReplaceAll(p.key, "*", letter)
	}
	return s
}

// refs are the refs that the condition takes, or the only one that the question knows. A pull request is tried as
// GitHub and Gitea name it, and as GitLab does, which always counts as a fork.
func (s *search) refs(c *Condition) []string {
	if s.q.Build.Ref != "" {
		return []string{s.q.Build.Ref}
	}
	if c.Event == PullRequest {
		return []string{"refs/pull/1/head", "refs/merge-requests/1/head"}
	}
	var refs []string
	for _, tag := range c.Tags {
		for _, word := range s.generic(tag) {
			refs = append(refs, "refs/tags/"+word)
		}
	}
	for _, branch := range c.Branches {
		for _, word := range s.generic(branch) {
			refs = append(refs, "refs/heads/"+word)
		}
	}
	if c.Tags == nil && c.Branches == nil {
		refs = []string{"refs/heads/" + s.q.DefaultBranch}
	}
	return refs
}

// into is the target of a pull request: the default branch where the condition names none. Other events have what the
// question states.
func (s *search) into(c *Condition) []string {
	if c.Event == PullRequest && c.Into == nil {
		return stated(s.q.Build.Target, s.q.DefaultBranch)
	}
	return s.words(c.Into, s.q.Build.Target)
}

// origins says where the code comes from: of a pull request the repository itself or a fork, else nothing.
//
// "refs/for/main" as a source is Gitea's AGit flow: a stranger's push under the repository's own name.
func (s *search) origins(r Request) []Request {
	repos, sources := []string{""}, []string{""}
	if r.Build.Event == string(PullRequest) {
		repos, sources = []string{r.Repo.Slug, "fork/" + anything}, []string{"feature", "refs/for/main"}
	}
	var all []Request
	for _, repo := range stated(s.q.Build.SourceRepo, repos...) {
		for _, source := range stated(s.q.Build.Source, sources...) {
			r.Build.SourceRepo, r.Build.Source = repo, source
			all = append(all, r)
		}
	}
	return all
}

// actors lets each person who matters to the binding stand behind the build; nobody where it does not ask.
// A binding that names people is tried with each of them, since a deny may name some.
func (s *search) actors(b *binding) step {
	logins := b.actors.list()
	if logins == nil {
		logins = []string{""}
	}
	return func(r Request) (all []Request) {
		for _, login := range logins {
			all = append(all, s.behind(r, login)...)
		}
		return all
	}
}

// behind are the ways in which a person can stand behind a build, as far as trigger and sender leave it open.
//
// Drone puts the person into trigger, or "@hook" there and the person into sender. A question that knows the sender
// alone is about a forge's event by the sender, or about somebody else who pressed a button later: a restart keeps
// the old sender.
func (s *search) behind(r Request, login string) []Request {
	trigger, sender := s.q.Build.Trigger, s.q.Build.Sender
	r.Build.Trigger, r.Build.Sender = trigger, sender
	switch {
	case trigger == "" && sender == "":
		r.Build.Trigger = login
		return []Request{r}
	case trigger == "":
		pressed := r
		pressed.Build.Trigger = login
		r.Build.Trigger = "@hook"
		return []Request{r, pressed}
	case trigger == "@hook" && sender == "":
		r.Build.Sender = login
	}
	return []Request{r}
}
