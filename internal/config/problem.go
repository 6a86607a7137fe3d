package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong, or that a person should look at, and where. Line and Column count from 1 and the
// column counts characters; both are 0 when the whole file is meant. The text is for people, and of
// bounded length.
type Problem struct {
	File         string
	Line, Column int
	Warning      bool   // it does not keep the configuration from being used
	Note         bool   // a warning of what is risky and normal: worth knowing, nothing to repair
	Rule         string // which check found it: an ID of Checks
	Text         string
}

// Severity is error, warning or note.
func (p Problem) Severity() string {
	switch {
	case p.Note:
		return "note"
	case p.Warning:
		return "warning"
	}
	return "error"
}

// String writes the problem as one line: place, severity, text.
func (p Problem) String() string { return p.line(0) }

// Place is file:line:column, or the file alone.
func (p Problem) Place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// line pads the place to width characters, so that severities stand in a column.
func (p Problem) line(width int) string {
	return fmt.Sprintf("%-*s   %-7s  %s", width, p.Place(), p.Severity(), p.Text)
}

// Problems are all of them, in the order of the files and of the places in them. It is what a person reads top to
// bottom, so one file's problems are never mixed with another's.
type Problems []Problem

// Errors counts those that keep the configuration from being used.
func (ps Problems) Errors() int { return ps.count("error") }

// Warnings counts those that do not, without the notes.
func (ps Problems) Warnings() int { return ps.count("warning") }

// Notes counts what is worth knowing and nothing to repair.
func (ps Problems) Notes() int { return ps.count("note") }

func (ps Problems) count(severity string) (n int) {
	for _, p := range ps {
		if p.Severity() == severity {
			n++
		}
	}
	return n
}

// String writes one problem a line, the severities in one column.
func (ps Problems) String() string {
	width := 0
	for _, p := range ps {
		width = max(width, utf8.RuneCountInString(p.Place()))
	}
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.line(width) + "\n")
	}
	return b.String()
}

// place is where something stands; file is an index into the files that are read. It is small, as each word of a file has
// one while the file is read. A line of 0 is the whole file. It sorts before all others.
type place struct{ file, line, column int32 }

func placeAt(file, line, column int) place { return place{int32(file), int32(line), int32(column)} }

// wholeFile is the place of what no line of a file is to blame for.
func wholeFile(file int) place { return placeAt(file, 0, 0) }

// compare orders places as a reader meets them.
func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.file, q.file), cmp.Compare(p.line, q.line), cmp.Compare(p.column, q.column))
}

const (
	maxProblems = 1000 // nobody reads more, and a hostile file could hold millions
	maxNotes    = 200  // which must not take the place of what is wrong
	maxText     = 400  // bytes of a problem's text
)

// report collects problems while files are read. A builder and its readers share one; it is for one goroutine.
type report struct {
	names   []string // of the files
	ends    map[int32]place
	found   []finding
	notes   int  // how many of them are notes
	dropped bool // there were more than maxProblems
	fatal   bool
}

// Findings are comparable: the same text twice at one place is shown once.
type finding struct {
	place
	severity severity
	rule     string
	text     string
}

// The zero value is the one that stops the program.
type severity uint8

const (
	wrong severity = iota
	doubtful
	notable
)

func newReport() *report { return &report{ends: map[int32]place{}} }

// errorf reports what keeps the configuration from being used, by the rule that stands for all without one of their
// own.
func (r *report) errorf(at place, format string, args ...any) {
	r.failf(at, ruleInvalid, format, args...)
}

// failf reports an error that a rule of its own found.
func (r *report) failf(at place, rule, format string, args ...any) {
	// Set before the text may be dropped: a thousand warnings in front must not let an error through.
	r.fatal = true
	r.add(at, wrong, rule, format, args...)
}

// warnf reports what a person should look at.
func (r *report) warnf(at place, rule, format string, args ...any) {
	r.add(at, doubtful, rule, format, args...)
}

// add keeps a finding, unless there are too many. Notes are counted apart, so a big configuration's many notes push out
// no error; the last of them says that there are more.
func (r *report) add(at place, severity severity, rule, format string, args ...any) {
	if end, ok := r.ends[at.file]; ok && at.compare(end) > 0 {
		at = end // what a parser misses at the end is behind it
	}
	switch {
	case severity == notable && r.notes > maxNotes:
		return
	case severity == notable:
		if r.notes++; r.notes > maxNotes {
			format, args = "and more notes, which are not shown", nil
		}
	case r.full():
		r.dropped = true
		return
	}
	r.found = append(r.found, finding{at, severity, rule, cut(fmt.Sprintf(format, args...), maxText)})
}

// full tells whether another problem would not be shown, so that no hint needs to be worked out for it.
func (r *report) full() bool { return len(r.found)-r.notes >= maxProblems }

// where writes a place for a text about another place.
func (r *report) where(p place) string {
	return fmt.Sprintf("%s:%d:%d", r.names[p.file], p.line, p.column)
}

// line writes a place as rules carry it.
func (r *report) line(p place) string { return fmt.Sprintf("%s:%d", r.names[p.file], p.line) }

// problems sorts what was found. It ends with one more line if something was dropped, an error if one was found at all.
// Nothing is added afterwards.
func (r *report) problems() Problems {
	slices.SortStableFunc(r.found, func(a, b finding) int { return a.compare(b.place) })
	r.found = slices.Compact(r.found)
	if r.dropped {
		last := r.found[len(r.found)-1]
		last.severity, last.rule, last.text = wrong, ruleInvalid, "and more problems, which are not shown"
		if !r.fatal {
			last.severity = doubtful
		}
		r.found = append(r.found, last)
	}
	var ps Problems
	for _, f := range r.found {
		ps = append(ps, Problem{
			File: r.names[f.file], Line: int(f.line), Column: int(f.column),
			Warning: f.severity != wrong, Note: f.severity == notable, Rule: f.rule, Text: f.text,
		})
	}
	return ps
}

// cut shortens s to at most n bytes, at a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// clip shortens what somebody wrote before it goes into a text. A hostile file could otherwise make each text as long
// as itself, and fill a log with it.
func clip(s string) string { return cut(s, 64) }
