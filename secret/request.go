package secret

import (
	"context"
	"strings"
	"time"
)

// Caller is what the guard proved or saw about the sender of a request. It goes on record and never decides anything.
type Caller struct {
	ID     string        // request id: the one in log, record and answer
	Remote string        // the peer's address without port
	Pool   string        // the pool whose key verified the request; empty if none did
	Key    string        // the id of that key, never the key
	Repeat int           // how many equal requests came before this one within the freshness window
	Skew   time.Duration // the request's Date minus our clock; only for a request refused for its date

	Arrived time.Time // when the request's head was read; not on record. The zero time: nobody noted it
}

// Request is everything that policy may look at: one runner asking for one secret of one build.
type Request struct {
	Path, Name string // as the pipeline wrote them in `get: {path, name}`, unchanged
	Pool       string // the pool whose key verified the request
	Repo       Repo
	Build      Build
}

// Repo is the part of Drone's repository that policy looks at.
type Repo struct {
	UID           string // the forge's id: survives a rename, new after a re-creation, unique within one forge
	Slug          string // namespace/name, with subgroups on GitLab
	DefaultBranch string
}

// Build is the part of Drone's build that policy looks at or the record keeps. The comments say what each field proves.
//
// What proves nothing may still be used to refuse: a lie can then only cost the liar access.
type Build struct {
	Number     int64
	Event      string // as Drone set it
	Ref        string // the real ref for push, tag, pull_request and cron; chosen by the caller for custom; the parent's for promote and rollback
	SHA        string // record only
	Source     string // attacker's text; used only to refuse
	SourceRepo string // attacker's text on some forges; used only to refuse
	Target     string // the base branch of a pull request; proves nothing about where code comes from
	DeployTo   string
	Cron       string
	Trigger    string // "@hook", "@cron" or the login of a person
	Sender     string // who pushed, where Trigger is "@hook"
	Link       string // record only
}

// Actor is the login of the person who stands behind the build, or "" when nobody provably does.
//
// Drone sets trigger to "@hook" for what the forge sent (the person is then the sender), to "@cron" for its own
// schedule (the sender is then the commit's author, which is forgeable), and to a login when a person pressed restart,
// promote, rollback or created a custom build. A restart keeps the old build's sender, so a login in trigger comes first.
func (b *Build) Actor() string {
	switch {
	case b.Trigger == "@hook":
		return b.Sender
	case b.Trigger == "" || b.Trigger[0] == '@':
		return ""
	}
	return b.Trigger
}

// forkLike tells whether a build of any event but pull_request carries a fork's code: Drone copies the ref and the
// source repository of a pull request into its restart, promote and rollback.
func (b *Build) forkLike(slug string) bool {
	if b.SourceRepo != "" && !equalFold(b.SourceRepo, slug) {
		return true
	}
	return !strings.HasPrefix(b.Ref, "refs/heads/") && !strings.HasPrefix(b.Ref, "refs/tags/")
}

// sameRepoPull tells whether a pull request provably comes from a branch of the repository itself. Gitea's AGit flow
// (open to strangers) sends the repository's own slug as source and is betrayed by a source under refs/; GitLab's merge
// requests carry a display name as source, so they never count.
//
// N in refs/pull/N/head must be digits, and the ref must end there: a branch or an AGit topic may be called anything.
func (b *Build) sameRepoPull(slug string) bool {
	n, ok := strings.CutPrefix(b.Ref, "refs/pull/")
	if !ok {
		return false
	}
	n, ok = strings.CutSuffix(n, "/head")
	if !ok || n == "" || strings.Trim(n, "0123456789") != "" {
		return false
	}
	return equalFold(b.SourceRepo, slug) && !strings.HasPrefix(b.Source, "refs/")
}

// MayBeFork tells whether the build may run a fork's code: a pull request that does not provably come from a branch of the
// repository itself, or a build of another event that carries what was a pull request's. True proves nothing; false is as
// good as policy's own judgement, since it is the same.
func (r *Request) MayBeFork() bool {
	if r.Build.Event == string(PullRequest) {
		return !r.Build.sameRepoPull(r.Repo.Slug)
	}
	return r.Build.forkLike(r.Repo.Slug)
}

// validSlug tells whether s names one repository: two or more non-empty segments, none of them a path trick, and not longer
// than any forge has it.
func validSlug(s string) bool {
	if len(s) > maxSlug {
		return false
	}
	segments := 0
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, unprintable) {
			return false
		}
		segments++
	}
	return segments >= 2
}

// unprintable is true for a blank, ASCII's control characters and DEL.
func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

type (
	requestKey struct{}
	arrivedKey struct{}
)

// WithArrival returns a context that tells a Fetcher when the request arrived.
func WithArrival(ctx context.Context, at time.Time) context.Context {
	if at.IsZero() {
		return ctx
	}
	return context.WithValue(ctx, arrivedKey{}, at)
}

// ArrivalOf returns when the request came that a Fetcher is asked for: what was read later is as fresh as it can be for it. The
// zero time: it is not known.
func ArrivalOf(ctx context.Context) time.Time {
	at, _ := ctx.Value(arrivedKey{}).(time.Time)
	return at
}

// WithRequest returns a context that carries the request through code that knows nothing of requests: Azure's SDK, which
// passes a context's values on to whoever makes its assertions.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, &r)
}

// RequestOf returns the request that the context carries; the zero one if it carries none.
func RequestOf(ctx context.Context) Request {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return *r
	}
	return Request{}
}
