package secret_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// The oracle is the policy a second time, written from the design alone: slow, plain, without index, sharing and
// short cuts. It reads patterns from their text and matches them by trying everything.

type verdict struct {
	allowed bool
	ref     secret.Ref
	reason  secret.Reason
}

var (
	slugShape = regexp.MustCompile(`^[^/\s]+(/[^/\s]+)+$`)
	pullShape = regexp.MustCompile(`^refs/pull/[0-9]+/head$`)
	refShape  = regexp.MustCompile(`^([A-Za-z0-9][\w.-]{0,62})/([A-Za-z0-9-]{1,127})(?:@([A-Za-z0-9]{1,64}))?(?:/([\w.-]{1,127}))?$`)
)

var stations = []secret.Reason{
	"name", "ambiguous", "deny", "repo", "uid", "pool", "read", "event", "fork", "ref", "deploy_to", "cron", "actor", "",
}

// further returns the reason of the later station; "" has passed them all.
func further(a, b secret.Reason) secret.Reason {
	if slices.Index(stations, a) >= slices.Index(stations, b) {
		return a
	}
	return b
}

func oracle(rules secret.Rules, r secret.Request) verdict {
	var joined []string
	for _, part := range []string{r.Path, r.Name} {
		if part != "" {
			joined = append(joined, part)
		}
	}
	text := strings.Join(joined, "/")
	if !strings.Contains(text, "/") {
		return oracleName(rules, r, text)
	}
	ref, ok := oracleRef(text)
	if !ok || oracleHost(rules, ref.Vault) == "" {
		return verdict{reason: "name"}
	}
	if oracleDenied(rules, r, ref) {
		return verdict{reason: "deny"}
	}
	best := secret.Reason("repo")
	for _, b := range rules.Bindings {
		best = further(best, oracleBinding(rules, b, r, func() bool {
			for _, p := range b.Read {
				if oracleReads(p.String(), ref) {
					return true
				}
			}
			for _, target := range b.Names {
				if target == ref {
					return true
				}
			}
			return false
		}))
	}
	return verdict{best == "", ref, best}
}

// oracleName is for a name alone: the bindings of the repository that map it, and only those, count.
func oracleName(rules secret.Rules, r secret.Request, name string) verdict {
	var granted []secret.Ref
	best := verdict{reason: "name"}
	for _, b := range rules.Bindings {
		target, mapped := b.Names[name]
		if !mapped {
			continue
		}
		reason := oracleBinding(rules, b, r, func() bool { return true })
		switch {
		case reason == "repo":
			continue
		case reason == "" && !slices.Contains(granted, target):
			granted = append(granted, target)
		}
		if oracleDenied(rules, r, target) {
			reason = "deny"
		}
		best.reason = further(best.reason, reason)
	}
	switch {
	case len(granted) > 1:
		return verdict{reason: "ambiguous"}
	case len(granted) == 1 && oracleDenied(rules, r, granted[0]):
		return verdict{reason: "deny"}
	case len(granted) == 1:
		return verdict{true, granted[0], ""}
	}
	return best
}

// oracleBinding returns the station where the binding stops the request, or "".
func oracleBinding(rules secret.Rules, b secret.Binding, r secret.Request, gives func() bool) secret.Reason {
	slug := slugShape.MatchString(r.Repo.Slug)
	repo, uid := false, false
	for _, p := range b.Repos {
		if slug && naive(p.Slug.String(), r.Repo.Slug, true) {
			repo = true
			uid = uid || r.Repo.UID != "" && (p.UID == "" || p.UID == r.Repo.UID)
		}
	}
	pools := b.Pools
	if pools == nil {
		pools = []string{"default"}
	}
	switch {
	case !repo:
		return "repo"
	case !uid:
		return "uid"
	case !slices.Contains(pools, r.Pool):
		return "pool"
	case !gives():
		return "read"
	}
	conditions := b.When
	if conditions == nil {
		conditions = []secret.Condition{{Event: "push"}}
	}
	best := secret.Reason("event")
	for _, c := range conditions {
		best = further(best, oracleCondition(c, r))
	}
	if best != "" {
		return best
	}
	person := slices.Contains([]string{"promote", "rollback", "custom"}, r.Build.Event)
	if stated := b.Actors.Any || b.Actors.Names != nil; stated && oracleActors(rules, b.Actors, r) || !stated && !person {
		return ""
	}
	return "actor"
}

