package app_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// An installation that is sound in every part: with every kind of identity, a token for a scope, a registry's and a build's ID
// token.
func TestDoctorOfASoundInstallation(t *testing.T) {
	t.Parallel()
	s := newSite(t, everything)
	f := s.examine()
	for _, one := range f.all {
		if one.Verdict != app.VerdictOK {
			t.Errorf("%s", sprint(one))
		}
	}
	for _, step := range []string{"identity pay: assertion", "identity vmapp: assertion", "identity repo: assertion", "identity env: assertion"} {
		names := []string{}
		for _, fact := range f.step[step].Facts {
			names = append(names, fact.Name)
			if fact.Value == "" {
				t.Errorf("%s has no %s", step, fact.Name)
			}
		}
		if want := []string{"issuer", "subject", "audience", "kid", "alg", "issued", "expires"}; !slices.Equal(names, want) {
			t.Errorf("%s shows %v, want %v", step, names, want)
		}
	}
	for _, step := range []string{"identity vm: token for vault.azure.net", "issuer: keys", "issuer: documents", "token arm: made",
		"token acr: made", "token aws: made", "vault shared: read", "vault own: read", "vault prod: read", "vault lame: read"} {
		if f.step[step].Area == "" {
			t.Errorf("there is no step %s", step)
		}
	}
	// What only holds keys of the issuer is not read.
	if _, reads := f.step["vault sign: read"]; reads {
		t.Error("the vault of the issuer's keys is read")
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 2 { // its configuration and its token
		t.Errorf("it left %v", left)
	}
}

// Where all identities are the machine's, the vaults tell the time; where an authority does, they are not asked.
func TestDoctorComparesTheClock(t *testing.T) {
	t.Parallel()
	f := newSite(t, managedOnly).examine()
	for _, one := range f.all {
		if one.Verdict != app.VerdictOK {
			t.Errorf("%s", sprint(one))
		}
	}
	if one := f.step["vaults: clock"]; !strings.Contains(one.Detail, "of Key Vault's") {
		t.Errorf("%s", sprint(one))
	}
	if f = newSite(t, two).examine(); f.step["entra public: clock"].Verdict != app.VerdictOK || f.step["vaults: clock"].Area != "" {
		t.Errorf("%s", f.text)
	}
}

// For what a federated credential is missing it prints the command that makes it, for just this assertion.
func TestDoctorPrintsTheFederatedCredential(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	application(emulator.App{Subject: "system:serviceaccount:other:other"})(s)
	told := s.examine().step[payVault]
	want := []string{
		"az identity federated-credential create --name drone-entra --identity-name IDENTITY --resource-group GROUP " +
			"--issuer https://oidc.cluster.example --subject system:serviceaccount:drone:drone-entra --audiences api://AzureADTokenExchange",
		`az ad app federated-credential create --id 11110000-3333-4444-8555-666677778888 --parameters '{"audiences":["api://AzureADTokenExchange"],` +
			`"issuer":"https://oidc.cluster.example","name":"drone-entra","subject":"system:serviceaccount:drone:drone-entra"}'`,
	}
	if !slices.Equal(told.Commands, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(told.Commands, "\n"), strings.Join(want, "\n"))
	}
}

// Without a build, what speaks of one is left out with what to add, and everything else is asked.
func TestDoctorWithoutABuild(t *testing.T) {
	t.Parallel()
	s := newSite(t, everything)
	s.build = secret.Request{}
	f := s.examine()
	for step, says := range map[string]string{"identity repo: assertion": "--repo", "identity env: assertion": "--repo", "token aws: made": "--repo"} {
		if one := f.step[step]; one.Verdict != app.VerdictSkip || !strings.Contains(one.Detail, says) || one.After != "" {
			t.Errorf("%s", sprint(one))
		}
	}
	for _, one := range f.all {
		if one.Verdict != app.VerdictOK && one.Verdict != app.VerdictSkip {
			t.Errorf("%s", sprint(one))
		}
	}
	s.build = secret.Request{Pool: "default", Repo: secret.Repo{UID: "42", Slug: "acme/app"}, Build: secret.Build{Event: "push"}}
	f = s.examine()
	if one := f.step["identity env: assertion"]; one.Verdict != app.VerdictSkip || !strings.Contains(one.Detail, "--deploy-to") {
		t.Errorf("%s", sprint(one))
	}
	if one := f.step["vault own: read"]; one.Verdict != app.VerdictOK {
		t.Errorf("%s", sprint(one))
	}
	s.build.Repo.UID = secret.UnknownUID
	if one := s.examine().step["identity repo: assertion"]; one.Verdict != app.VerdictSkip || !strings.Contains(one.Detail, "--uid") {
		t.Errorf("%s", sprint(one))
	}
}

