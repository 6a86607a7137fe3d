package keyvault

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// Probe asks the vault without a token, and expects to be asked for one: the name resolves, a connection comes about, the
// certificate is good and Key Vault answers. It proves nothing of the identity's rights, and costs no exchange. It takes
// four seconds at most; the error is an *secret.Error.
//
// Any answer but a 401 with Key Vault's own challenge counts as a failure: a captive portal or a proxy answers, too.
func (v *Vault) Probe(ctx context.Context) error {
	_, err := v.Challenge(ctx)
	return err
}

// Challenge is what a vault says to whoever shows no token. It is whatever the vault says; nobody follows it.
type Challenge struct {
	Authority string    // and tenant that it sends us to, as https://login.microsoftonline.com/TENANT; empty: it names none
	Date      time.Time // of the answer, in whole seconds that were cut off; zero: it has none
}

// Challenge asks as Probe does, and returns what the vault says.
func (v *Vault) Challenge(ctx context.Context) (c Challenge, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	fail := func(k secret.Kind, r secret.Reason, what string) (Challenge, error) {
		return Challenge{}, secret.Fail(k, r, fmt.Sprintf("vault %s (%s): %s", v.alias, v.host, what))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/secrets?api-version=7.4&maxresults=1", nil)
	if err != nil {
		return fail(secret.Internal, secret.ReasonInternal, "no request can be made from its url")
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return fail(unreached(err, 1))
	}
	defer resp.Body.Close()
	challenge := resp.Header.Get("WWW-Authenticate")
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return fail(secret.Unavailable, secret.ReasonThrottled, "429: the vault is asked for too much, by us or by others")
	case resp.StatusCode >= 500:
		return fail(secret.Unavailable, secret.ReasonUnavailable, fmt.Sprintf("%d: the vault is down", resp.StatusCode))
	case resp.StatusCode == http.StatusForbidden:
		return fail(secret.NotFound, secret.ReasonVaultRefused, "403: "+ofSecrets().refusal(codeOf(resp), "identity "+v.identity.Name()))
	case resp.StatusCode != http.StatusUnauthorized || !strings.Contains(challenge, strings.TrimSuffix(v.scope, "/.default")):
		return fail(secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("%d without Key Vault's challenge: is there a proxy in between?", resp.StatusCode))
	}
	if m := challenged.FindStringSubmatch(challenge); m != nil {
		c.Authority = m[1]
	}
	c.Date, _ = http.ParseTime(resp.Header.Get("Date"))
	return c, nil
}

// challenged finds the authority in Bearer authorization="https://login.microsoftonline.com/TENANT", resource="…".
var challenged = regexp.MustCompile(`\bauthorization(?:_uri)?="?(https://[A-Za-z0-9./-]{1,200})`)
