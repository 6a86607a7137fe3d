// Command drone-entra answers Drone's requests for secrets from Azure Key Vault, as a federated workload identity of
// Microsoft Entra and by bindings. `drone-entra --help` lists what else it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/drone-entra/drone-entra/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }() // a second signal ends the program at once
	os.Exit(cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Hangup: hangup,
	}))
}

// hangup takes SIGHUP over. A command that does not ask for it is ended by it, as a closed terminal means.
func hangup() <-chan os.Signal {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	return asked
}
