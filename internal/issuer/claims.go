package issuer

import (
	"strings"
	"unicode/utf8"

	"github.com/drone-entra/drone-entra/secret"
)

// Claim describes one claim of a token, for people who write trust policies.
type Claim struct {
	Name   string // unproven.sha is sha in the object unproven
	When   string // which tokens have it; empty: all
	Proves string
}

// Claims describes every claim that a token may have, in a token's order. A text that is longer than 1,024 bytes is left
// out.
//
// What Drone or the forge proved stands at the top; what somebody merely wrote, in the object "unproven".
func Claims() []Claim {
	return []Claim{
		{"iss", "", "the issuer's URL, byte for byte as configured"},
		{"sub", "", "drone:<server>:repo:<uid>, or that with :environment:<deploy_to>: the Drone server and the repository, and where it was promoted to"},
		{"aud", "", "whom the token is for; nobody else may accept it"},
		{"iat", "", "when it was made, in seconds since 1970"},
		{"nbf", "", "the same as iat"},
		{"exp", "", "when it ends"},
		{"jti", "", "this token: 128 random bits"},
		{"server", "", "the Drone server, as configured"},
		{"repository", "", "the repository's name now; names can be given away, so trust repository_uid"},
		{"repository_uid", "", "the forge's id of the repository: survives a rename, and is new after a re-creation"},
		{"default_branch", "", "the default branch, as the repository's administrators set it"},
		{"pool", "", "whose runners asked: the pool whose key signed the request"},
		{"event", "", "why Drone runs the build: push, tag, cron, pull_request, promote, rollback or custom"},
		{"build_number", "", "Drone's number of the build, unique within the repository"},
		{"ref", "push, tag and cron of the repository's own code, and pull_request", "the branch, tag or pull request that the build is of; a fork's pull request has one, too, so look at event and fork"},
		{"ref_type", "with ref", "branch, tag or pull_request"},
		{"target", "pull_request", "the base branch that the pull request wants into; nothing about where its code comes from"},
		{"fork", "pull_request", "false: the code comes from a branch of the repository itself; true: from elsewhere, or nobody can tell"},
		{"deploy_to", "where the build has one, as promote and rollback do", "what somebody with write access chose to deploy to"},
		{"cron", "where the build has one", "the name of the repository's cron job that started the build"},
		{"trigger", "", "what started the build: @hook, @cron, or the login of the person who pressed restart, promote, rollback or made a custom build"},
		{"actor", "where a person provably stands behind the build", "that person's login: who pushed, or whose login is in trigger"},
		{"unproven", "where it has anything", "nothing: what is in it was chosen by writers of the repository or by strangers. Never trust a build because of it"},
		{"unproven.ref", "promote, rollback, custom, and what may be a fork's", "nothing: whoever asked for the build chose it, or an older build did"},
		{"unproven.sha", "", "nothing: a custom build may be of any commit, and promote and rollback copy it"},
		{"unproven.source", "where Drone states it", "nothing: the name that a branch has in the fork"},
		{"unproven.source_repo", "where Drone states it", "nothing: the fork's name, on some forges as its owner likes it"},
		{"unproven.target", "every event but pull_request", "nothing: copied from an older build, or chosen with it"},
		{"unproven.sender", "where Drone states it", "nothing by itself: a restart keeps the old one, and cron has the commit's author. Use actor"},
		{"unproven.link", "where Drone states it", "nothing: the forge's page of the commit or the pull request"},
	}
}

// claims is a token's payload. The order of its fields is that of the token.
type claims struct {
	Issuer        string    `json:"iss"`
	Subject       string    `json:"sub"`
	Audience      string    `json:"aud"`
	IssuedAt      int64     `json:"iat"`
	NotBefore     int64     `json:"nbf"`
	Expires       int64     `json:"exp"`
	ID            string    `json:"jti"`
	Server        string    `json:"server"`
	Repository    string    `json:"repository,omitempty"`
	RepositoryUID string    `json:"repository_uid"`
	DefaultBranch string    `json:"default_branch,omitempty"`
	Pool          string    `json:"pool,omitempty"`
	Event         string    `json:"event,omitempty"`
	BuildNumber   int64     `json:"build_number"`
	Ref           string    `json:"ref,omitempty"`
	RefType       string    `json:"ref_type,omitempty"`
	Target        string    `json:"target,omitempty"`
	Fork          *bool     `json:"fork,omitempty"`
	DeployTo      string    `json:"deploy_to,omitempty"`
	Cron          string    `json:"cron,omitempty"`
	Trigger       string    `json:"trigger,omitempty"`
	Actor         string    `json:"actor,omitempty"`
	Unproven      *unproven `json:"unproven,omitempty"`
}

// unproven is somebody's text.
type unproven struct {
	Ref        string `json:"ref,omitempty"`
	SHA        string `json:"sha,omitempty"`
	Source     string `json:"source,omitempty"`
	SourceRepo string `json:"source_repo,omitempty"`
	Target     string `json:"target,omitempty"`
	Sender     string `json:"sender,omitempty"`
	Link       string `json:"link,omitempty"`
}

// maxClaim is the longest text of a claim in bytes. A branch may have a name of 4,000, and a token travels in headers.
const maxClaim = 1024

// short leaves out what is too long, and what is no text: the encoder would replace its bytes, and two texts become one.
func short(s string) string {
	if len(s) > maxClaim || !utf8.ValidString(s) {
		return ""
	}
	return s
}

// facts fills in what is known of the build, each where it belongs.
func (c *claims) facts(r *secret.Request) {
	b := &r.Build
	c.Repository, c.RepositoryUID, c.DefaultBranch = short(r.Repo.Slug), r.Repo.UID, short(r.Repo.DefaultBranch)
	c.Pool, c.Event, c.BuildNumber = short(r.Pool), short(b.Event), b.Number
	c.DeployTo, c.Cron, c.Trigger, c.Actor = short(b.DeployTo), short(b.Cron), short(b.Trigger), short(b.Actor())
	u := unproven{SHA: short(b.SHA), Source: short(b.Source), SourceRepo: short(b.SourceRepo), Sender: short(b.Sender), Link: short(b.Link)}
	if b.Event == string(secret.PullRequest) {
		fork := r.MayBeFork()
		c.Fork, c.Target = &fork, short(b.Target)
	} else {
		u.Target = short(b.Target)
	}
	if kind := refType(r); kind == "" {
		u.Ref = short(b.Ref)
	} else if c.Ref = short(b.Ref); c.Ref != "" {
		c.RefType = kind
	}
	if u != (unproven{}) {
		c.Unproven = &u
	}
}

// refType is what the build's ref provably is, "" where Drone proves no ref.
//
// The ref must look like what the event says. A relying party may compare ref with refs/heads/main and forget the event,
// so no pull request has such a one here.
func refType(r *secret.Request) string {
	branch, tag := strings.HasPrefix(r.Build.Ref, "refs/heads/"), strings.HasPrefix(r.Build.Ref, "refs/tags/")
	switch secret.BuildEvent(r.Build.Event) {
	case secret.PullRequest:
		if !branch && !tag && r.Build.Ref != "" {
			return "pull_request"
		}
	case secret.Push, secret.Cron:
		if branch && !r.MayBeFork() {
			return "branch"
		}
	case secret.Tag:
		if tag && !r.MayBeFork() {
			return "tag"
		}
	}
	return ""
}
