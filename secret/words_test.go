package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// The tests of the policy read as sentences: a policy allows "acme/app push main", or denies it for a reason. This file
// is the grammar: `slug event ref [key=value]…`. A bare ref is a branch, for the event tag a tag, for pull_request its
// number; whatever begins with refs/ is taken as it is.

// world is a compiled policy under test.
type world struct {
	t testing.TB
	p *secret.Policy
}

// given compiles rules over the vaults that all of these tests know: two aliases of one vault, and another vault.
func given(t testing.TB, rules secret.Rules) world {
	t.Helper()
	if rules.Vaults == nil {
		rules.Vaults = []secret.Vault{
			{Alias: "shared", Host: "kv-shared.vault.azure.net"},
			{Alias: "shared-too", Host: "KV-shared.vault.azure.net"},
			{Alias: "pay", Host: "kv-pay.vault.azure.net"},
		}
	}
	p, err := secret.NewPolicy(rules)
	if err != nil {
		t.Fatalf("the rules don't compile: %v", err)
	}
	return world{t, p}
}

// bind is given with one binding, called "b", of acme/app that reads all of shared.
func bind(t testing.TB, change func(*secret.Binding)) world {
	t.Helper()
	b := binding("b")
	if change != nil {
		change(&b)
	}
	return given(t, secret.Rules{Bindings: []secret.Binding{b}})
}

func binding(id string) secret.Binding {
	return secret.Binding{ID: id, Scope: secret.Scope{Repos: repos("acme/app"), Read: reads("shared/**")}}
}

// when makes the change that sets a binding's conditions.
func when(conditions ...secret.Condition) func(*secret.Binding) {
	return func(b *secret.Binding) { b.When = conditions }
}

// by is when for events that need people.
func by(actors secret.Actors, conditions ...secret.Condition) func(*secret.Binding) {
	return func(b *secret.Binding) { b.When, b.Actors = conditions, actors }
}

var anyone = secret.Actors{Any: true}

func people(names ...string) secret.Actors { return secret.Actors{Names: names} }

func (w world) allow(request string, changes ...func(*secret.Request)) secret.Decision {
	w.t.Helper()
	d := w.p.Decide(ask(w.t, request, changes...))
	if !d.Allowed() || d.Grant == nil || d.Reason != "" || d.DeniedBy != "" {
		w.t.Errorf("%s: denied %q by %q, want it allowed", request, d.Reason, d.DeniedBy)
	}
	return d
}

func (w world) deny(reason secret.Reason, request string, changes ...func(*secret.Request)) secret.Decision {
	w.t.Helper()
	d := w.p.Decide(ask(w.t, request, changes...))
	switch {
	case d.Allowed() || d.Grant != nil:
		w.t.Errorf("%s: allowed, want it denied: %s", request, reason)
	case d.Reason != reason:
		w.t.Errorf("%s: denied for %q, want %q", request, d.Reason, reason)
	}
	return d
}

// ask reads a request sentence. What it doesn't state is what an ordinary build has.
func ask(t testing.TB, sentence string, changes ...func(*secret.Request)) secret.Request {
	t.Helper()
	words := strings.Fields(sentence)
	if len(words) < 3 {
		t.Fatalf("%q: want slug event ref", sentence)
	}
	r := secret.Request{Name: "shared/db", Pool: "default"}
	r.Repo = secret.Repo{Slug: words[0], UID: "42", DefaultBranch: "main"}
	r.Build = secret.Build{Number: 7, Event: words[1], Ref: refOf(words[1], words[2]), Trigger: "@hook", Sender: "alice"}
	if r.Build.Event == "pull_request" {
		r.Build.Target, r.Build.SourceRepo, r.Build.Source = "main", words[0], "feature"
	}
	fields := map[string]*string{
		"uid": &r.Repo.UID, "default": &r.Repo.DefaultBranch, "pool": &r.Pool, "path": &r.Path, "name": &r.Name,
		"trigger": &r.Build.Trigger, "sender": &r.Build.Sender, "to": &r.Build.DeployTo, "cron": &r.Build.Cron,
		"into": &r.Build.Target, "from": &r.Build.SourceRepo, "source": &r.Build.Source,
	}
	for _, word := range words[3:] {
		key, value, ok := strings.Cut(word, "=")
		if fields[key] == nil || !ok {
			t.Fatalf("%q: no such fact as %q", sentence, word)
		}
		*fields[key] = value
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func refOf(event, word string) string {
	switch {
	case strings.HasPrefix(word, "refs/"):
		return word
	case event == "tag":
		return "refs/tags/" + word
	case event == "pull_request":
		return "refs/pull/" + word + "/head"
	}
	return "refs/heads/" + word
}

// ref replaces the build's ref by one that no sentence can hold.
func ref(s string) func(*secret.Request) { return func(r *secret.Request) { r.Build.Ref = s } }

// asking replaces what is asked for.
func asking(path, name string) func(*secret.Request) {
	return func(r *secret.Request) { r.Path, r.Name = path, name }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pats(texts ...string) []secret.Pattern {
	list := make([]secret.Pattern, 0, len(texts))
	for _, s := range texts {
		list = append(list, must(secret.ParsePattern(s)))
	}
	return list
}

// repos reads slug[#uid] patterns.
func repos(texts ...string) []secret.RepoPattern {
	var list []secret.RepoPattern
	for _, s := range texts {
		slug, uid, _ := strings.Cut(s, "#")
		list = append(list, secret.RepoPattern{Slug: must(secret.ParseSlugPattern(slug)), UID: uid})
	}
	return list
}

func reads(texts ...string) []secret.ReadPattern {
	var list []secret.ReadPattern
	for _, s := range texts {
		list = append(list, must(secret.ParseRead(s)))
	}
	return list
}

func denyReads(texts ...string) []secret.ReadPattern {
	var list []secret.ReadPattern
	for _, s := range texts {
		list = append(list, must(secret.ParseDenyRead(s)))
	}
	return list
}

func names(pairs ...string) map[string]secret.Ref {
	m := map[string]secret.Ref{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = must(secret.ParseRef(pairs[i+1]))
	}
	return m
}
