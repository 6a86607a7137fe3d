package cli_test

import (
	"strings"
	"testing"
)

// The page is what access prints about everything; about one repository there is none.
func TestAccessHTML(t *testing.T) {
	dir := directory(t, mixed)
	for _, test := range []struct {
		args []string
		code int
		out  string // how it begins
		err  string // a part of it
	}{
		{[]string{"access", "--html"}, 0, "<!doctype html>\n", ""},
		{[]string{"access", "--html", "acme/app"}, 2, "", "leave acme/app out"},
		{[]string{"access", "--html", "--csv"}, 2, "", "can't be used together"},
		{[]string{"access", "--html", "--config", "missing.yaml"}, 1, "", "missing.yaml"},
	} {
		code, out, err := run(t, dir, test.args...)
		if code != test.code || !strings.HasPrefix(out, test.out) || test.out == "" && out != "" || !strings.Contains(err, test.err) || test.err == "" && err != "" {
			t.Errorf("%q: exit code %d, %.60q, %q", test.args, code, out, err)
		}
	}
}
