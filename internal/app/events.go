package app

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/secret"
)

// logged is a Recorder that also tells each event to the log: what an operator watches, with the same request id and the
// same words as the record. What a build says of itself is cut short, as it is anybody's text.
type logged struct {
	next     secret.Recorder
	log      zerolog.Logger
	unproven zerolog.Logger // sampled: strangers must not fill the log
}

// newLogged lets ten lines about strangers through in ten seconds. The record counts them all.
func newLogged(next secret.Recorder, log zerolog.Logger) *logged {
	sampled := log.Sample(&zerolog.BurstSampler{Burst: 10, Period: 10 * time.Second})
	return &logged{next: next, log: log, unproven: sampled}
}

// Record puts the event on record first, then in the log.
//
// An event that could not be recorded is logged as an error with its cause, so that not even a failing disk hides what
// was asked.
func (l *logged) Record(ctx context.Context, e secret.Event) error {
	err := l.next.Record(ctx, e)
	log := &l.log
	if e.Kind == secret.EventUnproven {
		log = &l.unproven
	}
	line := log.WithLevel(level(e, err))
	if err != nil {
		line.Str("unrecorded", err.Error())
	}
	text(line, "id", e.Caller.ID)
	line.Str("kind", string(e.Kind)).Str("outcome", string(e.Outcome))
	text(line, "reason", string(e.Reason))
	text(line, "remote", e.Caller.Remote)
	text(line, "pool", e.Caller.Pool)
	text(line, "repo", e.Request.Repo.Slug)
	if e.Request.Build.Number != 0 {
		line.Int64("build", e.Request.Build.Number)
	}
	text(line, "event", e.Request.Build.Event)
	text(line, "ref", e.Request.Build.Ref)
	text(line, "actor", e.Request.Build.Actor())
	text(line, "secret", e.Secret)
	text(line, "version", e.Version)
	text(line, "binding", e.Binding)
	text(line, "denied_by", e.DeniedBy)
	text(line, "how", e.How)
	text(line, "detail", e.Detail)
	if e.Caller.Skew != 0 {
		line.Dur("skew_ms", e.Caller.Skew)
	}
	if e.Took != 0 {
		line.Dur("ms", e.Took)
	}
	line.Msg(message(e))
	return err
}

// message is the line's text; all that tells events apart is in its fields.
func message(e secret.Event) string {
	switch e.Kind {
	case secret.EventStart:
		return "the record begins"
	case secret.EventStop:
		return "the record ends in order"
	}
	return string(e.Kind) + " " + string(e.Outcome)
}

// maxLogged bounds, in bytes, what one field of a build may take in a line of the log.
const maxLogged = 256

// text adds a field that a build may have filled. JSON escapes control characters, but lets through what a terminal hides
// or turns around.
//
// A branch named "main" with a right-to-left override behind it is written as main\u202e.
func text(line *zerolog.Event, key, value string) {
	if value == "" {
		return
	}
	if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		quoted := strconv.QuoteToGraphic(value)
		value = quoted[1 : len(quoted)-1]
	}
	if len(value) > maxLogged {
		value = strings.ToValidUTF8(value[:maxLogged], "") + "…"
	}
	line.Str(key, value)
}

// level: what somebody should look at is a warning, what nobody can have is an error.
func level(e secret.Event, err error) zerolog.Level {
	switch {
	case err != nil:
		return zerolog.ErrorLevel
	case e.Outcome == secret.Failed || e.Outcome == secret.Refused:
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}
