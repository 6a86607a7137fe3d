package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Entry is one line of a record, read back. What the line leaves out is zero.
// Its texts are anybody's, unescaped again: who prints them must take care of what a terminal does with them.
type Entry struct {
	Seq      uint64           `json:"seq"`
	Time     time.Time        `json:"time"`
	ID       string           `json:"id"`
	Instance string           `json:"instance"`
	Kind     secret.EventKind `json:"kind"`
	Outcome  secret.Outcome   `json:"outcome"`
	Reason   secret.Reason    `json:"reason"`
	Pool     string           `json:"pool"`
	Remote   string           `json:"remote"`
	Repo     struct {
		Slug          string `json:"slug"`
		UID           string `json:"uid"`
		DefaultBranch string `json:"default_branch"`
		Cut           bool   `json:"cut"`
	} `json:"repo"`
	Build struct {
		Number     int64  `json:"number"`
		Event      string `json:"event"`
		Ref        string `json:"ref"`
		SHA        string `json:"sha"`
		Source     string `json:"source"`
		SourceRepo string `json:"source_repo"`
		Target     string `json:"target"`
		DeployTo   string `json:"deploy_to"`
		Cron       string `json:"cron"`
		Trigger    string `json:"trigger"`
		Sender     string `json:"sender"`
		Link       string `json:"link"`
		Cut        bool   `json:"cut"`
	} `json:"build"`
	Asked struct {
		Path string `json:"path"`
		Name string `json:"name"`
		Cut  bool   `json:"cut"`
	} `json:"asked"`
	Secret   string    `json:"secret"`
	Version  string    `json:"version"`
	Expires  time.Time `json:"expires"` // of a short-lived token; else zero
	Binding  string    `json:"binding"`
	DeniedBy string    `json:"denied_by"`
	Config   string    `json:"config"`
	Detail   string    `json:"detail"`
}

// ErrCut says that a line keeps only the beginning of what was asked or claimed, so that it can't be decided again.
var ErrCut = errors.New("the record keeps only the beginning of an overlong text of this request, so it can't be decided again")

// Request is the request that the line is about, as policy saw it; ErrCut if the record does not hold all of it.
//
// A beginning would be decided like a whole: a branch that was cut may match a pattern that the real one does not.
func (e *Entry) Request() (secret.Request, error) {
	if e.Asked.Cut || e.Repo.Cut || e.Build.Cut {
		return secret.Request{}, ErrCut
	}
	b := e.Build
	return secret.Request{
		Path: e.Asked.Path, Name: e.Asked.Name, Pool: e.Pool,
		Repo: secret.Repo{UID: e.Repo.UID, Slug: e.Repo.Slug, DefaultBranch: e.Repo.DefaultBranch},
		Build: secret.Build{
			Number: b.Number, Event: b.Event, Ref: b.Ref, SHA: b.SHA, Source: b.Source, SourceRepo: b.SourceRepo, Target: b.Target,
			DeployTo: b.DeployTo, Cron: b.Cron, Trigger: b.Trigger, Sender: b.Sender, Link: b.Link,
		},
	}, nil
}

// Entries reads a record from its oldest rotated file to the end, line by line. It does not verify the chain: that is
// Verify's. A line that can't be read ends it with an error that names the place, but for a last one that is still being
// written.
//
// The process that writes the record may go on meanwhile. The sequence can be ranged over again and then reads anew.
func Entries(file string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		current, err := openCurrent(file)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the record: %w", err))
			return
		}
		defer current.Close()
		older, err := olderThan(file, current)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the record: %w", err))
			return
		}
		for _, o := range older {
			f, err := os.Open(o.name)
			if err != nil {
				yield(Entry{}, fmt.Errorf("read the record: %w", err))
				return
			}
			more := entriesOf(f, yield)
			f.Close()
			if !more {
				return
			}
		}
		entriesOf(current, yield)
	}
}

// entriesOf yields the lines of one file and tells whether to go on.
func entriesOf(f *os.File, yield func(Entry, error) bool) bool {
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			return true
		}
		var e Entry
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("%s line %d can't be read; `drone-entra audit verify` says more", filepath.Base(f.Name()), n))
			return false
		}
		if !yield(e, nil) {
			return false
		}
	}
}
