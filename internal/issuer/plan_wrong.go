package issuer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const publishCommand = "drone-entra issuer publish DIR"

// wrong finds what must be put right before any step is taken. The most urgent comes first.
func (p *plan) wrong() (steps []Step) {
	add := func(a Action, commands []string, format string, args ...any) {
		steps = append(steps, Step{Action: a, State: StateWrong, Text: fmt.Sprintf(format, args...), Commands: commands})
	}
	if !p.Published.Known {
		add(ActionFetch, []string{publishCommand}, "The key set of %s can't be fetched, so nobody can verify a token. "+
			"If nothing was published yet, publish the documents and upload them; otherwise look at what serves them.", p.URL)
	}
	for _, l := range p.missing {
		switch {
		case l == p.signing:
			add(ActionAdd, []string{publishCommand}, "%s signs and is not published (kid %s): Entra refuses its assertions with AADSTS7000272. "+
				"Publish the documents at once and upload them to where %s is served from; it may take until relying parties look again.", l.Name, l.KID, p.URL)
		case l.From.After(p.Now) && l.From.Before(p.Now.Add(PublishLead)):
			add(ActionMove, nil, "%s is not published and is to sign from %s on, in less than a day: whoever remembers the keys will refuse its tokens. "+
				"Set its `from` to %s or later, and publish then.", l.Name, at(l.From), at(p.soon()))
		case !l.From.After(p.Now) && p.due() == StateWait:
			add(ActionAdd, []string{publishCommand}, "%s is listed and not published (kid %s), so what it signed can't be verified. "+
				"Publish the documents and upload them to where %s is served from.", l.Name, l.KID, p.URL)
		}
	}
	for _, l := range p.Listed {
		i := slices.IndexFunc(p.Versions, func(v Version) bool { return v.Name == l.Name })
		switch {
		case slices.Contains(p.old, l) && p.due() == StateNow: // it may go, and needs nothing any more
		case i >= 0 && !p.Versions[i].Enabled:
			add(ActionEnable, p.vault("set-attributes", l.Name, " --enabled true"), "%s is listed and disabled in Key Vault: it can't sign, nor can its public key be published. Enable it.", l.Name)
		case i < 0 && slices.ContainsFunc(p.Versions, func(v Version) bool { return keyOf(v.Name) == keyOf(l.Name) }):
			add(ActionEnable, nil, "%s is listed, and Key Vault has no such version. Correct the version in the configuration, or recover the key if somebody deleted it.", l.Name)
		}
	}
	if n := p.distinct(); n > MaxKeys {
		add(ActionTrim, nil, "%d keys are listed, and Entra keeps the first %d. Take out those that signed longest ago.", n, MaxKeys)
	}
	return steps
}

// distinct counts keys as the document has them.
func (p *plan) distinct() int {
	kids := map[string]bool{}
	for _, l := range p.Listed {
		kids[l.KID] = true
	}
	return len(kids)
}

// keyOf is a version's name without the version: sign/drone-issuer.
func keyOf(name string) string {
	key, _, _ := strings.Cut(name, "@")
	return key
}

// vault is a command of Azure's CLI for the key, or for that version of it. It is none where a name could be more than a
// name to a shell, which names in Key Vault never are.
func (p *plan) vault(what, version, rest string) []string {
	_, id, _ := strings.Cut(version, "@")
	for _, word := range []string{p.Vault, p.Key} {
		if word == "" || strings.ContainsFunc(word+id, func(r rune) bool { return !letterOrDigit(r) && r != '-' }) {
			return nil
		}
	}
	command := fmt.Sprintf("az keyvault key %s --vault-name %s --name %s", what, p.Vault, p.Key)
	if version != "" {
		command += " --version " + id
	}
	return []string{command + rest}
}

// at is a time as the configuration has it.
func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func names(list []Listed) string {
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = l.Name
	}
	return strings.Join(words, " and ")
}

func versionNames(list []Version) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.Name
	}
	return strings.Join(words, " and ")
}
