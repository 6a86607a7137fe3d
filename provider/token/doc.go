// Package token serves short-lived tokens as if they were secrets of a vault: access tokens of Entra for a scope, tokens of an
// Azure Container Registry, and ID tokens of our own issuer that say which build asks.
//
// Its contract: a token is made for the request at hand and is nobody else's; what is handed out says when it ends. Nothing is
// kept here. Every failure is a *secret.Error that names the token, the place and the remedy; no token and no answer of
// anybody's is ever in one.
//
// It trusts what the configuration says of names, scopes and hosts, and TLS. What a registry answers is believed as far as it
// is a token that gives what was asked for.
package token
