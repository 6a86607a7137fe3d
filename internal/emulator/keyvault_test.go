package emulator_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// failure is how the real client sees an error of Key Vault.
type failure struct {
	Status      int
	Code, Inner string
}

func failureOf(t *testing.T, err error) failure {
	t.Helper()
	var failed *azcore.ResponseError
	if !errors.As(err, &failed) {
		t.Fatalf("want an answer of Key Vault, got %v", err)
	}
	body, err := runtime.Payload(failed.RawResponse)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error struct {
			Message    string
			Innererror struct{ Code string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error.Message == "" {
		t.Fatalf("not a body of Key Vault's: %s", body)
	}
	return failure{failed.StatusCode, failed.ErrorCode, answer.Error.Innererror.Code}
}

func TestReadsFailAsInKeyVault(t *testing.T) {
	e, v := world(t)
	v.Forbid(client)
	v.Allow(client, "ci-*", "deploy-db", "gone", "off", "missing")
	v.Set("ci-token", "hunter2")
	v.Set("root-key", "hunter2")
	v.Set("gone", "hunter2")
	v.Delete("gone")
	v.Set("off", "hunter2", emulator.Disabled())
	reader := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{}))
	for name, want := range map[string]failure{
		"missing":      {404, "SecretNotFound", ""},
		"gone":         {404, "SecretNotFound", ""},
		"off":          {403, "Forbidden", "SecretDisabled"},
		"root-key":     {403, "Forbidden", "ForbiddenByRbac"},
		"never-was":    {403, "Forbidden", "ForbiddenByRbac"},
		"a_b":          {400, "BadParameter", ""},
		"ci-token/../": {400, "BadParameter", ""},
	} {
		_, err := reader.GetSecret(t.Context(), name, "", nil)
		if got := failureOf(t, err); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if _, err := reader.GetSecret(t.Context(), "ci-token", "", nil); err != nil {
		t.Errorf("what a pattern allows: %v", err)
	}
	_, err := reader.GetSecret(t.Context(), "ci-token", strings.Repeat("0", 32), nil)
	if got, want := failureOf(t, err), (failure{404, "SecretNotFound", ""}); got != want {
		t.Errorf("an unknown version: got %+v, want %+v", got, want)
	}
	v.Forbid(client)
	_, err = reader.GetSecret(t.Context(), "ci-token", "", nil)
	if got, want := failureOf(t, err), (failure{403, "Forbidden", "ForbiddenByRbac"}); got != want {
		t.Errorf("after Forbid: got %+v, want %+v", got, want)
	}
}

func TestVersionsAndAttributes(t *testing.T) {
	e, v := world(t)
	past, ahead := time.Unix(1_600_000_000, 0).UTC(), time.Unix(4_000_000_000, 0).UTC()
	first := v.Set("Deploy-DB", "one", emulator.Created(past), emulator.Expires(past), emulator.NotBefore(ahead),
		emulator.Tags(map[string]string{"owner": "pay"}), emulator.ContentType("application/json"))
	second := v.Set("deploy-db", "two")
	reader := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{}))

	current, err := reader.GetSecret(t.Context(), "DEPLOY-db", "", nil)
	if err != nil || *current.Value != "two" || current.ID.Version() != second {
		t.Fatalf("the current version, by another case: got %v, %v", current.ID, err)
	}
	if *current.Attributes.Created == past || current.Attributes.Expires != nil || current.Attributes.NotBefore != nil {
		t.Error("a new version took over the old one's attributes")
	}
	pinned, err := reader.GetSecret(t.Context(), "deploy-db", first, nil)
	if err != nil {
		t.Fatalf("an expired and not yet valid version is given out by Key Vault: %v", err)
	}
	type facts struct {
		Value, ID, ContentType, Owner, Recovery string
		Enabled                                 bool
		Days                                    int32
		Created, Updated, Expires, NotBefore    time.Time
	}
	a := pinned.Attributes
	got := facts{*pinned.Value, string(*pinned.ID), *pinned.ContentType, *pinned.Tags["owner"], *a.RecoveryLevel, *a.Enabled,
		*a.RecoverableDays, *a.Created, *a.Updated, *a.Expires, *a.NotBefore}
	want := facts{"one", v.URL() + "/secrets/Deploy-DB/" + first, "application/json", "pay", "Recoverable+Purgeable", true,
		90, past, past, past, ahead}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" || first == second {
		t.Errorf("versions %q and %q are not two IDs of 32 hexadecimal digits", first, second)
	}
	if diff := cmp.Diff([]string{"Deploy-DB"}, v.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestTheSecretBehindACertificate(t *testing.T) {
	e, v := world(t)
	version := v.Set("Web", "cert", emulator.Managed(), emulator.ContentType("application/x-pkcs12"))
	v.Set("plain", "text")
	reader := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{}))
	got, err := reader.GetSecret(t.Context(), "web", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Managed == nil || !*got.Managed || got.KID == nil || string(*got.KID) != v.URL()+"/keys/Web/"+version ||
		*got.ContentType != "application/x-pkcs12" || *got.Value != "cert" {
		t.Errorf("got %+v", got.Secret)
	}
	if got, err := reader.GetSecret(t.Context(), "plain", "", nil); err != nil || got.Managed != nil || got.KID != nil || got.ContentType != nil {
		t.Errorf("an ordinary secret is %+v, %v", got.Secret, err)
	}
}

