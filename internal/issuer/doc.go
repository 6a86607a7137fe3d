// Package issuer is our own OIDC issuer: it mints short-lived tokens that say which repository, and which build of it, asks.
// Entra takes one as the assertion of the repository's own identity; another cloud, Vault or Sigstore as a build's ID token.
//
// Its contract: no token leaves that the published documents could not prove; a token's subject has nothing in it that a
// writer of the repository chose, but for the deploy target, and no two builds of different repositories or targets share
// one; what nobody proved stands under the claim "unproven" and nowhere else; Claims lists each claim with what it proves.
// Documents are written so that no reader finds a key missing, and Plan knows a rotation that loses no token.
//
// It never holds a private key and opens no connection: a Signer signs, in production a version of a key in Key Vault. It
// trusts the request as the guard and the policy let it through, and the Signer to sign with the key that it shows.
//
// It is defence in depth and no more. Relying parties can tell repositories apart without believing our policy; they can't
// defend themselves against this process, which can mint any subject.
package issuer
