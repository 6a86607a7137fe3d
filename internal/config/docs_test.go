package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/config"
)

const reference = "../../docs/configuration.md"

func readReference(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// row is one line of the reference's tables of keys.
var row = regexp.MustCompile("(?m)^\\| (\\*\\*)?`([a-zA-Z_.\\[\\]]+)`(?:\\*\\*)? \\| ([^|]*?) \\|([^|]*)\\|")

// The reference lists each key of the language once, with its type and whether it is required, and no other.
func TestReferenceListsEveryKey(t *testing.T) {
	type entry struct {
		kind     string
		required bool
	}
	listed := map[string]entry{}
	for _, m := range row.FindAllStringSubmatch(readReference(t), -1) {
		if _, twice := listed[m[2]]; twice {
			t.Errorf("%s is listed twice", m[2])
		}
		listed[m[2]] = entry{m[3], m[1] != ""}
	}
	known := map[string]bool{}
	for _, key := range config.Schema() {
		if rest, ok := strings.CutPrefix(key.Path, "denies[].repos[]."); ok && rest != "" || strings.HasPrefix(key.Path, "denies[].when.") {
			continue // as in a binding, the reference says
		}
		known[key.Path] = true
		if got, ok := listed[key.Path]; !ok {
			t.Errorf("%s is not in %s", key.Path, reference)
		} else if want := (entry{key.Kind, key.Required}); got != want {
			t.Errorf("%s: the reference says %v, the language %v", key.Path, got, want)
		}
	}
	for path := range listed {
		if !known[path] {
			t.Errorf("%s is in the reference and not in the language", path)
		}
	}
}

// The defaults of the limits in the reference are those that hold: stating them changes nothing.
func TestReferenceStatesTheLimits(t *testing.T) {
	yaml := "version: 1\nlimits:\n"
	for _, m := range row.FindAllStringSubmatch(readReference(t), -1) {
		if key, ok := strings.CutPrefix(m[2], "limits."); ok {
			yaml += "  " + key + ": " + strings.Trim(m[4], "` ") + "\n"
		}
	}
	stated, _ := loads(t, yaml)
	unstated, _ := loads(t, "version: 1\n")
	if strings.Count(yaml, "\n") != 9 || stated.Limits != unstated.Limits {
		t.Errorf("the reference says\n%swhich is %+v, not %+v", yaml, stated.Limits, unstated.Limits)
	}
}

func TestReferenceExamplesLoad(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readReference(t), -1)
	if len(blocks) == 0 {
		t.Fatal("no example")
	}
	for _, block := range blocks {
		if _, problems := loads(t, block[1]); len(problems) > 0 {
			t.Error(problems)
		}
	}
}
