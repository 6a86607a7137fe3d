package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/config"
)

// takes is what Azure takes as a federated credential's name.
var takes = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$`)

// Whatever a repository's id and its deploy target are, the name is one that Azure takes, is the same the next time, and
// differs, in more than case, from that of any other.
func TestCredentialNames(t *testing.T) {
	trust := rapid.Custom(func(t *rapid.T) Trust {
		return Trust{
			UID:      rapid.StringMatching(`[A-Za-z0-9{}._-]{1,128}`).Draw(t, "uid"),
			DeployTo: rapid.OneOf(rapid.String(), rapid.Just("")).Draw(t, "target"),
			Issuer:   "https://oidc.acme.example",
			Subject:  rapid.SampledFrom([]string{"drone:a:repo:1", "drone:a:repo:1:environment:x", "drone:a:repo:1:environment:X"}).Draw(t, "subject"),
			Audience: rapid.SampledFrom([]string{"api://AzureADTokenExchange", "x"}).Draw(t, "audience"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := trust.Draw(t, "a"), trust.Draw(t, "b")
		name := credentialName(&a)
		if !takes.MatchString(name) {
			t.Errorf("Azure doesn't take %q", name)
		}
		if name != credentialName(&a) {
			t.Errorf("%+v has two names", a)
		}
		if same := a.Subject == b.Subject && a.Audience == b.Audience; !same && strings.EqualFold(name, credentialName(&b)) {
			t.Errorf("%+v and %+v are both called %s", a, b, name)
		}
	})
}

const issuing = `version: 1
issuer: {url: "https://oidc.acme.example", server: drone.acme.example, keys: [{key: sign/k@0123456789abcdef0123456789abcdef}]}
vaults: {sign: {url: https://kv-sign.vault.azure.net}, repo: {url: https://kv-repo.vault.azure.net, identity: repo}}
`

func subjects(t *testing.T, yaml string, of SubjectsOf) Subjects {
	t.Helper()
	c, problems := config.Load(saved(t, issuing+yaml))
	if c == nil {
		t.Fatal(problems)
	}
	s, err := FindSubjects(c, of)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Only who can get something through an identity is listed for it: by a vault, by a token, in read and in names.
func TestSubjectsAreThoseOfWhoReads(t *testing.T) {
	const one = "identities: {default: {}, repo: {client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {issuer: repo}}}\n" +
		"tokens: {arm: {identity: repo, scope: https://management.azure.com/.default}, aws: {audience: sts.amazonaws.com, subject: environment}}\nbindings:\n"
	for rule, want := range map[string]string{
		"read: [repo/x]":                 "repo:1 | ",
		"names: {x: repo/x}":             "repo:1 | ",
		"read: [tokens/arm]":             "repo:1 | ",
		"read: [tokens/arm/expires]":     "repo:1 | ",
		"names: {x: tokens/arm/expires}": "repo:1 | ",
		"read: [sign/x]":                 " | ",
		"read: [tokens/aws]":             " | repo:1:environment:prod",
		"read: [\"tokens/*\"]":           "repo:1 | repo:1:environment:prod",
		"names: {x: tokens/aws}":         " | repo:1:environment:prod",
	} {
		s := subjects(t, one+"- {id: a, repos: [{slug: acme/app, uid: \"1\"}], actors: [al], when: {promote: {deploy_to: [prod]}}, "+rule+"}\n"+
			"- {id: b, repos: [acme/open], read: [sign/y]}\n", SubjectsOf{})
		got := ""
		for _, a := range s.Applications {
			for _, x := range a.Trusts {
				got += strings.TrimPrefix(x.Subject, "drone:drone.acme.example:")
			}
		}
		got += " | "
		for _, x := range s.Tokens[0].Trusts {
			got += strings.TrimPrefix(x.Subject, "drone:drone.acme.example:")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// What the list can't say, a note says.
func TestSubjectsHaveNotes(t *testing.T) {
	const form = "identities: {default: {}, repo: {client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {issuer: FORM}}}\nbindings:\n"
	repos := ""
	for n := range MaxCredentials + 1 {
		repos += `{slug: acme/x, uid: "` + strings.Repeat("1", n+1) + `"},`
	}
	for _, c := range []struct {
		form, rule, want string
		of               SubjectsOf
	}{
		{"repo", "- {id: a, repos: [\"acme/*\"], read: [repo/x]}\n", "binding a names acme/* without a uid", SubjectsOf{}},
		{"environment", "- {id: a, repos: [{slug: acme/x, uid: \"1\"}], read: [repo/x]}\n", "no binding names a deploy target for uid 1", SubjectsOf{}},
		{"environment", "- {id: a, repos: [acme/x], actors: [al], when: {promote: {deploy_to: [\"p-*\"]}}, read: [repo/x]}\n", "the deploy targets p-*", SubjectsOf{Slug: "acme/x", UID: "7"}},
		{"environment", "- {id: a, repos: [{slug: acme/x, uid: \"1\"}], read: [repo/x]}\n", "use a shorter one", SubjectsOf{DeployTo: []string{strings.Repeat("é", 300)}}},
		{"repo", "- {id: a, repos: [" + repos + "], read: [repo/x]}\n", "these are 21, and Entra takes 20", SubjectsOf{}},
	} {
		s := subjects(t, strings.Replace(form, "FORM", c.form, 1)+c.rule, c.of)
		if notes := strings.Join(s.Applications[0].Notes, "\n"); !strings.Contains(notes, c.want) {
			t.Errorf("%s: the notes %q don't say %q", c.rule, notes, c.want)
		}
	}
}

// A shell takes what is printed as one word.
func TestQuotedIsOneWord(t *testing.T) {
	for _, s := range []string{"", "a b", "it's", "$(rm -rf /)", "`x`", "a\nb", `\`} {
		q := quoted(s)
		if strings.ReplaceAll(q[1:len(q)-1], `'\''`, "'") != s || strings.Contains(strings.ReplaceAll(q[1:len(q)-1], `'\''`, ""), "'") {
			t.Errorf("%q becomes %s", s, q)
		}
	}
}

// saved puts a configuration into a file.
func saved(t *testing.T, yaml string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{file}
}

// Each cloud's exchange has an audience of its own.
func TestSubjectsAreForTheCloudsExchange(t *testing.T) {
	for cloud, want := range map[string]string{"public": "api://AzureADTokenExchange", "usgovernment": "api://AzureADTokenExchangeUSGov", "china": "api://AzureADTokenExchangeChina"} {
		s := subjects(t, "identities: {default: {}, repo: {client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {issuer: repo}}, "+
			"far: {client_id: 3f2a4c55-1111-4222-8333-444455557777, cloud: "+cloud+", assertion: {issuer: repo}}}\n", SubjectsOf{UID: "7"})
		trust := s.Applications[0].Trusts[0]
		if trust.Audience != want || !strings.Contains(trust.Managed, "--audiences '"+want+"'") || !strings.Contains(s.Applications[0].Bicep, "'"+want+"'") {
			t.Errorf("%s: %+v", cloud, trust)
		}
	}
}
