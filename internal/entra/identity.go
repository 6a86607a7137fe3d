package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/drone-entra/drone-entra/secret"
)

// Options describe one identity. Exactly one of AssertionFile, AssertionManaged, Assertion and Managed says where its
// proof comes from.
type Options struct {
	Name     string            // in the configuration; for errors, the log and the record
	TenantID string            // a GUID: Key Vault names its tenant so, and the two must be equal; empty only with Managed
	ClientID string            // of the application or the user-assigned identity; empty, with Managed: the machine's own
	Clients  map[string]string // instead of ClientID, with Subjects: a repository's uid at the forge → the client ID of its own
	Cloud    string            // public (also if empty), usgovernment or china

	AssertionFile    string    // read at each exchange, as TokenFile does
	AssertionManaged string    // the client ID of a managed identity of the machine, whose token is the assertion
	Assertion        Assertion // anything else that makes assertions, such as an issuer of our own
	Managed          bool      // a managed identity of the machine, which stands for itself

	// Subjects names whom an assertion speaks of, request by request; nil: of one and the same. Its errors are *secret.Error.
	Subjects func(secret.Request) (string, error)

	Transport http.RoundTripper // to Entra, and to the machine's metadata endpoint; required. See NewTransport
	Log       zerolog.Logger    // alarms: an identity that fails, and works again
	Now       func() time.Time  // time.Now
}

// Identity is who we are to Entra. It is safe for concurrent use.
// Its owner closes it once no request can need another token.
type Identity struct {
	options Options
	cloud   cloud.Configuration
	client  *http.Client
	ctx     context.Context // of exchanges: they outlive who asked for them
	cancel  context.CancelFunc
	hanging atomic.Int32 // exchanges that were given up and have not ended
	health  health
	broken  *secret.Error // why there is none; see NewBroken

	// Whose turn it is: builds that ask for tokens of their own must not hold up what opens the vaults.
	turns *semaphore.Weighted // exchanges for tokens that are kept
	fresh *semaphore.Weighted // and for those that are not

	mu          sync.Mutex
	credentials map[string]*credential // by subject; tenant and client are the identity's own
	uses        uint64                 // counts calls of Credential, to tell which subject was asked for last
}

// maxSubjects bounds how many subjects an identity remembers tokens of. A deploy target is a writer's text, so there may be
// more of them than anybody has applications.
const maxSubjects = 1024

// New checks the options and makes an Identity; it asks nobody for anything yet. The error says what to change.
func New(o Options) (*Identity, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	conf, err := cloudOf(o.Cloud)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", o.Name, err)
	}
	i := &Identity{
		options: o, cloud: conf, credentials: map[string]*credential{},
		turns: semaphore.NewWeighted(maxAtOnce), fresh: semaphore.NewWeighted(maxAtOnce),
	}
	switch {
	case o.AssertionFile != "":
		i.options.Assertion = TokenFile(o.AssertionFile)
	case o.AssertionManaged != "":
		i.options.Assertion = managedAssertion(o)
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	f := fence{next: o.Transport}
	if !o.Managed {
		f.hosts = authorities(conf)
	}
	i.client = client(f)
	return i, nil
}

