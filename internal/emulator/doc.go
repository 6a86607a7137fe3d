// Package emulator is Microsoft Entra's token endpoint, Azure Key Vault, the tokens of Azure Container Registry, the
// instance metadata service and an issuer of workload identity tokens, in this process and over real TLS.
// `drone-entra dev` runs on it and every test uses it.
//
// # Contract
//
// Clients are the real SDKs, unmodified: production host names, certificate verification and challenge verification
// all stay on. Two things lead a client here, and either is enough: [Emulator.Transport], or [Emulator.ProxyURL] with
// [Emulator.CAPEM] for a program that is configured through HTTPS_PROXY and SSL_CERT_FILE. What exists is what was
// registered; a host that was not is unknown to the dialer as it would be to DNS.
//
// Entra checks an assertion as the service does: it fetches the issuer's discovery document and keys over TLS, and
// answers with the AADSTS code that an operator would meet. Key Vault and a registry verify the token they are given, so
// one for another resource, tenant or time opens neither. Faults come on demand, see [Emulator.Fault].
//
// # What it trusts, and what it keeps
//
// It listens on the loopback address only, trusts nobody who cannot show a token that it signed, and keeps no token,
// assertion or value in what [Emulator.Requests] tells; of an assertion, [Emulator.Presented] tells header and claims. Its
// certificate authority and its keys live in memory, are made afresh by each [Start] and end with [Emulator.Close]. It is a
// stand-in for development: it must hold no real secret.
package emulator
