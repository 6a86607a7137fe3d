package server

import (
	"runtime"
	"testing"

	"github.com/rs/zerolog"
)

// Whatever is configured, the connections of clients, those who wait, and those towards others fit into the open files.
func TestConnectionsShareTheOpenFiles(t *testing.T) {
	files, ok := maxOpenFiles()
	if !ok {
		if runtime.GOOS == "linux" {
			t.Error("the number of open files is unknown")
		}
		t.Skip("there is no bound")
	}
	for wanted := 1; wanted < 1<<20; wanted *= 2 {
		limit := connectionLimit(wanted, zerolog.Nop())
		if all := limit + waitingRoom(limit) + Upstream(wanted); all > files-ownDescriptors || limit < 1 || Upstream(wanted) < 1 {
			t.Errorf("of %d wanted, %d may be in, %d wait, %d lead to others: more than the %d files less %d of our own", wanted, limit, waitingRoom(limit), Upstream(wanted), files, ownDescriptors)
		}
	}
}
