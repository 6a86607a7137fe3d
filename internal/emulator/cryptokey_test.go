package emulator_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// keys is the real client of a vault's keys.
func keys(t testing.TB, e *emulator.Emulator, v *emulator.Vault) *azkeys.Client {
	t.Helper()
	k, err := azkeys.NewClient(v.URL(), credential(t, e, emulator.AssertionOptions{}), &azkeys.ClientOptions{ClientOptions: clientOptions(e)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func digestOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func rs256(digest []byte) azkeys.SignParameters {
	algorithm := azkeys.SignatureAlgorithmRS256
	return azkeys.SignParameters{Algorithm: &algorithm, Value: digest}
}

func publicOf(k *azkeys.JSONWebKey) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(new(big.Int).SetBytes(k.E).Int64())}
}

func TestAKeySignsThroughTheRealClient(t *testing.T) {
	e, v := world(t)
	v.AllowKeys(client)
	first, second := v.SetKey("Drone-Issuer"), v.SetKey("drone-issuer")
	c, digest := keys(t, e, v), digestOf("a token")
	for version, is := range map[string]string{first: first, second: second, "": second} {
		got, err := c.GetKey(t.Context(), "drone-issuer", version, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := c.Sign(t.Context(), "DRONE-issuer", version, rs256(digest), nil)
		if err != nil {
			t.Fatal(err)
		}
		if id := v.URL() + "/keys/Drone-Issuer/" + is; string(*got.Key.KID) != id || string(*signed.KID) != id {
			t.Errorf("%q: the key is %s, the signature of %s; want %s", version, *got.Key.KID, *signed.KID, id)
		}
		public := publicOf(got.Key)
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signed.Result); err != nil || public.N.BitLen() != 2048 || *got.Key.Kty != azkeys.KeyTypeRSA {
			t.Errorf("%q: %v with %d bits of %s", version, err, public.N.BitLen(), *got.Key.Kty)
		}
	}
	one, _ := c.GetKey(t.Context(), "drone-issuer", first, nil)
	two, _ := c.GetKey(t.Context(), "drone-issuer", second, nil)
	if publicOf(one.Key).Equal(publicOf(two.Key)) {
		t.Error("two versions are one key")
	}
	if diff := cmp.Diff([]string{first, second}, v.KeyVersions("DRONE-issuer")); diff != "" {
		t.Error(diff)
	}
	if len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Errorf("%q is not an ID of 32 hexadecimal digits", first)
	}
}

func TestAKeysVersionsAreListed(t *testing.T) {
	clock := time.Now().Truncate(time.Second)
	e, v := worldWith(t, emulator.Options{Now: func() time.Time { return clock }})
	v.AllowKeys(client)
	created := map[string]time.Time{}
	for range 5 {
		created[v.SetKey("issuer")] = clock
		clock = clock.Add(time.Minute)
	}
	off := v.KeyVersions("issuer")[1]
	v.SetKeyEnabled("issuer", off, false)
	pager := keys(t, e, v).NewListKeyPropertiesVersionsPager("issuer", nil)
	var seen []string
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			id := item.KID.Version()
			seen = append(seen, id)
			if !item.Attributes.Created.Equal(created[id]) || *item.Attributes.Enabled != (id != off) {
				t.Errorf("%s was made at %v and is enabled: %v", id, item.Attributes.Created, *item.Attributes.Enabled)
			}
		}
	}
	if len(seen) != 5 || !slices.IsSorted(seen) {
		t.Errorf("want 5 versions in the order of their IDs: %v", seen)
	}
}

