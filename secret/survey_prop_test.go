package secret_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// The answers about a policy as a whole are compared with Decide request by request. What a line means is read by the
// oracle: a line is a binding with exceptions.

// askedText is what the pipeline wrote.
func askedText(r secret.Request) string {
	return strings.Trim(r.Path+"/"+r.Name, "/")
}

// covers tells whether the line speaks of the request, and whether one of its exceptions takes the request out again.
func covers(rules secret.Rules, l secret.Line, r secret.Request) (in, out bool) {
	text := askedText(r)
	ref, err := secret.ParseRef(l.Secret.String()) // of a name's target
	if strings.Contains(text, "/") {
		if ref, err = secret.ParseRef(text); err != nil || !l.ByReference() || l.Exact && ref.Key != "" || !oracleReads(l.Secret.String(), ref) {
			return false, false
		}
	} else if err != nil || !slices.Contains(l.Names(), text) {
		return false, false
	}
	as := secret.Binding{Scope: secret.Scope{Repos: l.Repos, When: l.When, Pools: l.Pools, Actors: secret.Actors{Any: l.Actors == nil, Names: l.Actors}}}
	if l.DefaultIs != nil && !oracleAny(l.DefaultIs, r.Repo.DefaultBranch) {
		return false, false
	}
	always := func() bool { return true }
	plain := secret.Rules{Vaults: rules.Vaults} // the logins of a line are no groups
	if oracleBinding(plain, as, r, always) != "" {
		return false, false
	}
	for _, e := range l.Except {
		if !e.Ambiguous() {
			out = out || oracleDeny(rules, secret.Deny{Scope: e.Scope}, r, ref)
		} else if e.Name == text {
			out = out || oracleBinding(rules, secret.Binding{Scope: e.Scope}, r, always) == ""
		}
	}
	return true, out
}

// exact checks an answer against one decision, in both directions.
func exact(t rapid.TB, what string, rules secret.Rules, lines []secret.Line, r secret.Request, d secret.Decision) {
	listed := false
	for _, l := range lines {
		in, out := covers(rules, l, r)
		if in && !out && !d.Allowed() {
			t.Fatalf("%s lists %s\nbut Decide says %q by %q\nrequest %+v\nrules %+v", what, show(l), d.Reason, d.DeniedBy, r, rules)
		}
		listed = listed || in && !out
	}
	if d.Allowed() && !listed {
		t.Fatalf("%s does not list what %s gives: %s\nlines %s\nrequest %+v\nrules %+v", what, d.Grant.Binding, d.Grant.Ref, show(lines...), r, rules)
	}
}

func show(lines ...secret.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "\n  %s: repos %v secret %v exact %v asked %q pools %v when %+v actors %v default %v except %d", l.Binding, l.Repos, l.Secret, l.Exact, l.Asked, l.Pools, l.When, l.Actors, l.DefaultIs, len(l.Except))
	}
	return b.String()
}

// checkWitness asks Decide about the request that a line offers as its proof.
func checkWitness(t rapid.TB, what string, rules secret.Rules, p *secret.Policy, s *secret.Survey, l secret.Line) {
	r, ok := s.Witness(l)
	d := p.Decide(r)
	in, out := covers(rules, l, r)
	if !ok || !d.Allowed() || !in || out {
		t.Fatalf("%s: %s\nhas no witness (%v, %q, covered %v, excepted %v)\nrequest %+v\nrules %+v", what, show(l), ok, d.Reason, in, out, r, rules)
	}
}

