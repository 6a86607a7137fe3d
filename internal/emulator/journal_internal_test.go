package emulator

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// It is tested from inside because filling it from outside would take 65536 requests.
func TestTheJournalForgetsTheOldest(t *testing.T) {
	var j journal
	request := func(path string) *http.Request { return &http.Request{Method: "GET", URL: &url.URL{Path: path}} }
	first := j.arrive(time.Time{}, "host", request("/first"))
	for i := range journalLimit + 9 {
		j.finish(j.arrive(time.Time{}, "host", request("/"+strconv.Itoa(i))), &response{status: i})
	}
	j.finish(first, &response{status: 999_999}) // too late: another request has its place
	var told []Seen
	j.each(func(s Seen) { told = append(told, s) })
	if len(told) != journalLimit || told[0].Path != "/9" || told[journalLimit-1].Path != "/"+strconv.Itoa(journalLimit+8) {
		t.Errorf("%d told, from %s to %s", len(told), told[0].Path, told[len(told)-1].Path)
	}
	for _, s := range told {
		if "/"+strconv.Itoa(s.Status) != s.Path {
			t.Errorf("the status %d was noted for %s", s.Status, s.Path)
		}
	}
	if long := cut(strings.Repeat("x", 1000)); len(long) != 512 {
		t.Errorf("%d bytes of a long path are kept", len(long))
	}
}