func TestKeysFailAsInKeyVault(t *testing.T) {
	e, v := world(t)
	v.AllowKeys(client, "issuer", "off", "missing")
	version := v.SetKey("issuer")
	v.SetKey("other")
	v.SetKey("off")
	v.SetKeyEnabled("off", "", false)
	v.SetKeyEnabled("nothing", "", false)
	c := keys(t, e, v)
	sign := func(name, version string, p azkeys.SignParameters) error {
		_, err := c.Sign(t.Context(), name, version, p, nil)
		return err
	}
	read := func(name, version string) error {
		_, err := c.GetKey(t.Context(), name, version, nil)
		return err
	}
	list := func(name string) error {
		_, err := c.NewListKeyPropertiesVersionsPager(name, nil).NextPage(t.Context())
		return err
	}
	good := rs256(digestOf("x"))
	stronger, symmetric := azkeys.SignatureAlgorithmPS256, azkeys.SignatureAlgorithm("none")
	for name, c := range map[string]struct {
		err  error
		want failure
	}{
		"no such key":             {read("missing", ""), failure{404, "KeyNotFound", ""}},
		"no such key to sign":     {sign("missing", "", good), failure{404, "KeyNotFound", ""}},
		"no such key to list":     {list("missing"), failure{404, "KeyNotFound", ""}},
		"no such version":         {read("issuer", strings.Repeat("0", 32)), failure{404, "KeyNotFound", ""}},
		"no such version to sign": {sign("issuer", strings.Repeat("0", 32), good), failure{404, "KeyNotFound", ""}},
		"no right":                {read("other", ""), failure{403, "Forbidden", "ForbiddenByRbac"}},
		"no right to sign":        {sign("other", "", good), failure{403, "Forbidden", "ForbiddenByRbac"}},
		"no right to list":        {list("other"), failure{403, "Forbidden", "ForbiddenByRbac"}},
		"never was":               {read("never-was", ""), failure{403, "Forbidden", "ForbiddenByRbac"}},
		"disabled":                {sign("off", "", good), failure{403, "Forbidden", "KeyDisabled"}},
		"another algorithm":       {sign("issuer", version, azkeys.SignParameters{Algorithm: &stronger, Value: digestOf("x")}), failure{400, "BadParameter", ""}},
		"no algorithm":            {sign("issuer", version, azkeys.SignParameters{Algorithm: &symmetric, Value: digestOf("x")}), failure{400, "BadParameter", ""}},
		"a short digest":          {sign("issuer", version, rs256([]byte("short"))), failure{400, "BadParameter", ""}},
		"a long digest":           {sign("issuer", version, rs256(make([]byte, 64))), failure{400, "BadParameter", ""}},
		"a crooked name":          {read("a_b", ""), failure{400, "BadParameter", ""}},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", name)
		} else if got := failureOf(t, c.err); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if got, err := c.GetKey(t.Context(), "off", "", nil); err != nil || *got.Attributes.Enabled {
		t.Errorf("a disabled key is read, and says so: %v", err)
	}
	v.SetKeyEnabled("off", "", true)
	if err := sign("off", "", good); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	v.ForbidKeys(client)
	if got, want := failureOf(t, sign("issuer", version, good)), (failure{403, "Forbidden", "ForbiddenByRbac"}); got != want {
		t.Errorf("after ForbidKeys: got %+v, want %+v", got, want)
	}
	if !panics(func() { v.SetKey("a_b") }) {
		t.Error("a_b was taken for a key's name")
	}
}

func TestRightsOnKeysAndOnSecretsAreApart(t *testing.T) {
	e, v := world(t) // the client may read every secret
	v.Set("issuer", "hunter2")
	v.SetKey("issuer")
	if _, err := keys(t, e, v).GetKey(t.Context(), "issuer", "", nil); err == nil {
		t.Error("who may read secrets may read keys")
	}
	v.Forbid(client)
	v.AllowKeys(client)
	if _, err := keys(t, e, v).GetKey(t.Context(), "issuer", "", nil); err != nil {
		t.Error(err)
	}
	if _, err := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{})).GetSecret(t.Context(), "issuer", "", nil); err == nil {
		t.Error("who may use keys may read secrets")
	}
}

