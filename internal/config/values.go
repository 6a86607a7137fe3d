package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// text is a string that is not empty. What YAML takes for a number, a boolean, a date or nothing must be quoted, and so
// must yes, no, on and off, which are strings to this parser and booleans to many another.
type text struct {
	head
	value string
}

func (t *text) read(r *reader, n *yaml.Node) {
	if !t.begin(r, n) {
		return
	}
	if why := notText(n); why != "" {
		r.errorf(t.place, "%s", why)
		return
	}
	t.value, t.ok = n.Value, true
}

// notText says why a node is no text, or nothing. `branches: [1.10]` would arrive as 1.1 in many a program, and `[no]`
// as false.
func notText(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "a string belongs here; this is " + described(n)
	case n.Tag == "!!null" && n.Value == "":
		return "nothing is written here: write a string, or leave the key out"
	case !isPlain(n) && n.Value == "":
		return "an empty string says nothing: write what you mean, or leave the key out"
	case n.Tag != "!!str" || isPlain(n) && isOldBoolean(n.Value):
		return fmt.Sprintf("%s is %s, and a string belongs here: quote it (%q)", clip(n.Value), described(n), clip(n.Value))
	}
	return ""
}

// isPlain tells whether a scalar was written without quotes and not as a block.
func isPlain(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// isOldBoolean tells whether YAML 1.1 takes the word for a boolean.
func isOldBoolean(s string) bool {
	return slices.Contains([]string{"yes", "no", "on", "off"}, strings.ToLower(s))
}

// described says what a node is, for people.
func described(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	if n.Tag == "!!str" && isPlain(n) && isOldBoolean(n.Value) {
		return "a boolean in many YAML programs"
	}
	if what, ok := map[string]string{
		"!!null": "empty", "!!bool": "a boolean", "!!int": "a number", "!!float": "a number", "!!timestamp": "a date", "!!str": "a string",
	}[n.Tag]; ok {
		return what
	}
	return "neither a string nor a number"
}

// quoted writes a scalar as it can stand in a list.
func quoted(n *yaml.Node) string {
	if n.Tag == "!!str" && strings.Trim(strings.ToLower(n.Value), "abcdefghijklmnopqrstuvwxyz0123456789-_/.") == "" {
		return clip(n.Value)
	}
	return strconv.Quote(clip(n.Value))
}

// choice is one word of a few. of is called before it is read. Words compare exactly, and a near one is suggested.
type choice struct {
	text
	choices []string
}

// of sets the words and returns the choice, so that it fits into a list of fields.
func (c *choice) of(choices ...string) *choice { c.choices = choices; return c }

func (c *choice) read(r *reader, n *yaml.Node) {
	c.text.read(r, n)
	if c.ok && !slices.Contains(c.choices, c.value) {
		c.ok = false
		r.errorf(c.place, "unknown %s %q%s", r.key, clip(c.value), didYouMean(c.value, c.choices, ": it is "+oneOf(c.choices)))
	}
}

// flag is true or false. YAML 1.2 writes them true, True and TRUE; yes and on are strings there and refused.
type flag struct {
	head
	value bool
}

func (f *flag) read(r *reader, n *yaml.Node) {
	if !f.begin(r, n) {
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.errorf(f.place, "%q is true or false, unquoted; this is %s", r.key, notFlag(n))
		return
	}
	f.value, f.ok = strings.EqualFold(n.Value, "true"), true
}

// notFlag is what was written instead, in quotes if it was a string: "true" with quotes is one.
func notFlag(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return strconv.Quote(clip(n.Value))
	}
	return described(n)
}

// number is a whole number between two bounds. Both bounds count as inside.
type number struct {
	head
	value    int
	min, max int
}

// within sets the bounds, which the reference in the documentation is tested against.
func (i *number) within(min, max int) *number { i.min, i.max = min, max; return i }

func (i *number) read(r *reader, n *yaml.Node) {
	if !i.begin(r, n) {
		return
	}
	v, ok := wholeNumber(n)
	if !ok || v < int64(i.min) || v > int64(i.max) {
		r.errorf(i.place, "%q is a whole number from %d to %d, unquoted", r.key, i.min, i.max)
		return
	}
	i.value, i.ok = int(v), true
}

// wholeNumber reads an unquoted decimal number; 0x1f, 017 and 1_000 mean different things to different programs.
// Written back it has to be the same text, which 007 and +7 are not.
func wholeNumber(n *yaml.Node) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || !isPlain(n) {
		return 0, false
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	return v, err == nil && strconv.FormatInt(v, 10) == n.Value
}

// size is a number of bytes between two bounds: 65536, 64KiB, 1MiB. KB and MB are refused, as people mean 1000 or 1024
// by them.
type size struct {
	head
	value    int64
	min, max int64
}

func (s *size) within(min, max int64) *size { s.min, s.max = min, max; return s }

func (s *size) kind() string {
	return fmt.Sprintf("size from %s to %s", sizeText(s.min), sizeText(s.max))
}

func (s *size) read(r *reader, n *yaml.Node) {
	if !s.begin(r, n) {
		return
	}
	v, ok := wholeNumber(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		v, ok = parseSize(n.Value)
	}
	if !ok || v < s.min || v > s.max {
		r.errorf(s.place, "%q is a %s, written as in 64KiB, 1MiB or 65536", r.key, s.kind())
		return
	}
	s.value, s.ok = v, true
}

// 31 bits of a count times 2^20 can't overflow.
func parseSize(s string) (int64, bool) {
	for unit, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseUint(digits, 10, 31)
			return int64(v) * factor, err == nil
		}
	}
	return 0, false
}

// sizeText writes a bound, which is a multiple of 1024.
func sizeText(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

const day = 24 * time.Hour

// duration is a time between two bounds, in Go's notation and in days: 20s, 1h30m, 90d. A day has 24 hours here.
type duration struct {
	head
	value    time.Duration
	min, max time.Duration
}

func (d *duration) within(min, max time.Duration) *duration { d.min, d.max = min, max; return d }

func (d *duration) kind() string {
	return fmt.Sprintf("duration from %s to %s", durationText(d.min), durationText(d.max))
}

func (d *duration) read(r *reader, n *yaml.Node) {
	if !d.begin(r, n) {
		return
	}
	if _, ok := wholeNumber(n); ok {
		r.errorf(d.place, "%q needs a unit: write %ss, %sm, %sh or %sd", r.key, n.Value, n.Value, n.Value, n.Value)
		return
	}
	v, ok := time.Duration(0), n.Kind == yaml.ScalarNode && n.Tag == "!!str"
	if ok {
		v, ok = parseDuration(n.Value)
	}
	if !ok || v < d.min || v > d.max {
		r.errorf(d.place, "%q is a %s, written as in 20s, 1h30m or 90d", r.key, d.kind())
		return
	}
	d.value, d.ok = v, true
}

// parseDuration reads days in front of what Go reads; the bounds refuse what is negative.
//
//	90d      2160h
//	1d12h    36h
//	1d36h    refused: behind days there is less than a day
//	1.5d     refused: days are whole
func parseDuration(s string) (time.Duration, bool) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		v, err := time.ParseDuration(s)
		return v, err == nil
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > uint64(math.MaxInt64/day)-1 {
		return 0, false
	}
	if rest == "" {
		return time.Duration(n) * day, true
	}
	v, err := time.ParseDuration(rest)
	return time.Duration(n)*day + v, err == nil && v >= 0 && v < day
}

// durationText writes a bound in the largest unit that it is a multiple of; one day is 24h.
func durationText(d time.Duration) string {
	switch {
	case d >= 2*day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
