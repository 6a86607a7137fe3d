package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/drone-entra/drone-entra/secret"
)

// Expectation is an assertion about the policy that Check runs.
type Expectation struct {
	Allow bool     // decision: allow; at least one build that fits gets it. Otherwise none does
	Only  []string // instead of a decision: exactly these bindings give it, each to some build that fits
	At    string   // file:line

	question secret.Question // what was left out is whatever it is, but for the default branch, which is "main"
	place    place
}

// buildExpectations compiles the assertions of all files, in their order. They are not confined: an assertion gives
// nothing and takes nothing away.
func (b *builder) buildExpectations() (all []Expectation) {
	for _, f := range b.files {
		for i := range f.expect.items {
			d := &f.expect.items[i]
			b.expectation(d)
			e := Expectation{Allow: d.decision.value == "allow", At: b.line(d.place), question: d.question(), place: d.place}
			for _, t := range d.only.items {
				e.Only = append(e.Only, t.value)
			}
			all = append(all, e)
		}
	}
	return all
}

// question turns what was written into a question about the policy. An empty field is one that nobody stated; the
// policy then looks for any build that fits.
func (d *expectation) question() secret.Question {
	return secret.Question{
		Repo: d.repo.value, UID: d.uid.value, DefaultBranch: cmp.Or(d.defaultBranch.value, "main"), Secret: d.reads.value, Pool: d.pool.value,
		Build: secret.Build{
			Event: d.event.value, Ref: d.ref.value, Source: d.source.value, SourceRepo: d.sourceRepo.value, Target: d.target.value,
			DeployTo: d.deployTo.value, Cron: d.cron.value, Trigger: d.trigger.value, Sender: d.sender.value,
		},
	}
}

// disappointed reports each expectation that does not hold, with a build that shows it. It is asked only of a
// configuration without errors.
func (b *builder) disappointed(policy *secret.Policy, all []Expectation) {
	for _, e := range all {
		for _, text := range e.check(policy) {
			b.failf(e.place, ruleExpectation, "%s", text)
		}
	}
}

// check says in what the expectation is wrong.
//
// The search stops at the first binding that gives, but for only, where all of them matter. It may give up; then what
// was found still counts, and what was not found proves nothing: neither a deny nor an only may pass on it.
//
//	decision: deny    wrong at the first giver
//	decision: allow   right at the first giver
//	only: [a, b]      wrong for a giver other than a and b, and for an a or b that gives to nobody
func (e *Expectation) check(policy *secret.Policy) []string {
	const tooMuch = "this leaves too much open to be decided: state more of the build"
	var found []secret.Giver
	complete := policy.Givers(e.question, func(g secret.Giver) bool {
		found = append(found, g)
		return e.Only != nil
	})
	switch {
	case e.Only != nil && complete:
		return e.others(found)
	case len(found) > 0 && e.Only == nil && !e.Allow:
		return []string{"expected deny, and " + gives(found[0])}
	case len(found) > 0 && e.Only == nil:
		return nil
	case !complete:
		return []string{tooMuch}
	case e.Allow:
		return []string{"expected allow, and " + e.refusal(policy)}
	}
	return nil
}

// others compares the bindings that give with those that should.
func (e *Expectation) others(found []secret.Giver) (texts []string) {
	for _, g := range found {
		if !slices.Contains(e.Only, g.Binding) {
			texts = append(texts, "expected only "+joined(e.Only, "and")+" to give it, and "+gives(g))
		}
	}
	for _, id := range e.Only {
		if !slices.ContainsFunc(found, func(g secret.Giver) bool { return g.Binding == id }) {
			texts = append(texts, "expected "+id+" to give it, and it does so to no build that fits")
		}
	}
	return texts
}

// refusal says why no build that fits gets the secret, by the one that comes nearest. It is the first predicate that
// failed there, with the rule and its place.
func (e *Expectation) refusal(policy *secret.Policy) string {
	r, d, ok := policy.Closest(e.question)
	if !ok {
		return "no binding of the repository gives it to any build"
	}
	text := asked(r) + " is denied: " + string(d.Reason)
	for check := range d.Checks() {
		if !check.OK {
			return text + " (" + check.Rule + " at " + check.At + ": " + check.String() + ")"
		}
	}
	return text
}

