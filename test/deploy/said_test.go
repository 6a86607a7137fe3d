package deploy

import (
	"fmt"
	"slices"
	"testing"

	core "k8s.io/api/core/v1"
)

// What a value says stands in the manifests; the other tests only see that they fit together.
func TestWhatIsSaidArrives(t *testing.T) {
	c := load(t)
	made := func(set string, layers ...object) manifests {
		t.Helper()
		documents, err := c.render(append([]object{read(t, example), parse(t, valueSets[set])}, layers...)...)
		if err != nil {
			t.Fatal(err)
		}
		return decoded(t, documents)
	}
	usual, all, port := made("the example"), made("everything that can be said"), made("another port and other times")
	managed, bare, mesh := made("managed identities of the nodes"), made("no policy and no budget"), made("TLS ends in a mesh")
	tenant := made("the example", parse(t, "azure: {tenantId: 9b0f7e0c-2222-4333-8444-555566667777}\nserviceAccount: {annotations: {team: ci}}"))
	claim, limits := all.stateful.Spec.VolumeClaimTemplates[0].Spec, all.container().Resources.Limits
	egress := func(m manifests) (ports []string) {
		for _, out := range m.network.Spec.Egress {
			where := ""
			if block := out.To[0].IPBlock; block != nil {
				where = block.CIDR
			}
			ports = append(ports, fmt.Sprint(where, " ", out.Ports[0].Port))
		}
		return ports
	}
	for _, c := range []struct {
		about      string
		have, want any
	}{
		{"replicas", []int32{*usual.stateful.Spec.Replicas, *all.stateful.Spec.Replicas, *made("one replica").stateful.Spec.Replicas}, []int32{2, 5, 1}},
		{"the image", usual.container().Image, "registry.example/drone-entra:" + c.meta["appVersion"].(string)},
		{"its digest", all.container().Image, "acme.azurecr.io:443/ci/drone-entra@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{"how it is pulled", fmt.Sprint(all.container().ImagePullPolicy, all.pod().ImagePullSecrets), "Always[{acr}]"},
		{"the client", usual.account.Annotations["azure.workload.identity/client-id"], "3f2a4c55-1111-4222-8333-444455556666"},
		{"the webhook's tenant", usual.account.Annotations["azure.workload.identity/tenant-id"], ""},
		{"a tenant", tenant.account.Annotations["azure.workload.identity/tenant-id"], "9b0f7e0c-2222-4333-8444-555566667777"},
		{"an annotation", tenant.account.Annotations["team"], "ci"},
		{"an account that exists", all.account == nil && all.pod().ServiceAccountName == "existing", true},
		{"names", []string{all.stateful.Name, usual.stateful.Name}, []string{"our-secrets", "drone-entra"}},
		{"the environment", slices.ContainsFunc(all.container().Env, func(e core.EnvVar) bool {
			return e.Name == "HTTPS_PROXY" && e.Value == "http://proxy.acme.example:3128"
		}), true},
		{"the volume", fmt.Sprint(*claim.StorageClassName, claim.AccessModes, claim.Resources.Requests.Storage().String()), "managed-csi-premium[ReadWriteOncePod]100Gi"},
		{"the service", fmt.Sprint(all.services["our-secrets"].Spec.Type, len(all.services["our-secrets"].Annotations)), "LoadBalancer1"},
		{"its ports", fmt.Sprint(usual.services["drone-entra"].Spec.Ports[0].Port, mesh.services["drone-entra"].Spec.Ports[0].Port, port.services["drone-entra"].Spec.Ports[0].Port), "443 80 8443"},
		{"no policy, no budget", bare.network == nil && bare.budget == nil && usual.network != nil && usual.budget != nil, true},
		{"who may ask", fmt.Sprint(all.network.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels), "map[kubernetes.io/metadata.name:runners]"},
		{"ways out", egress(usual), []string{"0.0.0.0/0 443", " 53"}},
		{"ways out to the metadata service", egress(managed), []string{"0.0.0.0/0 443", " 53", "169.254.169.254/32 80"}},
		{"the same beside the webhook", egress(made("a managed identity beside the webhook's")), []string{"0.0.0.0/0 443", " 53", "169.254.169.254/32 80"}},
		{"and for a proof", egress(made("an application that a managed identity proves, in another file")), []string{"0.0.0.0/0 443", " 53", "169.254.169.254/32 80"}},
		{"but not for files that have none", egress(made("several files")), []string{"0.0.0.0/0 443", " 53"}},
		{"ways out by a proxy", egress(all), []string{"10.1.0.0/16 443", " 53", "10.2.0.4/32 3128"}},
		{"where it runs", fmt.Sprint(all.pod().NodeSelector, len(all.pod().Tolerations), all.pod().Affinity != nil, all.pod().PriorityClassName), "map[kubernetes.io/os:linux] 1 trueci"},
		{"labels and annotations of the pods", all.stateful.Spec.Template.Labels["team"] + all.stateful.Spec.Template.Annotations["sidecar.istio.io/inject"], "cifalse"},
		{"memory", fmt.Sprint(limits.Memory().Value(), " ", all.container().Env[1].Value), "2147483648 1638MiB"},
	} {
		if fmt.Sprint(c.have) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.about, c.have, c.want)
		}
	}
}
