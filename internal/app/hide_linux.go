package app

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hide keeps the memory of this process from whoever shares its user: no core dump is written, not even to a program that
// collects them, and neither a debugger without CAP_SYS_PTRACE nor /proc/PID/mem or /proc/PID/environ opens it (prctl(2),
// core(5), proc(5)). What fails is returned as warnings.
//
// A trace of the Go runtime needs nothing of its own: it shows addresses and lengths, never what lies there. GOTRACEBACK
// can only raise the detail, and the dump that its "crash" asks for is not written any more.
func hide() (warnings []string) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		warnings = append(warnings, fmt.Sprintf("the limit of core dumps stays, so that a dump could hold secrets: %v: start with `ulimit -c 0`", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		warnings = append(warnings, fmt.Sprintf("other processes of this user can read this one's memory: %v: "+
			"allow prctl in the seccomp profile, or run the extension as a user of its own", err))
	}
	return warnings
}
