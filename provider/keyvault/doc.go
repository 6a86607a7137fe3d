// Package keyvault reads secrets from one Azure Key Vault through azsecrets, and signs with its keys through azkeys.
//
// Its contract: a Vault is a provider.Source. It asks for one secret, the current or a pinned version, and returns it
// with what Key Vault says of it, or an *secret.Error that names the vault, the secret, Key Vault's own code and the
// remedy. It returns within its caller's context, whatever the SDK or the network do. No value, token or answer is ever
// in an error.
//
// A value is bytes of ours from the first: it is taken out of an answer before the SDK reads it, and whatever of it is not
// returned is cleared.
//
// A value's content type says what it is: the PKCS#12 of a certificate becomes PEM, base64 that is marked as text becomes
// the text. What it says and is not is the value's Flaw and no failure of the vault's.
//
// A Key signs with one version of an RSA key whose private half stays in Key Vault. What it returns verifies with the public
// half, and its errors are *secret.Error of the same kind: what they say is for the operator, since no pipeline asks for keys.
//
// It trusts the configuration for the vault's host, and whoever proves by certificate to be that host for secrets of
// that vault only: a challenge can't lead a token to another resource, an answer must be about what was asked, redirects
// and links to further pages are not followed out of the vault.
package keyvault
