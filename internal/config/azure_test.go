package config_test

import "testing"

func TestIdentitiesRefused(t *testing.T) {
	const client = "3f2a4c55-1111-4222-8333-444455556666"
	for _, test := range []struct{ body, want string }{
		{"pay: {client_id: §app}", `"app" is no GUID: a client is named by its GUID`},
		{"pay: {client_id: §3f2a4c55111142228333444455556666}", "is no GUID"},
		{"pay: {client_id: " + client + ", tenant_id: §contoso.onmicrosoft.com}", "a tenant is named by its GUID"},
		{"pay: §{}", `identity "pay" needs "client_id"`},
		{"pay: {client_id: " + client + ", cloud: §germany}", `unknown cloud "germany": it is public, usgovernment or china`},
		{"pay: {client_id: " + client + ", cloud: §us-government}", `did you mean "usgovernment"?`},
		{"pay: {client_id: " + client + ", assertion: §/token}", "an assertion is a mapping (with file, managed and issuer)"},
		{"pay: {client_id: " + client + ", assertion: §{}}", "an assertion comes from one place: write {file: …}, {managed: {client_id: …}} or {issuer: repo}"},
		{"vm: {managed: §{}}", `a managed identity needs "client_id"`},
		{"vm: {managed: {client_id: §x}}", "is no GUID"},
		{"vm: {managed: {client_id: " + client + "}, client_id: §" + client + "}", "write managed: {client_id: …} alone"},
		{"pay: {client_id: " + client + ", §client_secret: x}", "never a stored credential"},
		{"pay: {client_id: " + client + ", §certificate: /x.pem}", "never a stored credential"},
		{"pay: {client_id: " + client + ", §client_certificate_path: /x.pem}", "never a stored credential"},
		{"pay: {client_id: " + client + ", §password: x}", "never a stored credential"},
		{"§\"p y\": {client_id: " + client + "}", "can't be an identity's name"},
		{"pay: §", "an identity is a mapping"},
	} {
		refuses(t, "version: 1\nidentities: {"+test.body+"}\n", test.want)
	}
}

func TestVaultsRefused(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"v: §{}", `a vault needs "url"`},
		{"v: {url: §http://kv-pay.vault.azure.net}", `did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §kv-pay.vault.azure.net}", `did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §https://kv-pay.vault.azure.net//}", `did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §https://kv-pay.vault.azure.com}", `did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §https://kv-pay.vault.azure.net:443}", `it has a port: did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §https://kv-pay.vault.azure.net/secrets/x}", "something follows the host"},
		{"v: {url: §\"https://kv-pay.vault.azure.net?x\"}", "something follows the host"},
		{"v: {url: §\"https://kv-pay.vault.azure.net#\"}", "something follows the host"},
		{"v: {url: §https://me@kv-pay.vault.azure.net}", "it holds a user"},
		{"v: {url: §https://10.0.0.4}", "an IP address"},
		{"v: {url: §\"https://[::1]\"}", "an IP address"},
		{"v: {url: §https://kv-pay.vaults.azure.net}", `did you mean "https://kv-pay.vault.azure.net"?`},
		{"v: {url: §https://evil.example}", "a vault is one name under vault.azure.cn, vault.azure.net or vault.usgovcloudapi.net"},
		{"v: {url: §https://a.kv-pay.vault.azure.net}", "a vault is one name under"},
		{"v: {url: §https://vault.azure.net}", "a vault is one name under"},
		{"v: {url: §https://kv-pay.vault.azure.net.evil.example}", "a vault is one name under"},
		{"v: {url: §https://kv-pay.vault.azure.net.}", "a vault is one name under"},
		{"v: {url: §https://-a.vault.azure.net}", "a vault's name has letters"},
		{"v: {url: §https://kv_pay.vault.azure.net}", "a vault's name has letters"},
		{"v: {url: §\"https://%zz\"}", "it can't be read as a URL"},
		{"§\"a/b\": {url: https://kv-pay.vault.azure.net}", "can't be a vault's alias"},
		{"§-a: {url: https://kv-pay.vault.azure.net}", "can't be a vault's alias"},
		{"v: {url: https://kv-pay.vault.azure.net, identity: §gvo}", `no identity is called "gvo": did you mean "gov"?`},
		{"v: {url: https://kv-pay.vault.azure.net, identity: §gov}", "identity \"gov\" is of the cloud usgovernment"},
		{"v: {url: https://kv-pay.vault.azure.cn, identity: §gov}", "name an identity with cloud: china"},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §90}", `"max_age" needs a unit: write 90s, 90m, 90h or 90d`},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §0s}", `"max_age" is a duration from 1s to 3650d`},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §-1h}", "is a duration from"},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §99999999999d}", "is a duration from"},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §1w}", "is a duration from"},
		{"v: {url: https://kv-pay.vault.azure.net, max_age: §1.5}", "is a duration from"},
		{"v: {url: https://kv-pay.vault.azure.net, stale: §25h}", `"stale" is a duration from 1s to 24h`},
		{"v: {url: https://kv-pay.vault.azure.net, must_expire: §yes}", `"must_expire" is true or false`},
	} {
		refuses(t, "version: 1\nidentities: {gov: {client_id: 3f2a4c55-1111-4222-8333-444455556666, cloud: usgovernment}}\nvaults: {"+test.body+"}\n", test.want)
	}
}

