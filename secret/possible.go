package secret

import (
	"cmp"
	"slices"
	"strings"
)

// Question is about every build that fits: an empty field means whatever it is. The default branch alone is taken as
// "main" where it is left out, since "a push to the default branch" would otherwise be a push to any.
type Question struct {
	Repo, UID, DefaultBranch string
	Secret                   string // as a pipeline asks: vault/secret[@version][/key], or a name alone
	Pool                     string
	Build                    Build // Event, Ref, Source, SourceRepo, Target, DeployTo, Cron, Trigger and Sender
}

// Giver is a binding that gives what a Question asks for, and a request that it would allow.
// It is a proof, not an example to follow: words that the question leaves open are made up, some with a character
// that no forge takes.
type Giver struct {
	Binding string
	At      string
	Ref     Ref
	Request Request
}

// maxTries bounds the requests that one binding is tried with.
// A search that runs into it says so instead of saying no: "nobody can" must never be the answer to a question given
// up.
const maxTries = 100_000

// Givers calls yield for each binding that can give, to any build that the question is about, in the order of the rules,
// until yield returns false. It tells whether the search was complete: a question that leaves very much open about a
// binding with very many alternatives is given up.
//
// Each answer was decided by Decide. That none is missed follows from how patterns are read (see Pattern.Within): a build
// whose every unknown word is one that no rule knows meets only the denies that hold for all of a binding's alternative.
func (p *Policy) Givers(q Question, yield func(Giver) bool) (complete bool) {
	s := p.newSearch(q)
	complete = true
	p.promising(s, func(b *binding) bool {
		request, ref, ok := s.giver(b)
		complete = complete && (ok || s.tries < maxTries)
		return !ok || yield(Giver{b.ID, b.At, ref, request})
	})
	return complete
}

// Closest finds and decides the request that comes nearest to a grant among those that a question without a Giver is about.
// There is none where no binding of the repository gives the secret to anybody.
func (p *Policy) Closest(q Question) (r Request, d Decision, ok bool) {
	s := p.newSearch(q)
	p.promising(s, func(b *binding) bool { s.giver(b); return true })
	return s.nearest, p.Decide(s.nearest), s.at > atName
}

// promising calls yield for the bindings that are worth a search, until it returns false.
// promising goes in the order of the rules. With a repository in the question, only the bindings that may name it are
// looked at.
func (p *Policy) promising(s *search, yield func(*binding) bool) {
	if s.q.Repo == "" {
		for i := range p.bindings {
			if b := &p.bindings[i]; s.worth(b) && !yield(b) {
				return
			}
		}
		return
	}
	var rules []int
	p.candidates(&Request{Repo: Repo{Slug: s.q.Repo}}, func(e entry) { rules = append(rules, int(e.rule)) })
	slices.Sort(rules)
	for _, i := range slices.Compact(rules) {
		if b := &p.bindings[i]; s.worth(b) && !yield(b) {
			return
		}
	}
}

// search tries requests for one question.
//
// It belongs to one goroutine. The question may be changed between two searches.
type search struct {
	p      *Policy
	q      Question
	denies int    // how deep a deny can tell apart
	depth  int    // "**" stands for up to so many segments
	letter string // one that stands in no pattern of a secret's name
	tries  int

	nearest Request // the one that came furthest
	at      station

	denied []string // the denies that met what the binding alone would have allowed
	alone  bool     // ask the binding alone, without denies and the other bindings
}

// newSearch looks through the denies once for what a made-up word must avoid: their depth and the letters of their
// reads.
func (p *Policy) newSearch(q Question) *search {
	q.DefaultBranch = cmp.Or(q.DefaultBranch, "main")
	s := &search{p: p, q: q, denies: 2, letter: "x"}
	var names strings.Builder
	for i := range p.denies {
		d := &p.denies[i]
		s.denies = max(s.denies, depth(d.Repos, d.When))
		for _, r := range d.Read {
			names.WriteString(r.name)
		}
	}
	// A secret's name must parse, so "?" can't stand for its star: a letter that no deny's read holds does the same.
	for _, c := range "xzqjkvwy0123456789abcdefghilmnoprstu" {
		if !strings.ContainsRune(names.String(), c) {
			s.letter = string(c)
			break
		}
	}
	s.deepen()
	return s
}

