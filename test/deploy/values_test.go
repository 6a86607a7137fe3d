package deploy

import (
	"strings"
	"testing"
)

// valueSets are laid over deploy/helm/example.yaml, and what comes of each must fit together.
var valueSets = map[string]string{
	"the example": "{}",
	"TLS ends in a mesh": `
tls: {secretName: ""}
config:
  version: 1
  vaults: {shared: {url: "https://kv-shared.vault.azure.net"}}
  pools: {default: {keys: [{id: 2026-11, file: /run/keys/default}]}}
  bindings: [{id: app-ci, repos: [acme/app], read: [shared/ci-token]}]
  listen: {address: ":3000", plain_http: true}
`,
	"one replica":             "replicas: 1",
	"no policy and no budget": "networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}",
	"another port and other times": `
config: |
  # The comment, and the "on", stay as they are.
  version: 1
  vaults: {pay: {url: https://kv-pay.vault.azure.net, identity: pay}}
  identities: {pay: {client_id: 3f2a4c55-1111-4222-8333-444455556666, tenant_id: 9b0f7e0c-2222-4333-8444-555566667777, assertion: {file: /var/run/secrets/azure/tokens/azure-identity-token}}}
  pools: {default: {keys: [{id: new, file: /run/keys/new}, {id: old, file: /run/keys/old}]}}

  bindings:
    - {id: pay, repos: ["acme/*"], when: {push: {branches: ["on", "1.10"]}}, read: ["pay/**"]}
  listen: {address: "[::]:8443", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
  limits: {budget: 50s, drain: 1m30s, connections: 100}
service: {port: 8443}
`,
	"several files": `
config: |
  version: 1
  vaults: {shared: {url: https://kv-shared.vault.azure.net}, pay: {url: https://kv-pay.vault.azure.net}}
  pools: {default: {keys: [{id: 2026-11, file: /run/keys/default}]}}
  bindings: [{id: app-ci, repos: [acme/app], read: [shared/ci-token]}]
  files: {payments.yaml: {repos: ["acme/payments-*"], read: ["pay/*"]}}
  listen: {address: ":3000", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
configFiles:
  payments.yaml: |
    version: 1

    bindings: [{id: payments-ci, repos: [acme/payments-api], read: [pay/db]}]
`,
	"managed identities of the nodes": `
azure: {workloadIdentity: false, clientId: ""}
config: |
  version: 1
  identities: {default: {managed: {client_id: 5d1c0a77-3333-4444-8555-666677778888}}}
  vaults: {shared: {url: https://kv-shared.vault.azure.net}}
  pools: {default: {keys: [{id: 2026-11, file: /run/keys/default}]}}
  bindings: [{id: app-ci, repos: [acme/app], read: [shared/ci-token]}]
  listen: {address: ":3000", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
`,
	"a managed identity beside the webhook's": `
config: |
  version: 1
  identities: {default: {}, vm: {managed: {client_id: 5d1c0a77-3333-4444-8555-666677778888}}}
  vaults: {shared: {url: https://kv-shared.vault.azure.net}, pay: {url: https://kv-pay.vault.azure.net, identity: vm}}
  pools: {default: {keys: [{id: 2026-11, file: /run/keys/default}]}}
  bindings: [{id: app-ci, repos: [acme/app], read: [shared/ci-token, pay/db]}]
  listen: {address: ":3000", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
`,
	"an application that a managed identity proves, in another file": `
config: |
  version: 1
  vaults: {shared: {url: https://kv-shared.vault.azure.net}, pay: {url: https://kv-pay.vault.azure.net, identity: pay}}
  pools: {default: {keys: [{id: 2026-11, file: /run/keys/default}]}}
  bindings: [{id: app-ci, repos: [acme/app], read: [shared/ci-token, pay/db]}]
  listen: {address: ":3000", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
configFiles:
  identities.yaml: |
    version: 1
    identities:
      default: {}
      pay: {tenant_id: 9b0f7e0c-2222-4333-8444-555566667777, client_id: 3f2a4c55-1111-4222-8333-444455556666, assertion: {managed: {client_id: 5d1c0a77-3333-4444-8555-666677778888}}}
`,
	"everything that can be said": `
nameOverride: secrets
fullnameOverride: our-secrets
replicas: 5
image: {repository: "acme.azurecr.io:443/ci/drone-entra", tag: "", digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always, pullSecrets: [acr]}
azure: {tenantId: 9b0f7e0c-2222-4333-8444-555566667777}
serviceAccount: {create: false, name: existing}
env: {HTTPS_PROXY: "http://proxy.acme.example:3128", NO_PROXY: .svc, SSL_CERT_FILE: /run/keys/roots.pem}
service: {type: LoadBalancer, annotations: {service.beta.kubernetes.io/azure-load-balancer-internal: "true"}}
record: {size: 100Gi, storageClassName: managed-csi-premium, accessMode: ReadWriteOncePod}
resources: {requests: {cpu: "1", memory: 1Gi}, limits: {cpu: "2", memory: 2Gi}}
networkPolicy:
  runners: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: runners}}, podSelector: {matchLabels: {app: drone-runner}}}]
  azure: [{ipBlock: {cidr: 10.1.0.0/16}}]
  extraEgress: [{to: [{ipBlock: {cidr: 10.2.0.4/32}}], ports: [{protocol: TCP, port: 3128}]}]
podLabels: {team: ci}
podAnnotations: {sidecar.istio.io/inject: "false"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: ci, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]}]}}}
priorityClassName: ci
`,
}

// beginning is a configuration up to what a refusal makes wrong about it.
const beginning = "config: |\n  version: 1\n  pools: {default: {keys: [{id: k, file: /run/keys/default}]}}\n"

