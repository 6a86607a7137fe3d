// Package cli is the command line: it parses, calls what does the work, and prints. What people read goes to standard
// output, problems and logs to standard error.
//
// Exit codes: 0 good, 1 the answer is no (a problem found, denied, a broken chain), 2 wrong use. Main is the one door,
// for main and for tests alike; nothing here ends the process.
//
// It trusts its arguments as much as it trusts whoever started it. What comes from elsewhere (a recorded request, an
// extension's answer, the names in a configuration) is made harmless before it reaches a terminal, a browser or a
// spreadsheet: by printable, by shown, by an encoder, or already where the configuration was read.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// Env is all that a command knows of the world. Tests give it buffers; main gives it the process's own. Colour and
// questions depend on whether a stream is a terminal, which a buffer is not.
type Env struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Hangup         func() <-chan os.Signal // takes SIGHUP over, which asks to read the configuration again; may be nil
	Transport      http.RoundTripper       // towards Entra, Key Vault and an issuer's documents; nil: the one for production
	Now            func() time.Time        // of rotations; nil: time.Now
}

// The exit codes.
const (
	exitGood  = 0
	exitNo    = 1
	exitUsage = 2
)

// commands is the whole command line; kong makes parser and help of it.
type commands struct {
	Serve       serveCommand       `cmd:"" help:"Run the extension."`
	Dev         devCommand         `cmd:"" help:"Try it: the extension on an emulated Entra and Key Vault, with a short story."`
	Init        initCommand        `cmd:"" help:"Write a first configuration, with comments, by asking or from flags."`
	Check       checkCommand       `cmd:"" help:"Find every problem of a configuration, and run its expectations."`
	Doctor      doctorCommand      `cmd:"" help:"Examine an installation from where it runs: configuration, identities, Entra, vaults, one secret. Changes nothing."`
	Explain     explainCommand     `cmd:"" help:"Say whether a build may have a secret, and every predicate behind that. Offline."`
	Access      accessCommand      `cmd:"" help:"List what a repository can read, or everything there is. Offline."`
	Readers     readersCommand     `cmd:"" help:"List who can read a secret. Offline."`
	Diff        diffCommand        `cmd:"" help:"Say what becomes readable between two configurations and what no longer does. Exit code 1 if they differ and 2 if one can't be read, as with diff(1)."`
	Request     requestCommand     `cmd:"" help:"Ask a running extension for a secret as a runner does."`
	Audit       auditCommand       `cmd:"" help:"Read the record."`
	Issuer      issuerCommand      `cmd:"" help:"Publish our own issuer, rotate its key, and say what has to trust it."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the extension on this machine whether it lives, for a container without a shell."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// errNo is an error whose answer has been printed already. It becomes exit code 1 without another line.
var errNo = errors.New("no")

// exited carries kong's wish to end the process up to Main. kong ends the process after printing help, which would
// leave no exit code to return and no deferred call done.
type exited int

// Main runs one command and returns its exit code. A panic that is not kong's goes on: it is a fault of the program and
// needs its trace.
func Main(ctx context.Context, env Env) (code int) {
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(exited)
			if !ok {
				panic(p)
			}
			code = int(e)
		}
	}()
	var c commands
	out := newPrinter(env)
	parser, err := kong.New(&c,
		kong.Name("drone-entra"),
		kong.Description("Secrets for Drone CI from Azure Key Vault, without a stored credential: released to a build only where a binding says so, and on record before they leave."),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		// What Run methods take as parameters, by type.
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(env, out),
		kong.Vars{"version": versionText()},
	)
	if err != nil {
		fmt.Fprintln(env.Stderr, "drone-entra:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(env.Args)
	if err != nil {
		out.problem("%s\nTry: drone-entra %s--help", err, wanted(err))
		return exitUsage
	}
	return out.exit(parsed.Run())
}

// wanted is the command that was used wrongly, as far as it was recognised, and a blank. It makes the hint name the
// command's own help, as in "Try: drone-entra audit verify --help".
func wanted(err error) string {
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if !ok || wrong.Context == nil {
		return ""
	}
	command := ""
	for _, part := range wrong.Context.Path {
		if part.Command != nil {
			command += part.Command.Name + " "
		}
	}
	return command
}

// exit prints an error that nobody printed yet and turns it into the exit code.
func (p *printer) exit(err error) int {
	usage, isUsage := errors.AsType[usageError](err)
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errNo):
		return exitNo
	case isUsage:
		p.problem("%s", usage)
		return exitUsage
	}
	p.problem("%s", err)
	return exitNo
}

// usageError is a command used wrongly. It is the whole message, for people, with the remedy; exit code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// printer writes for people: in colour on a terminal, unless NO_COLOR asks not to (https://no-color.org). Errors of
// writing are not looked at: where standard output is gone there is nobody to tell.
type printer struct {
	out, err io.Writer
	colour   bool
}

// newPrinter decides on colour once, by standard output alone.
func newPrinter(env Env) *printer {
	return &printer{env.Stdout, env.Stderr, terminal(env.Stdout) && env.Getenv("NO_COLOR") == ""}
}

// terminal tells whether a stream is one. A buffer never is.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

// problem prints one complaint on standard error, with the program's name as Unix has it.
func (p *printer) problem(format string, args ...any) {
	fmt.Fprintf(p.err, "drone-entra: "+format+"\n", args...)
}

// encode writes an answer for programs: one value as indented JSON. <, > and & stay as they are: conditions are full of
// them, and it is no HTML.
func (p *printer) encode(v any) error {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// The colours by what they mean.
const (
	bad  = "31"
	good = "32"
	warn = "33"
	dim  = "2"
	bold = "1"
)

// paint wraps s in an ANSI colour. Widths have to be worked out before: the escapes count as characters.
func (p *printer) paint(colour, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
