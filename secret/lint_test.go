package secret_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// lint writes the findings as "rule binding part: text", notes in brackets.
func lint(policy *secret.Policy) (found []string) {
	policy.Lint(func(f secret.Finding) {
		s := f.Lint + " " + f.Binding
		if f.Part != "" {
			s += " " + f.Part + f.Name
		}
		if f.Note {
			s = "(" + s + ")"
		}
		found = append(found, s)
	})
	slices.Sort(found)
	return found
}

// give is a binding of one repository pattern and one secret, changed as a test likes.
func give(id, repo, read string, change ...func(*secret.Binding)) secret.Binding {
	b := secret.Binding{ID: id, At: id + ".yaml:1"}
	b.Repos, b.Read = repos(repo), reads(read)
	for _, c := range change {
		c(&b)
	}
	return b
}

func withhold(id, repo, read string) secret.Deny {
	d := secret.Deny{ID: id}
	if repo != "" {
		d.Repos = repos(repo)
	}
	d.Read = denyReads(read)
	return d
}

func TestLint(t *testing.T) {
	on := func(c ...secret.Condition) func(*secret.Binding) { return func(b *secret.Binding) { b.When = c } }
	names := func(name, ref string) func(*secret.Binding) {
		return func(b *secret.Binding) { b.Names = map[string]secret.Ref{name: must(secret.ParseRef(ref))} }
	}
	actors := func(names ...string) func(*secret.Binding) {
		return func(b *secret.Binding) { b.Actors.Names = names }
	}
	read := func(s ...string) func(*secret.Binding) { return func(b *secret.Binding) { b.Read = reads(s...) } }
	push := func(branches ...string) secret.Condition {
		return secret.Condition{Event: secret.Push, Branches: pats(branches...)}
	}
	type bindings = []secret.Binding
	type denies = []secret.Deny
	for name, test := range map[string]struct {
		bindings bindings
		denies   denies
		want     []string
	}{
		"clean": {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/lib", "v1/db")}, nil, nil},
		"one deny that takes a part leaves nothing to say": {
			bindings{give("a", "acme/app#1", "v1/*")}, denies{withhold("D", "", "*/root-*")}, nil},
		"whoever creates a repository": {bindings{give("a", "acme/*", "v1/db")}, nil, []string{"(open-namespace a repos)"}},
		"every repository":             {bindings{give("a", "*/*", "v1/db"), give("b", "**", "v2/db")}, nil, []string{"readable-by-all a repos", "readable-by-all b repos"}},
		"an id is enough":              {bindings{give("a", "acme/*#7", "v1/db")}, nil, nil},
		"pull requests": {bindings{give("a", "acme/app", "v1/db", on(secret.Condition{Event: secret.PullRequest, From: secret.FromSameRepo})),
			give("b", "acme/app", "v2/db", on(secret.Condition{Event: secret.PullRequest, From: secret.FromAny}))},
			nil, []string{"(pull-request-access a when)", "fork-access b when"}},
		"a group without anybody":  {bindings{give("a", "acme/app", "v1/db", actors("empty"))}, nil, []string{"dead-binding a"}},
		"a slug that no forge has": {bindings{give("a", "acme/..", "v1/db")}, nil, []string{"dead-binding a"}},
		"denied as a whole":        {bindings{give("a", "acme/app", "v1/db")}, denies{withhold("D", "acme/**", "v1b/*")}, []string{"denied-binding a"}},
		"denied in part": {bindings{give("a", "acme/app", "v1/db", read("v1/db", "v2/x*"), names("n", "v1/db"))},
			denies{withhold("D", "", "*/x*")}, []string{"denied-binding a read"}},
		"an event denied": {bindings{give("a", "acme/app", "v1/db", on(push("main"), secret.Condition{Event: secret.Tag, Tags: pats("v*")}))},
			denies{{ID: "D", Scope: secret.Scope{When: []secret.Condition{{Event: secret.Tag}}}}}, []string{"denied-binding a when"}},
		"two denies that only together take all": {bindings{give("a", "acme/app", "v1/*")},
			denies{withhold("D", "", "v1/a*"), withhold("E", "", "v1/*b")}, nil},
		"a name of two minds": {bindings{give("a", "acme/app", "v1/x", names("n", "v1/db")), give("b", "acme/app", "v1/y", names("n", "v2/db"))},
			nil, []string{"ambiguous-name a namesn", "ambiguous-name b namesn"}},
		"the same twice":                     {bindings{give("a", "acme/app", "v1/db"), give("b", "ACME/app", "v1/DB")}, nil, []string{"shadowed-binding b"}},
		"a narrower one":                     {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/*#1", "v1/db"), give("c", "acme/**", "v1/d*")}, nil, []string{"(open-namespace c repos)", "shadowed-binding a", "shadowed-binding b"}},
		"another branch":                     {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db", on(push("rel/*")))}, nil, nil},
		"the default branch":                 {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db", on(push("**")))}, nil, []string{"shadowed-binding a"}},
		"main may not be the default branch": {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db", on(push("*")))}, nil, nil},
		"the default branch may be another than the denied one": {bindings{give("a", "acme/app", "v1/db")},
			denies{{ID: "D", Scope: secret.Scope{When: []secret.Condition{push("main", "*/**", "master")}}}}, nil},
		"every branch denied": {bindings{give("a", "acme/app", "v1/db")},
			denies{{ID: "D", Scope: secret.Scope{When: []secret.Condition{push("**")}}}}, []string{"denied-binding a"}},
		"other people":      {bindings{give("a", "acme/app", "v1/db", actors("alice")), give("b", "acme/app", "v1/db", actors("ops"))}, nil, []string{"shadowed-binding a"}},
		"people narrow":     {bindings{give("a", "acme/app", "v1/db", actors("alice")), give("b", "acme/app", "v1/db")}, nil, []string{"shadowed-binding a"}},
		"a name of its own": {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db", names("n", "v1/db"))}, nil, []string{"shadowed-binding a"}},
		"another pool":      {bindings{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db", func(b *secret.Binding) { b.Pools = []string{"prod"} })}, nil, nil},
	} {
		policy := must(secret.NewPolicy(secret.Rules{Vaults: theVaults, Groups: theGroups, Bindings: test.bindings, Denies: test.denies}))
		if diff := cmp.Diff(test.want, lint(policy)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What Lint calls dead, denied or shadowed can be taken away, and nobody gets less.
func TestLintIsCertain(t *testing.T) {
	found := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		rules, r := drawRules.Draw(rt, "rules"), drawRequest.Draw(rt, "request")
		policy := must(secret.NewPolicy(rules))
		before := policy.Decide(r)
		policy.Lint(func(f secret.Finding) {
			if f.Part != "" || f.Lint == secret.LintAmbiguous {
				return
			}
			found[f.Lint]++
			without := rules
			without.Bindings = slices.DeleteFunc(slices.Clone(rules.Bindings), func(b secret.Binding) bool { return b.ID == f.Binding })
			after := must(secret.NewPolicy(without)).Decide(r)
			if before.Allowed() && (!after.Allowed() || after.Grant.Ref != before.Grant.Ref) {
				rt.Fatalf("%s: %s, but without it %+v gets nothing", f.Lint, f.Text, r)
			}
		})
	})
	for _, lint := range []string{secret.LintDead, secret.LintDenied, secret.LintShadowed} {
		if found[lint] == 0 {
			t.Errorf("%s was never found", lint)
		}
	}
}

func TestLintTextsNameBothSides(t *testing.T) {
	policy := must(secret.NewPolicy(secret.Rules{
		Vaults:   theVaults,
		Bindings: []secret.Binding{give("a", "acme/app", "v1/db"), give("b", "acme/app", "v1/db"), give("c", "acme/app", "v2/db")},
		Denies:   []secret.Deny{withhold("D", "", "v2/*")},
	}))
	var texts []string
	policy.Lint(func(f secret.Finding) { texts = append(texts, f.Text) })
	all := strings.Join(texts, "\n")
	for _, want := range []string{"b gives nothing that a at a.yaml:1 does not give already", "c never gives anything: the deny D withholds it"} {
		if !strings.Contains(all, want) {
			t.Errorf("want %q in\n%s", want, all)
		}
	}
}
