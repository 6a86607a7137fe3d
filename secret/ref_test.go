package secret_test

import (
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

func TestParseRef(t *testing.T) {
	for text, want := range map[string]secret.Ref{
		"pay-prod/db":        {Vault: "pay-prod", Name: "db"},
		"Pay.Prod_1/DB-Main": {Vault: "Pay.Prod_1", Name: "db-main"},
		"v/db@00FF":          {Vault: "v", Name: "db", Version: "00ff"},
		"v/db/Pass.word_1-x": {Vault: "v", Name: "db", Key: "Pass.word_1-x"},
		"v/db@1/k":           {Vault: "v", Name: "db", Version: "1", Key: "k"},
		"v/db/value":         {Vault: "v", Name: "db"},
		"v/value":            {Vault: "v", Name: "value"},
		"v/db/.hidden":       {Vault: "v", Name: "db", Key: ".hidden"},
		strings.Repeat("v", 63) + "/" + strings.Repeat("n", 127) + "/" + strings.Repeat("k", 127): {
			Vault: strings.Repeat("v", 63), Name: strings.Repeat("n", 127), Key: strings.Repeat("k", 127)},
	} {
		if got, err := secret.ParseRef(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "db", "/", "v/", "/db", "v//db", "v/db/", "v/db/k/l", "v/db/..", "v/db/.", "v/./k", "../db", ".v/db", "-v/db", "_v/db", "v/d.b", "v/d_b", "v/db@", "v/db@-",
		"v/db@*", "v/*", "*/db", "v/db/*", "v/db?x", "v/db#x", "v/db%2f", "v/db\n", "v/d b", "v\x00/db", "v/db/\x7f", "v/db/ключ", "v/\u212a", "v@1/db",
		strings.Repeat("v", 64) + "/n", "v/" + strings.Repeat("n", 128), "v/n/" + strings.Repeat("k", 128), "v/n@" + strings.Repeat("1", 65), strings.Repeat("x", 1<<20),
	} {
		got, err := secret.ParseRef(text)
		if err == nil {
			t.Errorf("%.80q is taken as %+v", text, got)
		} else if len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x00\x7f") {
			t.Errorf("%.80q: the error is no fit line: %.200q", text, err)
		}
	}
}

func TestParseRead(t *testing.T) {
	for _, text := range []string{"v/db", "v/*", "v/**", "v/a*b", "v/db@*", "v/db@1*", "v/db/k*", "v/*/*", "v/db@*/*", "v/db/value"} {
		if p, err := secret.ParseRead(text); err != nil || p.String() != text || p.Vault() != "v" {
			t.Errorf("%q is %q of %q, %v", text, p, p.Vault(), err)
		}
		if _, err := secret.ParseDenyRead(text); err != nil {
			t.Errorf("a deny refuses %q: %v", text, err)
		}
	}
	for _, text := range []string{"*/db", "v*/db", "**", "**/db", "*/**"} {
		if _, err := secret.ParseRead(text); err == nil {
			t.Errorf("a binding takes %q, which gives vaults that are added later", text)
		}
		if p, err := secret.ParseDenyRead(text); err != nil || p.String() != text {
			t.Errorf("a deny refuses %q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "v", "*", "v/", "/db", "v/db/k/l", "v/db/..", "v/d.b", "v/db@", "v/db@**", "v/**/k", "v/**@1", "v/db@1@2", "v/d?b", "v/[a]", "v/db/**", "v/d b", "v/ключ", "../db/k/x",
	} {
		if p, err := secret.ParseRead(text); err == nil {
			t.Errorf("a binding takes %q as %q", text, p)
		}
		if _, err := secret.ParseDenyRead(text); err == nil {
			t.Errorf("a deny takes %q", text)
		}
	}
	for text, narrow := range map[string]bool{"v/db": false, "**": false, "v/db/value": false, "v/db@*": true, "v/db/k": true} {
		if p := must(secret.ParseDenyRead(text)); p.Narrow() != narrow {
			t.Errorf("%q: Narrow is %v", text, p.Narrow())
		}
	}
}

// safe tells whether a part of a reference can go into a URL's path as it is.
func safe(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && (s == "" || strings.Trim(s, ".") != "")
}

func FuzzParseRef(f *testing.F) {
	seeded(f, [][2]string{
		{"v", "db"}, {"v/db", "k"}, {"", "v/db@1"}, {"v", "db/value"}, {"..", "db"}, {"v/db", ".."}, {"v", "%2e"}, {"v/db@", "k"}, {"V", "\u212a"}, {"v/", "/db"}, {"a", ""},
		{"v", "db\x00"}, {"v?", "db"}, {"v", "db@1/value"},
	})
	b := binding("b")
	b.Repos, b.Read = repos("**"), reads("v/**", "v/*@*")
	p, err := secret.NewPolicy(secret.Rules{Vaults: []secret.Vault{{Alias: "v", Host: "h"}}, Bindings: []secret.Binding{b}})
	if err != nil {
		f.Fatal(err)
	}
	push := secret.Request{Pool: "default", Repo: secret.Repo{Slug: "a/b", UID: "1", DefaultBranch: "main"}, Build: secret.Build{Event: "push", Ref: "refs/heads/main"}}
	f.Fuzz(func(t *testing.T, path, name string) {
		text := path + "/" + name
		if path == "" || name == "" {
			text = path + name
		}
		got, err := secret.ParseRef(text)
		want, ok := oracleRef(text)
		if ok != (err == nil) || got != want {
			t.Fatalf("%q is %+v, %v; want %+v, %v", text, got, err, want, ok)
		}
		// What a pipeline asks for is the same reference, or nothing.
		r := push
		r.Path, r.Name = path, name
		if d := p.Decide(r); d.Allowed() != (ok && want.Vault == "v") || d.Allowed() && d.Grant.Ref != want {
			t.Fatalf("path %q, name %q: granted %+v, want %+v", path, name, d.Grant, want)
		}
		if err != nil {
			return
		}
		if again, err := secret.ParseRef(got.String()); err != nil || again != got {
			t.Fatalf("%q is written as %q, which is %+v, %v", text, got, again, err)
		}
		for _, part := range []string{got.Vault, got.Name, got.Version, got.Key} {
			if !safe(part) {
				t.Fatalf("%q lets %q through", text, part)
			}
		}
	})
}

func FuzzParseRead(f *testing.F) {
	seeded(f, [][2]string{
		{"v/*", "v/db"}, {"v/**", "v/db/k"}, {"v/db@*", "v/db@1"}, {"v/db@1*", "v/DB@1f/k"}, {"v/DB/k*", "v/db/key"}, {"*/db", "v/db"}, {"**", "v/db"}, {"v/db/value", "v/db/value"},
		{"v/../x", "v/x"}, {"v/db@", "v/db"}, {"v/*/*", "v/db/K"}, {"0/value", "0/0"},
	})
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 24 || len(text) > 60 {
			t.Skip("the naive matcher tries everything")
		}
		p, err := secret.ParseRead(pattern)
		if err != nil {
			return
		}
		if !safe(p.Vault()) || p.String() != pattern || strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' || r == '?' || r == '\\' }) {
			t.Fatalf("%q is taken, for the vault %q", pattern, p.Vault())
		}
		if _, err := secret.ParseDenyRead(pattern); err != nil {
			t.Fatalf("a deny refuses the binding's %q: %v", pattern, err)
		}
		ref, err := secret.ParseRef(text)
		if err != nil {
			return
		}
		b := binding("b")
		b.Read = []secret.ReadPattern{p}
		vaults := []secret.Vault{{Alias: p.Vault(), Host: "h"}}
		if ref.Vault != p.Vault() {
			vaults = append(vaults, secret.Vault{Alias: ref.Vault, Host: "i"})
		}
		w := given(t, secret.Rules{Vaults: vaults, Bindings: []secret.Binding{b}})
		d := w.p.Decide(ask(t, "acme/app push main", asking("", text)))
		if want := oracleReads(pattern, ref); d.Allowed() != want {
			t.Fatalf("%q gives %q: %v, want %v", pattern, text, d.Allowed(), want)
		}
	})
}

// A literal vault of a read pattern is an alias that ParseRef would take.
func TestReadNamesAVaultThatCanBe(t *testing.T) {
	for _, text := range []string{"./db", "../db", "-v/db", "_v/**", ".v/db"} {
		if p, err := secret.ParseRead(text); err == nil {
			t.Errorf("%q is taken, for the vault %q", text, p.Vault())
		}
	}
}
