package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	client  = "3f2a4c55-1111-4222-8333-444455556666"
	version = "0123456789abcdef0123456789abcdef"

	// issued has identities of every assertion, and an issuer.
	issued = `version: 1
vaults:
  shared: {url: https://kv-shared.vault.azure.net}
  sign: {url: https://kv-sign.vault.azure.net, identity: vm}
  again: {url: https://KV-Sign.vault.azure.net, identity: vm}
  each: {url: https://kv-each.vault.azure.net, identity: env}
identities:
  default: {}
  vm: {managed: {client_id: ` + client + `}}
  repo: {client_id: ` + client + `, assertion: {issuer: repo}}
  env: {clients: {"42": ` + client + `}, assertion: {issuer: environment}}
  gov: {client_id: ` + client + `, cloud: usgovernment}
issuer:
  url: https://oidc.acme.example/drone
  server: drone.acme.example
  keys: [{key: sign/k@` + version + `}]
`
)

// tokens is a configuration with those tokens, of which some binding gives all.
func tokens(body string) string {
	return issued + "bindings: [{id: all, repos: [acme/x], read: [\"tokens/*\"]}]\ntokens: {" + body + "}\n"
}

const scope = "scope: https://management.azure.com/.default"

func TestTokensLoad(t *testing.T) {
	cfg, problems := loads(t, tokens(`
  ARM: {identity: vm, scope: 499b84ac-1321-427f-aa17-267ca6975798/.default, min_life: 30m},
  acr: {identity: repo, registry: Acme.azurecr.io, repositories: {team/app: [push, pull], base: [pull]}, min_life: 10m},
  acr-us: {identity: gov, registry: acme.azurecr.us, repositories: {a.b__c--d/e_f: [metadata_write, metadata_read, delete]}},
  aws: {audience: sts.amazonaws.com},
  azure: {audience: "api://AzureADTokenExchange", subject: environment, lifetime: 1h}`))
	for _, p := range problems {
		if strings.HasPrefix(p.Text, `token `) || p.Rule == "unused-issuer" {
			t.Error(p)
		}
	}
	at := func(line string) string { return cfg.Files[0].Name + ":" + line }
	want := map[string]config.Token{
		"arm": {Name: "arm", Identity: "vm", Scope: "499b84ac-1321-427f-aa17-267ca6975798/.default", MinLife: 30 * time.Minute, At: at("19")},
		"acr": {Name: "acr", Identity: "repo", Registry: "acme.azurecr.io", MinLife: 10 * time.Minute, At: at("20"), Repositories: []config.Repository{
			{Name: "base", Actions: []string{"pull"}}, {Name: "team/app", Actions: []string{"pull", "push"}},
		}},
		"acr-us": {Name: "acr-us", Identity: "gov", Registry: "acme.azurecr.us", At: at("21"), Repositories: []config.Repository{
			{Name: "a.b__c--d/e_f", Actions: []string{"delete", "metadata_read", "metadata_write"}},
		}},
		"aws":   {Name: "aws", Audience: "sts.amazonaws.com", Subject: "repo", Lifetime: 5 * time.Minute, At: at("22")},
		"azure": {Name: "azure", Audience: "api://AzureADTokenExchange", Subject: "environment", Lifetime: time.Hour, At: at("23")},
	}
	if diff := cmp.Diff(want, cfg.Tokens); diff != "" {
		t.Error(diff)
	}
	door := cfg.Rules.Vaults[len(cfg.Rules.Vaults)-1]
	if door != (secret.Vault{Alias: "tokens", Host: "tokens"}) {
		t.Errorf("%+v", door)
	}
	if got := cfg.Summary(); got != "1 binding, 0 denies, 0 expectations, 5 tokens" {
		t.Error(got)
	}
	// Without tokens there is no such door.
	cfg, _ = loads(t, issued)
	if slices.ContainsFunc(cfg.Rules.Vaults, func(v secret.Vault) bool { return v.Alias == "tokens" }) || len(cfg.Tokens) != 0 {
		t.Errorf("%+v", cfg.Rules.Vaults)
	}
}

