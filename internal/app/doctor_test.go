package app_test

import (
	"testing"

	"github.com/drone-entra/drone-entra/internal/app"
)

// An installation that is sound in every part: with every kind of identity, a token for a scope, a registry's and a build's ID
// token.
func TestDoctorOfASoundInstallation(t *testing.T) {
	t.Parallel()
	s := newSite(t, everything)
	f := s.examine()
	for _, one := range f.all {
		if one.Verdict != app.VerdictOK {
			t.Errorf("%s", sprint(one))
		}
	}
	t.Log(f.text)
}
