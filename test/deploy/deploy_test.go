package deploy

import (
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/drone-entra/drone-entra/internal/config"
)

// manifests are the rendered documents, by what they are; what is not rendered is nil.
type manifests struct {
	account  *core.ServiceAccount
	config   *core.ConfigMap
	services map[string]*core.Service
	stateful *apps.StatefulSet
	budget   *policy.PodDisruptionBudget
	network  *networking.NetworkPolicy
	all      []meta.Object
}

// decoded takes each document as an API server with strict field validation does: names are compared exactly, and one that is
// unknown or there twice is an error.
func decoded(t *testing.T, documents []string) (m manifests) {
	t.Helper()
	m.services = map[string]*core.Service{}
	for _, document := range documents {
		text, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		var kind meta.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		var into meta.Object
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 ServiceAccount":
			m.account = &core.ServiceAccount{}
			into = m.account
		case "v1 ConfigMap":
			m.config = &core.ConfigMap{}
			into = m.config
		case "v1 Service":
			into = &core.Service{}
		case "apps/v1 StatefulSet":
			m.stateful = &apps.StatefulSet{}
			into = m.stateful
		case "policy/v1 PodDisruptionBudget":
			m.budget = &policy.PodDisruptionBudget{}
			into = m.budget
		case "networking.k8s.io/v1 NetworkPolicy":
			m.network = &networking.NetworkPolicy{}
			into = m.network
		default: // a Secret above all: values would be in it
			t.Fatalf("the chart has no business with a %s %s", kind.APIVersion, kind.Kind)
		}
		if problems, err := strict.UnmarshalStrict(text, into); err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v %v\n%s", kind.Kind, err, problems, document)
		}
		if s, ok := into.(*core.Service); ok {
			m.services[s.Name] = s
		}
		m.all = append(m.all, into)
	}
	return m
}

// A typo must not pass: the tests below are worth no more than this.
func TestDecodingIsStrict(t *testing.T) {
	for _, document := range []string{"spec: {replicaz: 2}", "spec: {Replicas: 2}", "spec: {replicas: 2, replicas: 2}", "spec: {replicas: two}"} {
		text, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			continue
		}
		if problems, err := strict.UnmarshalStrict(text, &apps.StatefulSet{}); err == nil && len(problems) == 0 {
			t.Errorf("%s passes", document)
		}
	}
}

// Whatever the values, the manifests fit together.
func TestTheManifestsFitTogether(t *testing.T) {
	c := load(t)
	for name, text := range valueSets {
		t.Run(name, func(t *testing.T) {
			documents, err := c.render(read(t, example), parse(t, text))
			if err != nil {
				t.Fatal(err)
			}
			m := decoded(t, documents)
			cfg := m.configuration(t)
			m.named(t)
			m.selected(t)
			m.mounted(t, cfg)
			m.reached(t, cfg)
			m.confined(t)
			m.ended(t, cfg)
			m.kept(t, cfg)
			m.identified(t, cfg)
		})
	}
}

func (m manifests) pod() core.PodSpec         { return m.stateful.Spec.Template.Spec }
func (m manifests) container() core.Container { return m.pod().Containers[0] }

// configuration is what the ConfigMap holds, read as the program reads the directory that it is mounted as.
func (m manifests) configuration(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range m.config.Data {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems := config.Load([]string{dir})
	if problems.Errors()+problems.Warnings() > 0 {
		t.Fatalf("the configuration: %v", problems)
	}
	return cfg
}

// named: every object is in the release's namespace and has the recommended labels.
func (m manifests) named(t *testing.T) {
	t.Helper()
	for _, o := range m.all {
		if o.GetNamespace() != namespace || o.GetName() == "" {
			t.Errorf("%T is %s/%s", o, o.GetNamespace(), o.GetName())
		}
		for _, label := range []string{"name", "instance", "version", "component", "part-of", "managed-by"} {
			if o.GetLabels()["app.kubernetes.io/"+label] == "" {
				t.Errorf("%s lacks the label %s", o.GetName(), label)
			}
		}
	}
	if image := m.container().Image; strings.HasSuffix(image, ":latest") || !strings.ContainsAny(path.Base(image), ":@") {
		t.Errorf("nobody can tell which program the image %s is", image)
	}
}

// selected: each selector finds the pods, and nothing that changes with a version is in one.
func (m manifests) selected(t *testing.T) {
	t.Helper()
	labels := m.stateful.Spec.Template.Labels
	selectors := map[string]map[string]string{"StatefulSet": m.stateful.Spec.Selector.MatchLabels}
	for name, s := range m.services {
		selectors["Service "+name] = s.Spec.Selector
	}
	if m.budget != nil {
		selectors["budget"] = m.budget.Spec.Selector.MatchLabels
		if m.budget.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("the budget lets %v go at once", m.budget.Spec.MaxUnavailable)
		}
	}
	if m.network != nil {
		selectors["policy"] = m.network.Spec.PodSelector.MatchLabels
	}
	for _, c := range m.pod().TopologySpreadConstraints {
		selectors["spread over "+c.TopologyKey] = c.LabelSelector.MatchLabels
		if c.WhenUnsatisfiable != core.ScheduleAnyway {
			t.Errorf("a lack of %s keeps replicas from running", c.TopologyKey)
		}
	}
	if len(m.pod().TopologySpreadConstraints) != 2 {
		t.Errorf("spread over %v", m.pod().TopologySpreadConstraints)
	}
	for of, selector := range selectors {
		if !reflect.DeepEqual(selector, m.stateful.Spec.Selector.MatchLabels) || len(selector) != 2 {
			t.Errorf("%s selects %v", of, selector)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s selects %s=%s, and the pods have %q", of, key, value, labels[key])
			}
		}
	}
	if headless := m.services[m.stateful.Spec.ServiceName]; headless == nil || headless.Spec.ClusterIP != core.ClusterIPNone {
		t.Errorf("the StatefulSet's service %s is %+v", m.stateful.Spec.ServiceName, headless)
	}
}