// gives says in words what a binding gives to which build.
func gives(g secret.Giver) string { return g.Binding + " allows " + asked(g.Request) }

// asked is a request in words. The request was made up by the policy from patterns: "?" stands where a pattern takes
// anything. Patterns hold what people wrote, so text with a character that can't be seen is written in ASCII escapes.
func asked(r secret.Request) string {
	text := r.Name + " to " + r.Repo.Slug
	if r.Repo.UID != secret.UnknownUID {
		text += " with uid " + r.Repo.UID
	}
	text += ", " + inWords(&r.Build)
	if r.Pool != secret.DefaultPool {
		text += ", pool " + r.Pool
	}
	if strings.Contains(text, "?") {
		text += " (? stands for anything)"
	}
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}

// inWords is a build in a few words. The order is that of a sentence: promote to production refs/heads/main by alice.
func inWords(b *secret.Build) string {
	words := []string{b.Event}
	if b.DeployTo != "" {
		words = append(words, "to", b.DeployTo)
	}
	if b.Cron != "" {
		words = append(words, "of", b.Cron)
	}
	words = append(words, b.Ref)
	if b.Event == string(secret.PullRequest) && b.Target != "" {
		words = append(words, "from", cmp.Or(b.SourceRepo, "nowhere"), "into", b.Target)
	}
	if actor := b.Actor(); actor != "" {
		words = append(words, "by", actor)
	}
	return strings.Join(words, " ")
}

// expectation checks that the assertion is about something that can be: one that misspells what it speaks of would hold
// for ever. Unlike a binding's, its repository and secret are literal. "decision: deny" about a misspelt vault would be
// right and worthless.
func (b *builder) expectation(d *expectation) {
	if d.repo.ok {
		if slug, err := secret.ParseSlugPattern(d.repo.value); err != nil || !slug.Literal() {
			b.errorf(d.repo.place, "%q is not one repository: write namespace/name", clip(d.repo.value))
		}
	}
	if d.event.ok && !isEvent(d.event.value) {
		b.errorf(d.event.place, "unknown event %q%s", clip(d.event.value), didYouMean(d.event.value, eventNames(), ": the events are "+joined(eventNames(), "and")))
	}
	if d.ref.ok && !strings.HasPrefix(d.ref.value, "refs/") {
		b.errorf(d.ref.place, "%q is no ref: write \"refs/heads/%s\" or \"refs/tags/%s\"", clip(d.ref.value), clip(d.ref.value), clip(d.ref.value))
	}
	b.pool(d.pool)
	b.asserts(d)
	if !d.reads.ok {
		return
	}
	if !strings.Contains(d.reads.value, "/") {
		if why := loneName(d.reads.value); why != "" {
			b.errorf(d.reads.place, "%q can't be a secret's name: %s", clip(d.reads.value), why)
		}
		return
	}
	ref, err := secret.ParseRef(d.reads.value)
	if err != nil {
		b.errorf(d.reads.place, "%v", err)
		return
	}
	b.door(d.reads, ref.Vault) // an assertion is no use of a vault
}

// asserts checks that the expectation says one thing, of something.
func (b *builder) asserts(d *expectation) {
	if d.ok && d.decision.set == d.only.set {
		b.errorf(d.place, `an expectation has a "decision" (allow or deny) or "only" (the bindings that may give it), one of them`)
	}
	if d.ok && !d.repo.set && !d.reads.set {
		b.errorf(d.place, `an expectation is about a "repo" or about what is "read", or about both`)
	}
	if b.partial {
		return // the binding may be in a file that could not be read
	}
	for _, t := range d.only.items {
		if _, known := b.bindings[t.value]; t.ok && !known {
			b.errorf(t.place, "no binding has the id %q%s", clip(t.value), didYouMean(t.value, sortedKeys(b.bindings), ""))
		}
	}
}

// eventNames lists the events as strings, in the language's order.
func eventNames() (names []string) {
	for _, event := range secret.BuildEvents {
		names = append(names, string(event))
	}
	return names
}
