package config_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

// rule is a binding with a hole, in a configuration that is good without it.
func rule(body string) string {
	return "version: 1\n" +
		"vaults:\n  shared: {url: https://kv-shared.vault.azure.net}\n  pay-prod: {url: https://kv-pay.vault.azure.net}\n" +
		"pools: {prod: {keys: [{id: a, env: PROD}]}}\n" +
		"groups: {deployers: [alice, bob]}\n" +
		"bindings:\n- id: app\n" + body
}

const good = "  repos: [acme/app]\n  read: [shared/ci]\n"

// What YAML would quietly take for something else.
func TestYAMLWithoutSurprises(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"version: 1\n§bindngs: []\n", `unknown key "bindngs": did you mean "bindings"?`},
		{"version: 1\n§something: []\n", `unknown key "something": a configuration has version, identities`},
		{"version: 1\n§2: x\n", `unknown key "2"`},
		{rule("  §branchs: [main]\n" + good), `unknown key "branchs": did you mean "branches"? It stands with its event, as in when: {push: {branches: …}}`},
		{rule("  §promote: {}\n" + good), `did you mean "promote"? It stands in when`},
		{rule("  when:\n    push:\n      §branchs: [main]\n" + good), `unknown key "branchs": did you mean "branches"?`},
		{rule(good + "  §read: [shared/x]\n"), `duplicate key "read": it is in line 10 already`},
		{rule("  repos: [acme/app]\n  names: {a: shared/x, §a: shared/y}\n"), `duplicate key "a"`},
		{"version: 1\nrecord: §&r {file: /a}\n", "anchors (&) and aliases (*) are not supported"},
		{"version: 1\nrecord: {file: §*r}\n", "anchors (&) and aliases (*) are not supported"},
		{"version: 1\nrecord: {§<<: {file: /a}, file: /b}\n", "merge keys (<<) are not supported"},
		{"version: 1\nrecord: {file: §!!str /a}\n", "tags have no meaning here (!!str)"},
		{"version: 1\nrecord: {file: §!foo /a}\n", "tags have no meaning here (!foo)"},
		{"version: 1\nrecord: §!!map {file: /a}\n", "tags have no meaning here"},
		{"version: 1\n? §[a, b]\n: c\n", "a key is a plain word"},
		{"version: 1\n§---\nversion: 1\n", "a second document"},
		{"version: 1\n§---\n", "a second document"},
		{rule("  when: {push: {branches: [§1.10]}}\n" + good), `1.10 is a number, and a string belongs here: quote it ("1.10")`},
		{rule("  when: {push: {branches: [§true]}}\n" + good), `true is a boolean, and a string belongs here: quote it ("true")`},
		{rule("  when: {push: {branches: [§on]}}\n" + good), `on is a boolean in many YAML programs, and a string belongs here: quote it`},
		{rule("  when: {push: {branches: [§2026-11-01]}}\n" + good), "is a date, and a string belongs here: quote it"},
		{rule("  when: {push: {branches: [§0x1f]}}\n" + good), "is a number, and a string belongs here: quote it"},
		{rule("  when: {push: {branches: [§~]}}\n" + good), "~ is empty, and a string belongs here: quote it"},
		{rule("  when: {push: {branches: [§\"\"]}}\n" + good), "an empty string says nothing"},
		{rule("  when: {push: {branches: [§[main]]}}\n" + good), "a string belongs here; this is a list"},
		{rule("  repos: [acme/app]\n  names: {§1: shared/x}\n"), "1 is a number, and a string belongs here"},
		{rule("  repos: [{slug: acme/app, uid: §42}]\n  read: [shared/x]\n"), `quote it ("42")`},
		{rule("  repos: §acme/app\n  read: [shared/x]\n"), `"repos" is a list: write [acme/app]`},
		{rule("  repos: §\"acme/*\"\n  read: [shared/x]\n"), `"repos" is a list: write ["acme/*"]`},
		{rule("  repos: §{a: b}\n  read: [shared/x]\n"), `"repos" is a list; this is a mapping`},
		{rule("  repos: §[]\n  read: [shared/x]\n"), `"repos" is an empty list, which says nothing`},
		{rule("  repos:§\n  read: [shared/x]\n"), `"repos" is empty: leave it out, or write a list`},
		{rule("  repos: [acme/app]\n  names: §{}\n"), `"names" is an empty mapping`},
		{rule("  repos: [acme/app]\n  names: §[shared/x]\n"), `"names" is a mapping from names; this is a list`},
		{"version: 1\nrecord: §/var/lib/x\n", "record is a mapping (with file); this is a string"},
		{"version: 1\nrecord:§\n", "record is a mapping (with file); this is empty"},
		{rule("  when: {push: {branches: [§\"a\\u200bb\"]}}\n" + good), "a blank or an invisible character"},
		{"version: 1\nlisten: {encrypt: §yes}\n", `"encrypt" is true or false, unquoted; this is "yes"`},
		{"version: 1\nlisten: {encrypt: §\"true\"}\n", `"encrypt" is true or false, unquoted; this is "true"`},
		{"version: 1\nlisten: {encrypt: §1}\n", `"encrypt" is true or false, unquoted; this is a number`},
		{"§- a\n- b\n", "a configuration is a mapping"},
		{"§version\n", "a configuration is a mapping"},
		{"§log: {level: debug}\n", `a configuration needs "version"`},
		{"version: §\"1\"\n", "version is the number 1, unquoted"},
		{"version: §01\n", "version is the number 1, unquoted"},
		{"version: §1.0\n", "version is the number 1, unquoted"},
		{"version: §2\n", "version 2 is not known"},
		{"version:§\n", "version is the number 1, unquoted"},
	} {
		refuses(t, test.yaml, test.want)
	}
}

