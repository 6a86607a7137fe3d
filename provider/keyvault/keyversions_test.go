package keyvault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/provider/keyvault"
	"github.com/drone-entra/drone-entra/secret"
)

func TestVersionsOfAKeyComeOldestFirst(t *testing.T) {
	t.Parallel()
	clock := time.Now().Truncate(time.Second).UTC()
	w := newWorldWith(t, emulator.Options{Now: func() time.Time { return clock }})
	w.kv.AllowKeys(client)
	var made []keyvault.KeyVersion
	for range 8 {
		made = append(made, keyvault.KeyVersion{Version: w.kv.SetKey(keyName), Created: clock, Enabled: true})
		clock = clock.Add(time.Second)
	}
	w.kv.SetKeyEnabled(keyName, made[3].Version, false)
	made[3].Enabled = false
	got, err := w.vault(t).KeyVersions(t.Context(), keyName)
	if diff := cmp.Diff(made, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// listed is one entry of a list.
func listed(version, attributes string) string {
	return fmt.Sprintf(`{"kid":"https://%s/keys/%s/%s","attributes":{%s}}`, host, keyName, version, attributes)
}

func TestAListMustBeAboutTheKey(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	const attributes = `"enabled":true,"created":1700000000`
	list := func(entries ...string) string { return `{"value":[` + strings.Join(entries, ",") + `]}` }
	good := listed("0123", attributes)
	for name, c := range map[string]struct{ body, detail string }{
		"another vault":    {list(good, strings.Replace(good, host, "evil.vault.azure.net", 1)), "no version of this key"},
		"another key":      {list(strings.Replace(good, keyName, "other", 1)), "no version of this key"},
		"a secret":         {list(strings.Replace(good, "/keys/", "/secrets/", 1)), "no version of this key"},
		"no version":       {list(strings.Replace(good, "/0123", "", 1)), "no version of this key"},
		"a crooked one":    {list(listed("a%0ab", attributes)), "no version of this key"},
		"no id":            {list(`{"attributes":{` + attributes + `}}`), "no version of this key"},
		"null":             {list(`null`), "no version of this key"},
		"no attributes":    {list(strings.Replace(good, "attributes", "x", 1)), "no version of this key"},
		"no creation":      {list(listed("0123", `"enabled":true`)), "no version of this key"},
		"enabled or not":   {list(listed("0123", `"created":1700000000`)), "no version of this key"},
		"no list":          {`{"value":7}`, "no sense"},
		"a list of words":  {`{"value":["x"]}`, "no sense"},
		"the same forever": {`{"value":[],"nextLink":"https://` + host + `/keys/` + keyName + `/versions?$skiptoken=x"}`, "no end after 20 pages"},
	} {
		remove := w.Fault(w.kv.Target(), emulator.Fault{Status: 200, Body: c.body})
		got, err := w.vault(t).KeyVersions(t.Context(), keyName)
		remove()
		if got != nil {
			t.Errorf("%s: %v beside an error", name, got)
		}
		t.Run(name, func(t *testing.T) {
			want(t, failed(t, err), secret.Garbled, secret.ReasonGarbled, c.detail)
			if err != nil && !strings.Contains(err.Error(), "key pay-prod/"+keyName+" ("+host+")") {
				t.Errorf("it does not name the key: %v", err)
			}
		})
	}
}

// A list in pages is followed within the vault, and no further: the SDK would take the token along.
func TestAListLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	page := func(next string) emulator.Fault {
		return emulator.Fault{Status: 200, Times: 1, Body: fmt.Sprintf(`{"value":[%s],"nextLink":%q}`,
			listed("0123", `"enabled":false,"created":4000000000,"nbf":4000000001,"exp":4000000002`), next)}
	}
	versions := "/keys/" + keyName + "/versions"
	v := w.vault(t)
	if _, err := v.KeyVersions(t.Context(), keyName); err != nil { // a token is at hand
		t.Fatal(err)
	}
	for _, next := range []string{"https://evil.vault.azure.net" + versions, "https://evil.example" + versions, "http://" + host + versions, "https://" + host + ":8443" + versions,
		"https://x@" + host + versions, "https://" + host + "/secrets/deploy-db/", "https://" + host + "/keys/other/versions", versions, "//evil.vault.azure.net" + versions, "::"} {
		w.Forget()
		remove := w.Fault(w.kv.Target(), page(next))
		_, err := v.KeyVersions(t.Context(), keyName)
		remove()
		want(t, failed(t, err), secret.Garbled, secret.ReasonGarbled, "elsewhere")
		if all := w.Requests(); len(all) != 1 {
			t.Errorf("%s: %+v", next, all)
		}
	}
	defer w.Fault(w.kv.Target(), page("https://"+strings.ToUpper(host)+":443"+versions+"?api-version=2025-07-01&$skiptoken=x"))()
	got, err := v.KeyVersions(t.Context(), keyName)
	if err != nil || len(got) != 2 || got[0].Version != w.version {
		t.Fatalf("two pages: %v, %v", got, err)
	}
	at := func(unix int64) time.Time { return time.Unix(unix, 0).UTC() }
	if diff := cmp.Diff(keyvault.KeyVersion{Version: "0123", Created: at(4000000000), NotBefore: at(4000000001), Expires: at(4000000002)}, got[1]); diff != "" {
		t.Error(diff)
	}
}
