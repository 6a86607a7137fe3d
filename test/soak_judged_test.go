//go:build soak && linux

package test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// late is what an answer may take beyond the budget on a machine that does other things.
const late = 10 * time.Second

// joins is by how much a value may be older than the question: whoever asks joins a read that began less than a second ago.
const joins = 1500 * time.Millisecond

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// report fails, with what was asked and what was broken around it.
func (k *soak) report(a *answer, format string, args ...any) {
	k.t.Helper()
	scopes := append(a.scopes(), "secret "+vaultOf(a.alias)+"/"+a.item, "certificate", fmt.Sprint("configuration ", a.slot))
	k.t.Errorf("%s\n  %s\n  broken around it:%s", fmt.Sprintf(format, args...), a, k.troubles.around(scopes, a.from, a.to))
}

// scan looks for everything that nobody may see.
func (k *soak) scan(where, text string) {
	k.t.Helper()
	for _, leak := range k.leaks {
		if at := strings.Index(text, leak); at >= 0 {
			k.t.Errorf("a secret is in %s: …%s…", where, text[max(0, at-200):min(len(text), at+len(leak)+80)])
		}
	}
	if found := jwtPart.FindString(text); found != "" {
		k.t.Errorf("a token, or a part of one, is in %s: %.40s…", where, found)
	}
	if strings.Contains(text, "DATA RACE") {
		k.t.Errorf("a race, in %s:\n%s", where, text)
	}
}

// scopes are what may excuse an answer that is not the wanted one: what the replica itself needs, and what the vault does.
func (a *answer) scopes() []string {
	own := []string{fmt.Sprint("replica ", a.slot), fmt.Sprint("record ", a.slot)}
	if a.alias == "" {
		return own
	}
	return append(own, "vault "+vaultOf(a.alias), "entra", fmt.Sprint("token ", a.slot))
}

// reader is for whom a replica remembers a value.
type reader struct {
	slot        int
	pool, slug  string
	number      int64
	alias, item string
}

func (a *answer) reader() reader {
	return reader{a.slot, a.pool, a.who.repo.Slug, a.who.build.Number, a.alias, a.item}
}

// judge compares all answers since the last time with what they must be, and with what is on record.
func (k *soak) judge() (summary string) {
	k.mu.Lock()
	all, unread := k.answers, k.unread
	k.answers = nil
	k.mu.Unlock()
	first := map[reader]time.Time{}
	for _, a := range all {
		if at, ok := first[a.reader()]; !ok || a.from.Before(at) {
			first[a.reader()] = a.from
		}
	}
	records := k.records()
	statuses := map[int]int{}
	unanswered := map[string]int{"": unread} // whose event, if there is one, has an id that nobody was told
	for _, a := range all {
		statuses[a.status]++
		if a.err != nil && a.wish != dawdled {
			unanswered[a.asked()]++
		}
		k.judgeAnswer(a)
		k.judgeRecord(a, records, first[a.reader()])
		delete(records, a.id)
	}
	for id, events := range records {
		e := events[0]
		asked := fmt.Sprint(e.Repo.Slug, " ", e.Build.Number, " ", e.Asked.Path, " ", e.Asked.Name)
		if e.Reason == "malformed" { // what it asks for nobody could read
			asked = ""
		}
		if unanswered[asked]--; unanswered[asked] < 0 {
			k.t.Errorf("on record is what nobody asked, %s: %s", id, e.Line)
		}
	}
	k.mu.Lock()
	k.unread += unanswered[""] - unread // some dawdle yet
	k.mu.Unlock()
	k.judgeSurroundings()
	k.ledger.forget(time.Now().Add(-2*time.Minute - k.budget))
	return fmt.Sprintf("%d requests: %s", len(all), counted(statuses))
}

// counted lists how often there was what.
func counted[T cmp.Ordered](counts map[T]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d × %v", counts[what], what))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (a *answer) asked() string {
	if a.wish == garbled {
		return ""
	}
	return fmt.Sprint(a.who.repo.Slug, " ", a.who.build.Number, " ", a.path, " ", a.name)
}

// judgeAnswer: there is one, in time, and it is the right one.
func (k *soak) judgeAnswer(a *answer) {
	excused := k.troubles.excuses(a.scopes(), a.from, a.to)
	own := k.troubles.excuses(a.scopes()[:2], a.from, a.to)
	if a.to.Sub(a.from) > k.budget+late {
		k.report(a, "it took longer than the %s that an answer may take", k.budget)
	}
	if a.err != nil {
		timeout := errors.Is(a.err, os.ErrDeadlineExceeded)
		if a.wish != dawdled && (a.wish != left || !timeout) && !k.slots[a.slot].diedIn(a.from, a.to) || a.wish == dawdled && timeout {
			k.report(a, "a request was lost")
		}
		return
	}
	if a.status == http.StatusOK && a.wish != granted && a.wish != movable && a.wish != left {
		k.report(a, "a value was released to whom it must not be")
		return
	}
	if a.status == http.StatusServiceUnavailable && own {
		return // it can't be recorded
	}
	right := false
	switch a.wish {
	case granted, left:
		right = a.status == http.StatusOK || slices.Contains([]int{404, 429, 502, 503, 504}, a.status) &&
			(excused || a.status == 404 && k.ledger.held(vaultOf(a.alias)+"/"+a.item, "", a.from.Add(-joins), a.to))
	case forbidden:
		right = a.status == http.StatusNotFound
	case movable:
		right = a.status == http.StatusOK || a.status == http.StatusNotFound || a.status > 404 && excused
	case absent:
		right = a.status == http.StatusNotFound || a.status > 404 && excused
	case unproven:
		right = a.status == http.StatusUnauthorized
	case garbled:
		right = a.status == http.StatusBadRequest
	case dawdled:
		right = a.status >= 400
	}
	if !right {
		k.report(a, "that is not the answer")
	}
}

