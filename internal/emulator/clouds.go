package emulator

import "strings"

// cloud is one of Microsoft's clouds: separate sign-in hosts, vault names and audiences.
type cloud struct {
	login    string   // the sign-in host that challenges and issuers name
	aliases  []string // further names of it
	suffix   string   // what a vault's host ends in
	resource string   // what a token for Key Vault is for
	manager  string   // what a token for the resource manager is for
	registry string   // what a container registry's host ends in
}

// clouds are the three that a vault can be in; azcore's cloud package has the same.
func clouds() []cloud {
	return []cloud{
		{
			login:    "login.microsoftonline.com",
			aliases:  []string{"login.windows.net", "login.microsoft.com", "sts.windows.net"},
			suffix:   ".vault.azure.net",
			resource: "https://vault.azure.net",
			manager:  "https://management.azure.com",
			registry: ".azurecr.io",
		},
		{
			login:    "login.microsoftonline.us",
			aliases:  []string{"login.usgovcloudapi.net"},
			suffix:   ".vault.usgovcloudapi.net",
			resource: "https://vault.usgovcloudapi.net",
			manager:  "https://management.usgovcloudapi.net",
			registry: ".azurecr.us",
		},
		{
			login:    "login.partner.microsoftonline.cn",
			aliases:  []string{"login.chinacloudapi.cn"},
			suffix:   ".vault.azure.cn",
			resource: "https://vault.azure.cn",
			manager:  "https://management.chinacloudapi.cn",
			registry: ".azurecr.cn",
		},
	}
}

// cloudOfVault is the cloud whose vaults are named like this host.
func cloudOfVault(host string) (cloud, bool) {
	return cloudOf(host, func(c cloud) string { return c.suffix })
}

// cloudOfRegistry is the cloud whose container registries are named like this host.
func cloudOfRegistry(host string) (cloud, bool) {
	return cloudOf(host, func(c cloud) string { return c.registry })
}

// cloudOf is the cloud with the suffix that the host ends in.
// One label stands before the suffix: a.b.vault.azure.net is no vault's host.
func cloudOf(host string, suffix func(cloud) string) (cloud, bool) {
	for _, c := range clouds() {
		if name, found := strings.CutSuffix(host, suffix(c)); found && name != "" && !strings.Contains(name, ".") {
			return c, true
		}
	}
	return cloud{}, false
}

// hosts are all names of the cloud's sign-in service, the preferred one first.
func (c cloud) hosts() []string { return append([]string{c.login}, c.aliases...) }

// issuer is what names the tenant in a discovery document and in a token of version 2.
func (c cloud) issuer(tenant string) string { return "https://" + c.login + "/" + tenant + "/v2.0" }

// serves says whether tokens for the resource are to be had here: each cloud knows its own Key Vault and resource
// manager only. Any other resource is: the emulator has no list of what there is in Azure.
func (c cloud) serves(resource string) bool {
	for _, other := range clouds() {
		if resource == other.resource || resource == other.manager {
			return other.login == c.login
		}
	}
	return true
}
