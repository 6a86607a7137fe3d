package app_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/emulator"
)

// broken is an installation with one thing wrong, and what a doctor has to say of it.
type broken struct {
	name   string
	text   string // two, unless it says otherwise
	spoil  func(*site)
	step   string      // the one that tells
	as     app.Verdict // how; fail, unless it says otherwise
	cause  []string
	remedy []string
	skips  []string // which rest on it, all of them
	others []string // which tell of the same fault in their way, and may do so
}

// What rests on the identity pay in the installation two.
const (
	payAssertion = "identity pay: assertion"
	payIssuer    = "identity pay: issuer"
	payARM       = "identity pay: token for management.azure.com"
	payVault     = "identity pay: token for vault.azure.net"
	tokenARM     = "token arm: made"
	readShared   = "vault shared: read"
)

var (
	onAssertion = []string{payIssuer, payVault, payARM, tokenARM, readShared}
	onExchange  = []string{payARM, tokenARM, readShared}
)

// assertion has the identity pay show another assertion.
func assertion(o emulator.AssertionOptions) func(*site) { return func(s *site) { s.project(o) } }

// file has the identity pay find something else than a token.
func file(content string) func(*site) { return func(s *site) { s.write(content) } }

// The SDK keeps the tokens of managed identities for the whole process: a client ID that one test has a token of would not be
// missing in another. So 2222… is there wherever a test names it, and 3333… nowhere.

// managedAlone is an installation with a managed identity of which no test has a token.
func managedAlone(client string) string { return strings.Replace(managedOnly, vmClient, client, 1) }

// application has Entra know another application, whose client ID takes the place of pay's.
func application(o emulator.App) func(*site) {
	return func(s *site) {
		o.ClientID = "11110000-3333-4444-8555-666677778888"
		if o.Tenant == "" {
			o.Tenant = tenant
		}
		s.Register(o)
		s.text = strings.ReplaceAll(s.text, payClient, o.ClientID)
	}
}

// refusal has Entra answer with a code.
func refusal(code int) func(*site) {
	return func(s *site) {
		s.Fault(emulator.TokenEndpoint(), emulator.Fault{AADSTS: code, Status: http.StatusBadRequest})
	}
}

func fault(at func(*site) emulator.Target, f emulator.Fault) func(*site) {
	return func(s *site) { s.Fault(at(s), f) }
}

func host(name string) func(*site) emulator.Target {
	return func(*site) emulator.Target { return emulator.Host(name) }
}

func shared(s *site) *emulator.Vault { return s.Vault("kv-shared.vault.azure.net", tenant) }

func theSecret(s *site) emulator.Target { return shared(s).Secret("ci-token") }

func forbidden(code string) emulator.Fault {
	return emulator.Fault{Status: http.StatusForbidden, Body: `{"error":{"code":"Forbidden","message":"canary","innererror":{"code":"` + code + `"}}}`}
}

func configured(old, new string) func(*site) {
	return func(s *site) { s.text = strings.Replace(s.text, old, new, 1) }
}

func environment(name, value string) func(*site) {
	return func(s *site) { s.env[name] = value }
}

// documents has the cluster's issuer publish other ones: keys at another address, or others at its own.
func documents(keysAt, keys string) func(*site) {
	return func(s *site) {
		s.Handle("oidc.cluster.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "openid-configuration") {
				_, _ = io.WriteString(w, `{"issuer":"https://oidc.cluster.example","jwks_uri":"`+keysAt+`"}`)
				return
			}
			_, _ = io.WriteString(w, keys)
		}))
	}
}

