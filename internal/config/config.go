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
	Vaults     map[string]Vault    // by alias
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

// Identity is who we are to Entra. An empty TenantID or AssertionFile, and in the identity "default" an empty ClientID,
// come from the environment as the workload identity webhook sets it.
type Identity struct {
	Name          string
	TenantID      string // a GUID
	ClientID      string // a GUID
	AssertionFile string // where the federated token is
	Cloud         string // one of the Cloud constants
	Managed       bool   // a managed identity of the machine; only ClientID and Cloud are set
	At            string // file:line
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

// Summary counts the rules for people, as in "14 bindings, 1 deny, 3 expectations".
func (c *Config) Summary() string {
	return count(len(c.Rules.Bindings), "binding", "bindings") + ", " +
		count(len(c.Rules.Denies), "deny", "denies") + ", " +
		count(len(c.Expect), "expectation", "expectations")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
