package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// From nothing to a repository with an identity of its own, by the program's own words: the documents are what `issuer publish`
// wrote, the federated credential is what `issuer subjects` prints, and no other step is needed.
func TestTheIssuerFromNothing(t *testing.T) {
	t.Parallel()
	const repoClient = "7c1de0aa-4444-4555-8666-777788889999"
	dir := directory(t)
	e, err := emulator.Start(emulator.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	e.Register(emulator.App{Tenant: tenantID, ClientID: otherClient})
	sign := e.Vault("kv-sign.vault.azure.net", tenantID)
	sign.AllowKeys(otherClient)
	version := sign.SetKey("drone-issuer")
	teams := e.Vault("kv-teams.vault.azure.net", tenantID)
	teams.Allow(repoClient, "r42--*")
	teams.Set("r42--token", "canary-of-the-repository")
	site := filepath.Join(dir, "site")
	e.Handle("oidc.acme.example", http.StripPrefix("/drone", http.FileServer(http.Dir(site))))

	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := e.ProjectToken(filepath.Join(dir, "token"), ""); err != nil {
		t.Fatal(err)
	}
	config := write("drone-entra.yaml", `version: 1
issuer:
  url: https://oidc.acme.example/drone
  server: drone.acme.example
  keys: [{key: sign/drone-issuer@`+version+`}]
identities:
  default: {}
  each: {tenant_id: `+tenantID+`, clients: {"42": `+repoClient+`}, assertion: {issuer: repo}}
vaults:
  sign: {url: https://kv-sign.vault.azure.net}
  teams: {url: https://kv-teams.vault.azure.net, identity: each}
bindings: [{id: app, repos: [{slug: acme/app, uid: "42"}], read: ["teams/*"]}]
limits: {drain: 1s}
listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0"}
record: {file: `+filepath.Join(dir, "audit.jsonl")+`}
`)
	environment := []string{"AZURE_TENANT_ID=" + tenantID, "AZURE_CLIENT_ID=" + otherClient, "AZURE_FEDERATED_TOKEN_FILE=" + filepath.Join(dir, "token"),
		"HTTPS_PROXY=" + e.ProxyURL(), "SSL_CERT_FILE=" + write("ca.pem", string(e.CAPEM())), "DRONE_SECRET=" + newKey}
	run := func(args ...string) printed { return invoke(t, dir, environment, append(args, "--config", config)...) }

	run("issuer", "rotate").says(t, 1, "wrong  fetch", "https://oidc.acme.example/drone")
	run("issuer", "publish", site).says(t, 0, "written", "signs now", "az storage blob upload-batch")
	run("issuer", "rotate").says(t, 0, "1 key at https://oidc.acme.example/drone/openid/v1/jwks", "now    create")
	var found struct {
		Applications []struct {
			Client string                                       `json:"client_id"`
			Trusts []struct{ Issuer, Subject, Audience string } `json:"subjects"`
		}
	}
	if p := invoke(t, dir, nil, "issuer", "subjects", "--json", "--config", config); p.code != 0 || json.Unmarshal([]byte(p.stdout), &found) != nil ||
		len(found.Applications) != 1 || len(found.Applications[0].Trusts) != 1 {
		t.Fatal(p)
	}
	a := found.Applications[0]
	e.Register(emulator.App{Tenant: tenantID, ClientID: a.Client, Issuer: a.Trusts[0].Issuer, Subject: a.Trusts[0].Subject, Audience: a.Trusts[0].Audience})

	serving := background(t, environment, "serve", "--config", config)
	address := serving.says(t, `"address":"(127\.0\.0\.1:\d+)"`)[1]
	ask := func(uid string) printed {
		return invoke(t, dir, []string{"DRONE_SECRET_PLUGIN_TOKEN=" + newKey}, "request", "http://"+address, "--repo", "acme/app", "--uid", uid,
			"--event", "push", "--ref", "refs/heads/main", "--reveal", "teams/r42--token")
	}
	ask("42").says(t, 0, "canary-of-the-repository")
	ask("43").says(t, 1, "404")
	serving.interrupt(t)
}