// The one evaluator decides about tokens as about secrets.
func TestTokensAreDecidedAsSecrets(t *testing.T) {
	cfg, _ := loads(t, issued+`tokens:
  arm: {identity: vm, `+scope+`}
  acr: {identity: vm, registry: acme.azurecr.io, repositories: {base: [pull]}}
  root-arm: {identity: vm, `+scope+`}
bindings: [{id: a, repos: [acme/x], read: [tokens/ARM, "tokens/root-*"], names: {user: tokens/acr/username}}]
denies: [{id: no-root, read: ["tokens/root-*"]}]
`)
	policy, err := secret.NewPolicy(cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		"tokens/arm": "tokens/arm", "tokens/arm/expires": "tokens/arm/expires", "user": "tokens/acr/username",
		"tokens/acr": "", "tokens/root-arm": "", "tokens/arm@1": "", "tokens/other": "",
	} {
		d := policy.Decide(secret.Request{Name: asked, Pool: "default", Repo: secret.Repo{UID: "1", Slug: "acme/x", DefaultBranch: "main"},
			Build: secret.Build{Event: "push", Ref: "refs/heads/main"}})
		got := ""
		if d.Grant != nil {
			got = d.Grant.Ref.String()
		}
		if got != want {
			t.Errorf("%s: granted %q, want %q", asked, got, want)
		}
	}
}