// mounted: each volume is mounted and each mount has its volume; what the configuration names lies where it is mounted.
func (m manifests) mounted(t *testing.T, cfg *config.Config) {
	t.Helper()
	at := map[string]core.VolumeMount{}
	var mounts, volumes []string
	for _, v := range m.container().VolumeMounts {
		if v.SubPath != "" || v.ReadOnly == (v.Name == "record") {
			t.Errorf("the mount %s: %+v", v.Name, v) // a subPath never changes
		}
		at[v.MountPath] = v
		mounts = append(mounts, v.Name)
	}
	secrets := map[string]bool{}
	for _, v := range m.pod().Volumes {
		volumes = append(volumes, v.Name)
		secrets[v.Name] = v.Secret != nil
		if v.Name == "config" && v.ConfigMap.Name != m.config.Name {
			t.Errorf("the configuration is of %s", v.ConfigMap.Name)
		}
		if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o440) {
			t.Errorf("the files of %s have the mode %v", v.Secret.SecretName, v.Secret.DefaultMode)
		}
	}
	for _, c := range m.stateful.Spec.VolumeClaimTemplates {
		volumes = append(volumes, c.Name)
	}
	slices.Sort(mounts)
	slices.Sort(volumes)
	if !slices.Equal(mounts, volumes) {
		t.Errorf("mounted are %v of the volumes %v", mounts, volumes)
	}
	files := []string{}
	for _, p := range cfg.Pools {
		for _, k := range p.Keys {
			files = append(files, k.File)
		}
	}
	if cfg.Listen.CertFile != "" {
		files = append(files, cfg.Listen.CertFile, cfg.Listen.KeyFile)
	}
	for _, file := range files {
		if v := at[path.Dir(file)]; !secrets[v.Name] {
			t.Errorf("%s is of no Secret: %+v", file, v)
		}
	}
	if args := m.container().Args; len(args) != 3 || args[0] != "serve" || at[args[2]].Name != "config" {
		t.Errorf("the program is started by %q", args)
	}
}

