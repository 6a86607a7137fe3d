package secret

import (
	"strconv"
	"time"
)

// ParsePause reads from an answer's header for how long its sender asks not to be asked again, zero if it does not say:
// Retry-After in seconds or as a date (RFC 9110, section 10.2.3), or in milliseconds in one of Azure's own fields, which its
// SDK looks at first as well. field gives a field's value by its name, "" where there is none, as http.Header.Get does.
func ParsePause(field func(name string) string, now time.Time) time.Duration {
	for _, h := range [...]struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"X-Ms-Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		// More than a day is nonsense, and would overflow.
		if n, err := strconv.ParseUint(field(h.name), 10, 64); err == nil && n > 0 {
			return time.Duration(min(n, uint64(24*time.Hour/h.unit))) * h.unit
		}
	}
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", field("Retry-After"))
	if err != nil {
		return 0
	}
	return min(24*time.Hour, max(0, at.Sub(now)))
}
