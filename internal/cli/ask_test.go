package cli

import (
	"strings"
	"testing"
)

// On a terminal, what no flag said is asked, and nothing else.
func TestInitAsks(t *testing.T) {
	const guid = "3f2a4c55-1111-4222-8333-444455556666"
	for _, test := range []struct {
		name    string
		given   initCommand
		answers string
		asked   int
		want    []string // in the configuration
		problem string
	}{
		{"kubernetes by default", initCommand{}, "\nkv-shared\nacme/app acme/lib\n", 3, []string{"default: {}", "kv-shared: {url", "repos: [acme/app, acme/lib]"}, ""},
		{"a machine", initCommand{}, "VM\n" + guid + "\n kv-a  kv-b \nacme/app\n", 4, []string{"managed: {client_id: \"" + guid, "kv-b: {url", `read: ["kv-a/ci-*", "kv-b/ci-*"]`}, ""},
		{"flags are not asked", initCommand{Kubernetes: true, Repo: []string{"acme/app"}}, "kv-a\n", 1, []string{"kv-a"}, ""},
		{"neither", initCommand{}, "aws\n", 1, nil, `"aws" is neither kubernetes nor vm`},
		{"an early end", initCommand{}, "k\n", 3, nil, "--vault is missing"},
	} {
		var prompts strings.Builder
		c := test.given
		c.Out = "-"
		err := c.ask(strings.NewReader(test.answers), &prompts)
		text := ""
		if err == nil {
			text, err = c.configuration()
		}
		if got := ""; err != nil || test.problem != "" {
			if err != nil {
				got = err.Error()
			}
			if test.problem == "" || !strings.Contains(got, test.problem) {
				t.Errorf("%s: %q, want %q", test.name, got, test.problem)
			}
		}
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", test.name, want, text)
			}
		}
		asked := 0
		for _, question := range []string{"Where will it run", "The managed identity", "Key vaults", "Repositories"} {
			asked += strings.Count(prompts.String(), question)
		}
		if asked != test.asked {
			t.Errorf("%s: asked %q", test.name, prompts.String())
		}
	}
}