func TestTokensRefused(t *testing.T) {
	const registry = "identity: vm, registry: acme.azurecr.io, "
	for _, test := range []struct{ body, want string }{
		{"a: §{identity: vm}", `a token has a "scope" (of Entra), a "registry" or an "audience" (signed by our issuer), one of them`},
		{"a: §{identity: vm, " + scope + ", audience: x}", "one of them"},
		{"a: §{registry: acme.azurecr.io, " + scope + "}", "one of them"},
		{"a: {identity: vm, §scopes: x}", `unknown key "scopes": did you mean "scope"?`},
		{"a: {identity: §\"\", " + scope + "}", "an empty string"},
		{"a: {identity: vm, " + scope + ", §token: never}", "never stands in a configuration"},
		{"a: {identity: vm, §resource: https://management.azure.com}", "write scope: and the resource with /.default behind it"},
		{"a: §x", "a token is a mapping (with identity, scope"},
		{"§a_b: {audience: x}", `"a_b" can't be a token's name: it has letters, digits and dashes`},
		{"§a.b: {audience: x}", "can't be a token's name"},
		{"§\"a*\": {audience: x}", "can't be a token's name"},
		{"§" + strings.Repeat("a", 128) + ": {audience: x}", "can't be a token's name"},
		{"AWS: {audience: x}, §aws: {audience: y}", `token "AWS" and token "aws" are one`},
		{"a: {audience: x}, §a: {audience: y}", `duplicate key "a"`},

		{"a: §{" + scope + "}", `a token with "scope" needs "identity"`},
		{"a: §{registry: acme.azurecr.io, repositories: any}", `a token with "registry" needs "identity"`},
		{"a: {identity: §wm, " + scope + "}", `no identity is called "wm": did you mean "vm"?`},
		{"a: {identity: §vm, audience: x}", `"identity" means nothing beside "audience": our own issuer signs`},
		{"a: {audience: x, min_life: §5m}", "lifetime says how long it lives"},
		{"a: {identity: vm, " + scope + ", lifetime: §5m}", "min_life says how much of that must be left"},
		{"a: {identity: vm, " + scope + ", subject: §repo}", `"subject" means nothing beside "scope"`},
		{"a: {identity: vm, " + scope + ", repositories: §any}", `"repositories" means nothing beside "scope": only a registry has them`},
		{"a: {identity: vm, " + scope + ", min_life: §30s}", `"min_life" is a duration from 1m to 24h`},
		{"a: {identity: vm, " + scope + ", min_life: §25h}", `"min_life" is a duration from 1m to 24h`},
		{"a: {audience: x, lifetime: §30s}", `"lifetime" is a duration from 1m to 1h`},
		{"a: {audience: x, lifetime: §2h}", `"lifetime" is a duration from 1m to 1h`},
		{"a: {audience: x, subject: §branch}", `unknown subject "branch": it is repo or environment`},
		{"a: {audience: §\"a b\"}", "can't be an audience"},
		{"a: {audience: §\"a\\u200b\"}", "can't be an audience"},
		{"a: {audience: §" + strings.Repeat("a", 301) + "}", "can't be an audience"},
		{"a: {audience: §\"\"}", "an empty string"},

		{"a: {identity: vm, scope: §https://management.azure.com}", "write the resource and /.default behind it"},
		{"a: {identity: vm, scope: §https://management.azure.com/.Default}", "write the resource and /.default behind it"},
		{"a: {identity: vm, scope: §/.default}", "write the resource and /.default behind it"},
		{"a: {identity: vm, scope: §\"https://a/.default https://b/.default\"}", "a blank"},
		{"a: {identity: vm, scope: §https://vault%2eazure.net/.default}", "a blank, a %"},
		{"a: {identity: vm, scope: §\"https://v\\u0430ult.azure.net/.default\"}", "outside of ASCII"},
		{"a: {identity: vm, scope: §https://" + strings.Repeat("a", 300) + "/.default}", "more than 300"},

		{"a: {" + registry + "repositories: §[team/app]}", `"repositories" is a mapping from names to actions, or any: write {team/app: [pull]}`},
		{"a: {" + registry + "repositories: §all}", `"repositories" is a mapping from names to actions, or any`},
		{"a: {" + registry + "repositories: §{}}", `"repositories" is an empty mapping`},
		{"a: {" + registry + "repositories: {app: §[]}}", `"app" is an empty list`},
		{"a: {" + registry + "repositories: {app: §pull}}", `"app" is a list: write [pull]`},
		{"a: {" + registry + "repositories: {app: [§pul]}}", `unknown action "pul": did you mean "pull"?`},
		{"a: {" + registry + "repositories: {app: [§\"*\"]}}", `unknown action "*": it is delete, metadata_read, metadata_write, pull or push`},
		{"a: {" + registry + "repositories: {app: [pull, §pull]}}", `"pull" is there twice`},
		{"a: §{identity: vm, registry: acme.azurecr.io}", `a token of a registry needs "repositories"`},
	} {
		refuses(t, tokens(test.body), test.want)
	}
	for _, name := range []string{"Team/app", "\"team/*\"", "team//app", "/app", "app/", "a..b", "a___b", "a._b", "-a", "a-", "a b", "\"a,b\"", "\"a:pull\"", strings.Repeat("a", 256)} {
		refuses(t, tokens("a: {"+registry+"repositories: {§"+name+": [pull]}}"), "is no repository's name")
	}
	for _, host := range []string{"https://acme.azurecr.io", "acme.azurecr.io/team", "acme.azurecr.com", "acme.eastus.data.azurecr.io", "azurecr.io", ".azurecr.io",
		"acme.azurecr.io.", "acme.azurecr.io.evil.example", "\"acme.azurecr.io:443\"", "evil@acme.azurecr.io", "\"acme.azurecr.io#\"", "docker.io", "-a.azurecr.io"} {
		refuses(t, tokens("a: {identity: vm, registry: §"+host+", repositories: any}"), "is no registry: it is one name under azurecr.cn, azurecr.io or azurecr.us")
	}
	refuses(t, tokens("a: {identity: vm, registry: §acme.azurecr.com, repositories: any}"), `did you mean "acme.azurecr.io"?`)
	refuses(t, tokens("a: {identity: vm, registry: §acme.azurecr.us, repositories: any}"), `identity "vm" is of the cloud public and the registry acme.azurecr.us of usgovernment: name an identity with cloud: usgovernment`)
	refuses(t, tokens("a: {identity: gov, registry: §acme.azurecr.io, repositories: any}"), "name an identity with cloud: public")
	refuses(t, top("tokens: {a: {audience: §x}}\n"), `signed by our own issuer: say its url, server and keys under "issuer"`)
	refuses(t, "version: 1\ntokens: §{}\n", `"tokens" is an empty mapping`)
	refuses(t, "version: 1\nvaults: {§tokens: {url: https://kv-shared.vault.azure.net}}\nbindings: [{id: a, repos: [acme/x], read: [tokens/x]}]\n",
		`"tokens" can't be a vault's alias: short-lived tokens are read under it`)
}

