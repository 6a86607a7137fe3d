//go:build !linux

package app

// hide does nothing: other systems keep such things in their own settings.
func hide() (warnings []string) { return nil }
