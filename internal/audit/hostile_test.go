package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var hostile = []string{
	"main", "a\nb", "\x1b]0;owned\x07", `"},"outcome":"released`, "\u2028\u2029", "\x7f", "\u202eevil", "\u200b\ufeff", "\xff\xfe", "\xc3",
	"\\u0000", "\x00", "\u0085", "\U000e0041", "日本語 ü", strings.Repeat("x", 255) + "é", strings.Repeat("\xbf", 300), `","kind":"rotate",`,
}

// A3: any text gives one line of valid JSON without a byte that acts on a terminal, and comes back as it was, except
// that what is no UTF-8 becomes U+FFFD and what is long is cut.
func FuzzAnyTextIsOneHarmlessLine(f *testing.F) {
	if len(hostile) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := releaseOf(1, "v1")
		e.Request.Build.Ref, e.Request.Path, e.Detail = s, s, s
		var h head
		line := appendLine(nil, &h, time.Unix(0, 0), appendFacts(nil, "", 0, &e))
		if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("}\n")) || !json.Valid(line) {
			t.Fatalf("not one line of JSON: %q", line)
		}
		for _, c := range string(line[:len(line)-1]) {
			if !unicode.IsPrint(c) {
				t.Fatalf("%U in %q", c, line)
			}
		}
		if got, why := parseLine(line[:len(line)-1]); why != "" || got.head != h || got.rotate {
			t.Fatalf("%s: %+v from %q", why, got, line)
		}
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if s != "" {
			same(t, s, 1024, m["build"].(map[string]any)["ref"])
			same(t, s, 256, m["asked"].(map[string]any)["path"])
			same(t, s, 4096, m["detail"])
		}
	})
}

func same(t *testing.T, s string, limit int, got any) {
	t.Helper()
	text, ok := got.(string)
	if len(s) <= limit {
		if want := string([]rune(s)); text != want {
			t.Fatalf("got %q, want %q", text, want)
		}
		return
	}
	if want := string([]rune(s)); !ok || !strings.HasPrefix(want, strings.TrimRight(text, "\ufffd")) {
		t.Fatalf("got %q, no prefix of %q", text, want)
	}
	if utf8.ValidString(s) && (len(text) > limit || len(text) <= limit-utf8.UTFMax) {
		t.Fatalf("cut to %d bytes, want %d", len(text), limit)
	}
}