// The default identity need not be listed: a token makes it, of the cloud that its vaults are in.
func TestTokensOfTheEnvironmentsIdentity(t *testing.T) {
	const acr = "tokens: {a: {identity: default, registry: §acme.azurecr."
	const rest = ", repositories: {app: [pull]}}}\nbindings: [{id: a, repos: [acme/x], read: [tokens/a]}]\n"
	for _, test := range []struct{ vaults, suffix, cloud string }{
		{"", "io", "public"},
		{"vaults: {v: {url: https://kv-v.vault.azure.cn}}\n", "cn", "china"},
	} {
		cfg, problems := loads(t, "version: 1\n"+test.vaults+strings.Replace(acr, mark, "", 1)+test.suffix+rest)
		if id := cfg.Identities["default"]; id.Cloud != test.cloud || id.Name != "default" {
			t.Errorf("%+v", id)
		}
		if problems.Warnings() > strings.Count(test.vaults, "url") {
			t.Error(problems)
		}
	}
	refuses(t, "version: 1\n"+acr+"cn"+rest, `identity "default" is of the cloud public and the registry acme.azurecr.cn of china`)
	// Nothing is said of a cloud that could not be read.
	refuses(t, "version: 1\nidentities: {default: {cloud: §germany}}\n"+strings.Replace(acr, mark, "", 1)+"cn"+rest, "unknown cloud")
}

// What a file says that could not be read is not called missing.
func TestTokensOfAnUnreadableFile(t *testing.T) {
	paths := write(t, "a.yaml", top("bindings: [{id: a, repos: [acme/x], read: [tokens/arm, \"tokens/*\"]}]\ndenies: [{id: d, read: [tokens/arm]}]\ntokens: {aws: {audience: x}}\n"+
		"identities: {pay: {client_id: "+client+", assertion: {issuer: repo}}}\n"), "b.yaml", "version: 1\ntokens: [\n")
	_, problems := config.Load(paths)
	if problems.Errors() != 1 || problems[len(problems)-1].File != paths[1] {
		t.Error(problems)
	}
	paths = write(t, "a.yaml", issued, "b.yaml", "version: 1\ntokens: {ARM: {identity: vm, "+scope+"}}\n", "c.yaml", "version: 1\ntokens: {arm: {identity: vm, "+scope+"}, acr: {audience: x}}\n",
		"d.yaml", "version: 1\ntokens: {acr: {audience: x}}\n")
	_, problems = config.Load(paths)
	if problems.Errors() != 2 || !strings.Contains(problems.String(), `token "ARM" and token "arm" are one`) || !strings.Contains(problems.String(), `token "acr" is at `+paths[2]) {
		t.Error(problems)
	}
}

