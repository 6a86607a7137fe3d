package deploy

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	set  = "../../deploy/kubernetes/drone-entra.yaml"
	anew = "go test ./test/deploy -update"
)

var update = flag.Bool("update", false, "make deploy/kubernetes/drone-entra.yaml anew")

// What people apply by hand is what the chart renders today.
func TestThePlainSetIsTheCharts(t *testing.T) {
	documents, err := load(t).render(read(t, example))
	if err != nil {
		t.Fatal(err)
	}
	want := plain(documents)
	if *update {
		if err := os.WriteFile(set, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(set)
	if err != nil || string(have) != want {
		t.Errorf("%s is not what the chart renders (%v); make it anew: %s", set, err, anew)
	}
	if strings.Contains(want, "managed-by") || strings.Contains(want, "helm.sh/") {
		t.Error("the plain set says that Helm manages it")
	}
	m := decoded(t, regexp.MustCompile(`(?m)^---\n`).Split(want, -1)[1:])
	if m.stateful == nil || len(m.services) != 2 {
		t.Errorf("the plain set is not whole: %+v", m)
	}
	for _, line := range strings.Split(want, "\n") {
		if strings.TrimRight(line, " \t") != line {
			t.Errorf("blanks stand at the end of %q", line)
		}
	}
}

// Real Helm makes the same of each value set, and refuses the same. CI names its binary; without, there is nothing to compare.
func TestHelmRendersTheSame(t *testing.T) {
	helm := os.Getenv("HELM")
	if helm == "" {
		t.Skip("HELM does not name a helm binary")
	}
	run := func(t *testing.T, values object, args ...string) (string, error) {
		t.Helper()
		text, err := yaml.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(helm, append(args, chartDir, "--namespace", namespace, "--kube-version", "1.33.0", "-f", example, "-f", file)...).CombinedOutput()
		return string(out), err
	}
	c := load(t)
	for name, text := range valueSets {
		t.Run(name, func(t *testing.T) {
			if out, err := run(t, parse(t, text), "lint", "--strict"); err != nil {
				t.Errorf("helm lint: %v\n%s", err, out)
			}
			out, err := run(t, parse(t, text), "template", release)
			if err != nil {
				t.Fatalf("helm template: %v\n%s", err, out)
			}
			theirs := regexp.MustCompile(`(?m)^---\n# Source: .*\n`).Split(out, -1)[1:]
			ours, err := c.render(read(t, example), parse(t, text))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(theirs)
			slices.Sort(ours)
			if !slices.Equal(theirs, ours) {
				t.Errorf("helm renders\n%s\nand the test\n%s", strings.Join(theirs, "---\n"), strings.Join(ours, "---\n"))
			}
		})
	}
	for _, r := range refusals {
		t.Run("refused: "+r.about, func(t *testing.T) {
			if out, err := run(t, parse(t, r.values), "template", release); err == nil {
				t.Errorf("helm renders it:\n%s", out)
			}
		})
	}
}
