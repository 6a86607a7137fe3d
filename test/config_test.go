package test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// rule is one binding, to be spoilt.
const rule = `  - {id: app-ci, repos: [acme/app], read: ["shared/ci-*"]}
`

// vaultsOnly comes before bindings.
const vaultsOnly = `vaults: {shared: {url: https://kv-shared.vault.azure.net}}
`

// place is where the words stand in the configuration as the program reads it: the harness puts a line in front for each
// section that the text leaves out.
func place(t *testing.T, config, words string) string {
	t.Helper()
	before, _, found := strings.Cut(config, words)
	if !found {
		t.Fatalf("%q is not in the configuration", words)
	}
	line := 1 + strings.Count(before, "\n")
	for _, key := range []string{"version", "record", "listen", "limits"} {
		if !strings.Contains("\n"+config, "\n"+key+":") {
			line++
		}
	}
	return fmt.Sprintf("drone-entra.yaml:%d:%d ", line, len(before)-strings.LastIndexByte(before, '\n'))
}

// What is wrong with a configuration is said with its place and what to write instead, and nothing starts. `check` says
// the same.
func TestCAConfigurationThatIsRefused(t *testing.T) {
	t.Parallel()
	const b = "bindings:\n"
	rest := func(s string) string { return vaultsOnly + b + rule + s }
	when := func(s string) string {
		return vaultsOnly + b + "  - {id: app-ci, repos: [acme/app], read: [\"shared/ci-*\"], " + s + "}\n"
	}
	vault := func(url string) string { return "vaults: {shared: {url: " + url + "}}\n" + b + rule }
	for _, c := range []struct {
		name, config string
		at           string   // the words that the place must point to
		says         []string // and what is said of them
	}{
		{"C1 a syntax error", rest("denies: [\n  {id: x\n"), "", nil},
		{"C1 a tab", rest("denies:\n\t- {id: x}\n"), "", []string{"tab"}},
		{"C1 an unclosed quote", rest("denies: [{id: \"x}]\n"), "", nil},
		{"C2 an unknown key", rest("denie: []\n"), "denie:", []string{`unknown key "denie"`, `did you mean "denies"`}},
		{"C2 an unknown key within", when("branchs: [main]"), "branchs", []string{`unknown key "branchs"`}},
		{"C2 a misspelt condition", when("when: {push: {branchs: [main]}}"), "branchs", []string{`unknown key "branchs"`, `did you mean "branches"`}},
		{"C2 a key twice", when("id: app-ci"), "id: app-ci}", []string{"id", "already"}},
		{"C2 a section twice", rest(vaultsOnly), "", []string{"vaults", "already"}},
		{"C2 a misspelt event", when("when: {pul_request: {from: any}}"), "pul_request", []string{"pul_request", `did you mean "pull_request"`}},
		{"C2 an event that isn't", when("when: {deploy: {}}"), "deploy", []string{"deploy", "push"}},
		{"C3 yes for a boolean", "vaults: {shared: {url: https://kv-shared.vault.azure.net, must_expire: yes}}\n" + b + rule, "yes", []string{"true"}},
		{"C3 a quoted boolean", "vaults: {shared: {url: https://kv-shared.vault.azure.net, must_expire: \"true\"}}\n" + b + rule, `"true"`, []string{"true"}},
		{"C3 a second document", rest("---\nversion: 1\n"), "", []string{"document"}},
		{"C3 an alias", when("when: {push: {branches: *main}}"), "*main", []string{"alias"}},
		{"C3 an anchor", when("when: {push: {branches: &b [main]}}"), "&b", []string{"anchor"}},
		{"C3 a merge key", when("<<: {pools: [default]}"), "<<", []string{"merge"}},
		{"C3 a tag", when("when: {push: {branches: !!str main}}"), "!!str", []string{"tag"}},
		{"C3 an unquoted number", when("when: {push: {branches: [1.10]}}"), "1.10", []string{`"1.10"`}},
		{"C3 an unquoted boolean", when("when: {push: {branches: [on]}}"), "on]", []string{`"on"`}},
		{"C3 null in a list", when("when: {push: {branches: [null]}}"), "null", []string{`"null"`}},
		{"C3 an unquoted uid", vaultsOnly + b + "  - {id: a, repos: [{slug: acme/app, uid: 42}], read: [shared/x]}\n", "42", []string{`"42"`}},
		{"C3 a string where a list belongs", when("when: {push: {branches: main}}"), "main}", []string{"[main]"}},
		{"C3 an event without conditions", when("when: {push: }"), "", []string{"push: {}"}},
		{"C3 an invisible character", when("when: {push: {branches: [\"ma\u200bin\"]}}"), "", []string{"U+200B"}},
		{"C3 text that runs the other way", when("when: {push: {branches: [\"ma\u202ein\"]}}"), "", []string{"U+202E"}},
		{"C4 a binding to an unlisted vault", rest("  - {id: more, repos: [acme/app], read: [shred/x]}\n"), "shred/x", []string{`"shred"`, `did you mean "shared"`}},
		{"C4 http", vault("http://kv-shared.vault.azure.net"), "http:", []string{"https"}},
		{"C4 an IP address", vault("https://10.0.0.4"), "https:", []string{"IP address"}},
		{"C4 an IPv6 address", vault(`"https://[::1]"`), `"https:`, []string{"IP address"}},
		{"C4 a host outside Azure", vault("https://kv-shared.vault.azure.net.evil.example"), "https:", []string{"vault.azure.net"}},
		{"C4 a suffix alone", vault("https://evilvault.azure.net"), "https:", []string{"vault.azure.net"}},
		{"C4 a port", vault("https://kv-shared.vault.azure.net:8443"), "https:", []string{"port"}},
		{"C4 a user", vault("https://me@kv-shared.vault.azure.net"), "https:", []string{"user"}},
		{"C4 a path", vault("https://kv-shared.vault.azure.net/secrets"), "https:", []string{"host"}},
		{"C4 a misspelt suffix", vault("https://kv-shared.vault.azur.net"), "https:", []string{"did you mean \"https://kv-shared.vault.azure.net\""}},
		{"C4 a vault as a pattern", vaultsOnly + b + "  - {id: a, repos: [acme/app], read: [\"*/ci\"]}\n", `"*/ci"`, []string{"vault"}},
		{"C5 an empty list of branches", when("when: {push: {branches: []}}"), "[]", []string{"empty"}},
		{"C5 an empty list of repositories", vaultsOnly + b + "  - {id: a, repos: [], read: [shared/x]}\n", "[]", []string{"empty"}},
		{"C5 an empty list of actors", when("actors: []"), "[]", []string{"empty"}},
		{"C5 an empty list of pools", when("pools: []"), "[]", []string{"empty"}},
		{"C5 one id twice", rest(rule), "", []string{`"app-ci"`, "already"}},
		{"C5 an id of a binding for a deny", rest("denies: [{id: app-ci, reason: x}]\n"), "app-ci, reason", []string{`"app-ci"`}},
		{"C5 a pattern with a bracket", when("when: {push: {branches: [\"release/[0-9]\"]}}"), `"release`, []string{"["}},
		{"C5 a pattern with a question mark", vaultsOnly + b + "  - {id: a, repos: [\"acme/a?p\"], read: [shared/x]}\n", `"acme/a?p"`, []string{"?"}},
		{"C5 a pattern with an exclamation mark", when("when: {push: {branches: [\"!main\"]}}"), `"!main"`, []string{"!"}},
		{"C5 a promotion by whomever", when("when: {promote: {deploy_to: [production]}}"), "", []string{"actors"}},
		{"a client secret as identity", rest("identities: {default: {client_secret: canary-client-secret}}\n"), "client_secret", []string{"client_secret"}},
		{"a number out of bounds", rest("limits: {budget: 2m}\n"), "2m", []string{"50s"}},
		{"an address without a port", rest("listen: {address: localhost}\n"), "localhost", []string{"host:port"}},
		{"another version", "version: 2\n" + rest(""), "2", []string{"version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := refuses(t, c.config, canary("canary-client-secret"))
			says := append([]string{"error ", "drone-entra check"}, c.says...)
			if c.at != "" {
				says = append(says, place(t, c.config, c.at))
			}
			if code != 1 || !strings.Contains(out, "drone-entra.yaml:") {
				t.Errorf("it ends with %d, or doesn't say where", code)
			}
			for _, text := range says {
				if !strings.Contains(out, text) {
					t.Errorf("it doesn't say %q: %s", text, out)
				}
			}
		})
	}
}