func TestVaultClouds(t *testing.T) {
	cfg, _ := loads(t, "version: 1\nvaults: {cn: {url: https://KV-Pay.vault.azure.cn, max_age: 1d12h}}\n")
	v := cfg.Vaults["cn"]
	if v.Host != "kv-pay.vault.azure.cn" || v.URL != "https://kv-pay.vault.azure.cn" || v.Identity != "default" || v.MaxAge.Hours() != 36 {
		t.Errorf("%+v", v)
	}
	if id := cfg.Identities["default"]; id.Cloud != "china" || id.Name != "default" {
		t.Errorf("%+v", id)
	}
	refuses(t, "version: 1\nvaults:\n  a: {url: https://kv-a.vault.azure.cn}\n  b: {url: §https://kv-b.vault.azure.net}\n", "one identity can't open vaults of two clouds")
}

func TestPoolsRefused(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"p: §{}", `a pool needs "keys"`},
		{"p: {keys: §[]}", `"keys" is an empty list`},
		{"p: {keys: [§{env: A}]}", `a key needs "id"`},
		{"p: {keys: [§{id: a}]}", "write env: NAME or file: PATH, one of them"},
		{"p: {keys: [§{id: a, env: A, file: /a}]}", "write env: NAME or file: PATH, one of them"},
		{"p: {keys: [{id: a, env: §A-B}]}", "is no environment variable's name"},
		{"p: {keys: [{id: a, env: §1A}]}", "is no environment variable's name"},
		{"p: {keys: [{id: §2026-11-01, env: A}]}", "is a date, and a string belongs here"},
		{"p: {keys: [{id: a, env: A}, {id: §a, env: B}]}", `pool "p" has a key "a"`},
		{"p: {keys: [{id: a, env: A}, {id: b, env: §A}]}", "this key is in the pool already"},
		{"p: {keys: [{id: a, env: A}]}, q: {keys: [{id: a, env: §A}]}", `one key in two pools: "p" has it at`},
		{"p: {keys: [{id: a, file: /k}]}, q: {keys: [{id: a, file: §/x/../k}]}", `one key in two pools: "p" has it at`},
		{"p: {keys: [{id: a, §secret: x}]}", "the key itself never stands in a configuration"},
		{"p: §[{id: a, env: A}]", "a pool is a mapping"},
		{"§\"p p\": {keys: [{id: a, env: A}]}", "can't be a pool's name"},
	} {
		refuses(t, "version: 1\npools: {"+test.body+"}\n", test.want)
	}
}
