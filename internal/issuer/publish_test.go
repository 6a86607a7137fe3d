package issuer_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

// of is an issuer with these keys, each but the first with a `from`.
func of(t *testing.T, keys ...int) *issuer.Issuer {
	t.Helper()
	return newIssuer(t, func(o *issuer.Options) {
		o.Keys = nil
		for n, k := range keys {
			from := time.Time{}
			if n > 0 {
				from = start.Add(time.Duration(n) * 48 * time.Hour)
			}
			o.Keys = append(o.Keys, key(k, from))
		}
	})
}

func TestDiscovery(t *testing.T) {
	for _, u := range []string{here, here + "/"} {
		i := newIssuer(t, func(o *issuer.Options) { o.URL = u })
		want := `{
  "issuer": "` + u + `",
  "jwks_uri": "https://example.com/drone/openid/v1/jwks",
  "response_types_supported": [
    "id_token"
  ],
  "subject_types_supported": [
    "public"
  ],
  "id_token_signing_alg_values_supported": [
    "RS256"
  ]
}
`
		if diff := cmp.Diff(want, string(i.Discovery())); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if i.DiscoveryURL() != "https://example.com/drone/.well-known/openid-configuration" || i.KeySetURL() != "https://example.com/drone/openid/v1/jwks" {
			t.Errorf("%s, %s", i.DiscoveryURL(), i.KeySetURL())
		}
	}
}

