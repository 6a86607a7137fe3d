package keyvault_test

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// jwk is an answer to the question for a key.
func jwk(id, kty string, n, e *big.Int) emulator.Fault {
	encode := func(i *big.Int) string { return base64.RawURLEncoding.EncodeToString(i.Bytes()) }
	return emulator.Fault{Status: 200, Body: fmt.Sprintf(`{"key":{"kid":%q,"kty":%q,"n":%q,"e":%q},"attributes":{"enabled":true}}`, id, kty, encode(n), encode(e))}
}

// A key that is not whole, not the one that was asked for, or not fit for RS256, is none.
func TestAKeyMustBeTheOneThatWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	good := "https://" + host + "/keys/" + keyName + "/" + w.version
	bits := func(n uint) *big.Int { one := big.NewInt(1); return new(big.Int).Or(new(big.Int).Lsh(one, n-1), one) }
	e := big.NewInt(65537)
	body := func(text string) emulator.Fault { return emulator.Fault{Status: 200, Body: text} }
	for name, c := range map[string]struct {
		fault  emulator.Fault
		detail string
	}{
		"another host":           {jwk("https://evil.vault.azure.net/keys/"+keyName+"/"+w.version, "RSA", bits(2048), e), "another key"},
		"another name":           {jwk("https://"+host+"/keys/other/"+w.version, "RSA", bits(2048), e), "another key"},
		"a secret":               {jwk("https://"+host+"/secrets/"+keyName+"/"+w.version, "RSA", bits(2048), e), "another key"},
		"another version":        {jwk("https://"+host+"/keys/"+keyName+"/"+strings.Repeat("0", 32), "RSA", bits(2048), e), "another key"},
		"no version":             {jwk("https://"+host+"/keys/"+keyName, "RSA", bits(2048), e), "another key"},
		"plain http":             {jwk(strings.Replace(good, "https", "http", 1), "RSA", bits(2048), e), "another key"},
		"an id of nonsense":      {jwk("::", "RSA", bits(2048), e), "another key"},
		"of another type":        {jwk(good, "EC", bits(2048), e), "no RSA key"},
		"1024 bits":              {jwk(good, "RSA", bits(1024), e), "1024 bits"},
		"2047 bits":              {jwk(good, "RSA", bits(2047), e), "2047 bits"},
		"4097 bits":              {jwk(good, "RSA", bits(4097), e), "4097 bits"},
		"an even modulus":        {jwk(good, "RSA", new(big.Int).Lsh(big.NewInt(1), 2047), e), "modulus"},
		"an even exponent":       {jwk(good, "RSA", bits(2048), big.NewInt(65536)), "exponent"},
		"an exponent of one":     {jwk(good, "RSA", bits(2048), big.NewInt(1)), "exponent"},
		"an exponent of nothing": {jwk(good, "RSA", bits(2048), new(big.Int)), "exponent"},
		"a huge exponent":        {jwk(good, "RSA", bits(2048), bits(32)), "exponent"},
		"no key":                 {body(`{"attributes":{"enabled":true}}`), "without a key"},
		"a key of null":          {body(`{"key":null}`), "without a key"},
		"no id":                  {body(`{"key":{"kty":"RSA","n":"AQ","e":"AQAB"}}`), "without a key"},
		"no type":                {body(`{"key":{"kid":"` + good + `","n":"AQ","e":"AQAB"}}`), "without a key"},
		"no modulus":             {body(`{"key":{"kid":"` + good + `","kty":"RSA"}}`), "0 bits"},
		"no base64":              {body(`{"key":{"kid":"` + good + `","kty":"RSA","n":"!"}}`), "no sense"},
		"a list":                 {body(`[]`), "no sense"},
		"null":                   {body(`null`), "without a key"},
		"nothing":                {body(` `), ""},
	} {
		k := w.key(t)
		remove := w.Fault(w.kv.Target(), c.fault)
		public, err := k.Public(t.Context())
		remove()
		if public != nil {
			t.Errorf("%s: a key beside an error", name)
		}
		t.Run(name, func(t *testing.T) { want(t, failed(t, err), secret.Garbled, secret.ReasonGarbled, c.detail) })
	}
	k := w.key(t)
	defer w.Fault(w.kv.Target(), jwk(strings.Replace(good, "drone", "Drone", 1), "RSA-HSM", bits(4096), big.NewInt(3)))()
	if public, err := k.Public(t.Context()); err != nil || public.E != 3 || public.N.Cmp(bits(4096)) != 0 {
		t.Errorf("a key of a hardware module: %v", err)
	}
}

// What does not verify does not leave, whoever it is by.
func TestASignatureMustBeTheKeys(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	other := w.kv.SetKey(keyName)
	id := "https://" + host + "/keys/" + keyName + "/"
	foreign, err := w.vault(t).Key(keyName, other).Sign(t.Context(), digest())
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	for name, c := range map[string]struct{ body, detail string }{
		"another key's signature":  {fmt.Sprintf(`{"kid":%q,"value":%q}`, id+w.version, encode(foreign)), "does not verify"},
		"and it says so":           {fmt.Sprintf(`{"kid":%q,"value":%q}`, id+other, encode(foreign)), "another key"},
		"another vault":            {fmt.Sprintf(`{"kid":%q,"value":%q}`, strings.Replace(id, host, "evil.vault.azure.net", 1)+w.version, encode(foreign)), "another key"},
		"the digest":               {fmt.Sprintf(`{"kid":%q,"value":%q}`, id+w.version, encode(digest())), "does not verify"},
		"an empty one":             {fmt.Sprintf(`{"kid":%q,"value":""}`, id+w.version), "does not verify"},
		"none":                     {fmt.Sprintf(`{"kid":%q}`, id+w.version), "does not verify"},
		"no id":                    {fmt.Sprintf(`{"value":%q}`, encode(foreign)), "which key"},
		"null":                     {`null`, "which key"},
		"a kilobyte too many":      {fmt.Sprintf(`{"kid":%q,"value":%q}`, id+w.version, encode(make([]byte, 1024))), "does not verify"},
		"a signature of all zeros": {fmt.Sprintf(`{"kid":%q,"value":%q}`, id+w.version, encode(make([]byte, 256))), "does not verify"},
	} {
		k := w.key(t)
		if _, err := k.Public(t.Context()); err != nil {
			t.Fatal(err)
		}
		remove := w.Fault(w.kv.KeyTarget(keyName), emulator.Fault{Status: 200, Body: c.body})
		err := sign(t, t.Context(), k)
		remove()
		t.Run(name, func(t *testing.T) { want(t, err, secret.Garbled, secret.ReasonGarbled, c.detail) })
		if err := sign(t, t.Context(), k); err != nil {
			t.Errorf("%s: afterwards %v", name, err)
		}
	}
}

// A public key that was wrong, though it looked right, is not kept: nothing would ever verify with it.
func TestAPublicKeyThatVerifiesNothingIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	public, err := w.vault(t).Key(keyName, w.kv.SetKey(keyName)).Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k := w.key(t)
	remove := w.Fault(w.kv.Target(), jwk("https://"+host+"/keys/"+keyName+"/"+w.version, "RSA", public.N, big.NewInt(int64(public.E))))
	if _, err := k.Public(t.Context()); err != nil {
		t.Fatal(err)
	}
	remove()
	want(t, sign(t, t.Context(), k), secret.Garbled, secret.ReasonGarbled, "does not verify")
	if err := sign(t, t.Context(), k); err != nil {
		t.Error(err)
	}
}
