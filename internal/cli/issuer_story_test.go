package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/issuer"
)

// What is published is what an independent library verifies tokens with. Nothing but public keys is asked for, and nothing
// but the two files is written.
func TestPublishedDocumentsVerify(t *testing.T) {
	w := newWorld(t)
	version := w.made()
	w.lists(version)
	w.tells("The first time", "publish", "site/")
	for _, r := range w.Requests() {
		if r.Host == "kv-sign.vault.azure.net" && (r.Method != http.MethodGet || !strings.HasPrefix(r.Path, "/keys/drone-issuer/"+version)) {
			t.Errorf("it asks Key Vault for %s %s", r.Method, r.Path)
		}
	}
	if files, _ := filepath.Glob("[^.]*"); !slices.Equal(files, []string{"drone-entra.yaml", "site", "token"}) {
		t.Errorf("it writes more than the site: %q", files)
	}
	t.Chdir("site")
	w.tells("Into the directory that one is in", "publish", ".", "--config", "../drone-entra.yaml")
	w.reads("publish.golden")
	if err := w.trusted(issuer.Key{Name: version}); err != nil {
		t.Error(err)
	}
	if err := w.trusted(issuer.Key{Name: w.made()}); err == nil {
		t.Error("a key that nobody published is trusted")
	}
}

// A rotation from the first key to the end of it, as its operator reads it, at its times. All the while a token that is minted
// is one that a stranger verifies.
func TestARotation(t *testing.T) {
	w := newWorld(t)
	first := w.made()
	w.lists(first)
	w.tells("Before anything was published", "rotate")
	w.tells("So it is published", "publish", "site")
	w.tells("Now there is nothing wrong, and a rotation may begin", "rotate")
	trusted := func(keys ...issuer.Key) {
		t.Helper()
		if err := w.trusted(keys...); err != nil {
			t.Errorf("after %s: %v", w.now.Sub(w.start), err)
		}
	}
	trusted(issuer.Key{Name: first})

	w.now = w.now.Add(time.Minute)
	second := w.made()
	out := w.tells("A version was made in Key Vault", "rotate")
	line := regexp.MustCompile(`- \{key: sign/drone-issuer@(\w+), from: "([^"]+)"\}`).FindStringSubmatch(out)
	if line == nil || line[1] != second {
		t.Fatalf("it names no line for the configuration:\n%s", out)
	}
	at, err := time.Parse(time.RFC3339, line[2])
	if err != nil {
		t.Fatal(err)
	}
	w.lists(first, from(second, at))
	both := []issuer.Key{{Name: first}, {Name: second, From: at}}
	w.tells("It was listed", "rotate")
	trusted(both...)
	w.issuer("publish", "site")
	w.tells("And published", "rotate")
	trusted(both...)

	w.now = at.Add(time.Minute)
	w.tells("It signs", "rotate")
	trusted(both...)
	w.now = at.Add(24 * time.Hour)
	w.tells("Nothing is valid any more that the old key signed", "rotate")
	trusted(both...)

	w.lists(second)
	out = w.tells("The old key was taken out of the configuration", "rotate")
	w.tells("It is dropped by its id alone", "publish", "site")
	drop := regexp.MustCompile(`--drop=\S+`).FindString(out)
	if code, _, problems := w.issuer("publish", "site", drop); code != 0 {
		t.Fatal(problems)
	}
	w.tells("And out of the documents", "rotate")
	trusted(issuer.Key{Name: second})
	w.vault.SetKeyEnabled("drone-issuer", first, false)
	w.tells("The end, and the beginning of the next one", "rotate")
	trusted(issuer.Key{Name: second})
	w.reads("rotation.golden")
}

