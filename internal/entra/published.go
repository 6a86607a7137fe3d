package entra

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/drone-entra/drone-entra/secret"
)

// Publication is what an issuer shows to whoever would verify its tokens.
type Publication struct {
	Discovery, KeySet string   // the URLs
	KIDs              []string // as published; any text

	keys  map[string]*rsa.PublicKey
	count int // of all keys, those of no use included
}

// Published fetches an issuer's discovery document and its keys, as Entra does for each assertion: over TLS, without following
// a redirect. The answer is what this machine sees; Entra asks from the internet and may see something else, so that no answer
// at all is a mild flaw. It is bounded by ctx.
func Published(ctx context.Context, transport http.RoundTripper, issuer string) (p Publication, flaw *Flaw) {
	p.Discovery = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if flaw = fetch(ctx, transport, p.Discovery, &document); flaw != nil {
		return p, flaw
	}
	p.KeySet = document.Keys
	if document.Issuer != issuer {
		cause := fmt.Sprintf("the discovery document at %s says that its issuer is %.200q, and tokens say %.200q", p.Discovery, document.Issuer, issuer)
		if strings.TrimSuffix(document.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
			cause += ": they differ in the slash at the end"
		}
		return p, &Flaw{Cause: cause, Remedy: "make both equal to the letter, a slash at the end included"}
	}
	if u, err := url.Parse(document.Keys); err == nil && u.Scheme == "https" && private(u.Hostname()) {
		return p, &Flaw{Cause: fmt.Sprintf("the discovery document at %s says that the keys are at %.200q: that is a name or an address of a private network, "+
			"where Entra can't fetch them (AADSTS90061)", p.Discovery, document.Keys),
			Remedy: "publish the key set on the internet, and let the document name it there; on Kubernetes the API server writes what --service-account-jwks-uri says"}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if flaw = fetch(ctx, transport, document.Keys, &set); flaw != nil {
		return p, flaw
	}
	p.keys, p.count = map[string]*rsa.PublicKey{}, len(set.Keys)
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil {
			continue // of a kind that is not for RS256
		}
		if public, ok := key.Key.(*rsa.PublicKey); ok && key.KeyID != "" {
			p.KIDs = append(p.KIDs, key.KeyID)
			p.keys[key.KeyID] = public
		}
	}
	return p, nil
}

// Proves says why the published keys don't prove the assertion; nil if they do.
func (p *Publication) Proves(c Claims) *Flaw {
	key := p.keys[c.KeyID]
	switch {
	case len(p.keys) == 0 && p.count > 0:
		return &Flaw{
			Cause:  fmt.Sprintf("%s holds keys, %d in all, and none of them is an RSA key with a kid: Entra finds no key (AADSTS7000272)", p.KeySet, p.count),
			Remedy: "let the issuer sign with an RSA key (RS256), and publish that with its kid and use: sig",
		}
	case len(p.keys) == 0:
		return &Flaw{Cause: fmt.Sprintf("the key set at %s is empty (AADSTS7000272)", p.KeySet), Remedy: "publish the issuer's present keys there"}
	case key == nil:
		return &Flaw{
			Cause: fmt.Sprintf("the key %.80q that signed the assertion is not among those published at %s: %.300q (AADSTS7000272)",
				c.KeyID, p.KeySet, slices.Sorted(slices.Values(p.KIDs))),
			Remedy: "publish the issuer's present keys there; after a rotation of the cluster's keys that is what was forgotten",
		}
	case rsa.VerifyPKCS1v15(key, crypto.SHA256, c.digest[:], c.signature) != nil:
		return &Flaw{
			Cause:  fmt.Sprintf("the assertion's signature does not verify with the key %.80q published at %s (AADSTS700027)", c.KeyID, p.KeySet),
			Remedy: "look whether the assertion was written only by half, and whether the published keys are another cluster's",
		}
	}
	return nil
}

// fetch gets one JSON document.
func fetch(ctx context.Context, transport http.RoundTripper, from string, into any) *Flaw {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return &Flaw{Cause: fmt.Sprintf("%.200q is no https URL to fetch the issuer's documents from", from), Remedy: "publish them over https, and correct jwks_uri"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return &Flaw{Cause: fmt.Sprintf("no request can be made of %.200q", from), Remedy: "correct the issuer's URL"}
	}
	answer, err := client(fence{next: transport}).Do(request)
	if err != nil {
		return unfetched(from, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &Flaw{Cause: fmt.Sprintf("%.200s answers %d instead of a document (AADSTS90061)", from, answer.StatusCode),
			Remedy: "publish the document there, for everybody and without a redirect"}
	}
	content, err := io.ReadAll(answer.Body)
	if err != nil || json.Unmarshal(content, into) != nil {
		return &Flaw{Cause: fmt.Sprintf("%.200s is not the JSON document that it should be", from),
			Remedy: "publish the document as it was made; look for a proxy or a login page in between"}
	}
	return nil
}

// unfetched is the flaw that no answer came. It may be this machine's alone.
func unfetched(from string, err error) *Flaw {
	var proxy *secret.ProxyError
	var invalid x509.CertificateInvalidError
	flaw := func(what, remedy string) *Flaw {
		return &Flaw{Cause: fmt.Sprintf("%.200s does not answer this machine; Entra fetches it from the internet, and may see something else: %s", from, what),
			Remedy: remedy, Mild: true}
	}
	const renew = "; or, if Entra takes its tokens, look for a proxy that opens TLS on this machine's way, at its roots and at its clock"
	switch {
	case errors.As(err, &proxy):
		return flaw(proxy.Cause, proxy.Remedy)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return flaw("its certificate has expired, or is not valid yet", "renew the certificate there"+renew)
	case errors.As(err, new(x509.HostnameError)):
		return flaw("its certificate is for another name", "let the server show a certificate for this name"+renew)
	case impostor(err):
		return flaw("its certificate does not prove that it is who it should be", "let the server show a certificate of an authority that everybody knows, and those between"+renew)
	}
	_, _, what := unanswered(err)
	what, _, _ = strings.Cut(what, ": ") // the rest is a remedy for the way to Entra
	return flaw(what, "open it in a browser outside of this network; if it does not come there, publish it")
}

// Clock asks the authority of a cloud (public, also if empty, usgovernment or china) what time it is, by the Date of its answer;
// that proves as well that it is reached, and that its certificate is good. ahead is by how much now is ahead of it, to the
// second or so; told is false where an answer has no Date. The error is an *secret.Error.
func Clock(ctx context.Context, transport http.RoundTripper, cloud string, now func() time.Time) (ahead time.Duration, told bool, err error) {
	conf, err := cloudOf(cloud)
	if err != nil {
		return 0, false, secret.Fail(secret.Internal, secret.ReasonInternal, err.Error())
	}
	host := authority(conf)
	fail := func(k secret.Kind, r secret.Reason, what string) (time.Duration, bool, error) {
		return 0, false, secret.Fail(k, r, host+": "+what)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/common/v2.0/.well-known/openid-configuration", nil)
	if err != nil {
		return fail(secret.Internal, secret.ReasonInternal, "no request can be made of its name")
	}
	before := now()
	answer, err := client(fence{next: transport, hosts: []string{host}}).Do(request)
	if err != nil {
		return fail(unanswered(err))
	}
	_ = answer.Body.Close()
	between := now().Sub(before) / 2
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return 0, false, nil
	}
	return before.Add(between).Sub(date.Add(time.Second / 2)), true, nil // a Date has whole seconds, cut off
}
