package drone_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/secret"
)

// recordedKey signs the requests in testdata/requests: what real runners and a real Drone server sent, byte for byte.
// What the secret calls say is in testdata/parsed.golden.json, taken from a parse by another program.
const recordedKey = "rig-ext-secret-0123456789abcdef0123"

// recording is one request as it was received.
type recording struct {
	name string
	raw  []byte // with its path rewritten to ours, which is not signed
	at   time.Time
}

func recordings(t testing.TB, pattern string) []recording {
	t.Helper()
	files, err := filepath.Glob("testdata/requests/" + pattern + ".http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings %s: %v", pattern, err)
	}
	var list []recording
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, rest, _ := bytes.Cut(raw, []byte("\r\n"))
		words := strings.Fields(string(line))
		_, date, _ := strings.Cut(string(rest), "\r\nDate: ")
		date, _, _ = strings.Cut(date, "\r\n")
		at, err := time.Parse(http.TimeFormat, date)
		if len(words) != 3 || err != nil {
			t.Fatalf("%s is no recording: %q, %v", file, line, err)
		}
		raw = append([]byte(words[0]+" / "+words[2]+"\r\n"), rest...)
		list = append(list, recording{strings.TrimSuffix(filepath.Base(file), ".http"), raw, at})
	}
	return list
}

// at is the world in which a recording is fresh.
func (r recording) world(t testing.TB) *world {
	t.Helper()
	return newWorld(t, keys(pool("default", "2026-11", recordedKey)), func(o *options) { o.now = func() time.Time { return r.at } })
}

func TestRecordedSecretRequests(t *testing.T) {
	golden, err := os.ReadFile("testdata/parsed.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]secret.Request
	d := json.NewDecoder(bytes.NewReader(golden))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	all := append(recordings(t, "secret-*"), recordings(t, "dockerrunner-secret")...)
	if len(all) != len(want) {
		t.Errorf("%d recordings, %d of them in the golden file", len(all), len(want))
	}
	for _, recording := range all {
		t.Run(recording.name, func(t *testing.T) {
			w := recording.world(t)
			r := w.send(recording.raw)
			w.released(r, recordedKey, want[recording.name].Name, theValue)
			if d := cmp.Diff([]secret.Request{want[recording.name]}, w.asked); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if e := w.recorded(r, secret.EventSecret, secret.Released, ""); e.Caller.Repeat != 0 {
				t.Errorf("on record is %+v, want no repeat", e.Caller)
			}
		})
	}
}

// The server's calls under the same key are genuine, and nothing that the secret call answers.
func TestRecordedRequestsOfOtherCalls(t *testing.T) {
	for pattern, reason := range map[string]secret.Reason{
		"server-validate":              secret.ReasonAccept,
		"server-webhook-build-created": secret.ReasonHeaders,
	} {
		recording := recordings(t, pattern)[0]
		w := recording.world(t)
		r := w.send(recording.raw)
		w.refused(r, 401, messages[401])
		w.recorded(r, secret.EventUnproven, secret.Refused, reason)
	}
}

func TestARecordedRequestGrowsOld(t *testing.T) {
	recording := recordings(t, "secret-push")[0]
	recording.at = recording.at.Add(skew + time.Second)
	w := recording.world(t)
	r := w.send(recording.raw)
	w.refused(r, 401, messages[401])
	w.recorded(r, secret.EventUnproven, secret.Refused, secret.ReasonDate)
}