func TestARotationForPrograms(t *testing.T) {
	w := newWorld(t)
	first := w.made()
	w.lists(first)
	type answer struct {
		Issuer    string
		KeySet    string `json:"key_set"`
		Published []string
		Problem   string `json:"published_problem"`
		Keys      []struct {
			Name, KID        string
			Signs, Published bool
		}
		Versions []struct {
			Name    string
			Enabled bool
		}
		Steps []struct{ Action, State, Text string }
	}
	ask := func(want int) (a answer) {
		t.Helper()
		code, out, problems := w.issuer("rotate", "--json")
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != want || problems != "" {
			t.Fatalf("exit code %d, want %d: %v\n%s%s", code, want, err, out, problems)
		}
		return a
	}
	if a := ask(1); a.Published == nil || len(a.Published) > 0 || !strings.Contains(a.Problem, "404") || a.Steps[0].State != "wrong" || a.Steps[0].Action != "fetch" || a.Keys[0].Published {
		t.Errorf("nothing was published: %+v", a)
	}
	w.issuer("publish", "site")
	a := ask(0)
	if a.Issuer != issuerURL || a.KeySet != issuerURL+"/openid/v1/jwks" || len(a.Published) != 1 || a.Problem != "" || len(a.Keys) != 1 || len(a.Versions) != 1 {
		t.Fatalf("%+v", a)
	}
	if k := a.Keys[0]; k.Name != "sign/drone-issuer@"+first || k.KID != a.Published[0] || !k.Signs || !k.Published || a.Versions[0].Name != k.Name || !a.Versions[0].Enabled {
		t.Errorf("%+v", a)
	}
}

// What keeps the documents from being published: each says the cause and what to do, and nothing is written.
func TestNothingIsPublished(t *testing.T) {
	const version = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		spoil func(*world)
		code  int
		says  []string
	}{
		"key vault refuses": {func(w *world) { w.vault.ForbidKeys(client) }, 1, []string{"sign/drone-issuer", "Key Vault Crypto User"}},
		"no such version":   {func(w *world) { w.lists(version) }, 1, []string{"sign/drone-issuer@" + version, "no such"}},
		"key vault is down": {func(w *world) { w.Fault(w.vault.Target(), emulator.Fault{Status: 503}) }, 1, []string{"sign/drone-issuer", "503"}},
		"a disabled key": {func(w *world) {
			w.Fault(w.vault.KeyTarget("drone-issuer"), emulator.Fault{Status: 403, Body: `{"error":{"code":"Forbidden","innererror":{"code":"KeyDisabled"}}}`})
		}, 1, []string{"sign/drone-issuer@", "is disabled: enable it"}},
		"no identity":                {func(w *world) { w.env["AZURE_CLIENT_ID"] = "" }, 1, []string{"identity default", "AZURE_CLIENT_ID"}},
		"another identity":           {func(w *world) { w.env["AZURE_CLIENT_ID"] = tenant }, 1, []string{"AADSTS700016"}},
		"a stray secret":             {func(w *world) { w.env["AZURE_CLIENT_SECRET"] = "canary-secret" }, 1, []string{"AZURE_CLIENT_SECRET is set", "unset it"}},
		"no issuer":                  {func(w *world) { w.write("drone-entra.yaml", "version: 1\n") }, 2, []string{"the configuration has no issuer", `"issuer"`}},
		"no configuration":           {func(w *world) { w.write("drone-entra.yaml", "version: 1\nissuer: {}\n") }, 1, []string{"drone-entra.yaml:2:", "error"}},
		"a directory that is a file": {func(w *world) { w.write("site", "") }, 1, []string{"site", "not a directory"}},
		"a foreign key set": {func(w *world) {
			_ = os.MkdirAll("site/openid/v1", 0o700)
			w.write("site/openid/v1/jwks", `{"keys":[{"kid":"someone-elses"}]}`)
		}, 1, []string{`"someone-elses"`, "issuer rotate"}},
		"something else": {func(w *world) {
			_ = os.MkdirAll("site/openid/v1", 0o700)
			w.write("site/openid/v1/jwks", "<html>")
		}, 1, []string{"no JSON Web Key Set", "is it the right directory?"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lists(w.made())
			c.spoil(w)
			code, out, problems := w.issuer("publish", "site")
			if code != c.code || out != "" {
				t.Errorf("exit code %d, %q", code, out)
			}
			for _, text := range c.says {
				if !strings.Contains(problems, text) {
					t.Errorf("it doesn't say %q: %s", text, problems)
				}
			}
			if strings.Contains(problems, "canary") {
				t.Errorf("a secret is printed: %s", problems)
			}
			if _, err := os.Stat("site/.well-known"); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// A directory that nobody may write to says so; whoever is root may.
func TestPublishNeedsADirectoryToWriteTo(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	w := newWorld(t)
	w.lists(w.made())
	if err := os.Mkdir("site", 0o500); err != nil {
		t.Fatal(err)
	}
	if code, _, problems := w.issuer("publish", "site"); code != 1 || !strings.Contains(problems, "permission denied") {
		t.Errorf("exit code %d, %s", code, problems)
	}
}

// What is served instead of the key set: nothing that a server says is believed, printed as it is, or waited for.
func TestAKeySetThatCantBeFetched(t *testing.T) {
	w := newWorld(t)
	w.lists(w.made())
	w.Handle("elsewhere.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect is followed") }))
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a redirect": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://elsewhere.example/", http.StatusFound)
		}, "302 and leads elsewhere"},
		"a page":       {func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>canary-body")) }, "no JSON Web Key Set"},
		"a failure":    {func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "canary-body", 500) }, "it answers 500"},
		"far too much": {func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 1<<21)) }, "larger than a key set"},
		"half of it": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			_, _ = rw.Write([]byte(`{"keys":[`))
		}, "breaks off"},
	} {
		w.Handle("oidc.acme.example", c.answer)
		code, out, _ := w.issuer("rotate")
		if code != 1 || !strings.Contains(out, "the key set can't be fetched") || !strings.Contains(out, c.says) || strings.Contains(out, "canary") {
			t.Errorf("%s: exit code %d\n%s", name, code, out)
		}
	}
	// An id that a server makes up reaches neither a terminal nor a shell as it is.
	w.Handle("oidc.acme.example", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`{"keys":[{"kid":"\u001b[31m; rm -rf /"}]}`))
	}))
	if _, out, _ := w.issuer("rotate"); strings.Contains(out, "\x1b") || strings.Contains(out, "--drop") {
		t.Errorf("%q", out)
	}
}