// reached: the port that the program listens at is the one that probes, services and the policy lead to, by the scheme that it speaks.
func (m manifests) reached(t *testing.T, cfg *config.Config) {
	t.Helper()
	c := m.container()
	number, err := strconv.Atoi(cfg.Listen.Address[strings.LastIndex(cfg.Listen.Address, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	scheme := core.URISchemeHTTP
	if cfg.Listen.CertFile != "" {
		scheme = core.URISchemeHTTPS
	}
	if len(c.Ports) != 1 || int(c.Ports[0].ContainerPort) != number {
		t.Fatalf("the container has the ports %+v, and listens at %s", c.Ports, cfg.Listen.Address)
	}
	for where, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if g := probe.HTTPGet; g.Path != where || g.Scheme != scheme || g.Port.StrVal != c.Ports[0].Name {
			t.Errorf("the probe of %s: %+v", where, g)
		}
	}
	for name, s := range m.services {
		if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].TargetPort.StrVal != c.Ports[0].Name {
			t.Errorf("the service %s leads to %+v", name, s.Spec.Ports)
		}
	}
	if m.network == nil {
		return
	}
	if types := m.network.Spec.PolicyTypes; !slices.Contains(types, networking.PolicyTypeIngress) || !slices.Contains(types, networking.PolicyTypeEgress) {
		t.Errorf("the policy is for %v alone", types)
	}
	for _, in := range m.network.Spec.Ingress { // an empty list would be everybody, or every port
		if len(in.From) == 0 || len(in.Ports) != 1 || in.Ports[0].Port.IntValue() != number {
			t.Errorf("the policy lets in %+v", in)
		}
	}
	open := map[int]bool{}
	for _, out := range m.network.Spec.Egress {
		if len(out.To) == 0 || len(out.Ports) == 0 {
			t.Errorf("the policy lets out %+v", out)
		}
		for _, p := range out.Ports {
			open[p.Port.IntValue()] = true
		}
	}
	if len(m.network.Spec.Ingress) != 1 || !open[443] || !open[53] {
		t.Errorf("the policy lets in %v and out to the ports %v", m.network.Spec.Ingress, open)
	}
}

// confined: the pod has what the restricted standard of Kubernetes asks for, and more.
func (m manifests) confined(t *testing.T) {
	t.Helper()
	pod, c := m.pod(), m.container()
	off := func(b *bool) bool { return b != nil && !*b }
	on := func(b *bool) bool { return b != nil && *b }
	is := func(n *int64, want int64) bool { return n != nil && *n == want }
	s := pod.SecurityContext
	for says, holds := range map[string]bool{
		"not root":              on(s.RunAsNonRoot) && is(s.RunAsUser, 65532) && is(s.RunAsGroup, 65532) && is(s.FSGroup, 65532),
		"a filter of syscalls":  s.SeccompProfile != nil && s.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
		"no rise of privileges": off(c.SecurityContext.AllowPrivilegeEscalation) && c.SecurityContext.Privileged == nil,
		"a root that is read":   on(c.SecurityContext.ReadOnlyRootFilesystem),
		"no capability":         slices.Equal(c.SecurityContext.Capabilities.Drop, []core.Capability{"ALL"}) && len(c.SecurityContext.Capabilities.Add) == 0,
		"no token of the API":   off(pod.AutomountServiceAccountToken) && (m.account == nil || off(m.account.AutomountServiceAccountToken)),
		"nothing of the host's": !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		"one container":         len(pod.Containers) == 1 && len(pod.InitContainers) == 0,
	} {
		if !holds {
			t.Errorf("the pod lacks: %s", says)
		}
	}
	var limit int64
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" {
			mebi, _ := strconv.ParseInt(strings.TrimSuffix(e.Value, "MiB"), 10, 64)
			limit = mebi << 20
		}
		if e.ValueFrom != nil {
			t.Errorf("the environment has %s from elsewhere", e.Name)
		}
	}
	if memory := c.Resources.Limits.Memory().Value(); limit < memory*3/4 || limit > memory*9/10 {
		t.Errorf("GOMEMLIMIT is %d of %d bytes", limit, memory)
	}
}

// ended: Kubernetes kills a pod only after the program must have ended by itself.
func (m manifests) ended(t *testing.T, cfg *config.Config) {
	t.Helper()
	grace := time.Duration(*m.pod().TerminationGracePeriodSeconds) * time.Second
	if want := cfg.Limits.Drain + cfg.Limits.Budget + 5*time.Second + 30*time.Second; grace != want {
		t.Errorf("a pod has %s to end, want %s", grace, want)
	}
	if m.stateful.Spec.UpdateStrategy.Type != apps.RollingUpdateStatefulSetStrategyType || m.stateful.Spec.PodManagementPolicy != apps.ParallelPodManagement {
		t.Errorf("replicas are replaced %s, %s", m.stateful.Spec.UpdateStrategy.Type, m.stateful.Spec.PodManagementPolicy)
	}
}

// kept: the record is on a claim of the replica's own, which outlives the set.
func (m manifests) kept(t *testing.T, cfg *config.Config) {
	t.Helper()
	claims := m.stateful.Spec.VolumeClaimTemplates
	if len(claims) != 1 || len(claims[0].Spec.AccessModes) != 1 || !strings.HasPrefix(string(claims[0].Spec.AccessModes[0]), "ReadWriteOnce") ||
		claims[0].Spec.Resources.Requests.Storage().IsZero() {
		t.Fatalf("the claims are %+v", claims)
	}
	on := ""
	for _, v := range m.container().VolumeMounts {
		if v.MountPath == path.Dir(cfg.Record.File) {
			on = v.Name
		}
	}
	if on != claims[0].Name {
		t.Errorf("the record %s is on %q and not on the claim", cfg.Record.File, on)
	}
	p := m.stateful.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil || p.WhenDeleted != apps.RetainPersistentVolumeClaimRetentionPolicyType || p.WhenScaled != apps.RetainPersistentVolumeClaimRetentionPolicyType {
		t.Errorf("the record goes with its set: %+v", p)
	}
}

// identified: the webhook projects a token where the configuration relies on it.
func (m manifests) identified(t *testing.T, cfg *config.Config) {
	t.Helper()
	managed := true
	for _, i := range cfg.Identities {
		managed = managed && i.Managed
	}
	use := m.stateful.Spec.Template.Labels["azure.workload.identity/use"]
	if (use == "true") == managed {
		t.Errorf("the webhook's label is %q", use)
	}
	if m.account == nil {
		return
	}
	if m.account.Name != m.pod().ServiceAccountName {
		t.Errorf("the pods run as %s, the account is %s", m.pod().ServiceAccountName, m.account.Name)
	}
	if client := m.account.Annotations["azure.workload.identity/client-id"]; (client != "") == managed {
		t.Errorf("the account's client is %q", client)
	}
}
