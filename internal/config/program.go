package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Listen is where the program is reached. Address is empty when the files do not say, as the environment then can.
type Listen struct {
	Address           string // host:port
	CertFile, KeyFile string // both or none
	PlainHTTP         bool   // a proxy in front ends TLS
	Encrypt           bool   // answers are encrypted under the pool's key
	Admin             string // host:port of /status; empty: the files do not say, so DefaultAdmin if it is free
}

// CheckListen tells whether the address may be listened on: one that other machines reach needs TLS, or plainHTTP (from
// the environment) or plain_http (from the file), which say that a proxy ends TLS in front. The address is the one in
// force, as the environment can give it where the files do not. A name other than localhost counts as reachable: what
// it resolves to can change after the check. So does an empty host, which is every interface.
func (c *Config) CheckListen(address string, plainHTTP bool) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("listen.address %q is no address: write host:port, as in 127.0.0.1:3000, there or in DRONE_BIND", address)
	}
	if c.Listen.CertFile != "" || c.Listen.PlainHTTP || plainHTTP || isLoopback(address) {
		return nil
	}
	return fmt.Errorf("listen.address %q can be reached from other machines, and requests would travel in clear: give listen.tls a cert and a key, "+
		"or, behind a proxy that ends TLS, say listen.plain_http: true or DRONE_ENTRA_PLAIN_HTTP=true", address)
}

// isLoopback tells whether only this machine reaches the address; ::ffff:127.0.0.1 is 127.0.0.1 in IPv6 notation.
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
	cfg.Record = Record{File: cmp.Or(d.file.value, DefaultRecord)}

	logs := single(b, "log", func(f *file) *logging { return &f.log })
	cfg.Log = Log{Level: logs.level.value, Format: logs.format.value}

	m := single(b, "limits", func(f *file) *limits { return &f.limits })
	// Zero stands for "not stated": the language's bounds let nobody write it.
	cfg.Limits = Limits{
		Budget:      cmp.Or(m.budget.value, 20*time.Second),
		Skew:        cmp.Or(m.skew.value, 120*time.Second),
		Drain:       cmp.Or(m.drain.value, 5*time.Second),
		Body:        cmp.Or(m.body.value, 1<<20),
		InFlight:    cmp.Or(m.inFlight.value, 256),
		Connections: cmp.Or(m.connections.value, 1024), // with a request on each, what the process takes stays below 128 MiB
		Repeats:     cmp.Or(m.repeats.value, 1000),
	}
	cfg.Listen = b.listen(single(b, "listen", func(f *file) *listen { return &f.listen }))
}

// listen fills in what the file says; encrypting answers is the default. A runner decrypts an answer that says aesgcm
// without having asked for it, so there is nothing to negotiate.
func (b *builder) listen(l *listen) Listen {
	b.address(l.address)
	b.address(l.admin)
	if l.tls.set && l.plainHTTP.value {
		b.warnf(l.plainHTTP.place, ruleIdlePlainHTTP, "plain_http means nothing beside tls: remove one of them")
	}
	return Listen{
		Address:   l.address.value,
		CertFile:  l.tls.cert.value,
		KeyFile:   l.tls.key.value,
		PlainHTTP: l.plainHTTP.value,
		Encrypt:   l.encrypt.value || !l.encrypt.set,
		Admin:     l.admin.value,
	}
}

// address checks the form host:port; the host may be empty. The port is a number: names of services differ between
// machines.
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
