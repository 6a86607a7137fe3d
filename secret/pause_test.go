package secret_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

func TestThePauseThatAnAnswerAsksFor(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "2", 2 * time.Second},
		{"Retry-After", "0", 0},
		{"Retry-After", "-1", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "", 0},
		{"Retry-After", "18446744073709551615", 24 * time.Hour},
		{"Retry-After", "99999999999999999999", 0},
		{"Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Retry-After", "Thu, 26 Nov 2026 12:01:00 GMT", time.Minute},
		{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", 24 * time.Hour},
		{"retry-after-ms", "1500", 1500 * time.Millisecond},
		{"x-ms-retry-after-ms", "20", 20 * time.Millisecond},
		{"x-ms-retry-after-ms", "18446744073709551615", 24 * time.Hour},
		{"other", "20", 0},
	} {
		header := http.Header{}
		header.Set(c.name, c.value)
		if got := secret.ParsePause(header.Get, now); got != c.want {
			t.Errorf("%s: %s means %s, not %s", c.name, c.value, got, c.want)
		}
	}
}
