package issuer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// begin is the first half of a rotation, up to the time from which the new key signs.
func (p *plan) begin() []Step {
	create := Step{Action: ActionCreate, State: StateDone, Text: "A new version of the key is in Key Vault."}
	list := Step{Action: ActionList, State: StateDone, Text: "The new version is listed in the configuration."}
	add := Step{Action: ActionAdd, State: StateLater, Text: "Publish the documents with the new key beside the old one, and upload them."}
	turn := Step{Action: ActionSwitch, State: StateLater, Text: "The new key signs from its `from` on. Nobody has to do anything."}
	switch {
	case len(p.coming) > 0:
		next := p.coming[0]
		turn.NotBefore, turn.Text = next.From, fmt.Sprintf("%s signs from %s on. Nobody has to do anything; each replica must have the configuration by then.", next.Name, at(next.From))
		if add = p.add(); add.State == StateDone {
			turn.State = StateWait
		}
	case p.fresh != "":
		from := p.soon()
		list.State, list.Text = StateNow, fmt.Sprintf("List the new version under issuer.keys, and let it sign no sooner than a day after it is published, "+
			"since whoever verifies tokens remembers the keys for a while. Leave the other keys as they are:\n"+
			"  - {key: %s, from: %q}\nIf publishing has to wait, choose a later time.", p.fresh, at(from))
	default:
		list.State, list.Text = StateLater, "List the new version under issuer.keys, with a `from` that is more than a day after it will be published."
		create.State, create.Text = StateNow, "Make a new version of the key in Key Vault. The configuration names versions, so nothing signs with it yet."
		create.Commands = p.vault("rotate", "", "")
	}
	return []Step{create, list, add, turn}
}

// add is the publishing of keys that are to sign.
func (p *plan) add() Step {
	s := Step{Action: ActionAdd, State: StateDone, Text: "All listed keys are published."}
	if p.Published.Known && len(p.missing) == 0 {
		return s
	}
	next := p.coming[0]
	if i := slices.IndexFunc(p.coming, func(l Listed) bool { return slices.Contains(p.missing, l) }); i >= 0 {
		next = p.coming[i]
	}
	s.State, s.Commands = StateNow, []string{publishCommand}
	s.Text = fmt.Sprintf("Publish the documents and upload them to where %s is served from, by %s: "+
		"%s is to sign a day later, and by then nobody may remember the keys without it.", p.URL, at(next.From.Add(-PublishLead)), next.Name)
	return s
}

// begun is the first half of a rotation that is past it.
func (p *plan) begun() []Step {
	text := fmt.Sprintf("%s signs.", p.signing.Name)
	if !p.signing.From.IsZero() {
		text = fmt.Sprintf("%s signs since %s.", p.signing.Name, at(p.signing.From))
	}
	return []Step{
		{Action: ActionCreate, State: StateDone, Text: "The new version of the key is in Key Vault."},
		{Action: ActionList, State: StateDone, Text: "It is listed in the configuration."},
		{Action: ActionAdd, State: StateDone, Text: "It is published."},
		{Action: ActionSwitch, State: StateDone, Text: text},
	}
}

// end is the second half of a rotation that has not come to it.
func (p *plan) end() []Step {
	var after time.Time
	if len(p.coming) > 0 {
		after = p.until(p.coming[0])
	}
	return []Step{
		{Action: ActionRetire, State: StateLater, NotBefore: after, Text: "Once nothing is valid any more that the old key signed, take it out of issuer.keys."},
		{Action: ActionRemove, State: StateLater, NotBefore: after, Text: "Publish the documents without it, and upload them."},
		{Action: ActionDisable, State: StateLater, NotBefore: after, Text: "Disable its version in Key Vault. Don't delete it: what is disabled can be had back."},
	}
}

// finish is what is left to do about keys that signed before the one that signs now. Nothing to do is nothing.
func (p *plan) finish() (steps []Step) {
	if len(p.old) == 0 && len(p.extra) == 0 && len(p.leftover) == 0 {
		return nil
	}
	until, gone := p.until(p.signing), StateDone
	if len(p.old) > 0 {
		gone = StateLater
		steps = append(steps, Step{Action: ActionRetire, State: p.due(), NotBefore: until, Text: fmt.Sprintf(
			"Take %s out of issuer.keys, and `from` out of %s: exactly one key has none. Not sooner than %s: until then tokens may be valid that the old key signed.",
			names(p.old), p.signing.Name, at(until))})
	}
	steps = append(steps, p.remove(gone, until))
	disable := Step{Action: ActionDisable, State: StateLater, Text: "Disable the old version in Key Vault. Don't delete it: what is disabled can be had back."}
	if steps[len(steps)-1].State == StateDone {
		disable.State = StateNow
	}
	for _, v := range p.leftover {
		disable.Commands = append(disable.Commands, p.vault("set-attributes", v.Name, " --enabled false")...)
	}
	if disable.State == StateNow { // there is nothing else to finish, so there are versions
		disable.Text = fmt.Sprintf("Disable %s in Key Vault: older than the key that signs, and neither listed nor published, so nobody needs it, and it should sign nothing. "+
			"Don't delete it: what is disabled can be had back.", versionNames(p.leftover))
	}
	return append(steps, disable)
}

// remove is the publishing without the old keys, given whether the configuration lists them no more.
func (p *plan) remove(retired State, until time.Time) Step {
	s := Step{Action: ActionRemove, State: StateLater, NotBefore: until, Text: "Publish the documents without the old key, and upload them."}
	switch {
	case retired == StateDone && len(p.extra) > 0:
		drop, ids := publishCommand, make([]string, len(p.extra))
		for i, kid := range p.extra {
			ids[i] = inWords(kid)
			// What came from a server goes into a command only if it can't be anything but a key's id.
			if isKeyID(kid) {
				drop += " --drop=" + kid // one word, since an id may begin with a dash
			}
		}
		s.State, s.Commands = p.due(), []string{drop}
		// A configuration that lists a key no more does not say when it signed last.
		s.Text = fmt.Sprintf("Publish the documents without %s, and upload them to where %s is served from: the configuration lists it no more. "+
			"What it signed can't be verified then, so if that was within the last %s, wait for as long.",
			strings.Join(ids, ", "), p.URL, AssertionLifetime+p.TokenLife+Slack)
	case retired == StateDone && p.Published.Known:
		s.State, s.Text = StateDone, "The published documents have no other keys than the configuration."
	}
	return s
}

// due is Now or, while something is valid that the old keys signed, Wait.
func (p *plan) due() State {
	if p.Now.Before(p.until(p.signing)) {
		return StateWait
	}
	return StateNow
}

// soon is a good `from`: a day to publish in, and then PublishLead, on the hour.
func (p *plan) soon() time.Time {
	return p.Now.Add(PublishLead + 25*time.Hour).UTC().Truncate(time.Hour)
}
