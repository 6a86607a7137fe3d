package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
)

// initCommand writes a file that is closed but for what its flags name. No secret goes into it.
type initCommand struct {
	Repo       []string `sep:"none" help:"Slug of a repository that shall get secrets, as acme/app; again for more." placeholder:"SLUG"`
	Vault      []string `sep:"none" help:"A vault's name or URL, as kv-shared or https://kv-shared.vault.azure.net; again for more." placeholder:"VAULT"`
	Kubernetes bool     `xor:"where" help:"It will run in Kubernetes with workload identity."`
	VM         bool     `name:"vm" xor:"where" help:"It will run on a machine in Azure with a managed identity."`
	TenantID   string   `name:"tenant-id" help:"The Entra tenant's id, where Kubernetes does not set AZURE_TENANT_ID." placeholder:"GUID"`
	ClientID   string   `name:"client-id" help:"The application's or managed identity's client id." placeholder:"GUID"`
	Out        string   `help:"Where to write; - for standard output." default:"drone-entra.yaml" placeholder:"FILE"`
	Force      bool     `help:"Overwrite what is there."`
}

// Run writes a first configuration, with comments that say what each part is for, and says what to do next. What the
// flags leave open it asks, on a terminal.
func (c initCommand) Run(env Env, out *printer) error {
	if c.Out != "-" && !c.Force {
		// A link that leads nowhere counts as there: writing would make a file somewhere else.
		if _, err := os.Lstat(c.Out); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: name another with --out, or overwrite it with --force", c.Out)
		}
	}
	// Without a terminal nobody answers: what is missing is then an error that names the flag.
	if in, ok := env.Stdin.(*os.File); ok && terminal(in) {
		if err := c.ask(env.Stdin, out.err); err != nil {
			return err
		}
	}
	text, err := c.configuration()
	if err != nil {
		return err
	}
	if c.Out == "-" {
		out.printf("%s", text)
		return nil
	}
	if err := c.write(text); err != nil {
		return err
	}
	out.printf("%s", c.next())
	return nil
}

// ask fills in what no flag said. Questions go to standard error, so that --out - can be piped. An end of input answers
// all that remains with nothing.
func (c *initCommand) ask(in io.Reader, out io.Writer) error {
	answers := bufio.NewScanner(in)
	question := func(text string) string {
		fmt.Fprintf(out, "%s ", text)
		if !answers.Scan() {
			return ""
		}
		return strings.TrimSpace(answers.Text())
	}
	if !c.Kubernetes && !c.VM {
		switch answer := question("Where will it run: in kubernetes with workload identity, or on a vm with a managed identity? [kubernetes]"); strings.ToLower(answer) {
		case "", "k", "kubernetes":
			c.Kubernetes = true
		case "v", "vm":
			c.VM = true
		default:
			return usageError(fmt.Sprintf("%q is neither kubernetes nor vm", answer))
		}
	}
	if c.VM && c.ClientID == "" {
		c.ClientID = question("The managed identity's client id (a GUID):")
	}
	if len(c.Vault) == 0 {
		c.Vault = strings.Fields(question("Key vaults, by name or URL, with blanks between:"))
	}
	if len(c.Repo) == 0 {
		c.Repo = strings.Fields(question("Repositories that shall get secrets, as acme/app, with blanks between:"))
	}
	return answers.Err()
}

// configuration writes the file's text. It is one that check accepts, or the error says which answer was no good. It is
// read again as the running program would, so whatever was typed (a URL of another cloud, a slug with a quote) comes
// back as the same error that check would print.
func (c *initCommand) configuration() (string, error) {
	switch {
	case len(c.Vault) == 0:
		return "", usageError("--vault is missing: which Key Vault holds the secrets?")
	case len(c.Repo) == 0:
		return "", usageError("--repo is missing: which repository shall get secrets?")
	case c.VM && c.ClientID == "":
		return "", usageError("--client-id is missing: which managed identity of the machine is meant?")
	case c.VM && c.TenantID != "":
		return "", usageError("--tenant-id has no meaning with --vm: a managed identity has its tenant already")
	}
	// The alias goes into the template and never into the answers, one of which may hold the same letters.
	template := strings.ReplaceAll(firstConfiguration, "VAULT", c.addresses()[0].alias)
	text := fmt.Sprintf(template, c.identity(), c.vaults(), c.binding(), c.expectations())
	if _, problems := config.Replay([]byte(text), c.Out); len(problems) > 0 {
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Text)
		}
		return "", usageError(strings.Join(texts, "\n"))
	}
	return text, nil
}