func TestKeysAskForATokenAndNothingElse(t *testing.T) {
	e, v := world(t)
	v.AllowKeys(client)
	v.SetKey("issuer")
	token := tokenFor(t, e, "https://vault.azure.net/.default")
	for name, c := range map[string]struct {
		method, path, token string
		status              int
	}{
		"no token":             {http.MethodGet, "/keys/issuer/?api-version=1", "", 401},
		"no token to sign":     {http.MethodPost, "/keys/issuer/sign?api-version=1", "", 401},
		"a token":              {http.MethodGet, "/keys/issuer/?api-version=1", token, 200},
		"no version of an API": {http.MethodGet, "/keys/issuer/", token, 400},
		"no body":              {http.MethodPost, "/keys/issuer/sign?api-version=1", token, 400},
		"to read a signature":  {http.MethodGet, "/keys/issuer//sign?api-version=1", token, 405},
		"to write a key":       {http.MethodPost, "/keys/issuer/?api-version=1", token, 405},
		"a secret that signs":  {http.MethodPost, "/secrets/issuer//sign?api-version=1", token, 404},
		"something else":       {http.MethodPost, "/keys/issuer//decrypt?api-version=1", token, 404},
		"deeper":               {http.MethodPost, "/keys/issuer//sign/x?api-version=1", token, 404},
		"certificates":         {http.MethodGet, "/certificates/issuer/?api-version=1", token, 404},
	} {
		request := get(t, v.URL()+c.path)
		request.Method = c.method
		if c.token != "" {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		answer, err := e.Transport().RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.status || (answer.Header.Get("WWW-Authenticate") != "") != (c.status == 401) {
			t.Errorf("%s: got %s with the challenge %q, want %d", name, answer.Status, answer.Header.Get("WWW-Authenticate"), c.status)
		}
	}
}

func TestFaultsHitKeys(t *testing.T) {
	e, v := world(t)
	v.AllowKeys(client)
	v.Set("issuer", "hunter2")
	v.SetKey("issuer")
	v.SetKey("issuer-two")
	c := keys(t, e, v)
	sign := func(name string) ([]byte, error) {
		got, err := c.Sign(t.Context(), name, "", rs256(digestOf("x")), nil)
		return got.Result, err
	}
	read := func() (azkeys.GetKeyResponse, error) { return c.GetKey(t.Context(), "issuer", "", nil) }
	for name, s := range map[string]struct {
		fault emulator.Fault
		seen  func(error) bool
	}{
		"404":         {emulator.Fault{Status: 404}, answered(404, "KeyNotFound")},
		"403":         {emulator.Fault{Status: 403}, func(err error) bool { return mentions("keys/issuer")(err) }},
		"429":         {emulator.Fault{Status: 429}, answered(429, "Throttled")},
		"503":         {emulator.Fault{Status: 503}, answered(503, "InternalServerError")},
		"HTML":        {emulator.Fault{Kind: emulator.HTML}, mentions("invalid character '<'")},
		"broken JSON": {emulator.Fault{Kind: emulator.BrokenJSON}, mentions("unexpected end of JSON")},
	} {
		remove := e.Fault(v.KeyTarget("Issuer"), s.fault)
		if _, err := sign("issuer"); err == nil || !s.seen(err) {
			t.Errorf("%s, to sign: %v", name, err)
		}
		if _, err := read(); err == nil || !s.seen(err) {
			t.Errorf("%s, to read: %v", name, err)
		}
		if _, err := sign("issuer-two"); err != nil {
			t.Errorf("%s hit another key: %v", name, err)
		}
		if _, err := secrets(t, e, v, credential(t, e, emulator.AssertionOptions{})).GetSecret(t.Context(), "issuer", "", nil); err != nil {
			t.Errorf("%s hit the secret of that name: %v", name, err)
		}
		remove()
	}
	// The real client takes the digits of a number for base64, and knows of no length.
	for kind, length := range map[emulator.Kind]int{emulator.EmptyValue: 0, emulator.NullValue: 0, emulator.WrongTypes: 1} {
		remove := e.Fault(v.Target(), emulator.Fault{Kind: kind})
		if got, err := sign("issuer"); err != nil || len(got) != length {
			t.Errorf("%v: the signature is %x, %v", kind, got, err)
		}
		if got, err := read(); err != nil || len(got.Key.N) != length || len(got.Key.E) == 0 {
			t.Errorf("%v: the modulus is %x, %v", kind, got.Key.N, err)
		}
		remove()
	}
	e.Fault(v.KeyTarget("issuer"), emulator.Fault{Kind: emulator.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Sign(ctx, "issuer", "", rs256(digestOf("x")), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging: %v", err)
	}
}