// refusals are laid over the example as well; says is part of why the chart renders nothing.
var refusals = []struct{ about, values, says string }{
	{"a key that is not there", "replica: 2", "replica"},
	{"one further down", "image: {repo: x}", "repo"},
	{"no replica", "replicas: 0", "replicas"},
	{"replicas in words", "replicas: two", "replicas"},
	{"half a replica", "replicas: 1.5", "replicas"},
	{"no image", `image: {repository: ""}`, "repository"},
	{"the tag latest", "image: {tag: latest}", "tag"},
	{"a digest that is none", "image: {digest: sha256:abc}", "digest"},
	{"no client", `azure: {clientId: ""}`, "clientId"},
	{"a client by name", "azure: {clientId: drone-entra}", "clientId"},
	{"a client without the webhook", "azure: {workloadIdentity: false}", "clientId"},
	{"a tenant by domain", "azure: {tenantId: acme.example}", "tenantId"},
	{"no keys", `keys: {secretName: ""}`, "secretName"},
	{"a key as a value", "keys: {default: 0123456789abcdef0123456789abcdef}", "default"},
	{"a key in the environment", "env: {DRONE_SECRET: 0123456789abcdef0123456789abcdef}", "DRONE_SECRET"},
	{"a client secret", "env: {AZURE_CLIENT_SECRET: x}", "AZURE_CLIENT_SECRET"},
	{"a proxy's password", `env: {HTTPS_PROXY: "http://user:word@proxy:3128"}`, "HTTPS_PROXY"},
	{"an environment that is no text", "env: {A: {valueFrom: {secretKeyRef: {name: a, key: b}}}}", "env/A"},
	{"a volume without a size", `record: {size: ""}`, "size"},
	{"a volume of bytes", "record: {size: 10G}", "size"},
	{"a volume for many", "record: {accessMode: ReadWriteMany}", "accessMode"},
	{"no limit of memory", "resources: {limits: {memory: null}}", "memory"},
	{"too little memory", "resources: {limits: {memory: 16Mi}}", "memory"},
	{"a policy that lets everybody in", "networkPolicy: {runners: []}", "runners"},
	{"a peer that is everybody", "networkPolicy: {runners: [{}]}", "runners"},
	{"a peer that is misspelt", "networkPolicy: {runners: [{podselector: {}}]}", "podselector"},
	{"a policy that lets everything out", "networkPolicy: {azure: []}", "azure"},
	{"a port that is none", "service: {port: 70000}", "port"},
	{"a kind of service that needs no pods", "service: {type: ExternalName}", "type"},
	{"a label of the chart's own", "podLabels: {app.kubernetes.io/name: x}", "podLabels"},
	{"a second main file", "configFiles: {drone-entra.yaml: x}", "drone-entra.yaml"},
	{"a file that nobody reads", "configFiles: {notes.txt: x}", "notes.txt"},
	{"no account", "serviceAccount: {create: false}", "serviceAccount.name"},

	{"no configuration", `config: ""`, "config"},
	{"one that is no YAML", "config: \"version: [\"", "config: this is no YAML"},
	{"one that is a text", "config: drone-entra.yaml", "config: this is no YAML"},
	{"one without its version", "config: {vaults: {}}", "`version: 1` is missing"},
	{"neither TLS nor a word about it", beginning + "tls: {secretName: \"\"}", "write `plain_http: true`"},
	{"TLS without a certificate", `tls: {secretName: ""}`, "tls.secretName"},
	{"a certificate that nothing uses", beginning + "  listen: {plain_http: true}", "has no listen.tls"},
	{"a certificate elsewhere", beginning + "  listen: {tls: {cert: /etc/tls/tls.crt, key: /tls/tls.key}}", "write /tls/tls.crt"},
	{"an address that nobody reaches", beginning + `  listen: {address: "127.0.0.1:3000", plain_http: true}`, "nobody reaches"},
	{"a record that a restart loses", beginning + "  record: {file: /tmp/audit.jsonl}", "not on the claim"},
	{"no pool", "config: {version: 1, listen: {plain_http: true}}\ntls: {secretName: \"\"}", "config: pools"},
	{"a key from the environment", "config: {version: 1, listen: {plain_http: true}, pools: {default: {keys: [{id: k, env: KEY}]}}}\ntls: {secretName: \"\"}", "below /run/keys"},
	{"a drain in days", beginning + "  listen: {tls: {cert: /tls/tls.crt, key: /tls/tls.key}}\n  limits: {drain: 1d}", "limits.drain"},
	{"a budget without a unit", beginning + "  listen: {tls: {cert: /tls/tls.crt, key: /tls/tls.key}}\n  limits: {budget: 20}", "limits.budget"},
}

// What makes no sense is refused before anything is applied, and the refusal names it.
func TestNonsenseIsRefused(t *testing.T) {
	c := load(t)
	for _, r := range refusals {
		t.Run(r.about, func(t *testing.T) {
			documents, err := c.render(read(t, example), parse(t, r.values))
			if err == nil {
				t.Fatalf("it renders:\n%s", strings.Join(documents, "---\n"))
			}
			if !strings.Contains(err.Error(), r.says) {
				t.Errorf("the refusal doesn't name %s: %v", r.says, err)
			}
		})
	}
	// None of the values that are needed has a default that would do.
	for key, of := range map[string]string{"image": "repository", "azure": "clientId", "keys": "secretName"} {
		if c.values[key].(object)[of] != "" {
			t.Errorf("%s.%s has a default", key, of)
		}
	}
	if _, err := c.render(); err == nil {
		t.Error("the chart renders without a value")
	}
}
