package cli

import (
	"crypto/sha256"
	_ "embed" // of the page's parts below
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// The parts of the page. They are put into one file, so that it can be handed on and opened without anything else.
var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/page.js
	pageJS string
)

// Beyond these the page has no matrix: it would be too large to look at, and slow to make. The list takes any number.
const (
	matrixLines = 5_000
	matrixCells = 100_000 // rows × columns
)

// page is what page.html shows. Every text of the configuration in it went through shown, and html/template escapes it
// for its place; only our own style and script are taken as they are.
//
// Counts are of different ones among all lines; a repository pattern with an id is another one than without.
type page struct {
	Policy template.HTMLAttr // the Content-Security-Policy, as an attribute of its meta element
	Style  template.CSS
	Script template.JS

	SHA256  string
	Files   []string
	Version string
	Time    time.Time

	Lines  []pageLine
	Events []pageEvent

	Repos, Secrets, People, Bindings int // how many different ones

	Matrix   *pageMatrix // nil: left out, and NoMatrix says why
	NoMatrix string
}

// pageEvent is a mark for an event, and how many lines have it. Kind is what the event proves: commit, person, or
// outside for code that nobody of the project may have seen.
type pageEvent struct {
	Name, Mark, Kind string
	Lines            int
}

// pageLine is one secret.Line in words.
type pageLine struct {
	Repos  []pageName
	Secret pageName
	Whole  bool // the secret as a whole, not its keys by themselves
	pageGift
}

// pageName is a pattern, and how it is printed.
type pageName struct{ Pattern, Text string }

// pageGift says when, to whom and through which binding. Equal ones of the matrix stand in the page once.
type pageGift struct {
	ID        int // in the page; of the matrix only
	Events    string
	Asked     []string // names alone
	Reference bool
	When      []string
	People    []string // nil: anybody
	Careless  bool     // anybody, where the event proves nothing but a person
	Pools     []string
	Binding   string
	At        string
	Except    []pageExcept
}

// pageExcept is what a deny, or another meaning of the same name, takes away. Reason may be empty; Rule is the id of a
// deny or of a binding.
type pageExcept struct{ Rule, At, Withholds, Reason string }

// writePage writes everything that the policy gives as one HTML page, which needs no other file and no network.
// The time and the version are printed in its head; c is the configuration that s surveys.
//
// It prints names of repositories, people and secrets, never a value: none is known here. An error may leave a part of
// the page written.
func writePage(w io.Writer, c *config.Config, s *secret.Survey, at time.Time, version string) error {
	p := &page{
		Policy: pagePolicy(pageJS), Style: template.CSS(pageCSS), Script: template.JS(pageJS),
		SHA256: c.SHA256, Version: shown(version), Time: at.UTC(),
	}
	for _, f := range c.Files {
		p.Files = append(p.Files, shown(f.Name))
	}
	lines := s.All()
	p.list(lines)
	switch cells := p.Repos * p.Secrets; {
	case len(lines) == 0:
		p.NoMatrix = "Nobody can read anything."
	case len(lines) > matrixLines || cells > matrixCells:
		p.NoMatrix = fmt.Sprintf("The matrix is left out: %d lines in %d rows by %d columns are more than one can look at. The list below is complete.",
			len(lines), p.Repos, p.Secrets)
	default:
		p.Matrix = newPageMatrix(s.Matrix())
	}
	t, err := template.New("page").Funcs(template.FuncMap{"join": strings.Join, "event": eventOf}).Parse(pageHTML)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// pagePolicy allows our one script, known by its hash, and inline styles; nothing is ever loaded or sent. Were a name in
// the configuration ever to slip through the escaping, the browser would not run it: its hash is another one.
func pagePolicy(script string) template.HTMLAttr {
	sum := sha256.Sum256([]byte(script))
	return template.HTMLAttr(`content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-` +
		base64.StdEncoding.EncodeToString(sum[:]) + `'; base-uri 'none'; form-action 'none'"`)
}

// list fills in the lines, the counts and the marks of the events.
func (p *page) list(lines []secret.Line) {
	repos, secrets, people, bindings := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	events := map[secret.BuildEvent]int{}
	for i := range lines {
		l := &lines[i]
		line := pageLine{Secret: named(l.Secret.String(), l.Secret.String()), Whole: l.Exact, pageGift: gift(l)}
		for _, repo := range l.Repos {
			line.Repos = append(line.Repos, named(repo.Slug.String(), repo.String()))
			repos[repo.String()] = true
		}
		for _, login := range l.Actors {
			people[login] = true
		}
		for _, event := range eventsOf(l) {
			events[event]++
		}
		secrets[fmt.Sprint(l.Secret, l.Exact)], bindings[l.Binding] = true, true
		p.Lines = append(p.Lines, line)
	}
	p.Repos, p.Secrets, p.People, p.Bindings = len(repos), len(secrets), len(people), len(bindings)
	for _, event := range secret.BuildEvents {
		mark := eventOf(string(event))
		mark.Lines = events[event]
		p.Events = append(p.Events, mark)
	}
}

// named makes both texts safe to look at. Pattern is what the page's search compares.
func named(pattern, text string) pageName { return pageName{shown(pattern), shown(text)} }

// gift words a line, but for its repositories and its secret.
func gift(l *secret.Line) pageGift {
	g := pageGift{
		Asked: allShown(l.Names()), Reference: l.ByReference(), When: allShown(l.Conditions()), People: allShown(l.Actors),
		Pools: allShown(l.Pools), Binding: shown(l.Binding), At: shown(l.At),
	}
	for _, event := range eventsOf(l) {
		g.Events = strings.TrimPrefix(g.Events+" "+string(event), " ")
		g.Careless = g.Careless || l.Actors == nil && event.ProvesPersonOnly()
	}
	for i := range l.Except {
		e := &l.Except[i]
		g.Except = append(g.Except, pageExcept{shown(e.Rule), shown(e.At), shown(e.Withholds()), shown(e.Reason)})
	}
	return g
}

// eventsOf lists the events of a line in the order of Drone's documentation, each once.
func eventsOf(l *secret.Line) (events []secret.BuildEvent) {
	for _, event := range secret.BuildEvents {
		if hasEvent(l, event) {
			events = append(events, event)
		}
	}
	return events
}

// eventOf gives the mark of an event, and what the event proves, which gives the mark its colour.
//
//	push          PU  commit
//	promote       PM  person
//	pull_request  PR  outside
func eventOf(event string) pageEvent {
	e := pageEvent{Name: event, Kind: "commit"}
	switch secret.BuildEvent(event) {
	case secret.PullRequest:
		e.Mark, e.Kind = "PR", "outside"
	case secret.Promote:
		e.Mark, e.Kind = "PM", "person"
	case secret.Rollback:
		e.Mark, e.Kind = "RB", "person"
	default:
		e.Mark = strings.ToUpper(event[:2])
		if secret.BuildEvent(event).ProvesPersonOnly() {
			e.Kind = "person"
		}
	}
	return e
}

// shown is a text as it may be looked at: what has no glyph of its own, as the marks that turn the direction of writing,
// is spelled out, so that two different names never look alike because of it.
//
//	main       main
//	ma U+202E  ma\u202e
//
// Letters of every script stay as they are; printable, for terminals, is stricter.
func shown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// allShown does the same to a list. nil stays nil, which means "anybody" where people are listed.
func allShown(list []string) []string {
	if list == nil {
		return nil
	}
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = shown(s)
	}
	return texts
}