// Rules about many tokens take no longer than they must, and what could not be compared is not called unused.
func TestManyTokens(t *testing.T) {
	var listed, bindings strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&listed, "  t%d: {audience: x, subject: environment}\n", i)
		fmt.Fprintf(&bindings, "- {id: b%d, repos: [acme/x], read: [\"tokens/*a%d\"]}\n", i, i)
	}
	cfg, problems := config.Check(write(t, "c.yaml", issued+"tokens:\n"+listed.String()+"bindings:\n"+bindings.String()))
	if cfg == nil || len(cfg.Tokens) != 1200 || strings.Contains(problems.String(), "is not used: no binding gives it") {
		t.Errorf("%d problems, as in\n%v", len(problems), problems[:min(3, len(problems))])
	}
	cfg, problems = config.Check(write(t, "c.yaml", issued+"tokens:\n"+listed.String()+"bindings: [{id: a, repos: [acme/x], read: [tokens/t7, \"tokens/t1*\"]}]\n"))
	unused := 0
	for _, p := range problems {
		if p.Rule == "unused-token" {
			unused++
		}
	}
	if cfg == nil || unused < 600 {
		t.Errorf("%d of %d are unused", unused, len(problems))
	}
}

// A token for Key Vault or for Entra's exchange would open what no binding gives, however its resource is written.
func TestScopesThatOpenEverything(t *testing.T) {
	for _, resource := range []string{
		"https://vault.azure.net", "https://vault.azure.cn", "https://vault.usgovcloudapi.net", "https://vault.azure.net/", "HTTPS://Vault.Azure.NET", "http://vault.azure.net",
		"https://vault.azure.net:443", "https://kv-pay.vault.azure.net", "https://x@vault.azure.net", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "api://CFA8B339-82a2-471a-a3c9-0fc0be7a4093",
		"7e7c393b-45d0-48b1-a35e-2905ddf8183c",
	} {
		refuses(t, tokens("a: {identity: vm, scope: §"+resource+"/.default}"), "a build could read whatever the identity may, past every binding")
	}
	for _, resource := range []string{"api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov", "api://AzureADTokenExchangeChina", "API://azureadtokenexchange", "fb60f99c-7a34-4190-8149-302f77469936"} {
		refuses(t, tokens("a: {identity: vm, scope: §"+resource+"/.default}"), "whoever has a token for Entra's exchange is the identity")
	}
	resource := rapid.StringMatching(`https://[a-z]{1,8}\.(database|management|storage)\.(azure|windows)\.(com|net)/?|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}`)
	path := filepath.Join(t.TempDir(), "c.yaml")
	rapid.Check(t, func(rt *rapid.T) { // what is none of these is fine
		want := resource.Draw(rt, "resource") + "/.default"
		if err := os.WriteFile(path, []byte(tokens("a: {identity: vm, scope: "+want+"}")), 0o600); err != nil {
			rt.Fatal(err)
		}
		cfg, problems := config.Load([]string{path})
		if cfg == nil || cfg.Tokens["a"].Scope != want {
			rt.Fatalf("%v", problems)
		}
	})
}

