package app

import (
	"cmp"
	"strconv"

	"github.com/rs/zerolog"

	"github.com/drone-entra/drone-entra/internal/config"
)

// Address is where to listen: the file's word, else DRONE_BIND, the name that users of Drone's extensions know, else the
// loopback address.
func Address(l config.Listen, getenv func(string) string) string {
	return cmp.Or(l.Address, getenv("DRONE_BIND"), config.DefaultAddress)
}

// overridden warns of environment variables that the file wins over.
// Who sets such a variable expects it to count; that it does not should not be a riddle.
func overridden(c *config.Config, getenv func(string) string) (warnings []string) {
	if c.Listen.Address != "" && getenv("DRONE_BIND") != "" {
		warnings = append(warnings, "DRONE_BIND is set but not used: the configuration has listen.address")
	}
	if c.Log.Level != "" && getenv("DRONE_DEBUG") != "" {
		warnings = append(warnings, "DRONE_DEBUG is set but not used: the configuration has log.level")
	}
	return warnings
}

// newLog logs JSON, or lines for people on a terminal, unless the file says which.
func newLog(l config.Log, env Env) zerolog.Logger {
	out := env.Log
	if l.Format == "text" || l.Format == "" && env.Terminal {
		out = zerolog.ConsoleWriter{Out: env.Log, TimeFormat: "15:04:05", NoColor: !env.Terminal || env.Getenv("NO_COLOR") != ""}
	}
	name := l.Level
	if name == "" && truth(env.Getenv("DRONE_DEBUG")) {
		name = "debug"
	}
	level, err := zerolog.ParseLevel(cmp.Or(name, config.DefaultLogLevel))
	if err != nil { // config knows the levels; an unknown one must not silence anything
		level = zerolog.InfoLevel
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

// truth reads a boolean variable; what is no boolean is false.
// What opens something up, such as plain HTTP, must not be opened by a typing error.
func truth(s string) bool {
	b, err := strconv.ParseBool(s)
	return err == nil && b
}