// The secret that is asked for is read; one of a vault that is not there is no question.
func TestDoctorReadsTheSecretAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	shared(s).Set("other", "canary-value-of-another-secret")
	s.secret = "shared/other"
	if one := s.examine().step[readShared]; one.Verdict != app.VerdictOK || one.Detail != "shared/other" || len(one.Facts) != 3 {
		t.Errorf("%s", sprint(one))
	}
	for _, ref := range []string{"nowhere/other", "tokens/nothing"} {
		s.secret = ref
		if _, err := app.NewDoctor(s.patient()); err == nil || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// Beside a running extension the record is held, which is as it should be; the extension does not notice.
func TestDoctorBesideARunningExtension(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	file := filepath.Join(s.dir, "audit.jsonl")
	r, err := audit.Open(audit.Options{File: file, Instance: "replica-one", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file + ".lock")
	one := s.examine().step["record: place"]
	if one.Verdict != app.VerdictOK || !strings.Contains(one.Detail, "held by a running instance") || !strings.Contains(one.Detail, "replica-one") {
		t.Errorf("%s", sprint(one))
	}
	if after, _ := os.ReadFile(file + ".lock"); string(after) != string(before) {
		t.Errorf("the lock's file says %q, and said %q", after, before)
	}
	if err := r.Record(t.Context(), secret.Event{Kind: secret.EventSecret, Outcome: secret.Released}); err != nil {
		t.Error(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whatever code Entra refuses with, there is a remedy apart from the cause.
func TestDoctorHasARemedyForEachCode(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	for _, code := range []int{700212, 7002138, 700016, 700024, 70023, 7000272, 90061, 700027, 50027, 50013, 500133, 700222, 700229, 700223, 700238,
		70052, 53003, 90002, 50049, 900382, 7000215, 7000222, 500011, 70011, 999999} {
		remove := s.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Status: 400})
		told := s.examine().step[payVault]
		remove()
		if told.Verdict != app.VerdictFail || !strings.Contains(told.Faults[0].Cause, "AADSTS") || strings.Contains(told.Faults[0].Remedy, "report it") {
			t.Errorf("%d: %s", code, sprint(told))
		}
	}
}

// A managed identity that stands in for an application is named by its principal, and by the tenant's issuer.
func TestDoctorPrintsTheFederatedCredentialOfAManagedIdentity(t *testing.T) {
	t.Parallel()
	s := newSite(t, everything)
	other := "22220000-3333-4444-8555-666677778888"
	principal := s.ManagedIdentity(other, tenant)
	configured("assertion: {managed: {client_id: "+vmClient, "assertion: {managed: {client_id: "+other)(s)
	commands := strings.Join(s.examine().step["identity vmapp: token for vault.azure.net"].Commands, "\n")
	for _, want := range []string{"--subject " + principal, "--issuer https://login.microsoftonline.com/" + tenant + "/v2.0", "--id " + appClient} {
		if !strings.Contains(commands, want) {
			t.Errorf("%q is not in %s", want, commands)
		}
	}
}

// The sovereign clouds have an authority, an audience and vaults of their own.
func TestDoctorInAnotherCloud(t *testing.T) {
	t.Parallel()
	s := newSite(t, strings.NewReplacer("tenant_id: TENANT, client_id: "+payClient, "cloud: usgovernment, tenant_id: TENANT, client_id: "+appClient,
		"kv-shared.vault.azure.net", "kv-shared.vault.usgovcloudapi.net", "https://management.azure.com", "https://management.usgovcloudapi.net").Replace(two))
	s.project(emulator.AssertionOptions{Audience: "api://AzureADTokenExchangeUSGov"})
	s.Register(emulator.App{Tenant: tenant, ClientID: appClient, Audience: "api://AzureADTokenExchangeUSGov"})
	v := s.Emulator.Vault("kv-shared.vault.usgovcloudapi.net", tenant)
	v.Allow(appClient)
	v.Set("ci-token", "canary-value")
	f := s.examine()
	for _, one := range f.all {
		if one.Verdict != app.VerdictOK {
			t.Errorf("%s", sprint(one))
		}
	}
	if one := f.step["entra usgovernment: way"]; one.Verdict != app.VerdictOK {
		t.Errorf("%s", sprint(one))
	}
}

// Who has seen enough leaves, and nothing goes on behind him.
func TestDoctorLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := newSite(t, everything)
	s.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Hang})
	p := s.patient()
	d, err := app.NewDoctor(p)
	if err != nil {
		t.Fatal(err)
	}
	began, seen := time.Now(), 0
	for range d.Examine(t.Context()) {
		if seen++; seen == 7 {
			break
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	s.Close()
	goleak.VerifyNone(t, before)
}

// A proxy is no matter where NO_PROXY leaves out the metadata endpoint, or nobody asks there.
func TestDoctorOfAProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	s.env["http_proxy"], s.env["https_proxy"] = "http://proxy:3128", "proxy:3128" // which is taken, too
	for no, want := range map[string]app.Verdict{
		"": app.VerdictWarn, "localhost,169.254.169.25": app.VerdictWarn, "10.0.0.0/8": app.VerdictWarn,
		"localhost, 169.254.169.254": app.VerdictOK, "169.254.0.0/16": app.VerdictOK, "*": app.VerdictOK,
	} {
		s.env["NO_PROXY"] = no
		if one := s.examine().step["environment: variables"]; one.Verdict != want {
			t.Errorf("NO_PROXY=%s: %s", no, sprint(one))
		}
	}
	s.env["NO_PROXY"] = ""
	s.text = strings.NewReplacer("vm: {managed: {client_id: "+vmClient+"}}", "vm: {tenant_id: TENANT, client_id: "+payClient+", assertion: {file: DIR/token/token}}").Replace(s.text)
	if one := s.examine().step["environment: variables"]; one.Verdict != app.VerdictOK {
		t.Errorf("%s", sprint(one))
	}
}

// Who has no time to wait for an authority that hangs gets an end, with whom it waited for.
func TestDoctorOfAnAuthorityThatHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t, two)
	s.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	f := s.within(ctx)
	if one := f.step[payVault]; one.Verdict != app.VerdictFail || !strings.Contains(one.Faults[0].Cause, login+" gave no token") {
		t.Errorf("%s", sprint(one))
	}
	if one := f.step[readShared]; one.Verdict != app.VerdictSkip || one.After != payVault {
		t.Errorf("%s", sprint(one))
	}
}
