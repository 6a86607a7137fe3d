package entra_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// examine shows the identity an assertion and returns what it says.
func (w *world) examine(t *testing.T, assertion string) (entra.Claims, error) {
	t.Helper()
	i := w.identity(func(o *entra.Options) {
		o.AssertionFile, o.Assertion = "", func(context.Context, string) (string, error) { return assertion, nil }
	})
	return i.Examine(t.Context(), secret.Request{})
}

func TestExamine(t *testing.T) {
	w := newWorld(t)
	issued := time.Now().Truncate(time.Second)
	c, err := w.examine(t, w.Assertion(emulator.AssertionOptions{IssuedAt: issued, NotBefore: issued.Add(time.Minute)}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != w.IssuerURL() || c.Subject != emulator.DefaultSubject || !slices.Equal(c.Audience, []string{emulator.DefaultAudience}) || c.KeyID == "" ||
		c.Algorithm != "RS256" || !c.Issued.Equal(issued) || !c.NotBefore.Equal(issued.Add(time.Minute)) || !c.Expires.Equal(issued.Add(time.Hour)) {
		t.Errorf("%+v", c)
	}
	if flaws := c.Flaws("", issued); len(flaws) > 0 {
		t.Errorf("%+v", flaws)
	}
	// RFC 7519: several audiences, and times with fractions.
	c, err = w.examine(t, w.Assertion(emulator.AssertionOptions{Claims: map[string]any{"aud": []string{"other", emulator.DefaultAudience}, "exp": 4102444800.5}}))
	if err != nil || len(c.Audience) != 2 || c.Expires.Year() != 2100 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, broken := range []string{"", "e30", "e30.e30", "e30.e30.e30.e30", "e30.bnVtYmVy.c2ln", "e30.e30.!", "W10.e30.c2ln"} {
		if c, err := w.examine(t, broken); err == nil || !strings.Contains(err.Error(), "can't be decoded") {
			t.Errorf("%q: %+v, %v", broken, c, err)
		}
	}
}

func TestFlaws(t *testing.T) {
	now := time.Now()
	sound := entra.Claims{Issuer: "https://oidc.example", Subject: "s", Audience: []string{"api://AzureADTokenExchange"}, KeyID: "k", Algorithm: "RS256",
		Issued: now, NotBefore: now, Expires: now.Add(time.Hour)}
	for name, c := range map[string]struct {
		spoil func(*entra.Claims)
		cloud string
		says  string // empty: it is none
	}{
		"sound":                  {func(*entra.Claims) {}, "", ""},
		"Entra's name of itself": {func(c *entra.Claims) { c.Issuer, c.Audience[0] = "https://"+login+"/"+tenant+"/v2.0", client }, "public", ""},
		"it from elsewhere":      {func(c *entra.Claims) { c.Audience[0] = client }, "", "AADSTS700212"},
		"no audience":            {func(c *entra.Claims) { c.Audience = nil }, "", "AADSTS700212"},
		"another cloud":          {func(*entra.Claims) {}, "china", "AADSTS700212"},
		"of the public one": {func(c *entra.Claims) {
			c.Issuer, c.Audience[0] = "https://"+login+"/"+tenant+"/v2.0", "api://AzureADTokenExchangeChina"
		}, "china", "AADSTS900382"},
		"no issuer":           {func(c *entra.Claims) { c.Issuer = "" }, "", "no URL"},
		"a private address":   {func(c *entra.Claims) { c.Issuer = "https://10.0.0.1:8443" }, "", "private"},
		"a name of one label": {func(c *entra.Claims) { c.Issuer = "https://keycloak/realm" }, "", "private"},
		"no subject":          {func(c *entra.Claims) { c.Subject = "" }, "", "no subject"},
		"a long subject":      {func(c *entra.Claims) { c.Subject = strings.Repeat("x", 601) }, "", "600"},
		"no end":              {func(c *entra.Claims) { c.Expires = time.Time{} }, "", "when it ends"},
		"25 hours":            {func(c *entra.Claims) { c.Expires = now.Add(25 * time.Hour) }, "", ""},
		"a second more":       {func(c *entra.Claims) { c.Expires = now.Add(25*time.Hour + time.Second) }, "", "AADSTS70023"},
		"four minutes early":  {func(c *entra.Claims) { c.NotBefore = now.Add(4 * time.Minute) }, "", ""},
		"six minutes early":   {func(c *entra.Claims) { c.NotBefore = now.Add(6 * time.Minute) }, "", "not valid before"},
		"at its end":          {func(c *entra.Claims) { c.Issued, c.Expires = now.Add(-time.Hour), now }, "", "expired"},
	} {
		claims := sound
		claims.Audience = slices.Clone(sound.Audience)
		c.spoil(&claims)
		flaws := claims.Flaws(c.cloud, now)
		if (c.says == "") != (len(flaws) == 0) || c.says != "" && !slices.ContainsFunc(flaws, func(f entra.Flaw) bool { return strings.Contains(f.Cause, c.says) && f.Remedy != "" }) {
			t.Errorf("%s: %+v", name, flaws)
		}
	}
}

// What an issuer publishes is taken as Entra takes it: whole, from where it is said to be, and without a redirect.
func TestPublished(t *testing.T) {
	w := newWorld(t)
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	answers := map[string]string{}
	w.Handle("oidc.other.example", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved/.well-known/openid-configuration" {
			http.Redirect(rw, r, "https://oidc.other.example/.well-known/openid-configuration", http.StatusFound)
			return
		}
		_, _ = rw.Write([]byte(answers[r.URL.Path]))
	}))
	const url = "https://oidc.other.example"
	document := func(issuer, keys string) {
		answers["/.well-known/openid-configuration"] = `{"issuer":"` + issuer + `","jwks_uri":"` + keys + `"}`
	}
	ask := func(issuer string) (entra.Publication, string) {
		p, flaw := entra.Published(t.Context(), transport, issuer)
		if flaw == nil {
			return p, ""
		}
		return p, flaw.Cause
	}
	document(url, url+"/keys")
	answers["/keys"] = `{"keys":[{"kty":"EC","kid":"odd"},{"kty":"future","kid":"odder"},7]}`
	if p, flaw := ask(url); flaw != "" || len(p.KIDs) != 0 {
		t.Errorf("keys that are none of RS256: %+v, %s", p, flaw)
	}
	for says, issuer := range map[string]string{"302": url + "/moved", "slash": url + "/", "https": "http://oidc.other.example", "can't be resolved": "https://nowhere.example"} {
		if _, flaw := ask(issuer); !strings.Contains(flaw, says) {
			t.Errorf("%s: %q", issuer, flaw)
		}
	}
	document(url, "http://oidc.other.example/keys")
	if _, flaw := ask(url); !strings.Contains(flaw, "no https URL") {
		t.Errorf("keys over http: %q", flaw)
	}
	document(url, url+"/keys")
	answers["/keys"] = `{"keys":"` + strings.Repeat("x", 2<<20)
	if _, flaw := ask(url); !strings.Contains(flaw, "not the JSON") {
		t.Errorf("keys without end: %q", flaw)
	}
	answers["/.well-known/openid-configuration"] = `[]`
	if _, flaw := ask(url); !strings.Contains(flaw, "not the JSON") {
		t.Errorf("a list: %q", flaw)
	}
}

