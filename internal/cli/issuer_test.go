package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/drone-entra/drone-entra/internal/cli"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

const (
	tenant    = "11111111-2222-4333-8444-555555555555"
	client    = "3f2a4c55-1111-4222-8333-444455556666"
	issuerURL = "https://oidc.acme.example/drone"
)

// emulated spares the worlds of this package the making of RSA keys.
var emulated = sync.OnceValue(func() *emulator.Keys { return new(emulator.Keys) })

// world is an emulated Azure with a vault for the issuer's key, a static host for its documents, and somebody who operates
// the issuer, at a time that tests set.
type world struct {
	*emulator.Emulator
	t          *testing.T
	vault      *emulator.Vault
	now, start time.Time
	dir        string // where files lie: drone-entra.yaml, the token, site/
	env        map[string]string
	forbidden  string // what ends a path that is answered 403
	golden     bytes.Buffer
	names      []string // pairs of what differs from run to run, and what stands for it in golden files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, others) }) // after the emulator's end
	w := &world{t: t, dir: t.TempDir(), start: time.Now().Truncate(time.Hour)}
	w.now = w.start
	var err error
	// The SDK looks at the real clock, so its tokens outlive the whole story.
	o := emulator.Options{Keys: emulated(), Now: func() time.Time { return w.now }, TokenLifetime: 30 * 24 * time.Hour}
	if w.Emulator, err = emulator.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.Register(emulator.App{Tenant: tenant, ClientID: client})
	w.vault = w.Vault("kv-sign.vault.azure.net", tenant)
	w.vault.AllowKeys(client)
	w.env = map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": client, "AZURE_FEDERATED_TOKEN_FILE": filepath.Join(w.dir, "token")}
	w.Handle("oidc.acme.example", http.StripPrefix("/drone", http.FileServer(http.Dir(filepath.Join(w.dir, "site")))))
	w.names = []string{w.dir + "/", ""}
	t.Chdir(w.dir)
	return w
}

// made adds a version of the key to Key Vault.
func (w *world) made() string {
	version := w.vault.SetKey("drone-issuer")
	w.names = append(w.names, version, fmt.Sprintf("VERSION-%d", len(w.vault.KeyVersions("drone-issuer"))))
	return version
}

// lists writes the configuration with these lines under issuer.keys.
func (w *world) lists(keys ...string) {
	w.t.Helper()
	text := "version: 1\nvaults: {sign: {url: https://kv-sign.vault.azure.net}}\n" +
		"identities:\n  default: {}\n  repo: {client_id: " + client + ", assertion: {issuer: repo}}\n" +
		"tokens: {aws: {audience: sts.amazonaws.com, lifetime: 10m}}\n" +
		"issuer:\n  url: " + issuerURL + "\n  server: drone.acme.example\n  keys:\n"
	for _, k := range keys {
		text += "  - {key: sign/drone-issuer@" + k + "}\n"
	}
	w.write("drone-entra.yaml", text)
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// issuer runs `issuer …`, with a token that is fresh at the time.
func (w *world) issuer(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	if err := w.ProjectToken(filepath.Join(w.dir, "token"), ""); err != nil {
		w.t.Fatal(err)
	}
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	var out, problems bytes.Buffer
	code = cli.Main(w.t.Context(), cli.Env{
		Args: append([]string{"issuer"}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &problems,
		Getenv: func(name string) string { return w.env[name] }, Transport: forbidding{transport, w.forbidden}, Now: func() time.Time { return w.now },
	})
	return code, out.String(), problems.String()
}

// forbidding answers what ends in a text as Key Vault does without the right, and lets the rest through.
type forbidding struct {
	http.RoundTripper
	suffix string
}

func (f forbidding) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.suffix == "" || !strings.HasSuffix(r.URL.Path, f.suffix) {
		return f.RoundTripper.RoundTrip(r)
	}
	answer := httptest.NewRecorder()
	answer.WriteHeader(http.StatusForbidden)
	_, _ = answer.WriteString(`{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}`)
	resp := answer.Result()
	resp.Request = r
	return resp, nil
}

// tells runs it and adds a line about it to the golden text.
func (w *world) tells(what string, args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.issuer(args...)
	line := "issuer " + strings.Join(args, " ")
	fmt.Fprintf(&w.golden, "# %s\n$ %s\n%s%s", what, line, stdout, stderr)
	if code != 0 {
		fmt.Fprintf(&w.golden, "exit code %d\n", code)
	}
	w.golden.WriteString("\n")
	return stdout
}

var (
	instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	keyID   = regexp.MustCompile(`[A-Za-z0-9_-]{43}`)
)

// reads compares what was told with a golden file. What differs from run to run has a word in it: a time is that since the
// start.
func (w *world) reads(name string) {
	w.t.Helper()
	text := strings.NewReplacer(w.names...).Replace(w.golden.String())
	text = instant.ReplaceAllStringFunc(text, func(s string) string {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			w.t.Fatal(err)
		}
		return "START+" + at.Sub(w.start).String()
	})
	var kids []string
	text = keyID.ReplaceAllStringFunc(text, func(s string) string {
		for n, kid := range kids {
			if kid == s {
				return fmt.Sprintf("KID-%d", n+1)
			}
		}
		kids = append(kids, s)
		return fmt.Sprintf("KID-%d", len(kids))
	})
	file := filepath.Join(w.testdata(), name)
	want, err := os.ReadFile(file)
	if *update {
		err = os.WriteFile(file, []byte(text), 0o600)
	} else if text != string(want) {
		w.t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// here is the package's directory, which tests leave.
var here, _ = os.Getwd()

func (w *world) testdata() string { return filepath.Join(here, "testdata", "issuer") }

// from is a key that signs later.
func from(version string, at time.Time) string {
	return version + ", from: \"" + at.UTC().Format(time.RFC3339) + "\""
}

// trusted mints a token as the extension does and lets a stranger verify it, who knows the issuer's URL alone.
func (w *world) trusted(keys ...issuer.Key) error {
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	identity, err := entra.New(entra.Options{Name: "default", TenantID: tenant, ClientID: client, AssertionFile: filepath.Join(w.dir, "token"),
		Transport: transport, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer identity.Close()
	vault, err := keyvault.New(keyvault.Options{Alias: "sign", URL: "https://kv-sign.vault.azure.net", Identity: identity, Transport: transport})
	if err != nil {
		return err
	}
	for n := range keys {
		keys[n].Signer = vault.Key("drone-issuer", keys[n].Name)
	}
	i, err := issuer.New(issuer.Options{URL: issuerURL, Server: "drone.acme.example", Keys: keys, Now: func() time.Time { return w.now }})
	if err != nil {
		return err
	}
	token, err := i.Mint(w.t.Context(), issuer.Ask{Form: issuer.Repo, Audience: "sts.amazonaws.com", Lifetime: 10 * time.Minute},
		secret.Request{Repo: secret.Repo{UID: "42", Slug: "acme/app"}, Build: secret.Build{Event: "push", Ref: "refs/heads/main"}})
	if err != nil {
		return err
	}
	ctx := oidc.ClientContext(w.t.Context(), &http.Client{Transport: transport})
	provider, err := oidc.NewProvider(ctx, issuerURL)
	if err != nil {
		return err
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: "sts.amazonaws.com", Now: func() time.Time { return w.now }}).Verify(ctx, string(token.Text.Reveal()))
	if err == nil && verified.Subject != "drone:drone.acme.example:repo:42" {
		err = fmt.Errorf("its subject is %s", verified.Subject)
	}
	return err
}