// A key that is disabled can't be had, and versions that can't be listed take nothing else away.
func TestRotateWhereKeyVaultRefuses(t *testing.T) {
	w := newWorld(t)
	version := w.made()
	w.lists(version)
	w.issuer("publish", "site")
	w.vault.SetKeyEnabled("drone-issuer", version, false)
	if code, out, _ := w.issuer("rotate"); code != 1 || !strings.Contains(out, "is listed and disabled in Key Vault") || !strings.Contains(out, "--enabled true") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	w.vault.SetKeyEnabled("drone-issuer", version, true)
	w.forbidden = "/versions"
	if code, out, _ := w.issuer("rotate"); code != 0 || !strings.Contains(out, "the versions in Key Vault can't be listed") || !strings.Contains(out, "now") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	w.forbidden = ""
	w.vault.ForbidKeys(client)
	if code, out, problems := w.issuer("rotate"); code != 1 || out != "" || !strings.Contains(problems, "sign/drone-issuer") {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
}

// Only the identity that opens the key's vault has to work: what else is wrong with the configuration's surroundings waits for
// whoever serves it. Two names of one vault are one key's.
func TestTheIssuerNeedsItsOwnIdentityAlone(t *testing.T) {
	w := newWorld(t)
	first, second := w.made(), w.made()
	w.write("drone-entra.yaml", `version: 1
identities:
  sign: {tenant_id: `+tenant+`, client_id: `+client+`, assertion: {file: token}}
  default: {}
  lost: {tenant_id: `+tenant+`, client_id: `+client+`, assertion: {file: /nowhere}}
vaults:
  one: {url: https://kv-sign.vault.azure.net, identity: sign}
  two: {url: https://kv-sign.vault.azure.net, identity: sign}
  other: {url: https://kv-other.vault.azure.net}
  lost: {url: https://kv-lost.vault.azure.net, identity: lost}
issuer:
  url: `+issuerURL+`
  server: drone.acme.example
  keys: [{key: one/drone-issuer@`+first+`}, {key: two/drone-issuer@`+from(second, w.now.Add(48*time.Hour))+`}]
`)
	clear(w.env)
	if code, out, problems := w.issuer("publish", "site"); code != 0 || problems != "" {
		t.Fatalf("exit code %d\n%s%s", code, out, problems)
	}
	code, out, problems := w.issuer("rotate", "--json")
	for _, name := range []string{"one/drone-issuer@" + first, "two/drone-issuer@" + second} {
		if n := strings.Count(out, `"`+name+`"`); code != 0 || n != 2 {
			t.Errorf("exit code %d: %s is there %d times, as a key and as a version\n%s%s", code, name, n, out, problems)
		}
	}
	if !strings.Contains(out, `"wait"`) {
		t.Errorf("both are published, and nothing waits for the switch\n%s", out)
	}
}
