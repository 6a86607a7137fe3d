package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/config"
)

// issuerCommand is for whoever operates our own issuer. Nothing here serves, or writes the record.
type issuerCommand struct {
	Publish  publishCommand  `cmd:"" help:"Write the issuer's discovery document and keys for static hosting."`
	Rotate   rotateCommand   `cmd:"" help:"Say which step of rotating the signing key is next. Changes nothing."`
	Subjects subjectsCommand `cmd:"" help:"Print the exact issuer, subject and audience to trust for a repository, and the commands that enter them in Entra. Offline."`
}

// issuerConfig says which configuration has the issuer.
type issuerConfig struct {
	Config []string `sep:"none" help:"Files and directories of the configuration (default: drone-entra.yaml)." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
}

// load reads the configuration. Errors are printed; warnings are check's business.
func (c issuerConfig) load(out *printer) (*config.Config, error) {
	loaded, problems := config.Load(orDefault(c.Config))
	if problems.Errors() > 0 || loaded == nil {
		fmt.Fprint(out.err, problems)
		return nil, errNo
	}
	return loaded, nil
}

// open makes the issuer with the environment's part of its identities.
func (c issuerConfig) open(env Env, out *printer) (*app.Issuer, error) {
	loaded, err := c.load(out)
	if err != nil {
		return nil, err
	}
	i, err := app.OpenIssuer(loaded, app.Env{Getenv: env.Getenv, Transport: env.Transport, Now: env.Now})
	return i, noIssuer(err)
}

// noIssuer makes wrong use of a configuration that has nothing to do with these commands.
func noIssuer(err error) error {
	if errors.Is(err, app.ErrNoIssuer) {
		return usageError(err.Error())
	}
	return err
}

// publishCommand writes two files, which somebody then uploads: the extension needs no way in from the internet, and no right
// to write where they are served from.
type publishCommand struct {
	Dir  string   `arg:"" help:"Directory to write below. A key that is published there and listed no more is refused."`
	Drop []string `help:"Id of such a key that may go, as rotate says." placeholder:"KID"`
	issuerConfig
}

// Run reads the public keys from Key Vault, writes, and says what to do with the files.
func (c publishCommand) Run(ctx context.Context, env Env, out *printer) error {
	i, err := c.open(env, out)
	if err != nil {
		return err
	}
	defer i.Close()
	dir := filepath.Clean(c.Dir)
	p, err := i.Publish(ctx, dir, c.Drop...)
	for _, f := range p.Files {
		out.printf("%s  %s\n         to be at %s\n", out.paint(good, "written"), printable(f.Name), f.URL)
	}
	if err != nil {
		return err
	}
	out.keys(p)
	out.upload(p, dir)
	return nil
}

// keys lists what is in the key set.
func (p *printer) keys(of app.Publication) {
	p.printf("\n%s of %s:\n", plural(len(of.Keys), "key"), of.Issuer)
	for _, k := range of.Keys {
		when := "signed before"
		switch {
		case k.Name == of.Signs:
			when = "signs now"
		case !k.From.IsZero():
			when = "from " + k.From.UTC().Format("2006-01-02T15:04:05Z07:00")
		}
		p.printf("  %s  %s  %s\n", k.KID, k.Name, when)
	}
}

// upload says how the files get to where they must be, and how to see that they are there. The keys go first, so that no
// discovery document leads to keys that are not there yet.
func (p *printer) upload(of app.Publication, dir string) {
	account, below := "ACCOUNT", ""
	if u, err := url.Parse(of.Issuer); err == nil {
		below = strings.Trim(u.Path, "/")
		if name, rest, _ := strings.Cut(u.Host, "."); strings.HasSuffix(rest, ".web.core.windows.net") {
			account = name
		}
	}
	to := ""
	if below != "" {
		to = " --destination-path " + shellWord(below)
	}
	p.printf("\nUpload them to what serves that address. To an Azure storage account's static website, the keys first:\n\n")
	for _, f := range of.Files {
		inside, _ := filepath.Rel(dir, f.Name) // it was made of dir, so there is one
		first, _, _ := strings.Cut(filepath.ToSlash(inside), "/")
		p.printf("  az storage blob upload-batch --account-name %s --auth-mode login --destination '$web'%s \\\n    --source %s --pattern %s --content-type application/json --overwrite\n",
			account, to, shellWord(dir), shellWord(first+"/*"))
	}
	p.printf("\nSee that both are there, byte for byte; no output is good:\n\n")
	for _, f := range of.Files {
		p.printf("  curl --fail --silent --show-error %s | cmp - %s\n", f.URL, shellWord(f.Name))
	}
	p.printf("\n`drone-entra issuer rotate` says whether everything is published that should be.\n")
}

// shellWord is one word for a POSIX shell. What needs no quotes gets none, which people read better.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == "" && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