func TestSyntaxErrorsHaveAPlaceAndAHint(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"version: 1\nlog:\n§\tlevel: info\n", "a tab can't indent"},
		{"version: 1\nlog: §[1, 2\nrecord: {file: x}\n", `no closing "]"`},
		{"version: 1\nlog: §{level: info\n", `no closing "}"`},
		{"version: 1\nlog: {level: §\"info}\n", "this quote is never closed"},
		{"version: 1\nlog: §@x\n", `a value can't begin with '@'`},
		{"version: 1\nlog: x§: y\n", `a ":" where no key can be`},
		{"version: 1\nlog:\n  level: info\n §format: json\n", "the indentation does not fit the lines above"},
		{"version: 1\nlog: {level: \"§\\q\"}\n", "an unknown escape in double quotes"},
		{"§%YAML 1.2\n---\nversion: 1\n", "directives (%YAML, %TAG) have no meaning here"},
		{"version: 1\n---\nlog: [§\n", "not YAML"},
		{"§\ufeffversion: 1\n", "byte order mark"},
		{"version: 1 # §\xff\n", "not UTF-8"},
		{"version: 1\n# é§\x00\n", "a NUL byte"},
		{"version: 1\n# §\x1b[31m\n", "the control character U+001B"},
		{"version: 1§\rlog: {}\n", "a carriage return without a line feed"},
		{"version: 1\n# main§\u202e\n", `the invisible character U+202E: remove it, or write it as "\u202e"`},
		{"version: 1\n# §\u2028\n", "the control character U+2028"},
		{"version: 1\nx: " + strings.Repeat("[", 64) + "§[" + strings.Repeat("]", 65) + "\n", "nested deeper than 64 levels"},
	} {
		refuses(t, test.yaml, test.want)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, yaml := range []string{"", "\n\n", "# nothing yet\n"} {
		path := write(t, "c.yaml", yaml)[0]
		cfg, problems := config.Load([]string{path})
		want := path + `   error    the file is empty: a configuration begins with "version: 1"` + "\n"
		if cfg != nil || problems.String() != want {
			t.Errorf("%q: %v", yaml, problems)
		}
	}
}

func TestGoodYAML(t *testing.T) {
	for _, yaml := range []string{
		"---\nversion: 1\n",
		"version: 1\r\nlog: {level: debug}\r\n",
		"version: 1\n...\n",
		"{version: 1, log: {level: debug}}",
		"\"version\": 1 # é\n",
		rule("  when: {push: {branches: ['1.10', \"true\", main]}}\n" + good),
		rule("  when: {push: {}}\n" + good),
		rule("  when: {tag: {tags: [\"v*\"]}, cron: {cron: [nightly]}, pull_request: {from: any, into: [main]}}\n" + good),
	} {
		loads(t, yaml)
	}
}

// Size and depth cost no more than they must.
func TestHugeInput(t *testing.T) {
	for name, yaml := range map[string]string{
		"deep lists":        strings.Repeat("[", 100_000),
		"deep mappings":     strings.Repeat("{a: ", 100_000),
		"deep blocks":       strings.Repeat("- ", 100_000),
		"many unknown keys": "version: 1\n" + strings.Repeat("k: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 300_000),
		"a long pattern":    rule("  repos: [\"acme/" + strings.Repeat("*a", 5<<20) + "[\"]\n  read: [shared/x]\n"),
		"many broken rules": "version: 1\nbindings: [" + strings.Repeat("a,", 900_000) + "]\n",
		"many entries":      "version: 1\nbindings: [" + strings.Repeat("a,", 5<<20) + "]\n",
		"65 MiB":            strings.Repeat("#\n", 65<<19),
	} {
		cfg, problems := config.Load(write(t, "c.yaml", yaml))
		if cfg != nil || problems.Errors() == 0 || len(problems.String()) > 1<<20 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
	}
}

func TestManyRulesLoad(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nvaults: {shared: {url: https://kv-shared.vault.azure.net}}\nbindings:\n")
	for i := range 20_000 {
		id := strings.Repeat("x", 1+i%50) + "-" + strings.Repeat("y", 1+i/400%50) + "." + string(rune('a'+i/50%8))
		b.WriteString("- id: " + id + "\n  repos: [acme/app]\n  names: {db: shared/db}\n")
	}
	cfg, problems := loads(t, b.String())
	if len(cfg.Rules.Bindings) != 20_000 || problems.Warnings() > 0 {
		t.Error(len(cfg.Rules.Bindings), problems[:min(3, len(problems))])
	}
}
