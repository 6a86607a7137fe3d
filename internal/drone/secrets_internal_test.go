package drone

import (
	"bytes"
	"encoding/json"
	"reflect"
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

// The same of a list of credentials, which also keeps what belongs together together.
func TestAListOfCredentialsNeverGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SampledFrom([]string{"a", "\x00", `"`, `\`, "é", "😀", "<"})
		text := func(name string) string { return strings.Join(rapid.SliceOfN(pieces, 0, 20).Draw(t, name), "") }
		var credentials []Credential
		want, room := []map[string]string{}, 2
		for range rapid.IntRange(0, 5).Draw(t, "how many") {
			c := map[string]string{"address": text("address"), "username": text("username"), "password": text("password")}
			want = append(want, c)
			credentials = append(credentials, Credential{c["address"], c["username"], secret.NewValue([]byte(c["password"]))})
			room += 64 + quotedRoom([]byte(c["address"])) + quotedRoom([]byte(c["username"])) + quotedRoom([]byte(c["password"]))
		}
		answer, err := registryAnswer(credentials)
		var got []map[string]string
		if err != nil || json.Unmarshal(answer, &got) != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q for %v, %v", answer, want, err)
		}
		if cap(answer) > room {
			t.Fatalf("%d bytes in a room of %d, which need %d", len(answer), cap(answer), room)
		}
		broken := append(credentials, Credential{Password: secret.NewValue([]byte("\xff"))})
		if answer, err := registryAnswer(broken); answer != nil || secret.AsError(err).Kind != secret.Garbled {
			t.Fatalf("%q, %v", answer, err)
		}
	})
}