// depth is one segment more than the deepest pattern has: what is as deep as that, no pattern without "**" matches.
func depth(repos []RepoPattern, when []Condition) (n int) {
	for _, r := range repos {
		n = max(n, len(r.Slug.segments)+1)
	}
	for _, c := range when {
		for _, pattern := range slices.Concat(c.Branches, c.Tags, c.Into, c.DeployTo, c.Cron) {
			n = max(n, len(pattern.segments)+1)
		}
	}
	return n
}

// deepen sets how deep the question has to look. A name alone is ambiguous where two bindings map it differently, so a build
// that one of them does not match may be as deep as the other's patterns.
//
// Each "**" is tried with every depth, so the bound keeps a rule of absurd depth from making every search hopeless.
func (s *search) deepen() {
	s.depth = s.denies
	if _, alone, _ := asked("", s.q.Secret); alone != "" {
		s.depth = max(s.depth, s.p.depths()[alone])
	}
	s.depth = min(s.depth, 12)
}

// depths returns the depth of the bindings that map a name, for each name that several map. It is made when somebody first asks
// about all builds, which no request does.
func (p *Policy) depths() map[string]int {
	p.deepOnce.Do(func() {
		p.deep = map[string]int{}
		first := map[string]int{}
		for i := range p.bindings {
			b := &p.bindings[i]
			n := depth(b.Repos, b.When)
			for name := range b.Names {
				if before, again := first[name]; again {
					p.deep[name] = max(p.deep[name], before, n)
				} else {
					first[name] = n
				}
			}
		}
	})
	return p.deep
}

// worth tells whether the binding is worth a search.
// Without a secret in the question every binding is; else only one that gives it, by pattern or by name.
func (s *search) worth(b *binding) bool {
	if s.q.Secret == "" {
		return true
	}
	ref, alone, ok := asked("", s.q.Secret)
	if alone != "" {
		_, ok = b.Names[alone]
		return ok
	}
	return ok && s.p.vaults[ref.Vault] != nil && b.gives(ref)
}

// giver finds a request that the binding allows.
//
// Each condition is tried with each repository pattern. Not ok means that there is none, or that maxTries were used
// up.
func (s *search) giver(b *binding) (found Request, ref Ref, ok bool) {
	s.tries, s.denied = 0, nil
	s.deepen()
	when := b.conditions()
	if e := s.q.Build.Event; e != "" {
		all := when
		when = slices.DeleteFunc(slices.Clone(all), func(c Condition) bool { return string(c.Event) != e })
		if len(when) == 0 {
			when = all[:1] // it won't do, but shows where the binding stops
		}
	}
	for i := range when {
		for _, repo := range b.Repos {
			steps := s.steps(b, repo, &when[i])
			if s.walk(b, steps, Request{}, &found, &ref) {
				return found, ref, true
			}
		}
	}
	return Request{}, Ref{}, false
}

// step gives a request's alternatives in one respect.
// An empty answer ends the search in that direction. Later steps see what earlier ones chose.
type step func(Request) []Request

// walk tries every combination of the alternatives until one is allowed.
// found and ref are set only with true.
func (s *search) walk(b *binding, steps []step, r Request, found *Request, ref *Ref) bool {
	if s.tries >= maxTries {
		return false
	}
	if len(steps) > 0 {
		for _, next := range steps[0](r) {
			if s.walk(b, steps[1:], next, found, ref) {
				return true
			}
		}
		return false
	}
	s.tries++
	got, ok := s.allowed(b, &r)
	if ok {
		*found, *ref = r, got
	}
	return ok
}

// allowed tells whether the request gets its secret, and from this binding.
// It keeps, on the way, the request that came furthest, and which denies stood in the way, for those who explain a
// no.
func (s *search) allowed(b *binding, r *Request) (Ref, bool) {
	ref, alone, ok := asked(r.Path, r.Name)
	if alone != "" {
		ref, ok = b.Names[alone]
	}
	if !ok || !validSlug(r.Repo.Slug) {
		return Ref{}, false
	}
	at := atName
	for i := range b.Repos {
		at = max(at, b.station(r, int32(i), ref))
	}
	if at > s.at {
		s.nearest, s.at = *r, at
	}
	if at != granted {
		return Ref{}, false
	}
	if s.alone {
		return ref, true
	}
	d := s.p.Decide(*r)
	if d.DeniedBy != "" && !slices.Contains(s.denied, d.DeniedBy) {
		s.denied = append(s.denied, d.DeniedBy)
	}
	return ref, d.Grant != nil && d.Ref == ref
}