// write makes the file. It is readable for all: it says where keys are, and holds none.
func (c *initCommand) write(text string) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL // whoever came first in the meantime wins
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(c.Out, how, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// vault is an alias and the vault's address.
type vault struct{ alias, url string }

// addresses reads the vaults as somebody may write them: a name, a host, a URL.
//
//	kv-shared                            kv-shared  https://kv-shared.vault.azure.net
//	https://KV-Shared.vault.azure.net/   kv-shared  https://kv-shared.vault.azure.net
//
// Nothing is checked here: what is no vault's address is found when the configuration is read again.
func (c *initCommand) addresses() (all []vault) {
	for _, s := range c.Vault {
		host := strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(s), "https://"), "/")
		label, _, full := strings.Cut(host, ".")
		if !full {
			host += ".vault.azure.net"
		}
		all = append(all, vault{label, "https://" + host})
	}
	return all
}

// vaults writes the entries of the section, one a line.
func (c *initCommand) vaults() string {
	var b strings.Builder
	for _, v := range c.addresses() {
		fmt.Fprintf(&b, "  %s: {url: %s}\n", word(v.alias), word(v.url))
	}
	return b.String()
}

// identity writes the section identities with its comment, without a line feed at the end.
func (c *initCommand) identity() string {
	switch {
	case c.VM:
		return "# The managed identity of the machine, by its client id.\nidentities:\n  default: {managed: {client_id: " + word(c.ClientID) + "}}"
	case c.TenantID == "" && c.ClientID == "":
		return "# Empty: what the workload identity webhook of Kubernetes sets in the pod (AZURE_TENANT_ID, AZURE_CLIENT_ID and\n" +
			"# AZURE_FEDERATED_TOKEN_FILE).\nidentities:\n  default: {}"
	}
	text := "# The token comes from AZURE_FEDERATED_TOKEN_FILE, as the workload identity webhook of Kubernetes sets it.\nidentities:\n  default:\n"
	if c.TenantID != "" {
		text += "    tenant_id: " + word(c.TenantID) + "\n"
	}
	if c.ClientID != "" {
		text += "    client_id: " + word(c.ClientID) + "\n"
	}
	return strings.TrimSuffix(text, "\n")
}

// binding writes the lists of the first binding. It reads ci-* alone, so that a vault's other secrets stay closed.
func (c *initCommand) binding() string {
	var repos, reads []string
	for _, repo := range c.Repo {
		repos = append(repos, word(repo))
	}
	for _, v := range c.addresses() {
		reads = append(reads, word(v.alias+"/ci-*"))
	}
	return fmt.Sprintf("    repos: [%s]\n    read: [%s]", strings.Join(repos, ", "), strings.Join(reads, ", "))
}

// expectations writes what should stay true of it. A pattern of repositories has none, as an expectation is about one.
func (c *initCommand) expectations() string {
	var b strings.Builder
	for _, repo := range c.Repo {
		if !strings.Contains(repo, "*") {
			fmt.Fprintf(&b, "  - {repo: %s, event: pull_request, decision: deny}\n", word(repo))
		}
	}
	fmt.Fprintf(&b, "  - {read: %s, only: [ci]}\n", word(c.addresses()[0].alias+"/ci-token"))
	return b.String()
}

