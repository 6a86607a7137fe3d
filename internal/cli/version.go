package cli

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker in a release; without it the build's own information serves.
var version string

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(out *printer) error {
	out.printf("%s\n", versionText())
	return nil
}

// versionText is "drone-entra VERSION (COMMIT, GO, PLATFORM)". COMMIT is left out where the build did not know it, as
// from a source archive.
func versionText() string {
	v, commit := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value[:min(12, len(s.Value))] + ", "
			}
		}
	}
	if v == "" || v == "(devel)" {
		v = "development build"
	}
	return "drone-entra " + v + " (" + commit + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