// judgeRecord: what was answered is on record, once and as it was.
func (k *soak) judgeRecord(a *answer, records map[string][]event, first time.Time) {
	events := records[a.id]
	unrecorded := a.status == http.StatusServiceUnavailable && k.troubles.excuses(a.scopes()[:2], a.from, a.to)
	switch {
	case a.err != nil || a.id == "":
		return
	case a.wish == dawdled: // its head may have been proven
		return
	case a.status == http.StatusUnauthorized:
		if len(events) > 0 {
			k.report(a, "whom nobody believes is on record as if he were: %s", events[0].Line)
		}
		return
	case len(events) == 0 && unrecorded:
		return
	case len(events) != 1:
		k.report(a, "%d events are on record: %+v", len(events), events)
		return
	}
	e := events[0]
	if a.wish != garbled && (e.Repo.Slug != a.who.repo.Slug || e.Build.Number != a.who.build.Number || e.Asked.Path != a.path || e.Asked.Name != a.name) {
		k.report(a, "on record is another question: %s", e.Line)
	}
	if (e.Outcome == "released") != (a.status == http.StatusOK) && !(unrecorded && e.Outcome == "released") {
		k.report(a, "on record is another outcome: %s", e.Line)
	}
	if a.wish == movable && a.status < 500 {
		k.mu.Lock()
		moves, known := k.policies[e.Config]
		k.mu.Unlock()
		if !known || moves != (a.status == http.StatusOK) {
			k.report(a, "the configuration on record does not say so (%v, %v): %s", moves, known, e.Line)
		}
	}
	if a.status == http.StatusOK && a.alias != "" {
		k.judgeValue(a, e, first)
	}
}

// judgeValue: it is the secret's that was asked for, the version on record, and it was current between the build's first
// question and the answer. Where the last value may serve, it may be older, by so much, and only while something is broken.
func (k *soak) judgeValue(a *answer, e event, first time.Time) {
	v := k.ledger.of(a.text)
	at := vaultOf(a.alias) + "/" + a.item
	if v == nil || v.secret != at || v.key != a.part {
		k.report(a, "the value is another secret's: %+v", v)
		return
	}
	if v.id != e.Version {
		k.report(a, "the value is version %s, and on record is %s", v.id, e.Line)
	}
	oldest := first.Add(-joins)
	if e.How == "stale" {
		if !strings.HasPrefix(a.alias, "lenient-") || !k.troubles.excuses(a.scopes(), a.from, a.to) {
			k.report(a, "an old value served where none may: %s", e.Line)
		}
		oldest = a.from.Add(-mostStale - joins)
	}
	if !k.ledger.held(at, v.id, oldest, a.to) {
		k.report(a, "version %s was not in force since %s: %s", v.id, oldest.Format("15:04:05.000"), e.Line)
	}
}

// judgeSurroundings scans what was printed and what /status says, and sees that no token went astray.
func (k *soak) judgeSurroundings() {
	for _, s := range k.slots {
		server, _ := s.now()
		k.scan("what replica "+fmt.Sprint(s.number)+" printed", server.out.take())
		k.scan("/status", server.status().text)
	}
	for _, seen := range k.emulator.Requests() {
		if seen.Host == "evil.example" && seen.Token {
			k.t.Errorf("a token went to where a redirect led: %+v", seen)
		}
	}
	k.emulator.Forget()
}

// records reads what has come to both records, by id, and scans it. The events of proven requests are kept.
func (k *soak) records() map[string][]event {
	found := map[string][]event{}
	for _, s := range k.slots {
		files, _ := filepath.Glob(filepath.Join(s.dir, "audit*.jsonl"))
		for _, file := range files {
			content, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			k.must(err)
			start, _, _ := bytes.Cut(content, []byte("\n"))
			name := sumOf(string(start)) // a file's name changes, and its first line stays
			content = content[min(int64(len(content)), s.read[name]):]
			content = content[:bytes.LastIndexByte(content, '\n')+1]
			s.read[name] += int64(len(content))
			k.scan(file, string(content))
			for line := range bytes.Lines(content) {
				e := event{Line: string(bytes.TrimSpace(line))}
				if err := json.Unmarshal(line, &e); err != nil {
					k.t.Errorf("a line of the record is no JSON: %v: %.200q", err, e.Line)
				}
				if e.Kind == "secret" {
					found[e.ID] = append(found[e.ID], e)
				}
			}
		}
	}
	return found
}
