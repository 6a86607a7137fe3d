package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

var pageTime = time.Date(2026, 11, 23, 9, 30, 0, 0, time.FixedZone("CET", 3600))

// pageOf is the page about a configuration that stands in the file name.
func pageOf(t testing.TB, name, yaml string) string {
	t.Helper()
	c, problems := config.Replay([]byte(yaml), name)
	if problems.Errors() > 0 {
		t.Fatal(problems)
	}
	policy, err := secret.NewPolicy(c.Rules)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writePage(&b, c, secret.NewSurvey(policy), pageTime, "drone-entra v1.2.3"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sample(t testing.TB, name string) string {
	t.Helper()
	yaml, err := os.ReadFile(filepath.Join("testdata", "answers", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(yaml)
}

var (
	styleOrScript = regexp.MustCompile(`(?s)<(style|script)>(.*?)</(?:style|script)>`)
	policyHash    = regexp.MustCompile(`sha256-[^']*`)
)

// The page but for its style and script, as it is delivered: testdata/page/*.html.
func TestPageGolden(t *testing.T) {
	for _, name := range []string{"organisation", "gitlab", "two-drones"} {
		body := styleOrScript.ReplaceAllString(pageOf(t, name+".yaml", sample(t, name+".yaml")), "<$1></$1>")
		body = policyHash.ReplaceAllString(body, "sha256-…")
		golden := filepath.Join("testdata", "page", name+".html")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(golden, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if body != string(want) {
			t.Errorf("%s differs; -update writes it anew:\n%s", golden, body)
		}
	}
}

// Nothing is loaded, and nothing runs but the one script, whose hash is the one that the page allows.
func TestPageStandsAlone(t *testing.T) {
	text := pageOf(t, "a.yaml", sample(t, "organisation.yaml"))
	parts := styleOrScript.FindAllStringSubmatch(text, -1)
	if len(parts) != 2 || strings.Count(text, "<script") != 1 || strings.Count(text, "<style") != 1 {
		t.Fatalf("%d styles and scripts", len(parts))
	}
	sum := sha256.Sum256([]byte(parts[1][2]))
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)
	want := "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'"
	if policy == nil || html.UnescapeString(policy[1]) != want {
		t.Errorf("policy %q, want %q", policy, want)
	}
	if strings.Index(text, "Content-Security-Policy") > strings.Index(text, "<style") {
		t.Error("the policy comes after what it is about")
	}
	for _, loading := range []string{" src=", " href=", "url(", "@import", "<link", "<iframe", "<object", "fetch(", "innerHTML", "eval("} {
		if strings.Contains(text, loading) {
			t.Errorf("the page has %q", loading)
		}
	}
	if regexp.MustCompile(`<[^>]* on[a-z]+=`).MatchString(text) {
		t.Error("the page has a handler in an attribute")
	}
}

// hostile is a configuration whose names are attempts to leave their place in the page.
const hostile = `version: 1
vaults: {v: {url: https://kv-hostile-acme.vault.azure.net}}
pools: {default: {keys: [{id: k, env: DRONE_SECRET}]}}
bindings:
  - id: b
    repos: ["acme/app", "acme/</script><img/src=x/onerror=document.title='pwned'>"]
    when: {push: {branches: ["</script><script>document.title='pwned'</script>", "\"onmouseover=alert(1)"]}}
    read: ["v/db*"]
denies:
  - {id: d, repos: ["acme/app"], when: {push: {branches: ["\"onmouseover=alert(1)"]}}, read: ["v/*-root"], reason: "</template></div><img src=x onerror=document.title='pwned'> \u202Egnp.exe\u0007"}
`

const hostileFile = "</title></script><img src=x onerror=document.title='pwned'>\u202elmay."

func TestPageOfHostileNames(t *testing.T) {
	text := pageOf(t, hostileFile, hostile)
	if strings.Count(text, "<img") != 0 || strings.Count(text, "<script") != 1 || strings.Count(text, "</template>") != strings.Count(text, "<template") {
		t.Error("a name became an element")
	}
	if strings.ContainsAny(text, "\u202e\a\u2028") {
		t.Error("an invisible character is in the page")
	}
	for _, want := range []string{
		`acme/&lt;/script&gt;&lt;img/src=x/onerror=document.title=&#39;pwned&#39;&gt;`,
		`&#34;onmouseover=alert(1)`,
		`\u202egnp.exe\u0007`,
		`\u202elmay.`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// many is a configuration of n bindings, each with a repository and a secret of its own, of which there are secrets.
func many(n, secrets int) string {
	var b strings.Builder
	b.WriteString("version: 1\nvaults: {v: {url: https://kv-many-acme.vault.azure.net}}\npools: {default: {keys: [{id: k, env: DRONE_SECRET}]}}\nbindings:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: b%d, repos: [acme/r%d], read: [v/s%d], when: {push: {}, pull_request: {from: same-repo}}}\n", i, i*secrets/(secrets+9), i%secrets)
	}
	return b.String()
}

// The list takes any number of lines, the matrix as many as one can look at.
func TestPageOfMany(t *testing.T) {
	for _, test := range []struct {
		bindings, secrets int
		matrix            bool
	}{{1500, 60, true}, {1500, 500, false}, {matrixLines + 1, 3, false}} {
		text := pageOf(t, "a.yaml", many(test.bindings, test.secrets))
		if got := strings.Count(text, "<tr data-events="); got != test.bindings {
			t.Errorf("%v: %d lines", test, got)
		}
		if got := strings.Contains(text, `id="matrix"`); got != test.matrix || got == strings.Contains(text, "The matrix is left out") {
			t.Errorf("%v: matrix %t", test, got)
		}
	}
}

func TestPageOfNothing(t *testing.T) {
	text := pageOf(t, "a.yaml", "version: 1\nvaults: {v: {url: https://kv-a-acme.vault.azure.net}}\npools: {default: {keys: [{id: k, env: DRONE_SECRET}]}}\n"+
		"bindings: [{id: b, repos: [acme/app], read: [v/db]}]\ndenies: [{id: d, read: [\"**\"], reason: closed}]\n")
	if !strings.Contains(text, "Nobody can read anything.") || strings.Contains(text, "<tr data-events=") {
		t.Error(text)
	}
}

func TestShown(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"acme/app", "acme/app"},
		{"Ablösung bis Jänner", "Ablösung bis Jänner"},
		{"a\u202eb", `a\u202eb`},
		{"a\u200bb\u00a0c\td", `a\u200bb\u00a0c\u0009d`},
		{"a\xffb", `a\ufffdb`},
		{"\U000e0041", `\U000e0041`},
	} {
		if got := shown(test.given); got != test.want {
			t.Errorf("%q: %s, want %s", test.given, got, test.want)
		}
	}
}