// A repository's name is one as the OCI distribution specification has it.
func TestRepositoryNames(t *testing.T) {
	oci := regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	path := filepath.Join(t.TempDir(), "c.yaml")
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a0A._/*-]{1,7}|[a0]([._-]{0,3}[a0/]){1,4}`).Draw(rt, "name")
		if err := os.WriteFile(path, []byte(tokens("a: {identity: vm, registry: acme.azurecr.io, repositories: {\""+name+"\": [pull]}}")), 0o600); err != nil {
			rt.Fatal(err)
		}
		if cfg, problems := config.Load([]string{path}); (cfg != nil) != oci.MatchString(name) {
			rt.Fatalf("%q: %v", name, problems)
		}
	})
}

// What rules say of tokens is checked as no name of a secret can be.
func TestTokensInRules(t *testing.T) {
	const listed = "tokens: {arm: {identity: vm, " + scope + "}, acr: {identity: vm, registry: acme.azurecr.io, repositories: {base: [pull]}}}\n"
	binding := func(body string) string {
		return issued + listed + "bindings:\n- {id: all, repos: [acme/x], read: [\"tokens/*\"]}\n- {id: a, repos: [acme/y], " + body + "}\n"
	}
	for _, test := range []struct{ yaml, want string }{
		{binding("read: [§tokens/armm]"), `no token is called "armm": did you mean "arm"?`},
		{binding("read: [§tokens/elsewhere]"), `no token is called "elsewhere": list it under tokens`},
		{binding("names: {a: §tokens/elsewhere}"), `no token is called "elsewhere": list it under tokens`},
		{binding("read: [§token/arm]"), `no vault is called "token": did you mean "tokens"?`},
		{binding("read: [§tokens/arm@1]"), `"tokens/arm@1": a token has no versions, as each is made when it is asked for: write tokens/arm`},
		{binding("read: [§\"tokens/arm@*\"]"), "a token has no versions"},
		{binding("read: [§\"tokens/*@*\"]"), "a token has no versions"},
		{binding("names: {a: §tokens/arm@1/expires}"), "a token has no versions"},
		{binding("read: [§tokens/arm/username]"), "the keys of this token are expires; without a key it is the token itself"},
		{binding("names: {a: §tokens/acr/password}"), "the keys of this token are expires, username and registry"},
		{binding("read: [tokens/arm]") + "denies: [{id: d, read: [§tokens/armm]}]\n", `did you mean "arm"?`},
		{binding("read: [tokens/arm]") + "expect: [{read: §tokens/armm, decision: deny}]\n", `did you mean "arm"?`},
		{binding("read: [tokens/arm]") + "expect: [{read: §tokens/arm@1, decision: deny}]\n", "a token has no versions"},
		{top("bindings: [{id: a, repos: [acme/x], read: [§tokens/arm]}]\n"), `"tokens/arm" is a short-lived token, and none is listed: list it under "tokens"`},
		{top("bindings: [{id: a, repos: [acme/x], read: [§\"tokens/*\"]}]\n"), `list it under "tokens"`},
		{top("denies: [{id: a, read: [§tokens/arm]}]\n"), `list it under "tokens"`},
		{top("expect: [{read: §tokens/arm, decision: deny}]\n"), `list it under "tokens"`},
	} {
		refuses(t, test.yaml, test.want)
	}
	for _, body := range []string{
		"read: [\"tokens/a*\"]", "read: [\"tokens/**\"]", "read: [\"tokens/later-*\"]", "read: [tokens/ARM, tokens/acr/username, tokens/arm/expires, tokens/arm/value]", "read: [\"tokens/*/expires\", \"tokens/arm/*\"]",
		"names: {a: tokens/acr, b: tokens/acr/registry, c: tokens/arm/expires}",
	} {
		_, problems := loads(t, binding(body)+"denies: [{id: d, read: [tokens/acr, \"tok*/x\"]}]\nexpect: [{read: tokens/arm/expires, decision: deny}]\n")
		for _, p := range problems {
			if !strings.HasPrefix(p.Rule, "unused-") || p.Rule == "unused-token" {
				t.Error(p)
			}
		}
	}
	// What a file is confined to holds for tokens as well.
	main := issued + listed + "bindings: [{id: all, repos: [acme/x], read: [\"tokens/*\"]}]\nfiles: {team.yaml: {repos: [acme/y], read: [\"tokens/ar*\"]}}\n"
	for read, inside := range map[string]bool{"tokens/arm": true, "tokens/ar*": true, "tokens/acr": false, "tokens/*": false} {
		cfg, problems := config.Load(write(t, "main.yaml", main, "team.yaml", "version: 1\nbindings: [{id: a, repos: [acme/y], read: [\""+read+"\"]}]\n"))
		if (cfg != nil) != inside || !inside && !strings.Contains(problems.String(), "reaches outside") {
			t.Errorf("%s: %v", read, problems)
		}
	}
}

