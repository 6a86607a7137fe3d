package issuer

import (
	"fmt"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// Form says what a subject names.
type Form string

// The forms of a subject.
const (
	Repo        Form = "repo"        // drone:<server>:repo:<uid>
	Environment Form = "environment" // drone:<server>:repo:<uid>:environment:<deploy_to>
)

const maxUID = 128

// Subject is the `sub` of the request's build. It names the repository by the forge's id, because a name can be given away
// and taken by somebody else; it names neither event nor ref, since Entra matches subjects whole and takes 20 for an
// identity. Who may ask at all is policy's business.
//
// Fails with Denied/ReasonUID for an id that is not 1 to 128 of A-Z a-z 0-9 { } . _ -, and with Denied/ReasonDeployTo
// where an environment is asked for and the build has no deploy_to, or one with which the subject exceeds Entra's 600
// characters. The deploy target is percent-encoded except for ASCII letters, digits and -._~/, so that it can hold no
// colon of ours: different targets have different subjects.
func (i *Issuer) Subject(form Form, r secret.Request) (string, error) {
	uid, where := r.Repo.UID, r.Repo.Slug
	if uid == "" || len(uid) > maxUID || strings.ContainsFunc(uid, func(c rune) bool { return !letterOrDigit(c) && !strings.ContainsRune("{}._-", c) }) {
		return "", secret.Fail(secret.Denied, secret.ReasonUID,
			fmt.Sprintf("%s: its forge's id %.200q can't be in a subject: it must be 1 to %d of letters, digits and {}._-", where, uid, maxUID))
	}
	subject := "drone:" + i.server + ":repo:" + uid
	switch form {
	case Repo:
		return subject, nil
	case Environment:
	default:
		return "", secret.Fail(secret.Internal, secret.ReasonInternal, fmt.Sprintf("there is no form of subject %q", form))
	}
	if r.Build.DeployTo == "" {
		return "", secret.Fail(secret.Denied, secret.ReasonDeployTo,
			fmt.Sprintf("%s: the subject names an environment, and a build of event %.50q without a deploy target has none: promote it", where, r.Build.Event))
	}
	// Each byte becomes one character at least, so what is too long already needs no encoding.
	if len(r.Build.DeployTo) <= maxText {
		subject += ":environment:" + escape(r.Build.DeployTo)
	}
	if len(r.Build.DeployTo) > maxText || len(subject) > maxText {
		return "", secret.Fail(secret.Denied, secret.ReasonDeployTo,
			fmt.Sprintf("%s: with a deploy target of %d bytes the subject is longer than Entra's %d characters: use a shorter one", where, len(r.Build.DeployTo), maxText))
	}
	return subject, nil
}

// escape encodes every byte but letters, digits and -._~/ as %XX, the percent sign included, so it can be undone and no two
// texts become one. For example, "eu:prod" becomes "eu%3Aprod".
func escape(s string) string {
	var b strings.Builder
	for j := range len(s) {
		if c := s[j]; letterOrDigit(rune(c)) || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
