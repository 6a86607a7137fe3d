package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/config"
)

// devCommand runs everything on one machine without an account at Azure.
type devCommand struct {
	Once    bool     `help:"End after the story."`
	Config  []string `sep:"none" help:"A configuration of your own: every vault that it names is emulated, with made-up values." placeholder:"PATH"`
	Address string   `help:"Where to listen (default: 127.0.0.1:3000, or another port if that is taken)." placeholder:"HOST:PORT"`
}

// Run starts the extension on the emulator, tells the story of the sample, and goes on serving.
func (c devCommand) Run(ctx context.Context, env Env, out *printer) (err error) {
	d, err := app.NewDev(app.DevOptions{
		Config: c.Config, Address: c.Address, Getenv: env.Getenv, Log: env.Stderr, Colour: terminal(env.Stderr),
	})
	out.problems(d.Problems)
	if errors.Is(err, app.ErrConfig) {
		return errNo
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	running, stop := context.WithCancel(ctx)
	// The extension ends with running, which ends after the story or with ctx. Its error is awaited in the end, so that
	// nothing writes into the directory that Close removes.
	ended := make(chan error, 1)
	go func() { ended <- d.Run(running) }()

	out.introduce(d)
	told := c.tell(running, out, d)
	if told == nil && c.Once && d.Own {
		out.printf("%s are in force; nothing was asked, as --once ends here.\n", d.Rules())
	}
	if told == nil && !c.Once {
		out.invite(d)
		// The log would have torn the story apart; from here on it is what there is to see.
		d.OpenLog()
		select {
		case <-ctx.Done():
		case failed := <-ended: // serving ended by itself
			stop()
			return failed
		}
	}
	stop()
	return errors.Join(told, <-ended)
}

// tell asks what the story asks, over the wire, and prints each answer as it comes. A configuration of one's own has no
// story.
func (c devCommand) tell(ctx context.Context, out *printer, d *app.Dev) error {
	if d.Own {
		return nil
	}
	for step, err := range d.Story(ctx) {
		if err != nil {
			return fmt.Errorf("the story did not go as told: %w", err)
		}
		out.step(step)
	}
	verified, err := d.VerifyRecord()
	if err != nil {
		return err
	}
	out.printf("\n  The record verifies: %d lines in one unbroken chain, each on disk before its secret left.\n", verified.Lines)
	return nil
}

// introduce says what is emulated, where the configuration is, and where the extension listens if not at the usual
// place.
func (p *printer) introduce(d *app.Dev) {
	p.printf("Entra and Key Vault are emulated inside this process, under their real names:\n\n  https://login.microsoftonline.com\n")
	for _, url := range d.Vaults() {
		p.printf("  %s\n", url)
	}
	p.printf("\n")
	if d.Own {
		p.printf("Every secret that the configuration names literally has a made-up value.\n")
	} else {
		p.printf("The configuration is %s: worth reading.\n", d.Config)
	}
	if d.Moved {
		p.printf("%s is taken, so the extension listens on %s.\n", config.DefaultAddress, d.Addr())
	}
	p.printf("\n")
}

// step prints one request of the story. What it took is shown for released ones alone, so that the columns stay quiet.
func (p *printer) step(s app.Step) {
	if s.Before != "" {
		p.printf("\n  %s\n\n", p.paint(dim, s.Before))
	}
	verdict := p.paint(bad, "denied  ")
	if s.Allowed {
		verdict = p.paint(good, "released")
	}
	took := "       "
	if s.Allowed {
		took = fmt.Sprintf("%4.1f ms", float64(s.Took)/float64(time.Millisecond))
	}
	p.printf("  %-69s  %-15s  %s  %s  %s\n", s.Build, s.Asked, verdict, took, s.Note)
}

// invite says how to point a runner at it, and gives a request to try. A pool's key is made up unless a variable that the
// configuration names has one.
func (p *printer) invite(d *app.Dev) {
	p.printf("\nServing. For a runner on this machine:\n\n  DRONE_SECRET_PLUGIN_ENDPOINT=%s\n", d.Endpoint())
	keys := d.Keys()
	for _, pool := range slices.Sorted(maps.Keys(keys)) {
		p.printf("  DRONE_SECRET_PLUGIN_TOKEN=%s", keys[pool])
		if len(keys) > 1 {
			p.printf("   # pool %s", pool)
		}
		p.printf("\n")
	}
	repo, uid, asked := "acme/payments-api", "42", "shared/ci-token"
	if d.Own {
		repo, uid, asked = "namespace/name", "ID", "vault/secret"
	}
	p.printf("\nTry, in another terminal:\n\n")
	p.printf("  DRONE_SECRET_PLUGIN_TOKEN=%s \\\n  %s request %s --repo %s --uid %s \\\n    --event push --ref refs/heads/main %s\n\n", d.Key(), self(), d.Endpoint(), repo, uid, asked)
	p.printf("  %s explain --config %s --repo %s \\\n    --event pull_request --ref refs/pull/7/head %s\n\n", self(), d.Config, repo, asked)
	p.printf("  %s explain --file %s ID\n\n", self(), d.Record())
	p.printf("The last one explains what was answered, by the request's id. Edit the configuration while this serves: a change is in\nforce within seconds. Ctrl-C ends it.\n\n")
}

// self is how this program was started, so that what is printed can be copied.
func self() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ./cmd/drone-entra"
	}
	return "drone-entra"
}
