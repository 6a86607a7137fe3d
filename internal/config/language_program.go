package config

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// The part of the language that says how the program runs, and what is expected of the rules.

// expectation takes the facts that policy looks at, as the explain command does. Its keys are the flags of that
// command, with _ for -. Nothing is required by itself: what belongs together is seen when it is built.
type expectation struct {
	head
	repo, event, ref, target, source, sourceRepo text
	deployTo, cron, trigger, sender              text
	uid, pool, defaultBranch, reads              text
	decision                                     choice
	only                                         texts
}

func (e *expectation) read(r *reader, n *yaml.Node) { r.object(n, e) }
func (*expectation) what() string                   { return "an expectation" }
func (e *expectation) fields() []field {
	return []field{
		{"repo", &e.repo, optional},
		{"event", &e.event, optional},
		{"read", &e.reads, optional},
		{"decision", e.decision.of("allow", "deny"), optional},
		{"only", &e.only, optional},
		{"uid", &e.uid, optional},
		{"pool", &e.pool, optional},
		{"ref", &e.ref, optional},
		{"deploy_to", &e.deployTo, optional},
		{"cron", &e.cron, optional},
		{"trigger", &e.trigger, optional},
		{"sender", &e.sender, optional},
		{"source", &e.source, optional},
		{"source_repo", &e.sourceRepo, optional},
		{"target", &e.target, optional},
		{"default_branch", &e.defaultBranch, optional},
	}
}

// record says where decisions are recorded.
type record struct {
	head
	file text
}

func (d *record) read(r *reader, n *yaml.Node) { r.object(n, d) }
func (*record) what() string                   { return "record" }
func (d *record) fields() []field              { return []field{{"file", &d.file, required}} }

// listen says where the program is reached, and how.
type listen struct {
	head
	address, admin     text
	tls                certificate
	plainHTTP, encrypt flag
}

func (l *listen) read(r *reader, n *yaml.Node) { r.object(n, l) }
func (*listen) what() string                   { return "listen" }
func (l *listen) fields() []field {
	return []field{
		{"address", &l.address, optional},
		{"tls", &l.tls, optional},
		{"plain_http", &l.plainHTTP, optional},
		{"encrypt", &l.encrypt, optional},
		{"admin", &l.admin, optional},
	}
}

// certificate is a certificate and its key, as files; neither is opened here.
type certificate struct {
	head
	cert, key text
}

func (c *certificate) read(r *reader, n *yaml.Node) { r.object(n, c) }
func (*certificate) what() string                   { return "tls" }
func (c *certificate) fields() []field {
	return []field{{"cert", &c.cert, required}, {"key", &c.key, required}}
}

// limits bound what requests may take. A value at either end of its range still works; nothing can be switched off.
type limits struct {
	head
	budget, skew, drain            duration
	body                           size
	inFlight, connections, repeats number
}

func (l *limits) read(r *reader, n *yaml.Node) { r.object(n, l) }
func (*limits) what() string                   { return "limits" }
func (l *limits) fields() []field {
	return []field{
		{"budget", l.budget.within(time.Second, 50*time.Second), optional}, // the runner gives up after 60 s
		{"skew", l.skew.within(time.Second, 10*time.Minute), optional},
		{"body", l.body.within(1<<10, 16<<20), optional},
		{"in_flight", l.inFlight.within(1, 100_000), optional},
		{"connections", l.connections.within(1, 1_000_000), optional},
		{"repeats", l.repeats.within(1, 1_000_000), optional},
		{"drain", l.drain.within(time.Second, 5*time.Minute), optional},
	}
}

// logging is how much the program logs, and in which form.
type logging struct {
	head
	level, format choice
}

func (l *logging) read(r *reader, n *yaml.Node) { r.object(n, l) }
func (*logging) what() string                   { return "log" }
func (l *logging) fields() []field {
	return []field{
		{"level", l.level.of("debug", "info", "warn", "error"), optional},
		{"format", l.format.of("json", "text"), optional},
	}
}
