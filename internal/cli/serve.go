package cli

import (
	"context"
	"fmt"

	"github.com/drone-entra/drone-entra/internal/app"
	"github.com/drone-entra/drone-entra/internal/config"
)

// serveCommand is the product; all else prepares it or asks about it.
type serveCommand struct {
	Config []string `sep:"none" help:"Files and directories of the configuration (default: drone-entra.yaml)." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
}

// Run serves until it is told to stop, then drains. Warnings are printed and do not stop it. The paths are handed on,
// as the running program reads them again when they change.
func (c serveCommand) Run(ctx context.Context, env Env, out *printer) error {
	loaded, problems := config.Load(orDefault(c.Config))
	fmt.Fprint(out.err, problems)
	if loaded == nil {
		return fmt.Errorf("the configuration has %s; `drone-entra check` shows the same", plural(problems.Errors(), "error"))
	}
	surroundings := app.Env{Getenv: env.Getenv, Log: env.Stderr, Terminal: terminal(env.Stderr), Paths: orDefault(c.Config), Alone: true}
	if env.Hangup != nil {
		surroundings.Hangup = env.Hangup()
	}
	a, err := app.New(loaded, surroundings)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
