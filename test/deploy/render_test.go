// The tests of this package render the chart in deploy/helm as Helm does, decode what comes out as strictly as a Kubernetes
// API server, and check that it fits together: with the configuration in it, with itself, and with what the program does.
//
// Helm's own engine would bring a whole client of Kubernetes into the module. The chart needs text/template, sprig (which
// Helm uses, too) and the four functions below. Where HELM names a helm binary, TestHelmRendersTheSame shows for
// each of the value sets that nothing is lost by it.

package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../deploy/helm/drone-entra"
	example   = "../../deploy/helm/example.yaml"
	release   = "drone-entra"
	namespace = "drone"
)

// object is any mapping of YAML.
type object = map[string]any

// chart is what lies in its directory.
type chart struct {
	meta     object
	values   object
	schema   *jsonschema.Schema
	template *template.Template
	files    []string // that are manifests, by name
}

func load(t *testing.T) *chart {
	t.Helper()
	c := &chart{meta: read(t, chartDir+"/Chart.yaml"), values: read(t, chartDir+"/values.yaml"), schema: schema(t)}
	c.template = template.New("chart").Option("missingkey=zero")
	c.template.Funcs(functions(c.template))
	paths, err := filepath.Glob(chartDir + "/templates/*")
	if err != nil || len(paths) < 8 {
		t.Fatalf("the chart has %d templates: %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if _, err := c.template.New(name).Parse(string(text)); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".yaml" {
			c.files = append(c.files, name)
		}
	}
	return c
}

func read(t *testing.T, path string) object {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func parse(t *testing.T, text string) (values object) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return values
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiled, err := jsonschema.NewCompiler().Compile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// functions are sprig's, and those of Helm's own that the chart uses.
func functions(all *template.Template) template.FuncMap {
	of := sprig.TxtFuncMap()
	delete(of, "env") // Helm has neither
	delete(of, "expandenv")
	of["include"] = func(name string, data any) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	of["toYaml"] = func(v any) (string, error) {
		text, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	of["toJson"] = func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	}
	of["fromYaml"] = func(text string) object {
		parsed := object{}
		if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
			parsed["Error"] = err.Error()
		}
		return parsed
	}
	return of
}

// values are the chart's own with each of the layers on top, as `helm --values` puts them together.
func (c *chart) merged(layers ...object) object {
	all := object{}
	for _, layer := range append([]object{c.values}, layers...) {
		all = over(all, layer)
	}
	return all
}

func over(below, above object) object {
	both := maps.Clone(below)
	for key, value := range above {
		lower, isMap := both[key].(object)
		upper, alsoMap := value.(object)
		switch {
		case isMap && alsoMap:
			both[key] = over(lower, upper)
		case value == nil: // what is set to null is taken away
			delete(both, key)
		default:
			both[key] = value
		}
	}
	return both
}

// render returns the manifests, one document each, in the order of their files' names; or why the chart refuses.
func (c *chart) render(layers ...object) (documents []string, err error) {
	for _, name := range c.files {
		text, err := c.execute(name, layers...)
		if err != nil {
			return nil, err
		}
		if text = strings.TrimSpace(text); text != "" {
			documents = append(documents, text+"\n")
		}
	}
	return documents, nil
}

func (c *chart) execute(name string, layers ...object) (string, error) {
	values := c.merged(layers...)
	if err := c.schema.Validate(values); err != nil {
		return "", err
	}
	meta := object{"Name": c.meta["name"], "Version": c.meta["version"], "AppVersion": c.meta["appVersion"]}
	var out bytes.Buffer
	err := c.template.ExecuteTemplate(&out, name, object{
		"Values": values, "Chart": meta,
		"Release": object{"Name": release, "Namespace": namespace, "Service": "Helm"},
	})
	if strings.Contains(out.String(), "<no value>") {
		err = errors.Join(err, fmt.Errorf("%s says <no value>:\n%s", name, out.String()))
	}
	return out.String(), err
}

// byHelm is what the line of labels says that only Helm's own installations have.
var byHelm = regexp.MustCompile(`(?m)^ *(?:app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n`)

// order is that in which `kubectl apply` should meet the kinds.
var order = []string{"ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"}

// plain makes the set for `kubectl apply` of rendered documents.
func plain(documents []string) string {
	kind := func(document string) int {
		name := regexp.MustCompile(`(?m)^kind: (\w+)$`).FindStringSubmatch(document)
		return slices.Index(order, name[1])
	}
	sorted := slices.Clone(documents)
	slices.SortStableFunc(sorted, func(a, b string) int { return kind(a) - kind(b) })
	return header + "---\n" + byHelm.ReplaceAllString(strings.Join(sorted, "---\n"), "")
}

const header = `# drone-entra for ` + "`kubectl apply`" + `, made of the chart in deploy/helm by ` + "`" + anew + "`" + `.
# Before it is applied: put in your image, the client's id and your configuration, and make the namespace and the two Secrets,
# drone-entra-keys with the runners' keys and drone-entra-tls with the certificate.
`
