package load

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// processor is how much of it this process has used. It says more than the clock where others use the machine as well.
func processor() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// others tells how busy the machine was in the last five minutes, with us and with whoever else is there.
func others() string {
	text, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		return fields[1]
	}
	return "unknown"
}

// inMemory is a directory on no disk, empty if there is none.
func inMemory() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		return ""
	}
	return memory
}

// memory is how much of it the program has resident now, and had at most, in MiB.
func (c *child) memory(b *testing.B) (now, peak float64) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	read := func(field string) float64 {
		match := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(status)
		if match == nil {
			b.Fatalf("no %s in %s", field, status)
		}
		n, _ := strconv.Atoi(string(match[1]))
		return float64(n) / 1024
	}
	return read("VmRSS"), read("VmHWM")
}

// descriptors is how many files the program has open: -1 where only root may look, as it hides itself.
func (c *child) descriptors() int {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.command.Process.Pid))
	if err != nil {
		return -1
	}
	return len(all)
}
