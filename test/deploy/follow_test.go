package deploy

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/cli"
)

// A configuration that is given as text arrives as it was checked, with its comments, and what YAML 1.1 would change unchanged.
func TestAConfigurationArrivesAsItIs(t *testing.T) {
	for name, text := range valueSets {
		values := parse(t, text)
		want, ok := values["config"].(string)
		if !ok {
			continue
		}
		documents, err := load(t).render(read(t, example), values)
		if err != nil {
			t.Fatal(err)
		}
		if have := decoded(t, documents).config.Data["drone-entra.yaml"]; have != want {
			t.Errorf("%s: the configuration arrives as\n%s\nand is\n%s", name, have, want)
		}
	}
}

// The README's configuration, and its words for `helm install`, are enough.
func TestTheReadmesConfigurationIsInstalled(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile("(?ms)^```yaml\n(version: 1\n.*?)^```$").FindSubmatch(text)
	command := regexp.MustCompile(`(?m)^helm install .*\\\n.*$`).FindString(string(text))
	if whole == nil || command == "" {
		t.Fatal("the README has no configuration, or does not install it")
	}
	values := object{"config": string(whole[1])}
	for _, set := range regexp.MustCompile(`--set ([a-z]+)\.([A-Za-z]+)=(\S+)`).FindAllStringSubmatch(command, -1) {
		values = over(values, object{set[1]: object{set[2]: strings.ReplaceAll(set[3], "$client", "3f2a4c55-1111-4222-8333-444455556666")}})
	}
	documents, err := load(t).render(values)
	if err != nil {
		t.Fatalf("%v\n%v", err, values)
	}
	if m := decoded(t, documents); m.stateful == nil || !strings.Contains(m.container().Image, "registry.example/drone-entra:") {
		t.Errorf("%s makes %v", command, m.stateful)
	}
}

// Pods are replaced for what takes a restart, and for nothing that the program follows.
func TestOnlyWhatTakesARestartReplacesPods(t *testing.T) {
	c := load(t)
	example := read(t, example)
	text, _ := example["config"].(string)
	pods := func(config string) string {
		t.Helper()
		documents, err := c.render(example, object{"config": config})
		if err != nil {
			t.Fatal(err)
		}
		return decoded(t, documents).stateful.Spec.Template.String()
	}
	before := pods(text)
	for _, edit := range []struct {
		from, to string
		replaces bool
	}{
		{"repos: [acme/app]", "repos: [acme/other]", false},
		{"kv-shared", "kv-other", false},
		{"record:", "limits: {skew: 60s, body: 2MiB}\nrecord:", false},
		{"record:", "limits: {budget: 30s}\nrecord:", true}, // a pod has longer to end
		{"record:", "limits: {connections: 100}\nrecord:", true},
		{"record:", "limits: {drain: 6s}\nrecord:", true},
		{"record:", "log: {level: debug}\nrecord:", true},
		{"audit.jsonl", "record.jsonl", true},
		{`":3000",`, `":3001",`, true},
		{`":3000",`, `":3000", encrypt: false,`, true},
	} {
		changed := strings.Replace(text, edit.from, edit.to, 1)
		if changed == text {
			t.Fatalf("the example has no %q", edit.from)
		}
		if replaces := pods(changed) != before; replaces != edit.replaces {
			t.Errorf("%q for %q: pods are replaced %t, want %t", edit.to, edit.from, replaces, edit.replaces)
		}
	}
}

// The notes lead to the service that was made, with a command that the program knows.
func TestTheNotesLeadToTheNextStep(t *testing.T) {
	c := load(t)
	for set, want := range map[string][]string{
		"the example":                  {"https://drone-entra.drone.svc \\", "exec drone-entra-0 ", "system:serviceaccount:drone:drone-entra\n", "its authority"},
		"TLS ends in a mesh":           {"http://drone-entra.drone.svc \\", "DRONE_SECRET_PLUGIN_ENDPOINT=http://drone-entra.drone.svc\n"},
		"another port and other times": {"https://drone-entra.drone.svc:8443 \\"},
		"everything that can be said":  {"https://our-secrets.drone.svc \\", "statefulset/our-secrets\n", "system:serviceaccount:drone:existing\n"},
	} {
		notes, err := c.execute("NOTES.txt", read(t, example), parse(t, valueSets[set]))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(notes, text) {
				t.Errorf("%s: the notes lack %q:\n%s", set, text, notes)
			}
		}
		var help bytes.Buffer
		cli.Main(context.Background(), cli.Env{Args: []string{"request", "--help"}, Stdout: &help, Stderr: &help})
		_, command, _ := strings.Cut(notes, "/drone-entra request ")
		command, _, _ = strings.Cut(command, "\n\n")
		flags := regexp.MustCompile(`--[a-z-]+`).FindAllString(command, -1)
		if len(flags) < 5 {
			t.Errorf("%s: the notes ask by %q", set, command)
		}
		for _, flag := range flags {
			if !strings.Contains(help.String(), flag+"=") {
				t.Errorf("`request` has no flag %s:\n%s", flag, help.String())
			}
		}
	}
}