func TestTokenWarnings(t *testing.T) {
	arm := "tokens: {arm: {identity: vm, " + scope + "}, §acr: {identity: vm, registry: acme.azurecr.io, repositories: {base: [pull]}}}\n"
	for _, test := range []struct{ yaml, want string }{
		{issued + arm + "bindings: [{id: a, repos: [acme/x], read: [tokens/arm]}]\ndenies: [{id: d, read: [tokens/acr]}]\n", `token "acr" is not used: no binding gives it`},
		{tokens("a: {identity: vm, registry: acme.azurecr.io, repositories: §any}"), `repositories: any hands a build the whole rights of identity "vm" in the registry for 3 hours`},
		{tokens("a: {audience: §\"api://AzureADTokenExchange\"}"), `a build with this token can exchange it itself and read whatever identity "repo" may, past the bindings`},
		{tokens("a: {audience: §\"api://azureadtokenexchangeusgov\"}"), `identity "repo"`},
		{tokens("a: {audience: §\"api://AzureADTokenExchangeChina\", subject: environment}"), `identity "env"`},
		{"version: 1\nvaults: {sign: {url: https://kv-sign.vault.azure.net}}\nissuer: §{url: https://oidc.acme.example, server: s, keys: [{key: sign/k@" + version + "}]}\n", "the issuer is not used"},
	} {
		clean, line, column := marked(t, test.yaml)
		_, problems := loads(t, clean)
		if !slices.ContainsFunc(problems, func(p config.Problem) bool {
			return p.Warning && p.Line == line && p.Column == column && strings.Contains(p.Text, test.want)
		}) {
			t.Errorf("want %d:%d %q, got\n%vfor\n%s", line, column, test.want, problems, clean)
		}
	}
	// A subject of the other form opens nothing, and neither does another audience.
	const two = "version: 1\nvaults: {sign: {url: https://kv-sign.vault.azure.net}, e: {url: https://kv-each.vault.azure.net, identity: env}}\n" +
		"identities: {default: {}, env: {client_id: " + client + ", assertion: {issuer: environment}}}\nissuer: {url: https://oidc.acme.example, server: s, keys: [{key: sign/k@" + version + "}]}\n" +
		"bindings: [{id: a, repos: [acme/x], actors: [al], when: {promote: {deploy_to: [p]}}, read: [\"tokens/*\", e/x]}]\n"
	for _, token := range []string{"{audience: \"api://AzureADTokenExchange\"}", "{audience: sts.amazonaws.com, subject: environment}"} {
		if all := checked(t, two+"tokens: {a: "+token+"}\n"); all != nil {
			t.Errorf("%s: %q", token, all)
		}
	}
}

// Where the subject names a deploy target, an event without one gets nothing.
func TestEnvironmentWithoutTarget(t *testing.T) {
	const listed = issued + "tokens: {aws: {audience: x, subject: environment}, arm: {identity: env, " + scope + "}, other: {identity: vm, " + scope + "}}\nbindings:\n" +
		"- {id: all, repos: [acme/z], actors: [al], when: {promote: {deploy_to: [p]}, rollback: {deploy_to: [p]}}, read: [\"tokens/*\", each/x, repo/x, shared/x, again/x], names: {x: each/y, y: tokens/aws}}\n"
	yaml := strings.Replace(listed, "vaults:\n", "vaults:\n  repo: {url: https://kv-repo.vault.azure.net, identity: repo}\n", 1)
	targets := func(rule string) (found []string) {
		for _, p := range checked(t, yaml+rule) {
			if strings.Contains(p, "environment-without-target") {
				found = append(found, p)
			}
		}
		return found
	}
	for _, test := range []struct{ rule, want string }{
		{"- {id: a, repos: [acme/x], read: [shared/x, §each/x]}\n", `each/x: the subject of identity "env" names the deploy target, and a build of push has none: its requests fail`},
		{"- {id: a, repos: [acme/x], names: {a: §each/x}}\n", `identity "env"`},
		{"- {id: a, repos: [acme/x], read: [§tokens/aws]}\n", `the subject of token "aws" names the deploy target`},
		{"- {id: a, repos: [acme/x], read: [§\"tokens/a*\"]}\n", `identity "env"`},
		{"- {id: a, repos: [acme/x], names: {a: §tokens/arm/expires}}\n", `identity "env"`},
		{"- {id: a, repos: [acme/x], actors: [al], when: {promote: {deploy_to: [p]}, tag: {tags: [\"v*\"]}, cron: {cron: [n]}}, read: [§each/x]}\n", "a build of tag or cron has none"},
	} {
		clean, line, column := marked(t, yaml+test.rule)
		found := targets(strings.TrimPrefix(clean, yaml))
		place := fmt.Sprintf("%d:%d", line, column)
		if len(found) != 1 || !strings.HasPrefix(found[0], place+" warning") || !strings.Contains(found[0], test.want) {
			t.Errorf("want %s %q, got %q", place, test.want, found)
		}
	}
	for _, rule := range []string{
		"- {id: a, repos: [acme/x], read: [repo/x, shared/x, tokens/other]}\n",
		"- {id: a, repos: [acme/x], actors: [al], when: {rollback: {deploy_to: [p]}}, read: [each/x, tokens/aws]}\n",
	} {
		if found := targets(rule); found != nil {
			t.Errorf("%q", found)
		}
	}
}