// client makes an HTTP client of the fence.
func client(f fence) *http.Client {
	return &http.Client{
		Transport: f,
		// A redirect would carry the assertion along.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ResourceManager is the scope of Azure's resource manager in a cloud (public, also if empty, usgovernment or china). A
// container registry takes a token for it as proof of who asks.
func ResourceManager(name string) string {
	switch name {
	case "usgovernment":
		return "https://management.usgovcloudapi.net/.default"
	case "china":
		return "https://management.chinacloudapi.cn/.default"
	}
	return "https://management.azure.com/.default"
}

// check is about what would otherwise show at the first exchange only, which is when a build waits for it.
func (o *Options) check() error {
	proofs := 0
	for _, is := range []bool{o.AssertionFile != "", o.AssertionManaged != "", o.Assertion != nil, o.Managed} {
		if is {
			proofs++
		}
	}
	switch {
	case proofs != 1:
		return errors.New("say where its proof comes from, once: an assertion's file (AZURE_FEDERATED_TOKEN_FILE, which the " +
			"workload identity webhook sets), a managed identity, or an issuer of our own")
	case o.Transport == nil:
		return errors.New("no transport")
	case !o.Managed && !guid(o.TenantID), o.Managed && o.TenantID != "" && !guid(o.TenantID):
		return fmt.Errorf("tenant_id %q: write the tenant's GUID (AZURE_TENANT_ID); a domain's name never equals what Key Vault says", o.TenantID)
	case o.Clients != nil && (o.Subjects == nil || o.ClientID != ""):
		return errors.New("clients stand instead of client_id, and only where the assertion is our own issuer's")
	case !o.Managed && o.Clients == nil && o.ClientID == "":
		return errors.New("client_id is missing: write the application's GUID (AZURE_CLIENT_ID)")
	// It would be sent to Entra as it is, and come back as an application that does not exist.
	case strings.ContainsFunc(o.ClientID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("client_id %q holds a blank or a control character: write the application's GUID (AZURE_CLIENT_ID)", o.ClientID)
	}
	return nil
}

// cloudOf is the closed list of authorities. A token goes to one of them or nowhere, so instance discovery (which would
// ask one of them about another) is never needed.
func cloudOf(name string) (cloud.Configuration, error) {
	switch name {
	case "", "public":
		return cloud.AzurePublic, nil
	case "usgovernment":
		return cloud.AzureGovernment, nil
	case "china":
		return cloud.AzureChina, nil
	}
	return cloud.Configuration{}, fmt.Errorf("cloud %q: there are public, usgovernment and china", name)
}

// authority is the host that assertions go to.
func authority(c cloud.Configuration) string {
	u, err := url.Parse(c.ActiveDirectoryAuthorityHost)
	if err != nil {
		return "invalid" // leads nowhere
	}
	return u.Host
}

// authorities are all names of the cloud's authority to which an assertion may go. The one in China has two, of which the SDK
// is configured with the older; the discovery document may name the endpoint by the newer ("Microsoft Entra authentication and
// national clouds").
func authorities(c cloud.Configuration) []string {
	names := []string{authority(c)}
	if names[0] == "login.chinacloudapi.cn" {
		names = append(names, "login.partner.microsoftonline.cn")
	}
	return names
}

// guid tells whether s is written as 8-4-4-4-12 hexadecimal digits. The SDK compares tenants as strings, so a domain's
// name would never equal the GUID in a vault's challenge.
func guid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.Contains("0123456789abcdefABCDEF", s[i:i+1]) {
			return false
		}
	}
	return true
}

// Name is the identity's name in the configuration.
func (i *Identity) Name() string { return i.options.Name }

// Tenant is the identity's tenant; empty for a managed identity of the machine, whose tenant is the machine's.
func (i *Identity) Tenant() string { return i.options.TenantID }

// Subject names whom Entra sees for a request: always the empty one for an identity with one assertion. It is empty as
// well where the request can't have a subject; the credential of that one says why.
func (i *Identity) Subject(r secret.Request) string {
	if i.options.Subjects == nil {
		return ""
	}
	subject, err := i.options.Subjects(r)
	if err != nil {
		return ""
	}
	return subject
}

// Credential gives the credential for a subject, the same one while it is in use: MSAL's cache does not look at the
// assertion, so two subjects that shared a credential would get each other's tokens. Where the subject is a request's, the
// context of GetToken carries that request (secret.WithRequest).
func (i *Identity) Credential(subject string) azcore.TokenCredential {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.credentials[subject]
	if c == nil {
		if len(i.credentials) >= maxSubjects {
			i.forgetOne()
		}
		c = &credential{identity: i, subject: subject, lanes: map[string]*lane{}}
		i.credentials[subject] = c
	}
	i.uses++
	c.used = i.uses
	return c
}

// forgetOne drops the credential that was asked for longest ago. Identity.mu is held.
// Whoever holds it goes on with it; who asks next exchanges anew.
func (i *Identity) forgetOne() {
	oldest, used := "", i.uses+1
	for subject, c := range i.credentials {
		if c.used < used {
			oldest, used = subject, c.used
		}
	}
	delete(i.credentials, oldest)
}

// clientOf is the application that stands for the request.
func (i *Identity) clientOf(r secret.Request) (string, *secret.Error) {
	if i.options.Clients == nil {
		return i.options.ClientID, nil
	}
	if client := i.options.Clients[r.Repo.UID]; client != "" {
		return client, nil
	}
	return "", secret.Fail(secret.Unavailable, secret.ReasonIdentity,
		fmt.Sprintf("%s: no client is listed for the repository %s with the uid %q: add it to the identity's clients", i, r.Repo.Slug, r.Repo.UID))
}

// Close ends the exchanges under way. The identity gives only tokens that it has after it.
func (i *Identity) Close() { i.cancel() }

// String describes the identity for errors and the log.
func (i *Identity) String() string {
	o := &i.options
	switch {
	case o.Managed && o.ClientID == "":
		return fmt.Sprintf("identity %s (the machine's own)", o.Name)
	case o.Managed:
		return fmt.Sprintf("identity %s (managed, client %s)", o.Name, o.ClientID)
	case o.Clients != nil:
		return fmt.Sprintf("identity %s (a client for each repository, in tenant %s)", o.Name, o.TenantID)
	}
	return fmt.Sprintf("identity %s (client %s in tenant %s)", o.Name, o.ClientID, o.TenantID)
}
