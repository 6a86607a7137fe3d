package drone

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/secret"
)

// An answer never outgrows its first buffer, which is the one that is cleared; and of a value that can't be answered with
// nothing is left in it.
func TestAnAnswerNeverGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SampledFrom([]string{"a", "\x00", "\x1f", `"`, `\`, "\n", "\x7f", "é", "€", "😀", " ", "<", "\xff", "\xe2\x82"})
		text := func(name string) string { return strings.Join(rapid.SliceOfN(pieces, 0, 50).Draw(t, name), "") }
		name, value := text("name"), text("value")
		room := 64 + quotedRoom([]byte(name)) + quotedRoom([]byte(value))
		answer, err := secretAnswer(name, secret.NewValue([]byte(value)))
		if (err == nil) != utf8.ValidString(value) {
			t.Fatalf("%q: %v", value, err)
		}
		if err != nil {
			return
		}
		var got struct{ Data string }
		if len(answer) > room || json.Unmarshal(answer, &got) != nil || got.Data != value {
			t.Fatalf("%q in a room of %d: %q", value, room, answer)
		}
		if plain := strings.Repeat("a", len(value)); quotedRoom([]byte(plain)) != len(plain)+2 || bytes.Contains(answer[:cap(answer)][len(answer):], []byte("a")) {
			t.Fatalf("the room for %q is %d", plain, quotedRoom([]byte(plain)))
		}
	})
}