func oracleCondition(c secret.Condition, r secret.Request) secret.Reason {
	build := r.Build
	inSlug := strings.EqualFold(build.SourceRepo, r.Repo.Slug) // the generators stay within ASCII
	branch, isBranch := strings.CutPrefix(build.Ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(build.Ref, "refs/tags/")
	if string(c.Event) != build.Event {
		return "event"
	}
	if build.Event == "pull_request" {
		fork := !inSlug || strings.HasPrefix(build.Source, "refs/") || !pullShape.MatchString(build.Ref)
		switch {
		case c.From != "any" && (c.From != "same-repo" || fork):
			return "fork"
		case !oracleBranch(c.Into, build.Target, r):
			return "ref"
		}
		return ""
	}
	deploys := build.Event == "promote" || build.Event == "rollback"
	onBranch := isBranch && oracleBranch(c.Branches, branch, r)
	onTag := isTag && oracleAny(c.Tags, tag)
	var right bool
	switch {
	case build.Event == "tag":
		right = onTag
	case !deploys:
		right = onBranch
	case c.Tags != nil && c.Branches == nil:
		right = onTag
	default:
		right = onBranch || onTag
	}
	switch {
	case build.SourceRepo != "" && !inSlug || !isBranch && !isTag:
		return "fork"
	case !right:
		return "ref"
	case deploys && !oracleAny(c.DeployTo, build.DeployTo):
		return "deploy_to"
	case build.Event == "cron" && !oracleAny(c.Cron, build.Cron):
		return "cron"
	}
	return ""
}

func oracleBranch(list []secret.Pattern, branch string, r secret.Request) bool {
	if list == nil {
		return branch != "" && branch == r.Repo.DefaultBranch
	}
	return oracleAny(list, branch)
}

func oracleAny(list []secret.Pattern, s string) bool {
	return slices.ContainsFunc(list, func(p secret.Pattern) bool { return naive(p.String(), s, false) })
}

func oracleActors(rules secret.Rules, a secret.Actors, r secret.Request) bool {
	if a.Any {
		return true
	}
	actor := ""
	if r.Build.Trigger == "@hook" {
		actor = r.Build.Sender
	} else if !strings.HasPrefix(r.Build.Trigger, "@") {
		actor = r.Build.Trigger
	}
	for _, name := range a.Names {
		logins := []string{name}
		for group, members := range rules.Groups {
			if strings.EqualFold(group, name) {
				logins = members
			}
		}
		if actor != "" && slices.ContainsFunc(logins, func(s string) bool { return strings.EqualFold(s, actor) }) {
			return true
		}
	}
	return false
}

func oracleDenied(rules secret.Rules, r secret.Request, ref secret.Ref) bool {
	return slices.ContainsFunc(rules.Denies, func(d secret.Deny) bool {
		return oracleDeny(rules, d, r, ref)
	})
}

// oracleDeny asks whether each thing that the deny states holds.
func oracleDeny(rules secret.Rules, d secret.Deny, r secret.Request, ref secret.Ref) bool {
	repo, event, read := d.Repos == nil, d.When == nil, d.Read == nil
	for _, p := range d.Repos {
		repo = repo || naive(p.Slug.String(), r.Repo.Slug, true) && (p.UID == "" || p.UID == r.Repo.UID)
	}
	for _, c := range d.When {
		event = event || oracleDenyCondition(c, r)
	}
	for _, p := range d.Read {
		vault, rest, _ := strings.Cut(p.String(), "/")
		if p.String() == "**" {
			rest = "*"
		}
		name, _, _ := strings.Cut(strings.Split(rest, "/")[0], "@")
		for _, v := range rules.Vaults {
			same := strings.EqualFold(v.Host, oracleHost(rules, ref.Vault))
			read = read || same && naive(vault, v.Alias, false) && naive(name, ref.Name, true)
		}
	}
	actors := !d.Actors.Any && d.Actors.Names == nil || oracleActors(rules, d.Actors, r)
	return repo && event && read && actors && (d.Pools == nil || slices.Contains(d.Pools, r.Pool))
}

func oracleDenyCondition(c secret.Condition, r secret.Request) bool {
	build := r.Build
	branch, isBranch := strings.CutPrefix(build.Ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(build.Ref, "refs/tags/")
	samePull := oracleCondition(secret.Condition{Event: "pull_request", From: "same-repo", Into: c.Into}, r) != "fork"
	switch build.Event {
	case "pull_request":
		if c.From == "same-repo" && !samePull || c.Into != nil && !oracleAny(c.Into, build.Target) {
			return false
		}
	default:
		stated := c.Branches != nil || c.Tags != nil
		if stated && !(isBranch && oracleAny(c.Branches, branch)) && !(isTag && oracleAny(c.Tags, tag)) {
			return false
		}
	}
	return string(c.Event) == build.Event && (c.DeployTo == nil || oracleAny(c.DeployTo, build.DeployTo)) &&
		(c.Cron == nil || oracleAny(c.Cron, build.Cron))
}

// oracleReads matches vault/name[@version][/key] part by part.
func oracleReads(pattern string, ref secret.Ref) bool {
	parts := strings.Split(pattern, "/")
	if len(parts) == 3 && parts[2] == "value" {
		parts = parts[:2]
	}
	name, version, pinned := strings.Cut(parts[1], "@")
	switch {
	case parts[0] != ref.Vault, !naive(name, ref.Name, true):
		return false
	case ref.Version != "" && !pinned, pinned && version != "*" && !naive(version, ref.Version, true):
		return false
	}
	return len(parts) == 2 || ref.Key != "" && naive(parts[2], ref.Key, false)
}

func oracleRef(text string) (secret.Ref, bool) {
	m := refShape.FindStringSubmatch(text)
	if m == nil || m[4] != "" && strings.Trim(m[4], ".") == "" {
		return secret.Ref{}, false
	}
	if m[4] == "value" {
		m[4] = ""
	}
	return secret.Ref{Vault: m[1], Name: strings.ToLower(m[2]), Version: strings.ToLower(m[3]), Key: m[4]}, true
}

func oracleHost(rules secret.Rules, alias string) string {
	for _, v := range rules.Vaults {
		if v.Alias == alias {
			return v.Host
		}
	}
	return ""
}

// naive matches a pattern by trying every split, segment by segment and byte by byte.
func naive(pattern, s string, foldCase bool) bool {
	if foldCase {
		pattern, s = asciiLower(pattern), asciiLower(s)
	}
	segments := strings.Split(s, "/")
	return pattern != "" && !slices.Contains(segments, "") && naiveSegments(strings.Split(pattern, "/"), segments)
}

func asciiLower(s string) string {
	return strings.NewReplacer(strings.Split("A a B b C c D d E e F f G g H h I i J j K k L l M m N n O o P p Q q R r S s T t U u V v W w X x Y y Z z", " ")...).Replace(s)
}

func naiveSegments(pattern, segments []string) bool {
	switch {
	case len(pattern) == 0 || len(segments) == 0:
		return len(pattern) == len(segments)
	case pattern[0] == "**":
		return naiveSegments(pattern[1:], segments[1:]) || naiveSegments(pattern, segments[1:])
	}
	return naiveGlob(pattern[0], segments[0]) && naiveSegments(pattern[1:], segments[1:])
}

func naiveGlob(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return naiveGlob(pattern[1:], s) || s != "" && naiveGlob(pattern, s[1:])
	}
	return s != "" && pattern[0] == s[0] && naiveGlob(pattern[1:], s[1:])
}