const (
	clusterKeys = "https://oidc.cluster.example/openid/v1/jwks"
	ecKey       = `{"kty":"EC","crv":"P-256","kid":"x","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	namelessKey = `{"kty":"RSA","e":"AQAB","n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw"}`
)

var brokenInstallations = []broken{
	{name: "the configuration", spoil: configured("bindings:", "bindigs:"), step: "configuration: files", cause: []string{"drone-entra.yaml:", "bindigs"}, remedy: []string{"bindings"}},
	{name: "an address that all reach in clear", spoil: configured("record:", "listen: {address: \"0.0.0.0:3000\"}\nrecord:"), step: "configuration: address", cause: []string{"0.0.0.0:3000"}, remedy: []string{"listen.tls"}},
	{name: "a client secret", spoil: environment("AZURE_CLIENT_SECRET", "canary-value"), step: "environment: variables", cause: []string{"AZURE_CLIENT_SECRET"}, remedy: []string{"federated credential"}},
	{name: "a client secret of Terraform's", spoil: environment("ARM_CLIENT_SECRET", "canary-value"), step: "environment: variables", as: app.VerdictWarn, cause: []string{"ARM_CLIENT_SECRET", "not used"}, remedy: []string{"unset"}},
	{name: "a proxy before the metadata", spoil: environment("HTTP_PROXY", "http://proxy:3128"), step: "environment: variables", as: app.VerdictWarn, cause: []string{"HTTP_PROXY", "managed"}, remedy: []string{"169.254.169.254", "NO_PROXY"}},
	{name: "a proxy's address that can't be read", spoil: environment("HTTPS_PROXY", "http://canary-value:canary%value@proxy:3128"), step: "environment: variables", as: app.VerdictWarn, cause: []string{"HTTPS_PROXY", "ignored"}, remedy: []string{"http://HOST:PORT"}},
	{name: "no key of the runners", spoil: environment("DRONE_SECRET", ""), step: "runners: keys", cause: []string{"there is no key"}, remedy: []string{"DRONE_SECRET"}},
	{name: "a short key", spoil: environment("DRONE_SECRET", "canary-value"), step: "runners: keys", cause: []string{"12 bytes"}, remedy: []string{"openssl rand"}},
	{name: "the record's directory", spoil: configured("DIR/audit.jsonl", "DIR/nowhere/audit.jsonl"), step: "record: place", cause: []string{"no directory"}, remedy: []string{"make it"}},
	{name: "a directory as the record", spoil: configured("DIR/audit.jsonl", "DIR"), step: "record: place", cause: []string{"directory"}, remedy: []string{"another file"}},
	{name: "no tenant", spoil: configured("tenant_id: TENANT, ", ""), step: "identity pay: settings", cause: []string{"tenant_id", "AZURE_TENANT_ID"}, remedy: []string{"set one of them"}, skips: append([]string{payAssertion}, onAssertion...)},

	{name: "the token's file is missing", spoil: func(s *site) { _ = os.RemoveAll(filepath.Join(s.dir, "token")) }, step: payAssertion, cause: []string{"does not exist"}, remedy: []string{"azure.workload.identity/use"}, skips: onAssertion},
	{name: "it is empty", spoil: file(""), step: payAssertion, cause: []string{"is empty"}, remedy: []string{"what projects the token"}, skips: onAssertion},
	{name: "it is a directory", spoil: configured("DIR/token/token", "DIR/token"), step: payAssertion, cause: []string{"not a regular file"}, remedy: []string{"name the token's file"}, skips: onAssertion},
	{name: "it is binary", spoil: file(strings.Repeat("\x00\xff", 600)), step: payAssertion, cause: []string{"does not hold a JWT"}, remedy: []string{"token alone"}, skips: onAssertion},
	{name: "it begins with a mark that nobody sees", spoil: func(s *site) { s.write("\xef\xbb\xbf" + s.Assertion(emulator.AssertionOptions{})) }, step: payAssertion, cause: []string{"byte order mark"}, remedy: []string{"without one"}, skips: onAssertion},
	{name: "there are quotation marks around it", spoil: func(s *site) { s.write(`"` + s.Assertion(emulator.AssertionOptions{}) + `"`) }, step: payAssertion, cause: []string{"quotation mark"}, remedy: []string{"token alone"}, skips: onAssertion},
	{name: "it is huge", spoil: file(strings.Repeat("canary-value", 10_000)), step: payAssertion, cause: []string{"64 KiB"}, remedy: []string{"name the token's file"}, skips: onAssertion},
	{name: "it is written by half", spoil: func(s *site) { a := s.Assertion(emulator.AssertionOptions{}); s.write(a[:len(a)/2]) }, step: payAssertion, cause: []string{"JWT"}, remedy: []string{"token alone"}, skips: onAssertion},
	{name: "its signature is written by half", spoil: func(s *site) { a := s.Assertion(emulator.AssertionOptions{}); s.write(a[:len(a)-100]) }, step: payIssuer, cause: []string{"does not verify"}, remedy: []string{"by half"}, others: []string{payVault}, skips: onExchange},

	{name: "an expired assertion", spoil: assertion(emulator.AssertionOptions{Lifetime: -time.Hour, IssuedAt: time.Now()}), step: payAssertion, cause: []string{"expired", "AADSTS700024"}, remedy: []string{"kubelet"}, skips: onAssertion},
	{name: "an assertion of tomorrow", spoil: assertion(emulator.AssertionOptions{IssuedAt: time.Now().Add(24 * time.Hour)}), step: payAssertion, cause: []string{"not valid before"}, remedy: []string{"clock"}, skips: onAssertion},
	{name: "an assertion of a month", spoil: assertion(emulator.AssertionOptions{Lifetime: 720 * time.Hour}), step: payAssertion, cause: []string{"25 hours", "AADSTS70023"}, remedy: []string{"expirationSeconds"}, skips: onAssertion},
	{name: "no kid", spoil: assertion(emulator.AssertionOptions{NoKeyID: true}), step: payAssertion, cause: []string{"no kid", "AADSTS7000272"}, remedy: []string{"name the key"}, skips: onAssertion},
	{name: "another algorithm", spoil: assertion(emulator.AssertionOptions{Algorithm: "PS256"}), step: payAssertion, cause: []string{"PS256", "RS256"}, remedy: []string{"RSA key"}, skips: onAssertion},
	{name: "another audience", spoil: assertion(emulator.AssertionOptions{Audience: "sts.example"}), step: payAssertion, cause: []string{"sts.example", "api://AzureADTokenExchange", "AADSTS700212"}, remedy: []string{"audience api://AzureADTokenExchange"}, skips: onAssertion},
	{name: "another cloud's audience", spoil: assertion(emulator.AssertionOptions{Audience: "api://AzureADTokenExchangeUSGov"}), step: payAssertion, cause: []string{"across clouds"}, remedy: []string{"audience api://AzureADTokenExchange"}, skips: onAssertion},
	{name: "another cloud's issuer", spoil: assertion(emulator.AssertionOptions{Issuer: "https://login.microsoftonline.us/" + tenant + "/v2.0"}), step: payAssertion, cause: []string{"across clouds", "AADSTS900382"}, remedy: []string{"same cloud"}, skips: onAssertion},
	{name: "an issuer over http", spoil: assertion(emulator.AssertionOptions{Issuer: "http://oidc.cluster.example"}), step: payAssertion, cause: []string{"not https"}, remedy: []string{"https URL"}, skips: onAssertion},
	{name: "an issuer inside the cluster", spoil: assertion(emulator.AssertionOptions{Issuer: "https://kubernetes.default.svc.cluster.local"}), step: payAssertion, cause: []string{"private network", "AADSTS90061"}, remedy: []string{"--service-account-issuer"}, skips: onAssertion},
	{name: "a newline in the subject", spoil: assertion(emulator.AssertionOptions{Subject: emulator.DefaultSubject + "\n"}), step: payAssertion, cause: []string{"newline"}, remedy: []string{"byte by byte"}, skips: onAssertion},
	{name: "a blank behind the subject", spoil: assertion(emulator.AssertionOptions{Subject: emulator.DefaultSubject + " "}), step: payAssertion, cause: []string{"ends with a blank"}, remedy: []string{"byte by byte"}, skips: onAssertion},

	{name: "a kid that is not published", spoil: assertion(emulator.AssertionOptions{KeyID: "old-key"}), step: payIssuer, cause: []string{"old-key", "AADSTS7000272"}, remedy: []string{"publish"}, others: []string{payVault}, skips: onExchange},
	{name: "a key of the same name", spoil: assertion(emulator.AssertionOptions{WrongKey: true}), step: payIssuer, cause: []string{"does not verify", "AADSTS700027"}, remedy: []string{"another cluster's"}, others: []string{payVault}, skips: onExchange},
	{name: "a slash behind the issuer", spoil: assertion(emulator.AssertionOptions{Issuer: "https://oidc.cluster.example/"}), step: payIssuer, cause: []string{"slash"}, remedy: []string{"to the letter"}, others: []string{payVault}, skips: onExchange},
	{name: "no discovery document", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Status: 404}), step: payIssuer, cause: []string{"404", "AADSTS90061"}, remedy: []string{"publish"}, others: []string{payVault}, skips: onExchange},
	{name: "a login page before the documents", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Kind: emulator.HTML}), step: payIssuer, cause: []string{"not the JSON"}, remedy: []string{"login page"}, others: []string{payVault}, skips: onExchange},
	{name: "keys inside the cluster", spoil: documents("https://kubernetes.default.svc.cluster.local/openid/v1/jwks", ""), step: payIssuer, cause: []string{"private network", "AADSTS90061"}, remedy: []string{"--service-account-jwks-uri"}, others: []string{payVault}, skips: onExchange},
	{name: "keys at the API server", spoil: documents("https://10.0.0.1:6443/openid/v1/jwks", ""), step: payIssuer, cause: []string{"10.0.0.1", "AADSTS90061"}, remedy: []string{"--service-account-jwks-uri"}, others: []string{payVault}, skips: onExchange},
	{name: "keys of another kind alone", spoil: documents(clusterKeys, `{"keys":[`+ecKey+`]}`), step: payIssuer, cause: []string{"1 in all", "none of them is an RSA key with a kid"}, remedy: []string{"RS256"}, others: []string{payVault}, skips: onExchange},
	{name: "keys without a kid", spoil: documents(clusterKeys, `{"keys":[`+namelessKey+`,`+ecKey+`]}`), step: payIssuer, cause: []string{"2 in all", "none of them is an RSA key with a kid"}, remedy: []string{"its kid"}, others: []string{payVault}, skips: onExchange},
	{name: "no keys", spoil: documents(clusterKeys, `{"keys":[]}`), step: payIssuer, cause: []string{"is empty"}, remedy: []string{"present keys"}, others: []string{payVault}, skips: onExchange},
	{name: "an issuer whose certificate has expired", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Kind: emulator.ExpiredCertificate}), step: payIssuer, as: app.VerdictWarn, cause: []string{"certificate has expired"}, remedy: []string{"renew the certificate", "opens TLS"}, others: []string{payVault}, skips: onExchange},
	{name: "an issuer with another's certificate", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Kind: emulator.WrongCertificate}), step: payIssuer, as: app.VerdictWarn, cause: []string{"for another name"}, remedy: []string{"for this name", "opens TLS"}, others: []string{payVault}, skips: onExchange},
	{name: "an issuer with a certificate of nobody", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Kind: emulator.UntrustedCertificate}), step: payIssuer, as: app.VerdictWarn, cause: []string{"does not prove"}, remedy: []string{"everybody knows", "opens TLS"}, others: []string{payVault}, skips: onExchange},
	{name: "an issuer that does not resolve", spoil: fault(host("oidc.cluster.example"), emulator.Fault{Kind: emulator.UnknownHost}), step: payIssuer, as: app.VerdictWarn, cause: []string{"can't be resolved", "from the internet"}, remedy: []string{"outside of this network"}, others: []string{payVault}, skips: onExchange},

	{name: "another subject", spoil: application(emulator.App{Subject: "system:serviceaccount:other:other"}), step: payVault, cause: []string{"AADSTS700213"}, remedy: []string{"copy sub", "made just now"}, skips: onExchange},
	{name: "a subject in capitals", spoil: application(emulator.App{Subject: strings.ToUpper(emulator.DefaultSubject)}), step: payVault, cause: []string{"AADSTS7002138", "upper and lower case"}, remedy: []string{"delete the federated credential"}, skips: onExchange},
	{name: "another issuer", spoil: application(emulator.App{Issuer: "https://oidc.cluster.example/"}), step: payVault, cause: []string{"AADSTS700211"}, remedy: []string{"slash"}, skips: onExchange},
	{name: "a federated credential for another audience", spoil: application(emulator.App{Audience: "api://other"}), step: payVault, cause: []string{"AADSTS700212"}, remedy: []string{"api://AzureADTokenExchange"}, skips: onExchange},
	{name: "no federated credential", spoil: application(emulator.App{Unfederated: true}), step: payVault, cause: []string{"AADSTS70025"}, remedy: []string{"add one", "wait"}, skips: onExchange},
	{name: "an application of another tenant", spoil: application(emulator.App{Tenant: otherTenant}), step: payVault, cause: []string{"AADSTS700016"}, remedy: []string{"client_id"}, skips: onExchange},
	{name: "no such tenant", spoil: configured("TENANT", "00000000-2222-4333-8444-555555555555"), step: payVault, cause: []string{"AADSTS90002"}, remedy: []string{"tenant_id"}, others: []string{"vault shared: way"}, skips: onExchange},
	{name: "Conditional Access", spoil: refusal(53003), step: payVault, cause: []string{"AADSTS53003", "Conditional Access"}, remedy: []string{"egress address"}, skips: onExchange},
	{name: "a policy of the tenant", spoil: refusal(700238), step: payVault, cause: []string{"AADSTS700238"}, remedy: []string{"administrator"}, skips: onExchange},
	{name: "Entra is down", spoil: fault(func(*site) emulator.Target { return emulator.TokenEndpoint() }, emulator.Fault{Status: 503}), step: payVault, cause: []string{"503"}, remedy: []string{"ask again"}, skips: onExchange},
	{name: "a proxy that opens TLS", spoil: fault(host(login), emulator.Fault{Kind: emulator.UntrustedCertificate}), step: "entra public: way", cause: []string{"certificate"}, remedy: []string{"proxy that opens TLS"}, skips: append([]string{"entra public: clock", payVault}, onExchange...)},
	{name: "Entra's name does not resolve", spoil: fault(host(login), emulator.Fault{Kind: emulator.UnknownHost}), step: "entra public: way", cause: []string{"can't be resolved"}, remedy: []string{"DNS"}, skips: append([]string{"entra public: clock", payVault}, onExchange...)},
	{name: "a clock three minutes ahead", spoil: func(s *site) { s.ahead = 3 * time.Minute }, step: "entra public: clock", as: app.VerdictWarn, cause: []string{"ahead of Entra's"}, remedy: []string{"NTP"}},
	{name: "a clock half an hour behind", spoil: func(s *site) { s.ahead = -30 * time.Minute }, step: "entra public: clock", cause: []string{"behind Entra's"}, remedy: []string{"NTP"}},

	{name: "a clock an hour ahead for a managed identity alone", text: managedOnly, spoil: func(s *site) { s.ahead = time.Hour }, step: "vaults: clock", cause: []string{"1h0m", "ahead of Key Vault's"}, remedy: []string{"NTP"}},
	{name: "a clock an hour behind for a managed identity alone", text: managedOnly, spoil: func(s *site) { s.ahead = -time.Hour }, step: "vaults: clock", cause: []string{"behind Key Vault's"}, remedy: []string{"NTP"}},
	{name: "a clock of the day after tomorrow for a managed identity alone", text: managedOnly, spoil: func(s *site) { s.ahead = 25 * time.Hour }, step: "identity vm: token for vault.azure.net",
		cause: []string{"out of date", "clock is ahead"}, remedy: []string{"NTP"}, others: []string{"vaults: clock"}, skips: []string{"vault sign: read"}},
	{name: "no metadata service", spoil: fault(func(*site) emulator.Target { return emulator.Metadata() }, emulator.Fault{Kind: emulator.Reset}), text: managedAlone("22220001-3333-4444-8555-666677778888"), step: "identity vm: token for vault.azure.net",
		cause: []string{"identity endpoint", "broke"}, remedy: []string{"machine in Azure", "network policy", "169.254.169.254"}, skips: []string{"vault sign: read"}},
	{name: "a metadata service that is silent", spoil: fault(func(*site) emulator.Target { return emulator.Metadata() }, emulator.Fault{Kind: emulator.Hang}), text: managedAlone("22220002-3333-4444-8555-666677778888"), step: "identity vm: token for vault.azure.net",
		cause: []string{"identity endpoint", "no answer"}, remedy: []string{"machine in Azure", "network policy", "169.254.169.254"}, skips: []string{"vault sign: read"}},
	{name: "no such managed identity", spoil: configured(vmClient, "33330000-3333-4444-8555-666677778888"), step: "identity vm: token for vault.azure.net", cause: []string{"identity endpoint"}, remedy: []string{"assign the managed identity"}, skips: []string{"vault sign: read"}},

	{name: "a vault of another tenant", spoil: func(s *site) {
		s.Vault("kv-else.vault.azure.net", otherTenant)
		configured("kv-shared", "kv-else")(s)
	}, step: "vault shared: way", cause: []string{otherTenant, tenant}, remedy: []string{"tenant_id"}, skips: []string{readShared}},
	{name: "a vault that does not resolve", spoil: configured("kv-shared", "kv-nowhere"), step: "vault shared: way", cause: []string{"can't be resolved"}, remedy: []string{"url"}, skips: []string{readShared}},
	{name: "a proxy before the vault", spoil: fault(host("kv-shared.vault.azure.net"), emulator.Fault{Kind: emulator.UntrustedCertificate}), step: "vault shared: way", cause: []string{"certificate"}, remedy: []string{"proxy that opens TLS"}, skips: []string{readShared}},
	{name: "the vault's firewall", spoil: fault(theSecret, forbidden("ForbiddenByFirewall")), step: readShared, cause: []string{"ForbiddenByFirewall"}, remedy: []string{"allow it", "private link"}},
	{name: "no role", spoil: func(s *site) { shared(s).Forbid(payClient) }, step: readShared, cause: []string{"ForbiddenByRbac"}, remedy: []string{"Key Vault Secrets User", "minutes"}},
	{name: "no right in the access policy", spoil: fault(theSecret, forbidden("AccessDenied")), step: readShared, cause: []string{"access policy"}, remedy: []string{"add it there"}},
	{name: "a deleted secret", spoil: func(s *site) { shared(s).Delete("ci-token") }, step: readShared, cause: []string{"404", "may read"}, remedy: []string{"az keyvault secret recover --vault-name kv-shared --name ci-token"}},
	{name: "a disabled secret", spoil: func(s *site) { shared(s).Update("ci-token", "", emulator.Disabled()) }, step: readShared, cause: []string{"disabled"}, remedy: []string{"enable"}},
	{name: "an expired secret", spoil: func(s *site) { shared(s).Update("ci-token", "", emulator.Expires(time.Now().Add(-time.Hour))) }, step: readShared, cause: []string{"expired"}, remedy: []string{"new version"}},
	{name: "a secret of tomorrow", spoil: func(s *site) { shared(s).Update("ci-token", "", emulator.NotBefore(time.Now().Add(time.Hour))) }, step: readShared, cause: []string{"not valid before"}, remedy: []string{"activation date"}},
	{name: "a secret that ends tomorrow", spoil: func(s *site) { shared(s).Update("ci-token", "", emulator.Expires(time.Now().Add(24*time.Hour))) }, step: readShared, as: app.VerdictWarn, cause: []string{"expires in"}, remedy: []string{"rotate"}},
	{name: "a key that the secret lacks", spoil: func(s *site) { s.secret = "shared/ci-token/user" }, step: readShared, cause: []string{"user"}, remedy: []string{"key"}},
	{name: "no role and no name to read", spoil: func(s *site) { s.Vault("kv-sign.vault.azure.net", tenant).Forbid(vmClient) }, step: "vault sign: read", as: app.VerdictWarn, cause: []string{"ForbiddenByRbac", "condition"}, remedy: []string{"--secret"}},

	{name: "a blank in the subject", spoil: func(s *site) {
		s.project(emulator.AssertionOptions{Subject: "prod east"})
		application(emulator.App{Subject: "prod east"})(s)
		shared(s).Allow("11110000-3333-4444-8555-666677778888")
	}, step: payAssertion, as: app.VerdictWarn, cause: []string{"holds a blank"}, remedy: []string{"just this blank"}},
	{name: "claims that are no JSON", spoil: file("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczov.c2ln"), step: payAssertion, cause: []string{"can't be decoded"}, remedy: []string{"by half"}, skips: onAssertion},
	{name: "a token endpoint that redirects", spoil: fault(func(*site) emulator.Target { return emulator.TokenEndpoint() }, emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.example/"}),
		step: payVault, cause: []string{"307"}, remedy: []string{"proxy in between"}, skips: onExchange},
	{name: "a login page before Entra", spoil: fault(func(*site) emulator.Target { return emulator.TokenEndpoint() }, emulator.Fault{Kind: emulator.HTML}),
		step: payVault, cause: []string{"no token"}, remedy: []string{"proxy in between"}, skips: onExchange},
	{name: "connections that are reset", spoil: fault(func(*site) emulator.Target { return emulator.TokenEndpoint() }, emulator.Fault{Kind: emulator.Reset}),
		step: payVault, cause: []string{"broke"}, remedy: []string{"egress"}, skips: onExchange},
	{name: "a vault that is silent", spoil: fault(host("kv-shared.vault.azure.net"), emulator.Fault{Kind: emulator.Hang}),
		step: "vault shared: way", cause: []string{"no answer within 4s"}, remedy: []string{"egress"}, skips: []string{readShared}},
	{name: "a challenge of another resource", spoil: fault(theSecret, emulator.Fault{Kind: emulator.ForeignChallenge}), step: readShared, cause: []string{"ci-token"}, remedy: []string{"proxy"}},
	{name: "a challenge that makes the SDK panic", spoil: fault(theSecret, emulator.Fault{Kind: emulator.OddChallenge}), step: readShared, cause: []string{"panic"}, remedy: []string{"proxy"}},
	{name: "a vault that asks for less", spoil: fault(theSecret, emulator.Fault{Status: 429}), step: readShared, cause: []string{"429"}, remedy: []string{"later"}},
	{name: "the machine's identity as an assertion", text: everything, spoil: configured("assertion: {managed: {client_id: "+vmClient, "assertion: {managed: {client_id: 33330000-3333-4444-8555-666677778888"),
		step: "identity vmapp: assertion", cause: []string{"identity endpoint"}, remedy: []string{"assign the managed identity"},
		skips: []string{"identity vmapp: issuer", "identity vmapp: token for vault.azure.net", "vault lame: read"}},
	{name: "the machine's identity is not the one that is federated", text: everything, spoil: func(s *site) {
		other := "22220000-3333-4444-8555-666677778888"
		s.ManagedIdentity(other, tenant)
		configured("assertion: {managed: {client_id: "+vmClient, "assertion: {managed: {client_id: "+other)(s)
	}, step: "identity vmapp: token for vault.azure.net", cause: []string{"AADSTS700213"}, remedy: []string{"copy sub"}, skips: []string{"vault lame: read"}},

	{name: "a key that nobody has published", text: everything, spoil: func(s *site) {
		s.publish(issuerURL, s.Vault("kv-sign.vault.azure.net", tenant).SetKey("drone-issuer"))
	}, step: "issuer: documents", cause: []string{"signs now", "AADSTS7000272"}, remedy: []string{"publish the key set"},
		others: []string{repoVault, envVault}, skips: onIssued[4:]},
	{name: "documents of an issuer with a slash", text: everything, spoil: func(s *site) { s.publish(issuerURL+"/", s.version) },
		step: "issuer: documents", cause: []string{"slash"}, remedy: []string{"to the letter", "issuer publish"}, others: []string{repoVault, envVault}, skips: onIssued[4:]},
	{name: "no documents of our issuer", text: everything, spoil: fault(host("oidc.acme.example"), emulator.Fault{Status: 404}),
		step: "issuer: documents", cause: []string{"404"}, remedy: []string{"issuer publish"}, others: []string{repoVault, envVault}, skips: onIssued[4:]},
	{name: "no right to the issuer's key", text: everything, spoil: func(s *site) { s.Vault("kv-sign.vault.azure.net", tenant).ForbidKeys(vmClient) },
		step: "issuer: keys", cause: []string{"ForbiddenByRbac"}, remedy: []string{"Key Vault Crypto User"}, skips: append([]string{"issuer: documents", "token aws: made"}, onIssued...)},
	{name: "a version of the key that is not there", text: everything, spoil: configured("VERSION", strings.Repeat("0", 32)),
		step: "issuer: keys", cause: []string{"404", "no such version"}, remedy: []string{"recover it"}, skips: append([]string{"issuer: documents", "token aws: made"}, onIssued...)},
	{name: "a disabled key", text: everything, spoil: func(s *site) { s.Vault("kv-sign.vault.azure.net", tenant).SetKeyEnabled("drone-issuer", "", false) },
		step: "identity repo: assertion", cause: []string{"disabled"}, remedy: []string{"enable it"}, others: []string{"identity env: assertion", "token aws: made"}, skips: onIssued[2:]},
	{name: "the identity of the issuer's vault", text: everything, spoil: configured("vm: {managed: {client_id: "+vmClient, "vm: {managed: {client_id: 33330000-3333-4444-8555-666677778888"),
		step: "identity vm: token for vault.azure.net", cause: []string{"identity endpoint"}, remedy: []string{"assign"},
		skips: append([]string{"issuer: keys", "issuer: documents", "token aws: made"}, onIssued...)},
	{name: "a repository without a federated credential", text: everything, spoil: func(s *site) {
		s.build.Repo.UID = "43"
		configured(`"42":`, `"43":`)(s)
		s.Register(emulator.App{Tenant: tenant, ClientID: envClient, Issuer: issuerURL, Subject: "drone:drone.acme.example:repo:43:environment:prod"})
	}, step: repoVault, cause: []string{"AADSTS700213", "drone:drone.acme.example:repo:43"}, remedy: []string{"copy sub"}, skips: []string{"vault own: read"}},
	{name: "a repository without a client", text: everything, spoil: configured(`"42":`, `"44":`), step: "identity env: assertion", cause: []string{"no client is listed", `"42"`},
		remedy: []string{"add it to the identity's clients"}, skips: []string{envVault, "vault prod: read"}},
	{name: "no right in the registry", text: everything, spoil: func(s *site) { s.Registry("acme.azurecr.io", tenant).Forbid(payClient) },
		step: "token acr: made", cause: []string{"401", "does not let identity pay in"}, remedy: []string{"assign"}},
	{name: "no such registry", text: everything, spoil: configured("acme.azurecr.io", "acmee.azurecr.io"), step: "token acr: made", cause: []string{"resolved"}, remedy: []string{"DNS"}},
	{name: "a token that lives for too short", text: everything, spoil: configured("min_life: 30m", "min_life: 2h"), step: "token arm: made", cause: []string{"min_life"}, remedy: []string{"lower min_life"}},
}

// What rests on the identities of our own issuer in the installation that has everything.
var onIssued = []string{"identity repo: assertion", "identity env: assertion", repoVault, envVault, "vault own: read", "vault prod: read"}

const (
	repoVault = "identity repo: token for vault.azure.net"
	envVault  = "identity env: token for vault.azure.net"
)

// A doctor names the one cause and its remedy, skips what rests on it, and finds everything else sound.
func TestDoctorOfBrokenInstallations(t *testing.T) {
	t.Parallel()
	for _, b := range brokenInstallations {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			if b.text == "" {
				b.text = two
			}
			s := newSite(t, b.text)
			b.spoil(s)
			s.examine().only(b)
		})
	}
}

// only checks that just this is wrong.
func (f findings) only(b broken) {
	f.t.Helper()
	if b.as == "" {
		b.as = app.VerdictFail
	}
	told := f.step[b.step]
	if told.Verdict != b.as || len(told.Faults) == 0 {
		f.t.Fatalf("%s is %q, want %s\n%s", b.step, told.Verdict, b.as, f.text)
	}
	for text, wants := range map[string][]string{told.Faults[0].Cause: b.cause, told.Faults[0].Remedy: b.remedy} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				f.t.Errorf("%q is not in %q", want, text)
			}
		}
	}
	expected := map[string]bool{b.step: true}
	for _, name := range b.others {
		expected[name] = true
	}
	for _, name := range b.skips {
		expected[name] = true
		if skipped := f.step[name]; skipped.Verdict != app.VerdictSkip || !expected[skipped.After] {
			f.t.Errorf("%s is %q, after %q", name, skipped.Verdict, skipped.After)
		}
	}
	for _, one := range f.all {
		name := one.Area + ": " + one.Step
		if !expected[name] && one.Verdict != app.VerdictOK {
			f.t.Errorf("this has nothing to do with it:\n%s", sprint(one))
		}
		for _, fault := range one.Faults {
			if fault.Remedy == "please report it" || fault.Cause == "" || fault.Remedy == "" || strings.ContainsAny(fault.Cause+fault.Remedy, "\n\r\x00") {
				f.t.Errorf("%s: %q, %q", name, fault.Cause, fault.Remedy)
			}
		}
	}
}
