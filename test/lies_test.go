package test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// Entra, or who answers in its place, lies about where its token endpoint is, about the token, or about its life. What another
// identity has goes on, nothing goes to anybody else, nothing of the answer is told, and the truth heals it.
func TestAnEntraThatLies(t *testing.T) {
	t.Parallel()
	const inside = "canary-of-a-lying-answer"
	discovery := func(endpoint string) emulator.Fault {
		return emulator.Fault{Status: http.StatusOK, Body: fmt.Sprintf(`{"issuer":"https://login.microsoftonline.com/%s/v2.0","token_endpoint":%q,`+
			`"authorization_endpoint":"https://login.microsoftonline.com/x","jwks_uri":"https://login.microsoftonline.com/y","note":%q}`, tenantID, endpoint, inside)}
	}
	token := func(body string) emulator.Fault { return emulator.Fault{Status: http.StatusOK, Body: body} }
	issued := func(text string, seconds any) emulator.Fault {
		return token(fmt.Sprintf(`{"token_type":"Bearer","expires_in":%v,"access_token":%q}`, seconds, text))
	}
	for name, c := range map[string]struct {
		at    emulator.Target
		fault emulator.Fault
		says  string
	}{
		"another token endpoint":          {emulator.Login(), discovery("https://evil.example/token"), "elsewhere"},
		"a look-alike's":                  {emulator.Login(), discovery("https://login.microsoftonline.com.evil.example/token"), "elsewhere"},
		"another port":                    {emulator.Login(), discovery("https://login.microsoftonline.com:8443/token"), "elsewhere"},
		"another cloud's":                 {emulator.Login(), discovery("https://login.microsoftonline.us/" + tenantID + "/oauth2/v2.0/token"), "elsewhere"},
		"plain http":                      {emulator.Login(), discovery("http://login.microsoftonline.com/token"), "elsewhere"},
		"a user in it":                    {emulator.Login(), discovery("https://login.microsoftonline.com@evil.example/token"), "elsewhere"},
		"a page":                          {emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.HTML}, "no token"},
		"a page as a refusal":             {emulator.TokenEndpoint(), emulator.Fault{Status: 403, Body: "<html>" + inside}, "proxy"},
		"a list":                          {emulator.TokenEndpoint(), token(`["` + inside + `"]`), "no token"},
		"nothing":                         {emulator.TokenEndpoint(), token(" "), "no token"},
		"a life that is over":             {emulator.TokenEndpoint(), issued(inside, -3600), "token"},
		"a life of no time":               {emulator.TokenEndpoint(), issued(inside, 0), "token"},
		"2 MiB":                           {emulator.TokenEndpoint(), token(`{"access_token":"` + strings.Repeat(inside, 1<<21/len(inside)) + `"}`), "no end"},
		"a redirect elsewhere":            {emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.example/token"}, "redirect"},
		"a redirect to a look-alike":      {emulator.Login(), emulator.Fault{Kind: emulator.Redirect, Location: "https://login.microsoftonline.us/"}, "redirect"},
		"see other":                       {emulator.TokenEndpoint(), emulator.Fault{Status: 303, Header: http.Header{"Location": {"https://evil.example/"}}}, "redirect"},
		"a code inside a stranger's JSON": {emulator.TokenEndpoint(), emulator.Fault{Status: 400, Body: `{"error_codes":["` + inside + `"],"error_description":"AADSTS700213: ` + inside + `"}`}, "AADSTS700213"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startTwo(t, emulator.App{}, canary(inside))
			evil := 0
			for _, host := range []string{"evil.example", "login.microsoftonline.com.evil.example"} {
				f.Emulator.Handle(host, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil++ }))
			}
			f.Emulator.Forget()
			remove := f.Emulator.Fault(c.at, c.fault)
			f.mend()
			e := f.nothing(t, f.next(), "lame/db")
			if e.Outcome != "failed" || !strings.Contains(e.Detail, c.says) || !strings.Contains(e.Detail, "identity other") {
				t.Errorf("on record is %s, want %q", e.Line, c.says)
			}
			f.good(t)
			if at := f.status().Identities["other"]; at.State != "broken" || !strings.Contains(at.Error, c.says) {
				t.Errorf("/status says %+v", at)
			}
			if line := f.logged("id", e.ID); !strings.Contains(fmt.Sprint(line), c.says) {
				t.Errorf("the log says %v", line)
			}
			remove()
			f.heals(t, "lame/db", "kv-lame/db") // whoever asked while it lied may still be joined
			for _, r := range f.Emulator.Requests() {
				if evil != 0 || r.Host == "login.microsoftonline.us" {
					t.Errorf("%s %s%s was asked", r.Method, r.Host, r.Path)
				}
			}
		})
	}
}

// A token that Key Vault doesn't take, of another tenant or of nobody, opens nothing, and does not stay for an hour once Entra
// gives good ones.
func TestAForeignTokenIsNotKept(t *testing.T) {
	t.Parallel()
	foreign := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"https://vault.azure.net","tid":"`+otherTenant+`"}`)) + ".c2lnbmF0dXJl"
	f := startTwo(t, emulator.App{}, canary(foreign))
	remove := f.Emulator.Fault(emulator.TokenEndpoint(), emulator.Fault{Status: http.StatusOK,
		Body: `{"token_type":"Bearer","expires_in":3600,"access_token":"` + foreign + `"}`})
	f.mend()
	if e := f.nothing(t, f.next(), "lame/db"); e.Outcome == "released" {
		t.Errorf("on record is %s", e.Line)
	}
	f.good(t)
	remove()
	eventually(t, "a good token", func() bool {
		_, err := f.find(f.next(), "lame/db")
		return err == nil || !f.pause()
	})
	f.expect(t, f.next(), "lame/db", gets("kv-lame/db"))
}

// A token endpoint that drips its answer is given up within the request's time, and costs nobody else any.
func TestATokenEndpointThatDrips(t *testing.T) {
	t.Parallel()
	f := startTwo(t, emulator.App{})
	remove := f.Emulator.Fault(emulator.TokenEndpoint(), emulator.Fault{Kind: emulator.Drip})
	f.mend()
	began := time.Now()
	if e := f.nothing(t, f.next(), "lame/db"); e.Outcome != "failed" || e.Reason != "timeout" && e.Reason != "late" {
		t.Errorf("on record is %s", e.Line)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s", took)
	}
	f.good(t)
	remove()
	f.heals(t, "lame/db", "kv-lame/db")
}
