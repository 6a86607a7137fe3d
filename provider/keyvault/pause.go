package keyvault

import (
	"net/http"
	"strconv"
	"time"
)

// pauseOf returns for how long the vault asks to be left alone, zero if it does not say: Retry-After in seconds or as a date
// (RFC 9110, section 10.2.3), or in milliseconds in one of Azure's own headers, which the SDK looks at first as well.
func pauseOf(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	for _, h := range [...]struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"X-Ms-Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		// More than a day is nonsense, and would overflow.
		if n, err := strconv.ParseUint(resp.Header.Get(h.name), 10, 64); err == nil && n > 0 {
			return time.Duration(min(n, uint64(24*time.Hour/h.unit))) * h.unit
		}
	}
	at, err := http.ParseTime(resp.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return max(0, time.Until(at))
}
