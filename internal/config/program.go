package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Listen is where the program is reached. Address is empty when the files do not say, as the environment then can.
type Listen struct {
	Address           string // host:port
	CertFile, KeyFile string // both or none
	PlainHTTP         bool   // a proxy in front ends TLS
	Encrypt           bool   // answers are encrypted under the pool's key
	Admin             string // host:port of /metrics and /status
}

// CheckListen tells whether the address may be listened on: one that other machines reach needs TLS, or plainHTTP (from
// the environment) or plain_http (from the file), which say that a proxy ends TLS in front. The address is the one in
// force, as the environment can give it where the files do not.
func (c *Config) CheckListen(address string, plainHTTP bool) error {
	if c.Listen.CertFile != "" || c.Listen.PlainHTTP || plainHTTP || isLoopback(address) {
		return nil
	}
	return fmt.Errorf("listen.address %q can be reached from other machines, and requests would travel in clear: give listen.tls a cert and a key, "+
		"or, behind a proxy that ends TLS, say listen.plain_http: true or DRONE_ENTRA_PLAIN_HTTP=true", address)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// buildProgram fills in how the program itself runs.
func (b *builder) buildProgram(cfg *Config) {
	d := single(b, "record", func(f *file) *record { return &f.record })
	cfg.Record = Record{File: or(d.file.value, DefaultRecord)}

	logs := single(b, "log", func(f *file) *logging { return &f.log })
	cfg.Log = Log{Level: logs.level.value, Format: logs.format.value}

	m := single(b, "limits", func(f *file) *limits { return &f.limits })
	cfg.Limits = Limits{
		Budget:      or(m.budget.value, 20*time.Second),
		Skew:        or(m.skew.value, 120*time.Second),
		Drain:       or(m.drain.value, 5*time.Second),
		Body:        or(m.body.value, 1<<20),
		InFlight:    or(m.inFlight.value, 256),
		Connections: or(m.connections.value, 4096),
		Repeats:     or(m.repeats.value, 1000),
	}
	cfg.Listen = b.listen(single(b, "listen", func(f *file) *listen { return &f.listen }))
}

func (b *builder) listen(l *listen) Listen {
	b.address(l.address)
	b.address(l.admin)
	if l.tls.set && l.plainHTTP.value {
		b.warnf(l.plainHTTP.place, "plain_http means nothing beside tls: remove one of them")
	}
	return Listen{
		Address:   l.address.value,
		CertFile:  l.tls.cert.value,
		KeyFile:   l.tls.key.value,
		PlainHTTP: l.plainHTTP.value,
		Encrypt:   l.encrypt.value || !l.encrypt.set,
		Admin:     or(l.admin.value, DefaultAdmin),
	}
}

// address checks the form host:port; the host may be empty.
func (b *builder) address(t text) {
	if !t.ok {
		return
	}
	host, port, err := net.SplitHostPort(t.value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /@?#") {
		b.errorf(t.place, "%q is no address: write host:port, as in \"127.0.0.1:3000\" or \":3000\" for every interface", clip(t.value))
	}
}

// or returns the value, or the default where it was not stated.
func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func (b *builder) buildExpectations() (all []Expectation) {
	for _, f := range b.files {
		for i := range f.expect.items {
			d := &f.expect.items[i]
			b.expectation(d)
			all = append(all, Expectation{Allow: d.decision.value == "allow", At: b.line(d.place), request: d.request()})
		}
	}
	return all
}

// request is what the runner would ask. The name alone and the whole reference both stand in Name, as path is empty.
func (d *expectation) request() secret.Request {
	return secret.Request{
		Name: d.reads.value,
		Pool: or(d.pool.value, secret.DefaultPool),
		Repo: secret.Repo{UID: or(d.uid.value, secret.UnknownUID), Slug: d.repo.value, DefaultBranch: or(d.defaultBranch.value, "main")},
		Build: secret.Build{
			Event: d.event.value, Ref: d.ref.value, Source: d.source.value, SourceRepo: d.sourceRepo.value, Target: d.target.value,
			DeployTo: d.deployTo.value, Cron: d.cron.value, Trigger: d.trigger.value, Sender: d.sender.value,
		},
	}
}

// expectation checks that the assertion is about something that can be: one that misspells what it speaks of would hold
// for ever.
func (b *builder) expectation(d *expectation) {
	if d.repo.ok {
		if slug, err := secret.ParseSlugPattern(d.repo.value); err != nil || !slug.Literal() {
			b.errorf(d.repo.place, "%q is not one repository: write namespace/name", clip(d.repo.value))
		}
	}
	if d.event.ok && !isEvent(d.event.value) {
		b.errorf(d.event.place, "unknown event %q%s", clip(d.event.value), didYouMean(d.event.value, eventNames(), ": the events are "+joined(eventNames(), "and")))
	}
	if d.ref.ok && !strings.HasPrefix(d.ref.value, "refs/") {
		b.errorf(d.ref.place, "%q is no ref: write \"refs/heads/%s\" or \"refs/tags/%s\"", clip(d.ref.value), clip(d.ref.value), clip(d.ref.value))
	}
	b.pool(d.pool)
	if !d.reads.ok {
		return
	}
	if !strings.Contains(d.reads.value, "/") {
		if why := loneName(d.reads.value); why != "" {
			b.errorf(d.reads.place, "%q can't be a secret's name: %s", clip(d.reads.value), why)
		}
		return
	}
	ref, err := secret.ParseRef(d.reads.value)
	if err != nil {
		b.errorf(d.reads.place, "%v", err)
		return
	}
	known := b.used[used{"vault", ref.Vault}]
	lookup(b, b.vaults, "vault", ref.Vault, d.reads.place)
	b.used[used{"vault", ref.Vault}] = known // an assertion is no use of a vault
}

func eventNames() (names []string) {
	for _, event := range secret.BuildEvents {
		names = append(names, string(event))
	}
	return names
}
