package load

import (
	"testing"

	plugin "github.com/drone/drone-go/plugin/secret"
)

// What is compared must do the same: a client of drone-go's gets the secret from each of them.
func TestEverySubjectAnswers(t *testing.T) {
	sdk, err := newBare(azure(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ours, stop, err := startServe(azure(t), dir, small(dir, "", aliases()...))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, address := range map[string]string{"floor": floor(t), "plain extension": plain(t, sdk), "ours": ours} {
		answer, err := plugin.Client("http://"+address, sharedKey, true).Find(t.Context(), request(builds.Add(1), 0, 0))
		if err != nil || answer.Data != value {
			t.Errorf("%s: got %+v, %v", name, answer, err)
		}
	}
	r := request(builds.Add(1), 0, 0)
	if text, err := sdk.read(t.Context(), r.Path, r.Name); err != nil || text != value {
		t.Errorf("bare SDK: got %q, %v", text, err)
	}
}
