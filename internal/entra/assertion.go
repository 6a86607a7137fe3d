package entra

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/secret"
)

// Assertion makes the assertion that is exchanged for a token of the subject. It is called for each exchange, may be called
// by several goroutines at once, and its errors are *secret.Error without a byte of any assertion. The context carries the
// request that the exchange was begun for, if it was begun for one (secret.RequestOf).
type Assertion func(ctx context.Context, subject string) (string, error)

// maxTokenFile bounds a token's file, in bytes. A projected token has about one KiB.
const maxTokenFile = 64 << 10

// TokenFile makes an Assertion of a file that somebody keeps fresh, as the kubelet does with a projected service
// account's token. The file is read at each exchange, so that a file that was put right is used at once. It must be a
// regular file behind whatever symbolic links, of at most 64 KiB, holding one JWT; blanks around it are cut off. Errors
// have Kind Unavailable and ReasonIdentity, and name the file and the remedy, never the content.
//
// azidentity's WorkloadIdentityCredential is not used, because it reads the file at most every ten minutes, counted
// from its last read: a bad token would be sent for as long after somebody put the file right. It also sends the file
// verbatim, a newline at its end included.
func TokenFile(path string) Assertion {
	return func(context.Context, string) (string, error) {
		content, err := readTokenFile(path)
		if err != nil {
			return "", secret.Fail(secret.Unavailable, secret.ReasonIdentity, fmt.Sprintf("the assertion's file %s %s", path, err))
		}
		return content, nil
	}
}

// managedAssertion makes an Assertion of a managed identity of the machine: its token for Entra's exchange audience is
// what an application or another identity of the same tenant takes as proof, where a federated credential names the tenant's issuer
// (https://login.microsoftonline.com/TENANT/v2.0) and the managed identity's principal ID ("Configure an application to trust a
// managed identity"). It must be a user-assigned one.
//
// It is an identity inside an identity, so that its failures are told like those of one that opens vaults itself.
func managedAssertion(o Options) Assertion {
	inner := &Identity{options: Options{
		Name: o.Name, ClientID: o.AssertionManaged, Cloud: o.Cloud, Managed: true, Transport: o.Transport, Now: o.Now, Log: o.Log,
	}}
	inner.cloud, _ = cloudOf(o.Cloud) // New has asked before
	inner.client = client(fence{next: o.Transport})
	scope := policy.TokenRequestOptions{Scopes: []string{Audience(o.Cloud) + "/.default"}}
	return func(ctx context.Context, _ string) (string, error) {
		token, failure := inner.askOnce(ctx, "", scope)
		if token.Token != "" { // an older one, if there is a failure as well
			return token.Token, nil
		}
		return "", failure
	}
}

// Audience is what an assertion must be for that Entra exchanges in a cloud (public, also if empty, usgovernment or china):
// Microsoft's "Federated identity credentials overview".
func Audience(cloud string) string {
	switch cloud {
	case "usgovernment":
		return "api://AzureADTokenExchangeUSGov"
	case "china":
		return "api://AzureADTokenExchangeChina"
	}
	return "api://AzureADTokenExchange"
}

var (
	// Each ends the sentence that TokenFile begins with the file's name.
	errMissing   = errors.New("does not exist: is the pod labelled azure.workload.identity/use, and the token's volume mounted?")
	errForbidden = errors.New("may not be read: look at its owner and mode, and at fsGroup in the pod")
	errIrregular = errors.New("is not a regular file: name the token's file itself")
	errHuge      = fmt.Errorf("holds more than %d KiB, which no token does: name the token's file itself", maxTokenFile>>10)
	errEmpty     = errors.New("is empty: look at what projects the token, which has not written it")
	errNoJWT     = errors.New("does not hold a JWT: let it hold the token alone, and look whether it was written only by half")
	errUnread    = errors.New("can't be read")
)

// readTokenFile opens the path once. The kubelet replaces a token by swapping a directory link, so what is open is the
// old token or the new one and never a part of both.
func readTokenFile(path string) (string, error) {
	// Asked before it is opened, because to open a pipe is to wait for whoever writes into it.
	// Who puts a pipe there between the two calls can hold up this exchange, and no other: see Identity.exchange.
	info, err := os.Stat(path)
	if err != nil {
		return "", fileError(err)
	}
	if !info.Mode().IsRegular() {
		return "", errIrregular
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fileError(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return "", fileError(err)
	}
	token := bytes.TrimSpace(content)
	switch {
	case len(content) > maxTokenFile:
		return "", errHuge
	case len(token) == 0:
		return "", errEmpty
	case !jwtLike(token):
		return "", misfit(token)
	}
	return string(token), nil
}

// misfit names what is in a token's file that holds more or other than a token, where it is plain to see. People look at such a
// file and see the token in it, and a byte order mark not at all. None of it is printed.
func misfit(content []byte) error {
	const alone = ": let it hold the token alone"
	fields := bytes.Fields(content)
	starts := func(with string) bool { return bytes.HasPrefix(content, []byte(with)) }
	switch {
	case starts("\xef\xbb\xbf"):
		return errors.New("does not hold a JWT alone: a byte order mark (UTF-8) that nobody sees stands before it: write the file without one")
	case starts("\xff\xfe"), starts("\xfe\xff"):
		return errors.New("does not hold a JWT as Entra takes it: it is written in UTF-16, as PowerShell does: write it in ASCII")
	case len(fields) == 2 && bytes.EqualFold(fields[0], []byte("bearer")):
		return errors.New(`does not hold a JWT alone: the word "Bearer" stands before it` + alone)
	case len(fields) > 1 && !slices.ContainsFunc(fields, func(f []byte) bool { return !jwtLike(f) }):
		return fmt.Errorf("does not hold one JWT, but %d of them%s", len(fields), alone)
	case starts(`"`), starts("'"):
		return errors.New("does not hold a JWT alone: it begins with a quotation mark" + alone + ", without quotation marks")
	case starts("{"), starts("["):
		return errors.New("does not hold a JWT, but JSON" + alone)
	case starts("-----BEGIN"):
		return errors.New("does not hold a JWT, but PEM, as keys and certificates are written: name the token's file itself")
	}
	return errNoJWT
}

// fileError drops the system's own text: it would name the file a second time and no remedy.
func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errMissing
	case errors.Is(err, fs.ErrPermission):
		return errForbidden
	}
	return errUnread
}

// jwtLike tells whether b is three parts of base64url, the first of them a JSON object.
// Whether the token is good is for Entra to say. This keeps a file that was named by mistake, such as a private key,
// from being sent there as an assertion: "e30.e30.c2ln" passes, PEM does not.
func jwtLike(b []byte) bool {
	parts := bytes.Split(b, []byte("."))
	if len(parts) != 3 || bytes.ContainsAny(b, "\r\n") { // which the decoder would skip
		return false
	}
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.AppendDecode(nil, part)
		if err != nil || len(decoded) == 0 || i < 2 && decoded[0] != '{' {
			return false
		}
	}
	return true
}
