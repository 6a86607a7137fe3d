package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/config"
)

func TestAssertionsLoad(t *testing.T) {
	cfg, _ := loads(t, strings.Replace(issued, "identities:\n", "identities:\n  pay: {client_id: "+client+", assertion: {managed: {client_id: "+client+"}}}\n"+
		"  bit: {assertion: {issuer: repo}, clients: {\"{7a-B}.c_d\": "+client+"}}\n", 1))
	at := func(line string) string { return cfg.Files[0].Name + ":" + line }
	for _, want := range []config.Identity{
		{Name: "pay", ClientID: client, AssertionManaged: client, Cloud: "public", At: at("8")},
		{Name: "bit", Issuer: "repo", Clients: map[string]string{"{7a-B}.c_d": client}, Cloud: "public", At: at("9")},
		{Name: "vm", ClientID: client, Managed: true, Cloud: "public", At: at("11")},
		{Name: "repo", ClientID: client, Issuer: "repo", Cloud: "public", At: at("12")},
		{Name: "env", Issuer: "environment", Clients: map[string]string{"42": client}, Cloud: "public", At: at("13")},
	} {
		if diff := cmp.Diff(want, cfg.Identities[want.Name]); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAssertionsRefused(t *testing.T) {
	const id = "client_id: " + client
	for _, test := range []struct{ body, want string }{
		{id + ", assertion: §{file: /t, issuer: repo}", "an assertion comes from one place: write {file: …}, {managed: {client_id: …}} or {issuer: repo}, one of them"},
		{id + ", assertion: §{file: /t, managed: {" + id + "}}", "one of them"},
		{id + ", assertion: {managed: §{}}", `a managed identity needs "client_id"`},
		{id + ", assertion: {managed: {client_id: §vm}}", "a managed identity is named by the GUID of its client id"},
		{id + ", assertion: {issuer: §branch}", `unknown issuer "branch": it is repo or environment`},
		{id + ", assertion: {issuer: §enviroment}", `did you mean "environment"?`},
		{id + ", §issuer: repo", "write assertion: {issuer: repo}"},
		{id + ", assertion: {§isuer: repo}", `unknown key "isuer": did you mean "issuer"?`},
		{"clients: §{\"42\": " + client + "}", `"clients" needs an assertion that tells repositories apart: write assertion: {issuer: repo} beside it`},
		{"clients: §{\"42\": " + client + "}, assertion: {file: /t}", `"clients" needs an assertion`},
		{"client_id: §" + client + ", clients: {\"42\": " + client + "}, assertion: {issuer: repo}", "one application (client_id) or one for each repository (clients)"},
		{"clients: {§42: " + client + "}, assertion: {issuer: repo}", `42 is a number, and a string belongs here: quote it ("42")`},
		{"clients: {§acme/app: " + client + "}, assertion: {issuer: repo}", `"acme/app" is no repository's uid`},
		{"clients: {§" + strings.Repeat("a", 129) + ": " + client + "}, assertion: {issuer: repo}", "is no repository's uid"},
		{"clients: {\"42\": §app}, assertion: {issuer: repo}", `"app" is no GUID`},
		{"clients: §{}, assertion: {issuer: repo}", `"clients" is an empty mapping`},
		{"managed: {" + id + "}, clients: §{\"42\": " + client + "}", "write managed: {client_id: …} alone"},
		{"managed: {" + id + "}, assertion: §{issuer: repo}", "write managed: {client_id: …} alone"},
	} {
		refuses(t, strings.Replace(issued, "identities:\n", "identities:\n  pay: {"+test.body+"}\n", 1), test.want)
	}
	refuses(t, "version: 1\nidentities: {pay: §{assertion: {issuer: repo}}}\nissuer: {url: https://a.example, server: s, keys: [{key: v/k@"+version+"}]}\nvaults: {v: {url: https://kv-v.vault.azure.net}}\n", `identity "pay" needs "client_id"`)
	refuses(t, "version: 1\nidentities: {default: {assertion: {issuer: §repo}}}\n", `an assertion of our own issuer needs one: say its url, server and keys under "issuer"`)
}

// The URL is what Entra compares byte for byte: nothing of it is made tidy.
func TestIssuerLoads(t *testing.T) {
	const other = "fedcba9876543210fedcba9876543210"
	for _, url := range []string{
		"https://oidc.acme.example", "https://oidc.acme.example/", "https://oidc.acme.example/drone", "https://Oidc.acme.example/Drone/", "https://acme.blob.core.windows.net/oidc/a~b_c",
	} {
		cfg, problems := loads(t, strings.Replace(strings.Replace(issued, "https://oidc.acme.example/drone", url, 1), "keys: [",
			"keys: [{key: sign/K@"+strings.ToUpper(other)+", from: \"2026-12-01T01:00:00+01:00\"}, ", 1)+"bindings: [{id: a, repos: [acme/x], read: [shared/x, each/x]}]\n")
		want := &config.Issuer{
			URL: url, Server: "drone.acme.example", At: cfg.Files[0].Name + ":14",
			Keys: []config.IssuerKey{
				{Vault: "sign", Name: "k", Version: other, From: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), At: cfg.Files[0].Name + ":16"},
				{Vault: "sign", Name: "k", Version: version, At: cfg.Files[0].Name + ":16"},
			},
		}
		if diff := cmp.Diff(want, cfg.Issuer); diff != "" {
			t.Error(diff)
		}
		for _, p := range problems { // signing is a use of a vault
			if strings.Contains(p.Text, `vault "sign"`) || p.Rule == "unused-issuer" {
				t.Error(p)
			}
		}
	}
	if cfg, _ := loads(t, "version: 1\n"); cfg.Issuer != nil {
		t.Errorf("%+v", cfg.Issuer)
	}
}

func TestIssuerRefused(t *testing.T) {
	with := func(old, new string) string {
		if strings.Count(issued, old) != 1 {
			t.Fatalf("%q is not once in the configuration", old)
		}
		return strings.Replace(issued, old, new, 1)
	}
	for url, want := range map[string]string{
		"http://oidc.acme.example":                                   "an issuer is https:// in lower case",
		"HTTPS://oidc.acme.example":                                  "an issuer is https:// in lower case",
		"oidc.acme.example":                                          "it has no https:// in front",
		"https://localhost":                                          "its host has a dot in it",
		"https://oidc":                                               "its host has a dot in it",
		"https:///drone":                                             "its host is no DNS name",
		"https://oidc..example":                                      "its host is no DNS name",
		"https://oidc.acme.example.":                                 "its host is no DNS name",
		"https://oidc_x.acme.example":                                "its host is no DNS name",
		"https://10.0.0.4/drone":                                     "an IP address",
		"https://me@oidc.acme.example":                               "it holds a user",
		"\"https://oidc.acme.example:443\"":                          "it has a port",
		"\"https://oidc.acme.example:\"":                             "it has a port",
		"\"https://oidc.acme.example?\"":                             "a query or a fragment",
		"\"https://oidc.acme.example/?a=b\"":                         "a query or a fragment",
		"\"https://oidc.acme.example/#\"":                            "a query or a fragment",
		"\"https://oidc.acme.example/a b\"":                          "nothing that is encoded",
		"\"https://oidc.acme.example/it's\"":                         "nothing that is encoded",
		"\"https://oidc.acme.example/\\u00e9\"":                      "nothing that is encoded",
		"https://oidc.acme.example/%zz":                              "it can't be read as a URL",
		"https://oidc.acme.example/a/../b":                           "take . and .. out of its path",
		"https://oidc.acme.example/%2e%2e/b":                         "nothing that is encoded",
		"https://oidc.acme.example/.well-known/openid-configuration": "leave /.well-known/openid-configuration out",
		"https://oidc.acme.example/" + strings.Repeat("a", 475):      "more than 500 characters",
	} {
		refuses(t, with("https://oidc.acme.example/drone", "§"+url), want)
	}
	for _, server := range []string{"https://drone.acme.example", "\"a b\"", "a/b", "\"drone:443\"", "a_b", strings.Repeat("a", 101)} {
		refuses(t, with("server: drone.acme.example", "server: §"+server), "can't be the server in a subject")
	}
	keys := "[{key: sign/k@" + version + "}]"
	from := func(at string) string { return fmt.Sprintf("{key: sign/k@%032x, from: %s}", len(at), at) }
	for _, test := range []struct{ keys, want string }{
		{"§[]", `"keys" is an empty list`},
		{"[§{}]", `an issuer's key needs "key"`},
		{"[§sign/k]", "an issuer's key is a mapping (with key and from)"},
		{"[{key: §sign/k}]", "needs the key's version, 32 hexadecimal digits, as in sign/k@0123456789abcdef0123456789abcdef"},
		{"[{key: §sign/k@1}]", "needs the key's version"},
		{"[{key: §sign/k@" + strings.Repeat("g", 32) + "}]", "needs the key's version"},
		{"[{key: §sign@" + version + "}]", "names no key: write vault/key@version"},
		{"[{key: §sign/k@" + version + "/x}]", "names no key: write vault/key@version"},
		{"[{key: §sign/k@" + version + "/value}]", "names no key: write vault/key@version"},
		{"[{key: §sign/a_b@" + version + "}]", "names no key: write vault/key@version"},
		{"[{key: §tokens/k@" + version + "}]", "names no key: write vault/key@version"},
		{"[{key: §https://kv-sign.vault.azure.net/keys/k/" + version + "}]", "names no key: write vault/key@version"},
		{"[{key: §sing/k@" + version + "}]", `no vault is called "sing": did you mean "sign"?`},
		{"[{key: §each/k@" + version + "}]", `vault "each" is opened by the identity "env", whose assertion this key would sign`},
		{"[{key: sign/k@" + version + ", §pem: /key.pem}]", "a private key never leaves Key Vault"},
		{"[{key: sign/k@" + version + ", §version: \"1\"}]", "it stands in key: vault/key@version"},
		{"§[" + from(`"2026-12-01T00:00:00Z"`) + "]", `no key signs before the first "from"`},
		{"[{key: sign/a@" + version + "}, §{key: sign/b@" + version + "}]", `has no "from" either: say from when this one signs`},
		{"[{key: sign/k@" + version + "}, {key: §SIGN/K@" + version + ", from: \"2026-12-01T00:00:00Z\"}]", `no vault is called "SIGN"`},
		{"[{key: sign/k@" + version + "}, {key: §sign/K@" + version + ", from: \"2026-12-01T00:00:00Z\"}]", "this key is at"},
		{"[{key: sign/k@" + version + "}, {key: §again/k@" + version + ", from: \"2026-12-01T00:00:00Z\"}]", "this key is at"},
		{"[{key: sign/k@" + version + "}, " + from(`"2026-12-01T00:00:00Z"`) + ", " + from(`§"2026-12-01T01:00:00+01:00"`) + "]", "signs from the same time on: only one can"},
		{"[{key: sign/k@" + version + "}, " + from("§2026-12-01T00:00:00Z") + "]", "is a date, and a string belongs here: quote it"},
		{"[{key: sign/k@" + version + "}, " + from(`§"2026-12-01"`) + "]", `is no time: write it as in "2026-12-01T00:00:00Z"`},
		{"[{key: sign/k@" + version + "}, " + from(`§"0001-01-01T00:00:00Z"`) + "]", "is no time"},
	} {
		refuses(t, with(keys, test.keys), test.want)
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("{key: sign/k@%032x, from: \"2026-12-01T00:%02d:%02dZ\"}", i, i/60, i%60))
	}
	many[0] = "{key: sign/k@" + version + "}"
	refuses(t, with(keys, "§["+strings.Join(many, ", ")+"]"), "Entra keeps the first 100 keys of an issuer, and here are 101")
	refuses(t, "version: 1\nissuer: §{server: s, keys: [{key: v/k@"+version+"}]}\nvaults: {v: {url: https://kv-v.vault.azure.net}}\n", `issuer needs "url"`)
	refuses(t, with("server:", "§subject: repo\n  server:"), "in a token as subject: repo")
	// The default identity that the environment describes is none of the issuer's, but one that is listed can be.
	loads(t, "version: 1\nissuer: {url: https://a.example, server: s, keys: [{key: v/k@"+version+"}]}\nvaults: {v: {url: https://kv-v.vault.azure.net}}\n")
	refuses(t, "version: 1\nissuer: {url: https://a.example, server: s, keys: [{key: §v/k@"+version+"}]}\nvaults: {v: {url: https://kv-v.vault.azure.net}}\nidentities: {default: {assertion: {issuer: repo}}}\n",
		`vault "v" is opened by the identity "default"`)
	paths := write(t, "a.yaml", issued, "b.yaml", "version: 1\nissuer: {url: https://a.example, server: s, keys: [{key: sign/k@"+version+"}]}\n")
	if _, problems := config.Load(paths); problems.Errors() != 1 || !strings.Contains(problems.String(), `"issuer" is at `+paths[0]+":14:3 already: only one file has it") {
		t.Error(problems)
	}
}