func TestUpdateChangesOneVersion(t *testing.T) {
	e, v := world(t)
	first, second := v.Set("db", "one"), v.Set("db", "two")
	reader := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{}))
	v.Update("db", first, emulator.Disabled())
	if _, err := reader.GetSecret(t.Context(), "db", second, nil); err != nil {
		t.Errorf("the other version: %v", err)
	}
	_, err := reader.GetSecret(t.Context(), "db", first, nil)
	if got := failureOf(t, err); got.Inner != "SecretDisabled" {
		t.Errorf("the version itself: got %+v", got)
	}
	v.Update("db", first, emulator.Enabled())
	v.Update("db", "", emulator.Disabled())
	if _, err := reader.GetSecret(t.Context(), "db", first, nil); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	_, err = reader.GetSecret(t.Context(), "db", "", nil)
	if got := failureOf(t, err); got.Inner != "SecretDisabled" {
		t.Errorf("the current one: got %+v", got)
	}
}

// bare asks a vault with a token of the caller's choice and no client that would mend anything.
func bare(t *testing.T, e *emulator.Emulator, v *emulator.Vault, token string) (status int, challenge, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.URL()+"/secrets/db/?api-version=2026-04-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := e.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("WWW-Authenticate"), string(read)
}

func tokenFor(t *testing.T, e *emulator.Emulator, scope string) string {
	t.Helper()
	token, err := credential(t, e, emulator.AssertionOptions{}).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		t.Fatal(err)
	}
	return token.Token
}

func TestOnlyATokenForThisVaultOpensIt(t *testing.T) {
	clock := time.Now()
	e, v := worldWith(t, emulator.Options{Now: func() time.Time { return clock }, TokenLifetime: time.Hour})
	v.Set("db", "hunter2")
	foreign := e.Vault("kv-other.vault.azure.net", "22222222-2222-4333-8444-555555555555")
	good := tokenFor(t, e, "https://vault.azure.net/.default")
	for name, c := range map[string]struct {
		vault *emulator.Vault
		token string
		text  string
	}{
		"no token":               {v, "", "AKV10000"},
		"no JWT":                 {v, "hunter2", "AKV10046"},
		"another signature":      {v, good[:len(good)-4] + "AAAA", "AKV10046"},
		"the assertion":          {v, e.Assertion(emulator.AssertionOptions{Claims: map[string]any{"tid": tenant}}), "AKV10046"},
		"another resource":       {v, tokenFor(t, e, "https://management.azure.com/.default"), "AKV10022"},
		"another tenant's vault": {foreign, good, "AKV10032"},
	} {
		status, challenge, body := bare(t, e, c.vault, c.token)
		if status != http.StatusUnauthorized || !strings.Contains(body, c.text) || !strings.Contains(body, `"code":"Unauthorized"`) {
			t.Errorf("%s: got %d %s, want 401 with %s", name, status, body, c.text)
		}
		if !strings.Contains(challenge, `resource="https://vault.azure.net"`) || c.token != "" && strings.Contains(body, c.token) {
			t.Errorf("%s: got the challenge %q and the body %s", name, challenge, body)
		}
	}
	if status, _, body := bare(t, e, v, good); status != http.StatusOK {
		t.Errorf("the right token: got %d %s", status, body)
	}
	clock = clock.Add(time.Hour + time.Second)
	if status, _, body := bare(t, e, v, good); status != http.StatusUnauthorized || !strings.Contains(body, "TokenExpired") {
		t.Errorf("an hour later, though the token is remembered: got %d %s", status, body)
	}
}

func TestEveryCloudHasItsOwnHosts(t *testing.T) {
	e, _ := world(t)
	for name, c := range map[string]struct {
		cloud cloud.Configuration
		host  string
	}{
		"public":     {cloud.AzurePublic, "kv-one.vault.azure.net"},
		"government": {cloud.AzureGovernment, "kv-one.vault.usgovcloudapi.net"},
		"china":      {cloud.AzureChina, "kv-one.vault.azure.cn"},
	} {
		t.Run(name, func(t *testing.T) {
			v := e.Vault(c.host, tenant)
			v.Allow(client)
			v.Set("db", name)
			options := clientOptions(e)
			options.Cloud = c.cloud
			source, err := azidentity.NewClientAssertionCredential(tenant, client, assertions(e), &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
			if err != nil {
				t.Fatal(err)
			}
			got, err := secrets(t, e, v, source).GetSecret(t.Context(), "db", "", nil)
			if err != nil || *got.Value != name {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOnlyAVaultsHostCanBeAVault(t *testing.T) {
	e, _ := world(t)
	for _, host := range []string{"kv.example", "vault.azure.net", ".vault.azure.net", "a.b.vault.azure.net", "kv.vault.azure.net.example"} {
		if !panics(func() { e.Vault(host, tenant) }) {
			t.Errorf("%q was taken for a vault's host", host)
		}
	}
	v := e.Vault(strings.ToUpper(host), tenant)
	if v != e.Vault(host, tenant) || v.Host() != host {
		t.Error("the same host in another case is another vault")
	}
	for _, name := range []string{"", "a_b", "a/b", "ä", strings.Repeat("a", 128)} {
		if !panics(func() { v.Set(name, "x") }) {
			t.Errorf("%q was taken for a secret's name", name)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}
