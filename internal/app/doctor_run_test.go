package app

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A step that hangs, one that panics and one that does not look at its time fail for themselves; what rests on them is skipped and
// names the first of them; everything else is made, side by side.
func TestStepsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		hang := func(context.Context, *Finding) { <-free }
		slow := func(context.Context, *Finding) { time.Sleep(9 * time.Second) }
		fine := func(context.Context, *Finding) {}
		began := time.Now()
		runs := begin(t.Context(), []check{
			{"a", "hangs", nil, nil, hang},
			{"b", "rests", []string{"a: hangs"}, nil, fine},
			{"c", "rests on b", []string{"b: rests"}, nil, fine},
			{"d", "panics", nil, nil, func(context.Context, *Finding) { panic("canary") }},
			{"e", "waits", nil, []string{"a: hangs"}, fine},
			{"f", "slow", nil, nil, slow},
			{"g", "slow", nil, nil, slow},
		})
		want := []struct {
			verdict     Verdict
			says, after string
		}{
			{VerdictFail, "10s", ""}, {VerdictSkip, "", "a: hangs"}, {VerdictSkip, "", "a: hangs"}, {VerdictFail, "panicked with a string", ""},
			{VerdictOK, "", ""}, {VerdictOK, "", ""}, {VerdictOK, "", ""},
		}
		for i, r := range runs {
			<-r.done
			f := r.finding
			says := ""
			if len(f.Faults) > 0 {
				says = f.Faults[0].Cause
			}
			if f.Verdict != want[i].verdict || f.After != want[i].after || !strings.Contains(says, want[i].says) || strings.Contains(says, "canary") {
				t.Errorf("%+v", f)
			}
		}
		if took := time.Since(began); took > stepLimit+stepGrace {
			t.Errorf("it took %s", took)
		}
		close(free)
	})
}

// When the time for all is over, what has not begun says so.
func TestAllStepsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cancel()
		r := begin(ctx, []check{{"a", "late", nil, nil, func(context.Context, *Finding) { t.Error("it was made") }}})[0]
		<-r.done
		if r.finding.Verdict != VerdictFail || !strings.Contains(r.finding.Faults[0].Cause, "was over") {
			t.Errorf("%+v", r.finding)
		}
	})
}

// The remedy of our errors stands behind a colon and begins with what to do.
func TestSplit(t *testing.T) {
	for _, c := range [][3]string{
		{"the vault: 403 Forbidden: its firewall refuses: allow it, or use a private link", "the vault: 403 Forbidden: its firewall refuses", "allow it, or use a private link"},
		{"login answered 400: the subject differs: write it so; if equal, delete it", "login answered 400: the subject differs", "write it so; if equal, delete it"},
		{"in clear: give listen.tls a cert, or say listen.plain_http: true", "in clear", "give listen.tls a cert, or say listen.plain_http: true"},
		{"there is no key; set pools", "there is no key", "set pools"},
		{"login: the connection broke", "login: the connection broke", ""},
		{"", "", ""},
	} {
		if cause, remedy := split(c[0]); cause != c[1] || remedy != c[2] {
			t.Errorf("%q: %q, %q", c[0], cause, remedy)
		}
	}
}
