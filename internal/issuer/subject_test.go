package issuer_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

func build(uid, deployTo string) secret.Request {
	return push(promoted(deployTo), func(r *secret.Request) { r.Repo.UID = uid })
}

func TestSubjects(t *testing.T) {
	i := newIssuer(t)
	const repo = "drone:drone.acme.example:repo:"
	for _, c := range []struct {
		form          issuer.Form
		uid, deployTo string
		want          string
	}{
		{issuer.Repo, "42", "", repo + "42"},
		{issuer.Repo, "42", "production", repo + "42"},
		{issuer.Repo, "{7b2e-AB_c.d}", "", repo + "{7b2e-AB_c.d}"}, // Bitbucket's
		{issuer.Environment, "42", "production", repo + "42:environment:production"},
		{issuer.Environment, "42", "Production", repo + "42:environment:Production"},
		{issuer.Environment, "42", "eu-west/prod_1.0~a", repo + "42:environment:eu-west/prod_1.0~a"},
		{issuer.Environment, "42", "eu:prod", repo + "42:environment:eu%3Aprod"},
		{issuer.Environment, "42", "eu%3Aprod", repo + "42:environment:eu%253Aprod"},
		{issuer.Environment, "42", "pröd \"x\"\n", repo + "42:environment:pr%C3%B6d%20%22x%22%0A"},
		{issuer.Environment, "42", "\xff", repo + "42:environment:%FF"},
		{issuer.Environment, "42", "*", repo + "42:environment:%2A"},
	} {
		got, err := i.Subject(c.form, build(c.uid, c.deployTo))
		if err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestNoSubject(t *testing.T) {
	i := newIssuer(t)
	for _, uid := range []string{"", "4 2", "42:environment:prod", "42/..", "é", "4%32", "\x00", strings.Repeat("4", 129), secret.UnknownUID} {
		for _, form := range []issuer.Form{issuer.Repo, issuer.Environment} {
			_, err := i.Subject(form, build(uid, "prod"))
			fails(t, err, secret.Denied, secret.ReasonUID, "acme/app", "forge's id")
		}
	}
	_, err := i.Subject(issuer.Environment, push())
	fails(t, err, secret.Denied, secret.ReasonDeployTo, "acme/app", `"push"`, "promote it")
	for _, long := range []string{strings.Repeat("a", 600), strings.Repeat("ü", 100), strings.Repeat(":", 1<<20)} {
		_, err = i.Subject(issuer.Environment, build("42", long))
		fails(t, err, secret.Denied, secret.ReasonDeployTo, "longer than Entra's 600")
		if len(err.Error()) > 500 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
	_, err = i.Subject("branch", push())
	fails(t, err, secret.Internal, secret.ReasonInternal, "branch")
}

// The longest of each part fits, and so does a target up to the last character.
func TestSubjectsAtTheLimit(t *testing.T) {
	i := newIssuer(t, func(o *issuer.Options) { o.Server = strings.Repeat("a", 253) })
	uid := strings.Repeat("4", 128)
	_, err := i.Subject(issuer.Repo, build(uid, ""))
	works(t, err)
	got, err := i.Subject(issuer.Environment, build(uid, strings.Repeat("p", 600-253-128-6-6-13)))
	if err != nil || len(got) != 600 {
		t.Errorf("%d characters, %v", len(got), err)
	}
	_, err = i.Subject(issuer.Environment, build(uid, strings.Repeat("p", 601-253-128-6-6-13)))
	fails(t, err, secret.Denied, secret.ReasonDeployTo)
}

// Two builds have one subject only if they are of one repository and one target, whatever both are called.
func TestSubjectsAreInjective(t *testing.T) {
	i := newIssuer(t)
	// What could be taken for a part of ours comes often.
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]string{":", "%", "%3A", "%25", "3A", ":environment:", "prod", "ｐrod", "PROD", "/", " ", "\xff", "é"}),
			rapid.StringN(0, 2, -1)), 0, 3).Draw(t, "parts"), "")
	})
	uid := rapid.SampledFrom([]string{"4", "42", "42-", "{42}", "2", "", "42:", "A", "a"})
	form := rapid.SampledFrom([]issuer.Form{issuer.Repo, issuer.Environment})
	rapid.Check(t, func(t *rapid.T) {
		f1, u1, d1 := form.Draw(t, "form"), uid.Draw(t, "uid"), text.Draw(t, "target")
		f2, u2, d2 := form.Draw(t, "form2"), uid.Draw(t, "uid2"), text.Draw(t, "target2")
		s1, err1 := i.Subject(f1, build(u1, d1))
		s2, err2 := i.Subject(f2, build(u2, d2))
		if err1 != nil || err2 != nil {
			return
		}
		same := f1 == f2 && u1 == u2 && (f1 == issuer.Repo || d1 == d2)
		if (s1 == s2) != same {
			t.Fatalf("%q and %q", s1, s2)
		}
	})
}

// A subject is short, plain, and can be taken apart again into what it was made of: so it is injective.
func FuzzSubject(f *testing.F) {
	for _, seed := range [][2]string{{"42", "production"}, {"{a-b}", "eu:prod"}, {"42", "%3A"}, {"42", ""}, {"", "x"}, {"42", "\xff\x00"}, {"4:2", "environment:x"}, {"42", "ｐ"}} {
		f.Add(seed[0], seed[1])
	}
	i, err := issuer.New(issuer.Options{URL: here, Server: "s", Keys: []issuer.Key{key(0, time.Time{})}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uid, deployTo string) {
		got, err := i.Subject(issuer.Environment, build(uid, deployTo))
		if err != nil {
			if e := secret.AsError(err); e.Kind != secret.Denied || !utf8.ValidString(e.Detail) && utf8.ValidString(uid) {
				t.Fatalf("%v", e)
			}
			return
		}
		parts := strings.Split(got, ":")
		if len(got) > 600 || len(parts) != 6 || strings.Join(parts[:3], ":") != "drone:s:repo" || parts[3] != uid || parts[4] != "environment" {
			t.Fatalf("%q", got)
		}
		if back, err := url.PathUnescape(parts[5]); err != nil || back != deployTo || back == "" {
			t.Fatalf("%q is %q again, %v", got, back, err)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>&*?#\`, r) }) {
			t.Fatalf("%q is not plain", got)
		}
	})
}
