// Package entra proves to Microsoft Entra who we are, without anything long-lived: it exchanges a short-lived assertion
// (a projected service account's token, a machine's managed identity) for access tokens.
//
// Its contract: an Identity gives one credential for each subject; a credential answers within its caller's context
// whatever the SDK, Entra or the assertion's source do; while a token is valid it is served at once, and a new one is
// fetched behind it; every failure is a *secret.Error that names the identity, the file or the AADSTS code, and the
// remedy. No token, assertion or response body is ever in an error, a log line or a Status.
//
// It trusts the authority hosts of Azure's three clouds, over TLS, and nothing that an answer says about where to go
// next: the assertion leaves for the configured cloud's authority only.
package entra