// Where the record can't be, nothing starts, and the remedy is named.
func TestC7TheRecordsPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, at string
		says     []string
	}{
		{"a directory that isn't there", "$ETC/nowhere/audit.jsonl", []string{"there is no directory"}},
		{"a file as directory", "$ETC/drone-entra.yaml/audit.jsonl", []string{"there is no directory"}},
		{"a device", "/dev/full", nil},
		{"another file", "$ETC/drone-entra.yaml", []string{"not a record"}},
		{"a directory where nobody may write", "/sys/audit.jsonl", nil},
	} {
		t.Run("C7 "+c.name, func(t *testing.T) {
			s := one + "record: {file: " + c.at + "}\n"
			code, out := refuses(t, s)
			if code != 1 || strings.Contains(out, "panic") {
				t.Errorf("it ends with %d", code)
			}
			for _, text := range append(c.says, "record: {file: …}", "writable") {
				if !strings.Contains(out, text) {
					t.Errorf("it doesn't say %q: %s", text, out)
				}
			}
		})
	}
}

// A directory is no record.
func TestC7ADirectoryInTheRecordsPlace(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	if err := os.Mkdir(dir+"/audit.jsonl", 0o700); err != nil {
		t.Fatal(err)
	}
	code, out := refuses(t, one, func(o *setup) { o.state = dir })
	if code != 1 || !strings.Contains(out, "it is a directory") || !strings.Contains(out, "regular file") {
		t.Errorf("it ends with %d and says %s", code, out)
	}
}