// Where each repository has a client of its own, one without gets nothing.
func TestClientMissing(t *testing.T) {
	const listed = "version: 1\nissuer: {url: https://oidc.acme.example, server: s, keys: [{key: sign/k@" + version + "}]}\n" +
		"vaults: {sign: {url: https://kv-sign.vault.azure.net}, each: {url: https://kv-each.vault.azure.net, identity: each}}\n" +
		"identities: {default: {}, each: {clients: {\"1\": " + client + "}, assertion: {issuer: repo}}}\n" +
		"tokens: {a: {identity: default, " + scope + "}, arm: {identity: each, " + scope + "}}\nbindings:\n" +
		"- {id: all, repos: [{slug: acme/z, uid: \"1\"}], read: [each/x, \"tokens/*\"]}\n"
	missing := func(rule string) (found []string) {
		for _, p := range checked(t, listed+rule) {
			if strings.Contains(p, "client-missing") {
				found = append(found, p)
			}
		}
		return found
	}
	const two = "repos: [{slug: acme/x, uid: \"1\"}, {slug: acme/y, uid: \"2\"}]"
	for _, test := range []struct{ rule, want string }{
		{"- {id: a, " + two + ", read: [sign/x, §each/x]}\n", `each/x: identity "each" has no client for uid 2, so requests of that repository fail`},
		{"- {id: a, " + two + ", names: {a: §each/x}}\n", "uid 2"},
		{"- {id: a, " + two + ", read: [§tokens/arm]}\n", "uid 2"},
		{"- {id: a, " + two + ", read: [§\"tokens/a*\"]}\n", "uid 2"},
		{"- {id: a, " + two + ", names: {a: §tokens/arm/expires}}\n", "uid 2"},
		{"- {id: a, repos: [{slug: acme/x, uid: \"2\"}, {slug: acme/y, uid: \"3\"}], read: [§each/x]}\n", "uid 2 or 3"},
	} {
		clean, line, column := marked(t, listed+test.rule)
		found := missing(strings.TrimPrefix(clean, listed))
		place := fmt.Sprintf("%d:%d", line, column)
		if len(found) != 1 || !strings.HasPrefix(found[0], place+" warning") || !strings.Contains(found[0], test.want) {
			t.Errorf("want %s %q, got %q", place, test.want, found)
		}
	}
	for _, rule := range []string{
		"- {id: a, repos: [acme/x, \"acme/*\"], read: [each/x, tokens/arm]}\n", // whose ids nobody knows
		"- {id: a, repos: [{slug: acme/x, uid: \"1\"}], read: [each/x, tokens/arm]}\n",
		"- {id: a, repos: [{slug: acme/x, uid: \"2\"}], read: [sign/x, tokens/a]}\n",
	} {
		if found := missing(rule); found != nil {
			t.Errorf("%s: %q", rule, found)
		}
	}
}