// answersAgree checks access, readers and all for a few requests.
func answersAgree(t rapid.TB, rules secret.Rules, requests []secret.Request) {
	p := compiled(t, rules)
	s := secret.NewSurvey(p)
	all := s.All()
	for _, l := range all {
		checkWitness(t, "all", rules, p, s, l)
	}
	for _, r := range requests {
		d := p.Decide(r)
		exact(t, "all", rules, all, r, d)
		if lines, err := s.Access(r.Repo.Slug, ""); err == nil {
			exact(t, "access", rules, lines, r, d)
			for _, l := range lines {
				checkWitness(t, "access", rules, p, s, l)
			}
		} else if d.Allowed() {
			t.Fatalf("access of %q: %v, and Decide allows", r.Repo.Slug, err)
		}
		if r.Repo.UID != "" {
			lines, _ := s.Access(r.Repo.Slug, r.Repo.UID)
			exact(t, "access with uid", rules, lines, r, d)
		}
		lines, err := s.Readers(askedText(r))
		if err != nil {
			if d.Allowed() {
				t.Fatalf("readers of %q: %v, and Decide allows", askedText(r), err)
			}
			continue
		}
		exact(t, "readers", rules, lines, r, d)
		for _, l := range lines {
			checkWitness(t, "readers", rules, p, s, l)
		}
	}
}

func TestAnswersAgreeWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		answersAgree(t, drawRules.Draw(t, "rules"), rapid.SliceOfN(drawRequest, 1, 12).Draw(t, "requests"))
	})
}

// The same over fixed seeds, so that every run is wide, and the proof that there was something to list.
func TestAnswersAgreeOnManyRules(t *testing.T) {
	lines, excepted := 0, 0
	for seed := range 300 {
		rules := drawRules.Example(seed)
		var requests []secret.Request
		for i := range 8 {
			requests = append(requests, drawRequest.Example(seed*8+i))
		}
		answersAgree(t, rules, requests)
		for _, l := range secret.NewSurvey(compiled(t, rules)).All() {
			lines++
			excepted += min(1, len(l.Except))
		}
	}
	if lines < 1000 || excepted < 100 {
		t.Errorf("only %d lines, %d with exceptions", lines, excepted)
	}
	t.Log(lines, excepted)
}

func TestTheOrderOfRulesDoesNotChangeAnAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules.Draw(t, "rules")
		shuffled := shuffle(rules, rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))))
		a, b := secret.NewSurvey(compiled(t, rules)).All(), secret.NewSurvey(compiled(t, shuffled)).All()
		if show(a...) != show(b...) {
			t.Fatalf("%s\nand, in another order,%s", show(a...), show(b...))
		}
		for i := range a {
			if !reflect.DeepEqual(ids(a[i]), ids(b[i])) {
				t.Fatalf("exceptions %v and %v", ids(a[i]), ids(b[i]))
			}
		}
	})
}

func ids(l secret.Line) (list []string) {
	for _, e := range l.Except {
		list = append(list, e.Rule)
	}
	return list
}

// Each cell of the matrix holds for all of its row and column: a request in both is listed if and only if Decide allows it.
func TestTheMatrixAgreesWithDecide(t *testing.T) {
	found := 0
	for seed := range 120 {
		rules := drawRules.Example(seed)
		p := compiled(t, rules)
		s := secret.NewSurvey(p)
		m := s.Matrix()
		for i, repo := range m.Repos {
			for j := range m.Secrets {
				for _, l := range m.Cell(i, j) {
					found++
					checkWitness(t, "matrix", rules, p, s, l)
					if len(l.Repos) != 1 || l.Repos[0].String() != repo.String() || l.Secret.String() != strings.TrimSuffix(m.Secrets[j], " (whole)") {
						t.Fatalf("a line of another cell: %s", show(l))
					}
				}
			}
		}
		for i := range 6 {
			r := drawRequest.Example(seed*6 + i)
			d := p.Decide(r)
			var lines []secret.Line
			for row := range m.Repos {
				for column := range m.Secrets {
					lines = append(lines, m.Cell(row, column)...)
				}
			}
			exact(t, "matrix", rules, lines, r, d)
		}
	}
	if found < 1000 {
		t.Errorf("only %d lines in the cells", found)
	}
}
