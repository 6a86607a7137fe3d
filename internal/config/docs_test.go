package config_test

import (
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	reference  = "../../docs/configuration.md"
	identities = "../../docs/identities.md"
)

func readReference(t *testing.T) string { t.Helper(); return readDocument(t, reference) }

func readDocument(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
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
	for _, block := range examples(t, reference) {
		if _, problems := loads(t, block); len(problems) > 0 {
			t.Error(problems)
		}
	}
}

// examples are a document's blocks of YAML.
func examples(t *testing.T, name string) (blocks []string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readDocument(t, name), -1) {
		blocks = append(blocks, block[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no example", name)
	}
	return blocks
}

// Each configuration in the document about identities loads without a word: alone, or beside the base that it names. Each
// pipeline asks for what the configuration before it gives.
func TestIdentitiesExamplesLoad(t *testing.T) {
	base, recipes, pipelines := "", 0, 0
	var last *config.Config
	for _, block := range examples(t, identities) {
		beside := strings.Contains(block, ".yaml, beside base.yaml\n")
		switch {
		case strings.HasPrefix(block, "kind: "):
			pipelines++
			for _, asked := range secretsOf(t, block) {
				if last == nil || !gives(last, asked) {
					t.Errorf("nothing gives %q of\n%s", asked, block)
				}
			}
		case strings.HasPrefix(block, "# base.yaml\n"):
			base = block
		case beside:
			recipes++
			cfg, problems := config.Check(write(t, "base.yaml", base, "recipe.yaml", block))
			problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Note || strings.HasPrefix(p.Rule, "unused-") })
			if cfg == nil || len(problems) > 0 {
				t.Errorf("%v\n%s", problems, block)
			}
			last = cfg
		default:
			cfg, problems := config.Check(write(t, "c.yaml", block))
			problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Note })
			if cfg == nil || len(problems) > 0 {
				t.Errorf("%v\n%s", problems, block)
			}
		}
	}
	if recipes < 8 || pipelines != recipes {
		t.Errorf("%d recipes and %d pipelines", recipes, pipelines)
	}
}

// secretsOf are what the secrets of a pipeline get, as path/name or as a name alone.
func secretsOf(t *testing.T, pipeline string) (asked []string) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(pipeline)); ; {
		var document struct {
			Kind string
			Get  struct{ Path, Name string }
		}
		if err := d.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, pipeline)
		}
		if document.Kind == "secret" {
			asked = append(asked, strings.TrimPrefix(document.Get.Path+"/"+document.Get.Name, "/"))
		}
	}
	if asked == nil {
		t.Errorf("it asks for nothing\n%s", pipeline)
	}
	return asked
}

// gives tells whether some binding gives what a pipeline asks for, to whom and when left aside.
func gives(cfg *config.Config, asked string) bool {
	ref, err := secret.ParseRef(asked)
	for _, b := range cfg.Rules.Bindings {
		if _, named := b.Names[asked]; named || err == nil && slices.ContainsFunc(b.Read, func(p secret.ReadPattern) bool { return p.Gives(ref) }) {
			return true
		}
	}
	return false
}