func TestTheKeySet(t *testing.T) {
	i := of(t, 1, 0, 1)
	b, err := i.KeySet(t.Context())
	works(t, err)
	if again, _ := i.KeySet(t.Context()); !bytes.Equal(again, b) {
		t.Error("it is not the same twice")
	}
	var set jose.JSONWebKeySet
	works(t, json.Unmarshal(b, &set))
	if len(set.Keys) != 2 || !set.Keys[0].IsPublic() || set.Keys[0].KeyID != kid(t, 1) || set.Keys[1].KeyID != kid(t, 0) {
		t.Errorf("%s", b)
	}
	var plain struct {
		Keys []map[string]string `json:"keys"`
	}
	works(t, json.Unmarshal(b, &plain))
	for _, k := range plain.Keys {
		if len(k) != 6 || k["use"] != "sig" || k["kty"] != "RSA" || k["alg"] != "RS256" || k["kid"] == "" || k["n"] == "" || k["e"] != "AQAB" {
			t.Errorf("%v", k)
		}
	}
	ids, err := issuer.ParseKeySet(b)
	works(t, err)
	if !slices.Equal(ids, []string{kid(t, 1), kid(t, 0)}) {
		t.Errorf("%v", ids)
	}
	listed, err := i.Listed(t.Context())
	works(t, err)
	want := []issuer.Listed{{Name: "sign/drone-issuer@b", KID: kid(t, 1)},
		{Name: "sign/drone-issuer@a", KID: kid(t, 0), From: start.Add(48 * time.Hour)},
		{Name: "sign/drone-issuer@b", KID: kid(t, 1), From: start.Add(96 * time.Hour)}}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseKeySet(t *testing.T) {
	for text, want := range map[string][]string{
		`{"keys":[]}`: nil,
		`{"keys":[{"kid":"a"},{"kid":"b","x":1},{"kid":"a"},{},{"kid":""}],"more":{}}`: {"a", "b"},
	} {
		got, err := issuer.ParseKeySet([]byte(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{}", "null", "[]", `{"keys":{}}`, `{"keys":["a"]}`, `{"keys":[{"kid":1}]}`, `{"keys":null}`, "<html>secret</html>"} {
		_, err := issuer.ParseKeySet([]byte(text))
		says(t, err, "no JSON Web Key Set")
		if strings.Contains(err.Error(), "secret") {
			t.Error("it has what was read in it")
		}
	}
}

func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site", "drone")
	files, err := of(t, 0).Publish(t.Context(), dir)
	works(t, err)
	keys, discovery := filepath.Join(dir, "openid", "v1", "jwks"), filepath.Join(dir, ".well-known", "openid-configuration")
	if diff := cmp.Diff([]string{keys, discovery}, files); diff != "" {
		t.Fatal(diff)
	}
	i := of(t, 0, 1)
	works(t, os.Remove(discovery))
	_, err = i.Publish(t.Context(), dir) // over what is there, and what is half there
	works(t, err)
	set, err := i.KeySet(t.Context())
	works(t, err)
	for file, want := range map[string][]byte{keys: set, discovery: i.Discovery()} {
		got, err := os.ReadFile(file)
		works(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is %s", file, got)
		}
		if info, _ := os.Stat(file); info.Mode() != 0o644 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	if all := under(t, dir); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
}

func under(t *testing.T, dir string) (files []string) {
	t.Helper()
	works(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	}))
	return files
}

func TestAKeyIsNotLostByPublishing(t *testing.T) {
	dir := t.TempDir()
	_, err := of(t, 0, 1).Publish(t.Context(), dir)
	works(t, err)
	before, err := os.ReadFile(filepath.Join(dir, "openid", "v1", "jwks"))
	works(t, err)
	refused := func(i *issuer.Issuer, words []string, drop ...string) {
		t.Helper()
		_, err := i.Publish(t.Context(), dir, drop...)
		says(t, err, words...)
		if after, _ := os.ReadFile(filepath.Join(dir, "openid", "v1", "jwks")); !bytes.Equal(after, before) || len(under(t, dir)) != 2 {
			t.Error("it was written all the same")
		}
	}
	refused(of(t, 1), []string{kid(t, 0), "issuer rotate"})
	refused(of(t, 2), []string{kid(t, 0), kid(t, 1)})
	refused(of(t, 2), []string{kid(t, 1)}, kid(t, 0))
	refused(of(t, 1), []string{kid(t, 0)}, kid(t, 2))
	refused(of(t, 0, 1), []string{kid(t, 0), "still listed"}, kid(t, 0))

	_, err = of(t, 1).Publish(t.Context(), dir, kid(t, 0))
	works(t, err)
	_, err = of(t, 1).Publish(t.Context(), dir, kid(t, 0)) // it is gone already
	works(t, err)
	if now, _ := os.ReadFile(filepath.Join(dir, "openid", "v1", "jwks")); bytes.Contains(now, []byte(kid(t, 0))) {
		t.Error("it is still there")
	}
}

func TestWhatCantBePublished(t *testing.T) {
	write := func(content string) func(string) {
		return func(dir string) {
			works(t, os.MkdirAll(filepath.Join(dir, "openid", "v1"), 0o755))
			works(t, os.WriteFile(filepath.Join(dir, "openid", "v1", "jwks"), []byte(content), 0o644))
		}
	}
	for name, c := range map[string]struct {
		prepare func(dir string)
		says    string
	}{
		"no key set":                       {write("<html>"), "no JSON Web Key Set"},
		"empty":                            {write(""), "is it the right directory?"},
		"huge":                             {write(`{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`), "no JSON Web Key Set"},
		"odd ids":                          {write(`{"keys":[{"kid":"\u001b[31m` + strings.Repeat("x", 200) + `"}]}`), `"\x1b[31mxxx`},
		"a directory":                      {func(dir string) { works(t, os.MkdirAll(filepath.Join(dir, "openid", "v1", "jwks"), 0o755)) }, "no regular file"},
		"a file where a directory belongs": {func(dir string) { works(t, os.WriteFile(filepath.Join(dir, "openid"), nil, 0o644)) }, "openid"},
		"no room for the second":           {func(dir string) { works(t, os.WriteFile(filepath.Join(dir, ".well-known"), nil, 0o644)) }, ".well-known"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.prepare(dir)
			files, err := of(t, 0).Publish(t.Context(), dir)
			says(t, err, c.says)
			if len(files) > 0 && name != "no room for the second" || len(err.Error()) > 700 {
				t.Errorf("wrote %v, %v", files, err)
			}
		})
	}
}

// Where one key can't be had, neither document is written.
func TestNothingIsPublishedWithoutAllKeys(t *testing.T) {
	dir := t.TempDir()
	i := newIssuer(t, func(o *issuer.Options) {
		lost := &memory{PrivateKey: private()[1], hidden: secret.Fail(secret.Unavailable, secret.ReasonTimeout, "no answer of the vault")}
		o.Keys = append(o.Keys, issuer.Key{Name: "b", From: start, Signer: lost})
	})
	_, err := i.Publish(t.Context(), dir)
	fails(t, err, secret.Unavailable, secret.ReasonTimeout, "no answer")
	_, err = i.Listed(t.Context())
	fails(t, err, secret.Unavailable, secret.ReasonTimeout)
	if files := under(t, dir); files != nil {
		t.Errorf("there are %v", files)
	}
}
