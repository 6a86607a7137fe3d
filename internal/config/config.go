package config

import (
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

// What holds where the files say nothing. The address and the log level have a say from the environment as well, so
// Config leaves them empty and the program applies these.
const (
	DefaultAddress  = "127.0.0.1:3000"
	DefaultAdmin    = "127.0.0.1:9090"
	DefaultRecord   = "/var/lib/drone-entra/audit.jsonl"
	DefaultLogLevel = "info"
	defaultIdentity = "default"
)

// What a subject of our own issuer speaks of: the repository, or the repository and the deploy target.
const (
	SubjectRepo        = "repo"        // drone:SERVER:repo:UID
	SubjectEnvironment = "environment" // drone:SERVER:repo:UID:environment:DEPLOY_TO
)

// The clouds of Azure, as an identity names them.
const (
	CloudPublic       = "public"
	CloudUSGovernment = "usgovernment"
	CloudChina        = "china"
)

// Config is a configuration that was read without an error. It is not changed afterwards, except by Forget.
//
// Lists in Rules that were written in the same words share their memory: whoever changed one would change others.
type Config struct {
	Files   []File // in the order they were named; those of a directory in order of name
	SHA256  string // of Content, lower-case hex
	Content []byte // one file: its bytes; several: in order of name, each after a line "# FILE NAME"

	Identities map[string]Identity // by name
	Issuer     *Issuer             // nil: none
	Vaults     map[string]Vault    // by alias
	Tokens     map[string]Token    // by name, in lower case as a secret.Ref has it
	Pools      map[string]Pool     // by name; "default" may be missing, as the environment can give it
	Rules      secret.Rules
	Expect     []Expectation
	Record     Record
	Listen     Listen
	Limits     Limits
	Log        Log
}

// File is one file as it was read. Its Name is as it was given, not made absolute, so that places read as people know
// them.
type File struct {
	Name    string
	Content []byte
}

// Identity is who we are to Entra. An empty TenantID, and in the identity "default" an empty ClientID without Clients, come
// from the environment as the workload identity webhook sets it; so does an empty AssertionFile, where neither
// AssertionManaged nor Issuer says where the assertion comes from.
type Identity struct {
	Name             string
	TenantID         string            // a GUID
	ClientID         string            // a GUID
	Clients          map[string]string // repository's uid → its client id, a GUID; instead of ClientID, only with Issuer
	AssertionFile    string            // where the federated token is
	AssertionManaged string            // the client id, a GUID, of the machine's managed identity whose token is the assertion
	Issuer           string            // one of the Subject constants: our own issuer makes the assertion; empty: it does not
	Cloud            string            // one of the Cloud constants
	Managed          bool              // a managed identity of the machine; only ClientID and Cloud are set
	At               string            // file:line
}

// Issuer is our own OIDC issuer: who it is in every assertion, and the keys that sign. Entra compares URL byte for byte.
type Issuer struct {
	URL    string   // "iss"; https, a slash at the end is part of it
	Server string   // which Drone server, in every subject
	Pools  []string // whose runners belong to Server, sorted; nil: the files do not say
	Keys   []IssuerKey
	At     string
}

// IssuerKey is one version of a key in Key Vault. All are published; the one with the latest From that is not in the future
// signs. Exactly one has no From.
type IssuerKey struct {
	Vault   string    // an alias in Config.Vaults
	Name    string    // in lower case
	Version string    // 32 hexadecimal digits, in lower case
	From    time.Time // in UTC; zero: from the beginning
	At      string
}

// Token is a short-lived credential that is made when a build asks for it. Exactly one of Scope, Registry and Audience is
// set; Identity is set with the first two, Subject and Lifetime with the last.
type Token struct {
	Name          string // in lower case
	Identity      string // a name in Config.Identities
	Scope         string // of an Entra access token; ends in /.default
	Registry      string // host of an Azure container registry, in lower case
	Repositories  []Repository
	AnyRepository bool // whatever the identity may do in the registry
	Audience      string
	Subject       string        // one of the Subject constants
	MinLife       time.Duration // how much of its life must be left whenever it is given; zero: no demand
	Lifetime      time.Duration // of a token for an audience
	At            string
}

// Repository is what a registry's token may do with one repository there.
type Repository struct {
	Name    string   // exact
	Actions []string // pull, push, delete, metadata_read, metadata_write; sorted, at least one
}

// Vault is a door: a Key Vault, the identity that opens it, and what it demands of a secret. Rules and pipelines speak
// of aliases alone; no request can name a host.
type Vault struct {
	Alias      string
	URL        string        // https://HOST
	Host       string        // in lower case
	Identity   string        // a name in Config.Identities
	MaxAge     time.Duration // zero: any age
	Stale      time.Duration // how long the last value serves while the vault is down; zero: not at all
	MustExpire bool
	At         string
}

// Pool is a pool of runners, told apart by its keys; several keys at once are a rotation.
type Pool struct {
	Name string
	Keys []Key
}

// Key says where a pool's shared key is, never what it is. Either Env or File is set. The value is read elsewhere, each
// time that keys are loaded, and never gets into this package.
type Key struct{ ID, Env, File, At string }

// Record is where decisions are recorded.
type Record struct{ File string }

// Log is how the program logs.
type Log struct {
	Level  string // debug, info, warn or error; empty: the file does not say
	Format string // json or text; empty: text on a terminal, else json
}

// Limits bound what one request and all of them together may take. Each is greater than zero: what the files leave out
// has its default here already.
type Limits struct {
	Budget      time.Duration // for one answer
	Skew        time.Duration // between a request's Date and our clock, both ways
	Drain       time.Duration // between "not ready" and the end of the listeners
	Body        int64         // bytes of a request's body
	InFlight    int           // reads under way, for each vault
	Connections int           // open connections
	Repeats     int           // equal requests within the window
}

// Forget drops the files' bytes, for whoever has kept them elsewhere: of a big configuration only what it means stays in
// memory. It is called before the Config is shared.
func (c *Config) Forget() {
	c.Content = nil
	for i := range c.Files {
		c.Files[i].Content = nil
	}
}

// Summary counts the rules for people, as in "14 bindings, 1 deny, 3 expectations", and tokens where there are any.
func (c *Config) Summary() string {
	text := count(len(c.Rules.Bindings), "binding", "bindings") + ", " +
		count(len(c.Rules.Denies), "deny", "denies") + ", " +
		count(len(c.Expect), "expectation", "expectations")
	if len(c.Tokens) > 0 {
		text += ", " + count(len(c.Tokens), "token", "tokens")
	}
	return text
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