// word writes YAML's string: in quotes unless any program reads it as the string it is.
//
//	acme/app     acme/app
//	42, true     "42", "true"
//	app: [x]     "app: [x]"
//
// The escapes that strconv.Quote writes are also those of YAML's double quotes. A short word is always quoted, which takes
// care of y, no, on and off.
func word(s string) string {
	safe := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/.:") == ""
	if safe && len(s) > 3 && strings.ContainsAny(s[:1], "abcdefghijklmnopqrstuvwxyz") && !strings.HasSuffix(s, ":") && s != "true" && s != "false" && s != "null" {
		return s
	}
	return strconv.Quote(s)
}

// next says what remains to be done. It depends on what was answered: a managed identity needs no federated credential.
func (c *initCommand) next() string {
	identity := "the identity whose client id is in AZURE_CLIENT_ID"
	if c.ClientID != "" {
		identity = c.ClientID
	}
	federate := ""
	if !c.VM {
		federate = "  - Let that identity trust the pod's service account: a federated credential in Entra, with the cluster's issuer.\n"
	}
	repo := strings.ReplaceAll(c.Repo[0], "*", "x")
	return fmt.Sprintf(`%[1]s is written. Next:

  - Let %[2]s read the secrets: role "Key Vault Secrets User" on %[3]s.
%[4]s  - Make a key of at least 32 bytes (openssl rand -hex 32). It is DRONE_SECRET here, and in each runner
    DRONE_SECRET_PLUGIN_TOKEN, beside DRONE_SECRET_PLUGIN_ENDPOINT with this extension's address.
  - drone-entra check %[1]s
  - drone-entra explain --config %[1]s --repo %[5]s --event push --ref refs/heads/main %[6]s/ci-token
  - drone-entra dev --config %[1]s     (all of it, with Azure emulated)
  - drone-entra serve --config %[1]s
`, c.Out, identity, strings.Join(c.Vault, " and "), federate, repo, c.addresses()[0].alias)
}

// firstConfiguration has holes for identity, vaults, the binding's repos and read, and expectations; VAULT is an alias.
const firstConfiguration = `# Which build may have which secret. Everything is closed unless a line here opens it.
#   drone-entra check      finds every mistake in this file, with its line
#   drone-entra explain    says whether a build gets a secret, and why
version: 1

# Who this program is to Microsoft Entra. There is no place for a client secret: it never needs one.
%s

# An alias is a door: a vault, and what it demands of a secret before it may leave. Rules and pipelines speak of aliases only.
# More demands: {url: …, max_age: 90d, must_expire: true}. While the vault is down the last value may serve: {url: …, stale: 10m}.
vaults:
%s
# Runners prove themselves with a key that they share with this program. Several keys at once are a rotation. Runners that may
# have more than others are a pool with a key of their own, named in a binding's "pools".
pools:
  default: {keys: [{id: first, env: DRONE_SECRET}]}

bindings:
  # Without "when", a binding is for pushes to the repository's default branch, and for nothing else: no pull request, no tag,
  # no promotion. In .drone.yml such a secret is asked for as   get: {path: VAULT, name: ci-token}
  - id: ci
%s

  # A promotion proves who pressed the button and never which commit runs, so people are named.
  # - id: deploy
  #   repos: [{slug: acme/app, uid: "42"}]     # the forge's id: another repository of this name gets nothing
  #   when:
  #     promote: {deploy_to: [production], branches: [main]}
  #     tag: {tags: ["v*"]}
  #   actors: [alice, bob]
  #   names: {db_password: VAULT/deploy-db/password}     # what .drone.yml calls it → where it is

# A deny wins over every binding, whoever writes one later.
denies:
  - {id: no-root, read: ["*/root-*"], reason: root keys never reach CI}

# What must stay true. "drone-entra check" fails when it isn't; what an expectation leaves out is whatever it is.
expect:
%s
# Decisions go on record before a secret leaves. The place must survive a restart.
record: {file: /var/lib/drone-entra/audit.jsonl}

# Without this it listens on 127.0.0.1:3000. Runners on other machines need TLS, or a proxy in front that ends it.
# listen: {address: ":3000", tls: {cert: /tls/tls.crt, key: /tls/tls.key}}
`
