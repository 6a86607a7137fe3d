package config

import (
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// The rules that find problems, as their ids; those of the domain are secret's Lint constants, and "unused-" stands before
// identity, issuer, vault, token, pool and group.
const (
	ruleInvalid          = "invalid"
	ruleOutside          = "outside-confinement"
	ruleExpectation      = "expectation"
	rulePersonOnly       = "person-only-event"
	ruleWholeRef         = "whole-ref"
	ruleGroupOrLogin     = "group-or-login"
	ruleIdlePlainHTTP    = "idle-plain-http"
	ruleNarrowDeny       = "narrow-deny"
	ruleUnreachableAlias = "unreachable-alias"
	ruleNearMiss         = "near-miss-name"
	ruleRegistryAny      = "registry-any"
	ruleOpensIdentity    = "token-opens-identity"
	ruleWithoutTarget    = "environment-without-target"
	ruleClientMissing    = "client-missing"
	ruleIssuerPools      = "issuer-pools"
)

// CheckRule describes one of the checks for people. Its ID stands in JSON and SARIF, where people suppress findings by
// it: it does not change.
type CheckRule struct{ ID, Severity, Text string }

// Checks lists every rule that a Problem can name, in order of severity.
func Checks() []CheckRule {
	return []CheckRule{
		{ruleInvalid, "error", "The configuration says something that has no meaning, or could have two."},
		{ruleOutside, "error", "A confined file speaks of what is not its own."},
		{ruleExpectation, "error", "An expectation does not hold."},
		{secret.LintDead, "warning", "A binding that can never match."},
		{secret.LintDenied, "warning", "What a binding gives, or a part of it, a deny always removes."},
		{secret.LintAmbiguous, "warning", "Two bindings map one name to two secrets; such a request is denied."},
		{secret.LintShadowed, "warning", "Another binding gives everything that this one gives."},
		{secret.LintByAll, "warning", "Every repository may read the secrets of a binding."},
		{secret.LintForkAccess, "warning", "A pull request from a fork may read the secrets of a binding."},
		{rulePersonOnly, "warning", "An event proves a person and never a commit, and the binding takes anybody."},
		{ruleOpensIdentity, "warning", "A build can exchange a token for the one of an identity, and read past the bindings."},
		{ruleIssuerPools, "warning", "Several pools get what the issuer signs for, and nothing says that they are of one Drone server."},
		{ruleRegistryAny, "warning", "A token gives the identity's whole rights in a registry."},
		{ruleWithoutTarget, "warning", "What needs a deploy target is given on an event that has none."},
		{ruleClientMissing, "warning", "A repository gets something through an identity that has no client for it."},
		{ruleNearMiss, "warning", "A name is almost, but not quite, another one."},
		{ruleWholeRef, "warning", "A branch or tag is written as a whole ref."},
		{ruleGroupOrLogin, "warning", "A login is also a group's name."},
		{ruleNarrowDeny, "warning", "A deny states a version or a key, which it ignores."},
		{ruleUnreachableAlias, "warning", "A deny's pattern of vaults meets no vault."},
		{ruleIdlePlainHTTP, "warning", "plain_http stands beside tls and means nothing."},
		{"unused-identity", "warning", "No vault is opened with an identity, and no token is asked for with it."},
		{"unused-issuer", "warning", "Nothing is signed by the issuer."},
		{"unused-vault", "warning", "No binding reads from a vault, and no key of the issuer is in it."},
		{"unused-token", "warning", "No binding gives a token."},
		{"unused-pool", "warning", "No rule names a pool."},
		{"unused-group", "warning", "No rule names a group."},
		{secret.LintOpenNamespace, "note", "Whoever may create a repository of a matching name gets what the binding gives."},
		{secret.LintPullRequest, "note", "A pull request of the repository itself may read the secrets of a binding."},
	}
}

// Check loads as Load does, and says more: what in the rules a person should look at, and which expectations do not hold.
// With an error that keeps the configuration from being used, the Config is nil; a failed expectation is none.
//
// It takes longer than Load, as expectations and lints search the policy. It starts nothing and looks at no
// environment, so it can run anywhere, on files that nobody trusts.
func Check(paths []string) (*Config, Problems) {
	r := newReport()
	b, cfg := assemble(r, readAll(paths, r))
	if cfg == nil {
		return nil, r.problems()
	}
	policy, err := secret.NewPolicy(cfg.Rules)
	if err != nil { // the rules that Load lets through compile
		r.fileError(paths[0], "%v", err)
		return nil, r.problems()
	}
	// Load leaves these out: a running program must not refuse, or delay, a configuration for them.
	b.disappointed(policy, cfg.Expect)
	b.nearMisses()
	b.withoutTarget(cfg)
	b.withoutClient(cfg)
	b.lint(policy)
	return cfg, r.problems()
}

// lint puts what the domain finds at its place. The ambiguous names were found while the rules were built, too: of two
// findings of one rule at one place the earlier stays.
func (b *builder) lint(policy *secret.Policy) {
	// The configuration had no error, so ids are unique, and every entry of a draft's lists was compiled: an index into
	// the compiled list is one into the draft's.
	drafts := map[string]*binding{}
	for _, f := range b.files {
		for i := range f.bindings.items {
			drafts[f.bindings.items[i].id.value] = &f.bindings.items[i]
		}
	}
	policy.Lint(func(f secret.Finding) {
		at, severity := drafts[f.Binding].part(f), doubtful
		if f.Note {
			severity = notable
		}
		if !slices.ContainsFunc(b.found, func(old finding) bool { return old.place == at && old.rule == f.Lint }) {
			b.add(at, severity, f.Lint, "%s", f.Text)
		}
	})
}

// part is where a finding about the binding stands. It is the binding's own place where the finding is about the whole.
func (d *binding) part(f secret.Finding) place {
	switch f.Part {
	case "repos":
		return d.repos.items[f.Index].place
	case "read":
		return d.reads.items[f.Index].place
	case "when":
		return d.when.events[f.Index].place
	case "names":
		for i := range d.names.entries {
			if e := &d.names.entries[i]; e.name.value == f.Name {
				return e.name.place
			}
		}
	}
	return d.place
}

// nearMisses warns of a word that is probably meant to be another one: a login that is almost a group, a deploy target or
// job that is almost the one that others speak of. A misspelt login or target is valid and never matches: nothing else
// would tell.
func (b *builder) nearMisses() {
	groups := sortedKeys(b.groups)
	targets, jobs := words{}, words{}
	for _, f := range b.files {
		for i := range f.bindings.items {
			d := &f.bindings.items[i]
			b.nearGroups(&d.actors, groups)
			targets.when(&d.when, func(c *condition) *texts { return &c.deployTo })
			jobs.when(&d.when, func(c *condition) *texts { return &c.cron })
		}
		for i := range f.denies.items {
			d := &f.denies.items[i]
			b.nearGroups(&d.actors, groups)
			targets.when(&d.when, func(c *condition) *texts { return &c.deployTo })
			jobs.when(&d.when, func(c *condition) *texts { return &c.cron })
		}
		for i := range f.expect.items {
			targets.add(f.expect.items[i].deployTo)
			jobs.add(f.expect.items[i].cron)
		}
	}
	targets.odd(b, "deploy target")
	jobs.odd(b, "job")
}

// nearGroups warns of actors that are almost a group's name. One that is a group's name, whatever its case, is the
// group.
func (b *builder) nearGroups(a *actors, groups []string) {
	for _, t := range a.items {
		if _, isGroup := b.folded[fold(t.value)]; isGroup || len(groups) > maxNearWords {
			continue
		}
		for _, group := range groups {
			if slip(fold(t.value), fold(group)) {
				b.warnf(t.place, ruleNearMiss, "%q is taken for a login: did you mean the group %q?", t.value, group)
			}
		}
	}
}

// words are the literal words of one kind, each with the places where it stands. Patterns are left out, since a pattern
// is meant to differ from what it matches.
type words map[string][]place

// Each word is compared with each other one, so the work grows with the square.
const maxNearWords = 500 // kinds of words beyond which a slip is not looked for

// when adds the words of one list of each event's conditions; list picks it.
func (w words) when(d *when, list func(*condition) *texts) {
	for i := range d.events {
		for _, t := range list(&d.events[i]).items {
			w.add(t)
		}
	}
}

func (w words) add(t text) {
	if t.ok && !strings.Contains(t.value, "*") {
		w[t.value] = append(w[t.value], t.place)
	}
}

// odd warns of a word that stands once where others say nearly the same. Of two words that stand once each, neither is
// more likely to be the wrong one.
func (w words) odd(b *builder, what string) {
	all := sortedKeys(w)
	if len(all) > maxNearWords {
		return
	}
	for _, word := range all {
		for _, other := range all {
			if len(w[word]) == 1 && len(w[other]) > 1 && slip(word, other) {
				b.warnf(w[word][0], ruleNearMiss, "%q is the only %s of this spelling: did you mean %q, as at %s?", word, what, other, b.where(w[other][0]))
			}
		}
	}
}

// slip tells whether one of two words is probably a misspelling of the other: they differ in case alone, or in one letter.
// Numbers are meant to differ.
//
//	production, Production   a slip
//	production, prodution    a slip
//	prod-1, prod-2           none: they differ in digits alone
//	dev, dew                 none: short words are often one letter apart
func slip(a, b string) bool {
	letters := func(s string) string {
		return strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return -1
			}
			return r
		}, s)
	}
	switch {
	case a == b || len(a) > maxSuggestWord || letters(a) == letters(b):
		return false
	case plain(a) == plain(b):
		return true
	}
	return min(len(a), len(b)) > 4 && edits(a, b) == 1
}
