package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
)

// identity is all that makes an identity another one, but for the clients of repositories, which are compared one by one. The
// identity "default" that no file lists has little but its name: the environment says who it is, which no configuration
// shows.
func identity(i config.Identity) string {
	parts := []string{i.Name}
	add := func(what, value string) {
		if value != "" {
			parts = append(parts, strings.TrimPrefix(what+" "+value, " "))
		}
	}
	add("", i.TenantID)
	add("", i.ClientID)
	if i.Clients != nil {
		parts = append(parts, "a client for each repository")
	}
	add("", i.AssertionFile)
	add("assertion of managed identity", i.AssertionManaged)
	add("assertion of our issuer for each", i.Issuer)
	if i.Managed {
		parts = append(parts, "managed")
	}
	if i.Cloud != config.CloudPublic {
		add("", i.Cloud)
	}
	return strings.Join(parts, " ")
}

// clientChanges compares the clients that identities of both have for repositories.
func clientChanges(older, newer *config.Config) (list []doorChange) {
	for _, name := range slices.Sorted(maps.Keys(newer.Identities)) {
		b := newer.Identities[name]
		a, both := older.Identities[name]
		if !both || a.Clients == nil && b.Clients == nil {
			continue
		}
		for _, uid := range namesOf(a.Clients, b.Clients) {
			was, is := a.Clients[uid], b.Clients[uid]
			text := ""
			switch {
			case was == "":
				text = fmt.Sprintf("client of uid %s is new, %s", uid, is)
			case is == "":
				text = fmt.Sprintf("client of uid %s is gone, was %s", uid, was)
			case was != is:
				text = fmt.Sprintf("client of uid %s was %s, is %s", uid, was, is)
			default:
				continue
			}
			list = append(list, doorChange{"identity", name, text, b.At})
		}
	}
	return list
}

// namesOf are the keys of both, each once and in order.
func namesOf[V any](a, b map[string]V) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

// issuerChanges compares who signs, for which server and its pools, and with which keys. Whoever trusts the issuer has to know of each.
func issuerChanges(older, newer *config.Config) (list []doorChange) {
	a, b := older.Issuer, newer.Issuer
	if b == nil {
		if a != nil {
			list = append(list, doorChange{"issuer", a.URL, "is gone", a.At})
		}
		return list
	}
	add := func(at, format string, args ...any) {
		list = append(list, doorChange{"issuer", b.URL, fmt.Sprintf(format, args...), at})
	}
	if a == nil {
		add(b.At, "is new, for server %s, pools %s", b.Server, stated(b.Pools))
		a = &config.Issuer{URL: b.URL, Server: b.Server, Pools: b.Pools}
	}
	if a.URL != b.URL {
		add(b.At, "url was %s", a.URL)
	}
	if a.Server != b.Server {
		add(b.At, "server was %s, is %s", a.Server, b.Server)
	}
	if !slices.Equal(a.Pools, b.Pools) {
		add(b.At, "pools were %s, are %s", stated(a.Pools), stated(b.Pools))
	}
	was, is := issuerKeys(a), issuerKeys(b)
	for _, name := range namesOf(was, is) {
		before, listed := was[name]
		now, still := is[name]
		switch {
		case !listed:
			add(now.At, "key %s is new, signs from %s", name, since(now.From))
		case !still:
			add(before.At, "key %s is gone", name)
		case !before.From.Equal(now.From):
			add(now.At, "key %s signed from %s, signs from %s", name, since(before.From), since(now.From))
		}
	}
	return list
}

// stated lists pools. None at all is no empty list: then every pool may have what the issuer signs.
func stated(pools []string) string {
	if pools == nil {
		return "not stated"
	}
	return strings.Join(pools, ", ")
}

// issuerKeys finds an issuer's keys by name, as the configuration has it.
func issuerKeys(i *config.Issuer) map[string]config.IssuerKey {
	byName := map[string]config.IssuerKey{}
	for _, k := range i.Keys {
		byName[k.Vault+"/"+k.Name+"@"+k.Version] = k
	}
	return byName
}

func since(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.Format(time.RFC3339)
}

// tokenChanges compares tokens. One that only one of them has is listed, too: a binding's tokens/* gives it without a word.
func tokenChanges(older, newer *config.Config) (list []doorChange) {
	for _, name := range namesOf(older.Tokens, newer.Tokens) {
		a, listed := older.Tokens[name]
		b, still := newer.Tokens[name]
		was, is := tokenFacts(older, a), tokenFacts(newer, b)
		add := func(at, format string, args ...any) {
			list = append(list, doorChange{"token", name, fmt.Sprintf(format, args...), at})
		}
		switch {
		case !listed:
			add(b.At, "is new, %s", strings.Join(facted(is), ", "))
		case !still:
			add(a.At, "is gone, was %s", strings.Join(facted(was), ", "))
		default:
			for i, fact := range is {
				if fact.value != was[i].value {
					add(b.At, "%s was %s, is %s", fact.name, orNone(was[i].value), orNone(fact.value))
				}
			}
		}
	}
	return list
}

// tokenFact is one thing that makes a token the one it is. A value that is not stated is empty.
type tokenFact struct{ name, value string }

// tokenFacts are all of them, always the same ones in the same order.
func tokenFacts(c *config.Config, t config.Token) []tokenFact {
	who, repositories := "", ""
	if t.Identity != "" {
		who = identity(c.Identities[t.Identity])
	}
	if t.AnyRepository {
		repositories = "any"
	}
	for i, r := range t.Repositories {
		if i > 0 {
			repositories += " "
		}
		repositories += r.Name + ":" + strings.Join(r.Actions, ",")
	}
	return []tokenFact{
		{"scope", t.Scope}, {"registry", t.Registry}, {"repositories", repositories}, {"audience", t.Audience}, {"subject", t.Subject},
		{"identity", who}, {"lifetime", duration(t.Lifetime, "")}, {"min_life", duration(t.MinLife, "")},
	}
}

// facted words those that have a value.
func facted(facts []tokenFact) (texts []string) {
	for _, f := range facts {
		if f.value != "" {
			texts = append(texts, f.name+" "+f.value)
		}
	}
	return texts
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
