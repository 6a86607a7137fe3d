package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/config"
)

func TestProgramRefused(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"listen: {address: §3000}", "3000 is a number, and a string belongs here"},
		{"listen: {address: §\"3000\"}", "is no address: write host:port"},
		{"listen: {address: §\"localhost:http\"}", "is no address: write host:port"},
		{"listen: {address: §\"localhost:65536\"}", "is no address: write host:port"},
		{"listen: {admin: §localhost}", "is no address: write host:port"},
		{"listen: {address: §\"http://localhost:3000\"}", "is no address: write host:port"},
		{"listen: {tls: §{cert: /c}}", `tls needs "key"`},
		{"listen: {plain_http: §\"true\"}", `"plain_http" is true or false, unquoted`},
		{"record: §{}", `record needs "file"`},
		{"limits: {budget: §60s}", `"budget" is a duration from 1s to 50s`},
		{"limits: {budget: §20}", `"budget" needs a unit`},
		{"limits: {skew: §11m}", `"skew" is a duration from 1s to 10m`},
		{"limits: {drain: §[1s]}", `"drain" is a duration from 1s to 5m`},
		{"limits: {body: §1MB}", `"body" is a size from 1KiB to 16MiB, written as in 64KiB`},
		{"limits: {body: §17MiB}", `"body" is a size from`},
		{"limits: {body: §1023}", `"body" is a size from`},
		{"limits: {in_flight: §0}", `"in_flight" is a whole number from 1 to 100000`},
		{"limits: {connections: §\"5\"}", `"connections" is a whole number from`},
		{"limits: {repeats: §1_000}", `"repeats" is a whole number from`},
		{"log: {level: §warning}", `unknown level "warning"`},
		{"log: {level: §debgu}", `did you mean "debug"?`},
		{"log: {format: §xml}", `unknown format "xml": it is json or text`},
	} {
		refuses(t, "version: 1\n"+test.body+"\n", test.want)
	}
}

func TestProgramStated(t *testing.T) {
	cfg, _ := loads(t, `version: 1
record: {file: /tmp/audit.jsonl}
listen: {address: "127.0.0.1:0", admin: ":9091", plain_http: true, encrypt: false}
limits: {budget: 5s, skew: 1m30s, drain: 10s, body: 65536, in_flight: 1, connections: 2, repeats: 3}
log: {level: warn, format: text}
`)
	limits := config.Limits{
		Budget: 5 * time.Second, Skew: 90 * time.Second, Drain: 10 * time.Second, Body: 65536, InFlight: 1, Connections: 2, Repeats: 3,
	}
	if diff := cmp.Diff(limits, cfg.Limits); diff != "" {
		t.Error(diff)
	}
	if cfg.Record.File != "/tmp/audit.jsonl" || cfg.Log != (config.Log{Level: "warn", Format: "text"}) {
		t.Errorf("%+v %+v", cfg.Record, cfg.Log)
	}
	if cfg.Listen != (config.Listen{Address: "127.0.0.1:0", PlainHTTP: true, Admin: ":9091"}) {
		t.Errorf("%+v", cfg.Listen)
	}
}

func TestCheckListen(t *testing.T) {
	for _, test := range []struct {
		listen string
		env    bool
		good   bool
	}{
		{"{}", false, true},
		{`{address: "127.0.0.1:3000"}`, false, true},
		{`{address: "127.9.9.9:3000"}`, false, true},
		{`{address: "[::1]:3000"}`, false, true},
		{`{address: "localhost:3000"}`, false, true},
		{`{address: ":3000"}`, false, false},
		{`{address: "0.0.0.0:3000"}`, false, false},
		{`{address: "[::]:3000"}`, false, false},
		{`{address: "10.0.0.4:3000"}`, false, false},
		{`{address: "localhost.example:3000"}`, false, false},
		{`{address: ":3000"}`, true, true},
		{`{address: ":3000", plain_http: true}`, false, true},
		{`{address: ":3000", plain_http: false}`, false, false},
		{`{address: ":3000", tls: {cert: /c, key: /k}}`, false, true},
	} {
		cfg, _ := loads(t, "version: 1\nlisten: "+test.listen+"\n")
		address := cfg.Listen.Address
		if address == "" {
			address = config.DefaultAddress
		}
		err := cfg.CheckListen(address, test.env)
		if (err == nil) != test.good {
			t.Errorf("%s with %v: %v", test.listen, test.env, err)
		}
		if err != nil && !strings.Contains(err.Error(), "DRONE_ENTRA_PLAIN_HTTP=true") {
			t.Errorf("no remedy: %v", err)
		}
	}
}