// A record behind a link could be led anywhere.
func TestC7ALinkInTheRecordsPlace(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	if err := os.Symlink("elsewhere", dir+"/audit.jsonl"); err != nil {
		t.Fatal(err)
	}
	code, out := refuses(t, one, func(o *setup) { o.state = dir })
	if code != 1 || !strings.Contains(out, "symbolic link") || !strings.Contains(out, "regular file") {
		t.Errorf("it ends with %d and says %s", code, out)
	}
}

// Two processes can't write one record.
func TestC7ARecordThatAnotherWrites(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	second := func(o *setup) { o.state, o.canaries = s.state, s.watched() }
	code, out := refuses(t, one, second)
	if code != 1 || !strings.Contains(out, "another process") || !strings.Contains(out, "stop that one") {
		t.Errorf("it ends with %d and says %s", code, out)
	}
	s.servesOne(t)
}

// What the environment says beside the file.
func TestCTheEnvironmentBesideTheFile(t *testing.T) {
	t.Parallel()
	const quiet = "listen: {admin: \"127.0.0.1:0\"}\n"
	key := func(id, variable string) string {
		return "pools: {default: {keys: [{id: " + id + ", env: " + variable + "}]}}\n"
	}
	t.Run("DRONE_BIND where the file has no address", func(t *testing.T) {
		t.Parallel()
		s := start(t, one+quiet, env("DRONE_BIND", "127.0.0.1:0"))
		s.fill("kv-shared/ci-token")
		s.servesOne(t)
		if strings.HasSuffix(s.Address, ":3000") {
			t.Error("DRONE_BIND means nothing")
		}
	})
	for name, c := range map[string]struct {
		config  string
		options []option
		says    []string
	}{
		"DRONE_BIND where it has":       {one, []option{env("DRONE_BIND", "0.0.0.0:1")}, []string{"DRONE_BIND", "listen.address"}},
		"DRONE_DEBUG where it has":      {one + "log: {level: info}\n", []option{env("DRONE_DEBUG", "true")}, []string{"DRONE_DEBUG", "log.level"}},
		"DRONE_SECRET beside its pools": {one + key("k1", "OTHER_KEY"), []option{env("OTHER_KEY", newKey), askingWith(newKey)}, []string{"DRONE_SECRET", "pool"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.config, c.options...)
			s.fill("kv-shared/ci-token")
			s.servesOne(t)
			for _, text := range append(c.says, `"level":"warn"`, "not used") {
				if !strings.Contains(s.out.String(), text) {
					t.Errorf("nobody is warned of it with %q:\n%s", text, s.out)
				}
			}
		})
	}
	t.Run("a wide DRONE_BIND without TLS", func(t *testing.T) {
		code, out := refuses(t, one+quiet, env("DRONE_BIND", "0.0.0.0:0"))
		if code != 1 || !strings.Contains(out, "plain_http") {
			t.Errorf("it ends with %d and says %s", code, out)
		}
	})
	t.Run("a DRONE_BIND that is no address", func(t *testing.T) {
		code, out := refuses(t, one+quiet, env("DRONE_BIND", "nonsense"))
		if code != 1 || !strings.Contains(out, "host:port") {
			t.Errorf("it ends with %d and says %s", code, out)
		}
	})
	t.Run("a wide DRONE_BIND behind a proxy", func(t *testing.T) {
		s := start(t, one+quiet, env("DRONE_BIND", "0.0.0.0:0"), env("DRONE_ENTRA_PLAIN_HTTP", "true"))
		_, port, _ := net.SplitHostPort(s.Address)
		s.Address, s.URL = "127.0.0.1:"+port, "http://127.0.0.1:"+port
		s.fill("kv-shared/ci-token")
		s.servesOne(t)
	})
	t.Run("a variable of a key that is not set", func(t *testing.T) {
		code, out := refuses(t, one+key("k1", "OTHER_KEY"))
		if code != 1 || !strings.Contains(out, "OTHER_KEY") || !strings.Contains(out, `"k1"`) {
			t.Errorf("it ends with %d and says %s", code, out)
		}
	})
}