// What is printed to be pasted into a shell says to `az` just what the assertion says.
func TestFederate(t *testing.T) {
	for _, subject := range []string{"system:serviceaccount:drone:drone-entra", "it's $(touch /tmp/x) `y` \"z\" \\ *", "repo:{1f}"} {
		c := entra.Claims{Issuer: "https://oidc.example/a b", Subject: subject}
		commands := c.Federate(client, "china")
		if len(commands) != 2 {
			t.Fatalf("%v", commands)
		}
		for _, command := range commands {
			out, err := exec.Command("sh", "-c", `az() { for a; do printf '<%s>\n' "$a"; done; }; `+command).Output()
			if err != nil {
				t.Fatal(err)
			}
			encoded := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(subject) // as JSON has it
			if got := string(out); !strings.Contains(got, "<"+subject+">") && !strings.Contains(got, `"subject":"`+encoded+`"`) || !strings.Contains(got, "api://AzureADTokenExchangeChina") {
				t.Errorf("%s\nsays\n%s", command, got)
			}
		}
	}
	for _, c := range []entra.Claims{{Issuer: "https://oidc.example"}, {Subject: "s"}, {Issuer: "https://oidc.example", Subject: "a\nb"}, {Issuer: "https://oidc.example", Subject: "\u202e"}} {
		if commands := c.Federate(client, ""); commands != nil {
			t.Errorf("%+v: %v", c, commands)
		}
	}
}

// Nothing that an assertion holds makes the decoder panic, or brings the token back in the claims.
func FuzzExamine(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	f.Add(part([]byte(`{"alg":"RS256","kid":"k"}`)), part([]byte(`{"iss":"i","sub":"s","aud":["a"],"exp":1}`)), "c2ln")
	f.Add("e30", part([]byte(`{"aud":7,"exp":-1e300,"iat":1e300}`)), "c2ln")
	f.Fuzz(func(t *testing.T, header, body, signature string) {
		i, err := entra.New(entra.Options{Name: "pay", TenantID: tenant, ClientID: client, Transport: http.NewFileTransport(nil),
			Assertion: func(context.Context, string) (string, error) { return header + "." + body + "." + signature, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		c, err := i.Examine(t.Context(), secret.Request{})
		if err != nil {
			canaryPart(t, err.Error(), body)
			return
		}
		for _, flaw := range c.Flaws("", time.Now()) {
			if flaw.Cause == "" || flaw.Remedy == "" || strings.ContainsAny(flaw.Cause, "\n\x1b") {
				t.Errorf("%+v", flaw)
			}
		}
	})
}

func canaryPart(t *testing.T, text, part string) {
	t.Helper()
	if len(part) > 16 && strings.Contains(text, part) {
		t.Errorf("%q is in %q", part, text)
	}
}
