package keyvault

import (
	"net/http"
	"testing"
	"time"
)

func TestThePauseThatAVaultAsksFor(t *testing.T) {
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
		{"retry-after-ms", "1500", 1500 * time.Millisecond},
		{"x-ms-retry-after-ms", "20", 20 * time.Millisecond},
		{"x-ms-retry-after-ms", "18446744073709551615", 24 * time.Hour},
	} {
		resp := &http.Response{Header: http.Header{}}
		resp.Header.Set(c.name, c.value)
		if got := pauseOf(resp); got != c.want {
			t.Errorf("%s: %s means %s, not %s", c.name, c.value, got, c.want)
		}
	}
	resp := &http.Response{Header: http.Header{"Retry-After": {time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)}}}
	if got := pauseOf(resp); got < 50*time.Second || got > time.Minute {
		t.Errorf("a date a minute ahead means %s", got)
	}
	if got := pauseOf(nil); got != 0 {
		t.Errorf("no answer asks for %s", got)
	}
}