// An address that somebody else has is refused with the remedy; but nobody asked for the default one of the admin page, so
// that one does not keep the extension from serving.
func TestCAnAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	for name, listen := range map[string]string{
		"listen.address": `listen: {address: "` + at + `", admin: "127.0.0.1:0"}`,
		"listen.admin":   `listen: {address: "127.0.0.1:0", admin: "` + at + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			code, out := refuses(t, one+listen+"\n")
			for _, text := range []string{name, at, "another process", "choose another"} {
				if code != 1 || !strings.Contains(out, text) {
					t.Errorf("it ends with %d and doesn't say %q: %s", code, text, out)
				}
			}
		})
	}
	t.Run("the default admin address", func(t *testing.T) {
		if admin, err := net.Listen("tcp", "127.0.0.1:9090"); err == nil { // else somebody has it already
			defer admin.Close()
		}
		s := start(t, one+`listen: {address: "127.0.0.1:0"}`+"\n")
		s.fill("kv-shared/ci-token")
		s.servesOne(t)
		if !strings.Contains(s.out.String(), `"level":"warn"`) || !strings.Contains(s.out.String(), "listen.admin") {
			t.Errorf("nobody is told that /status is missing:\n%s", s.out)
		}
	})
}

// Several files, and a directory, are one configuration; `check` and `serve` agree on it.
func TestCSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	for name, text := range map[string]string{
		"10-vaults.yaml": "version: 1\n" + vaultsOnly, "20-rules.yml": "version: 1\nbindings:\n" + rule, "README.md": "no YAML: [", ".hidden.yaml": "no: [",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	invoke(t, dir, nil, "check", dir).says(t, 0, "1 binding", "0 errors")
	invoke(t, dir, nil, "check", "10-vaults.yaml", "20-rules.yml").says(t, 0, "1 binding", "0 errors")
	invoke(t, dir, nil, "check", "20-rules.yml").says(t, 1, "20-rules.yml:3:", "shared")
	if err := os.WriteFile(dir+"/30-again.yaml", []byte("version: 1\n"+vaultsOnly+"bindings:\n"+rule), 0o600); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "check", dir).says(t, 1, "30-again.yaml:2:", "10-vaults.yaml:2:", "already", `"app-ci"`)
}
