package issuer_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/issuer"
)

// documented is a row of the documents' table of claims. What looks like a tag of HTML has a backslash there.
func documented(c issuer.Claim) string {
	when := c.When
	if when == "" {
		when = "always"
	}
	return strings.ReplaceAll("| `"+c.Name+"` | "+when+" | "+c.Proves+" |", "<", `\<`)
}

// The documents have each claim with what it proves, in the order of a token, and no other.
func TestClaimsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/identities.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| claim | when | what it proves |\n|---|---|---|\n")
	if !ok {
		t.Fatal("there is no table of claims")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, c := range issuer.Claims() {
		want = append(want, documented(c))
	}
	if rows := strings.Split(table, "\n"); len(rows) != len(want) {
		t.Errorf("the table has %d rows, want %d", len(rows), len(want))
	}
	if table != strings.Join(want, "\n") {
		t.Errorf("the table should be\n%s", strings.Join(want, "\n"))
	}
	if regexp.MustCompile("(?m)^\\| `unproven.*\\| nothing").FindString(table) == "" {
		t.Error("nothing in it is said to be unproven")
	}
}
