package issuer_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/issuer"
)

const (
	hour      = time.Hour
	tokenLife = 30 * time.Minute
	grace     = 5*time.Minute + tokenLife + hour // after a `from`
)

// id is a key's id as KeyID has them, told apart by its first letter.
func id(key string) string { return key + strings.Repeat("x", 42) }

func named(key string) string { return "sign/drone-issuer@" + key }

func listed(key string, from time.Time) issuer.Listed {
	return issuer.Listed{Name: named(key), KID: id(key), From: from}
}

func version(key string, age time.Duration, enabled ...bool) issuer.Version {
	return issuer.Version{Name: named(key), Created: start.Add(-age), Enabled: len(enabled) == 0}
}

func published(keys ...string) issuer.Published {
	p := issuer.Published{Known: true}
	for _, k := range keys {
		p.KIDs = append(p.KIDs, id(k))
	}
	return p
}

func situation(now time.Time, p issuer.Published, versions []issuer.Version, keys ...issuer.Listed) issuer.Situation {
	return issuer.Situation{Now: now, URL: here, Vault: "acme-sign", Key: "drone-issuer", Listed: keys, Published: p, Versions: versions, TokenLife: tokenLife}
}

// outline is a plan in short: "create now, list later, …".
func outline(steps []issuer.Step) string {
	words := make([]string, len(steps))
	for i, s := range steps {
		words[i] = fmt.Sprintf("%s %s", s.Action, s.State)
	}
	return strings.Join(words, ", ")
}

func step(t *testing.T, steps []issuer.Step, action issuer.Action) issuer.Step {
	t.Helper()
	i := slices.IndexFunc(steps, func(s issuer.Step) bool { return s.Action == action })
	if i < 0 {
		t.Fatalf("there is no step %s: %s", action, outline(steps))
	}
	return steps[i]
}

// One whole rotation, as somebody sees it who asks now and then and does what is now.
func TestAWholeRotation(t *testing.T) {
	never, turn := time.Time{}, start.Add(50*hour)
	a, b := []issuer.Version{version("a", 999*hour)}, []issuer.Version{version("a", 999*hour), version("b", hour)}
	half := []issuer.Version{version("a", 999*hour, false), version("b", hour)}
	for _, c := range []struct {
		what      string
		situation issuer.Situation
		plan      string
		action    issuer.Action // the step that counts
		notBefore time.Time
		says      []string
		command   string
	}{
		{"nothing has begun", situation(start, published("a"), a, listed("a", never)),
			"create now, list later, publish later, switch later, retire later, remove later, disable later",
			issuer.ActionCreate, never, []string{"new version", "nothing signs with it yet"}, "az keyvault key rotate --vault-name acme-sign --name drone-issuer"},
		{"a new version", situation(start, published("a"), b, listed("a", never)),
			"create done, list now, publish later, switch later, retire later, remove later, disable later",
			issuer.ActionList, never, []string{`- {key: sign/drone-issuer@b, from: "2026-11-22T10:00:00Z"}`, "a day after it is published"}, ""},
		{"listed", situation(start.Add(hour), published("a"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish now, switch later, retire later, remove later, disable later",
			issuer.ActionAdd, never, []string{here, "by 2026-11-21T11:30:00Z", "sign/drone-issuer@b"}, "drone-entra issuer publish DIR"},
		{"listed, at the last moment", situation(turn.Add(-24*hour), published("a"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish now, switch later, retire later, remove later, disable later",
			issuer.ActionAdd, never, nil, "drone-entra issuer publish DIR"},
		{"published", situation(start.Add(2*hour), published("a", "b"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish done, switch wait, retire later, remove later, disable later",
			issuer.ActionSwitch, turn, []string{"2026-11-22T11:30:00Z", "Nobody has to do anything"}, ""},
		{"a moment before", situation(turn.Add(-1), published("a", "b"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish done, switch wait, retire later, remove later, disable later",
			issuer.ActionRetire, turn.Add(grace), nil, ""},
		{"it signs", situation(turn, published("a", "b"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish done, switch done, retire wait, remove later, disable later",
			issuer.ActionRetire, turn.Add(grace), []string{"Take sign/drone-issuer@a out", "`from` out of sign/drone-issuer@b", "2026-11-22T13:05:00Z"}, ""},
		{"a moment too soon", situation(turn.Add(grace-1), published("a", "b"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish done, switch done, retire wait, remove later, disable later",
			issuer.ActionRemove, turn.Add(grace), nil, ""},
		{"nothing old is valid", situation(turn.Add(grace), published("a", "b"), b, listed("a", never), listed("b", turn)),
			"create done, list done, publish done, switch done, retire now, remove later, disable later",
			issuer.ActionRetire, turn.Add(grace), nil, ""},
		{"retired", situation(turn.Add(grace), published("a", "b"), b, listed("b", never)),
			"create done, list done, publish done, switch done, remove now, disable later",
			issuer.ActionRemove, never, []string{id("a"), here, "within the last 1h35m0s"}, "drone-entra issuer publish DIR --drop=" + id("a")},
		{"removed", situation(turn.Add(grace), published("b"), b, listed("b", never)),
			"create done, list done, publish done, switch done, remove done, disable now",
			issuer.ActionDisable, never, []string{"Disable sign/drone-issuer@a", "Don't delete it"},
			"az keyvault key set-attributes --vault-name acme-sign --name drone-issuer --version a --enabled false"},
		{"done", situation(turn.Add(grace), published("b"), half, listed("b", never)),
			"create now, list later, publish later, switch later, retire later, remove later, disable later",
			issuer.ActionCreate, never, nil, "az keyvault key rotate --vault-name acme-sign --name drone-issuer"},
	} {
		t.Run(c.what, func(t *testing.T) {
			steps := issuer.Plan(c.situation)
			if got := outline(steps); got != c.plan {
				t.Errorf("the plan is\n%s, want\n%s", got, c.plan)
			}
			s := step(t, steps, c.action)
			if !s.NotBefore.Equal(c.notBefore) || strings.Join(s.Commands, "\n") != c.command {
				t.Errorf("got %+v", s)
			}
			for _, w := range c.says {
				if !strings.Contains(s.Text, w) {
					t.Errorf("%q does not say %q", s.Text, w)
				}
			}
		})
	}
}

// What is wrong comes first, says why and what to do, and nothing else is to be done before.
func TestWhatIsWrong(t *testing.T) {
	never, turn := time.Time{}, start.Add(50*hour)
	versions := func(a, b bool) []issuer.Version {
		return []issuer.Version{{Name: named("a"), Created: start.Add(-99 * hour), Enabled: a}, {Name: named("b"), Created: start.Add(-hour), Enabled: b}}
	}
	var many []issuer.Listed
	all := issuer.Published{Known: true}
	for n := range 101 {
		l := listed(fmt.Sprintf("%03d", n), start.Add(time.Duration(n-100)*hour))
		if n == 0 {
			l.From = never
		}
		many, all.KIDs = append(many, l), append(all.KIDs, l.KID)
	}
	for _, c := range []struct {
		what      string
		situation issuer.Situation
		wrong     string
		says      []string
		command   string
	}{
		{"no key", situation(start, published(), nil), "list wrong", []string{"exactly one key without `from`"}, ""},
		{"no key yet", situation(start, published("a"), nil, listed("a", turn)), "list wrong", nil, ""},
		{"nothing was ever published", situation(start, published(), versions(true, true), listed("a", never)),
			"publish wrong", []string{"AADSTS7000272", id("a"), "at once"}, "drone-entra issuer publish DIR"},
		{"another key is published", situation(start, published("z"), nil, listed("a", never)), "publish wrong", []string{"AADSTS7000272"}, "drone-entra issuer publish DIR"},
		{"the new one was not published in time", situation(turn, published("a"), nil, listed("a", never), listed("b", turn)),
			"publish wrong", []string{"sign/drone-issuer@b signs", "AADSTS7000272", id("b")}, "drone-entra issuer publish DIR"},
		{"the document can't be fetched", situation(start, issuer.Published{}, nil, listed("a", never)),
			"fetch wrong", []string{here, "If nothing was published yet"}, "drone-entra issuer publish DIR"},
		{"from is too soon", situation(turn.Add(-24*hour+1), published("a"), nil, listed("a", never), listed("b", turn)),
			"move wrong", []string{"in less than a day", "Set its `from` to 2026-11-23T12:00:00Z or later"}, ""},
		{"the key that signs is disabled", situation(start, published("a"), versions(false, true), listed("a", never)),
			"enable wrong", []string{"sign/drone-issuer@a is listed and disabled"}, "az keyvault key set-attributes --vault-name acme-sign --name drone-issuer --version a --enabled true"},
		{"the next one is disabled", situation(start, published("a", "b"), versions(true, false), listed("a", never), listed("b", turn)),
			"enable wrong", []string{"sign/drone-issuer@b"}, "az keyvault key set-attributes --vault-name acme-sign --name drone-issuer --version b --enabled true"},
		{"no such version", situation(start, published("c"), versions(true, true), listed("c", never)), "enable wrong", []string{"no such version"}, ""},
		{"an old key was taken away too soon", situation(turn.Add(hour), published("b"), nil, listed("a", never), listed("b", turn)),
			"publish wrong", []string{"can't be verified", id("a")}, "drone-entra issuer publish DIR"},
		{"more keys than Entra keeps", situation(start, all, nil, many...), "trim wrong", []string{"101 keys", "the first 100"}, ""},
		{"twice", situation(start, published(), versions(false, true), listed("a", never)), "publish wrong, enable wrong", nil, "drone-entra issuer publish DIR"},
	} {
		t.Run(c.what, func(t *testing.T) {
			steps := issuer.Plan(c.situation)
			if got := outline(steps); got != c.wrong && !strings.HasPrefix(got, c.wrong+", ") || strings.Count(got, "wrong") != strings.Count(c.wrong, "wrong") {
				t.Fatalf("the plan is %s, want %s first", got, c.wrong)
			}
			if got := outline(steps); strings.Contains(got, " now") {
				t.Errorf("something else is now: %s", got)
			}
			if strings.Join(steps[0].Commands, "\n") != c.command {
				t.Errorf("the command is %q", steps[0].Commands)
			}
			for _, w := range c.says {
				if !strings.Contains(steps[0].Text, w) {
					t.Errorf("%q does not say %q", steps[0].Text, w)
				}
			}
		})
	}
}

// What else there may be in Key Vault, in the configuration and in the document.
func TestOddSituations(t *testing.T) {
	never, t1, t2 := time.Time{}, start.Add(-48*hour), start.Add(48*hour)
	both := []issuer.Version{version("a", 999*hour), version("b", 99*hour)}
	const fresh = "retire later, remove later, disable later"
	for what, c := range map[string]struct {
		situation issuer.Situation
		plan      string
	}{
		"an old version is kept on purpose": {situation(start, published("b"), append(both, version("c", hour)), listed("b", never)),
			"remove done, disable now, create done, list now, publish later, switch later, " + fresh},
		"of two new versions the newest": {situation(start, published("b"), append(both[1:], version("c", 2*hour), version("d", hour)), listed("b", never)),
			"create done, list now, publish later, switch later, " + fresh},
		"a new version that is disabled": {situation(start, published("b"), append(both[1:], version("c", hour, false)), listed("b", never)),
			"create now, list later, publish later, switch later, " + fresh},
		"versions not known": {situation(start, published("b"), nil, listed("b", never)), "create now, list later, publish later, switch later, " + fresh},
		"to a key of another name": {situation(start, published("x"), both, issuer.Listed{Name: "sign/older@x", KID: id("x")}),
			"create done, list now, publish later, switch later, " + fresh},
		"the next one begins while the last is not finished": {situation(start, published("a", "b", "c"), nil, listed("a", never), listed("b", t1), listed("c", t2)),
			"retire now, remove later, disable later, create done, list done, publish done, switch wait, " + fresh},
		"two are to come, and the second was published first": {situation(start, published("b", "d"), nil, listed("d", t2.Add(hour)), listed("b", never), listed("c", t2)),
			"create done, list done, publish now, switch later, " + fresh},
		"back to the first key": {situation(start, published("a", "b"), nil, listed("a", never), listed("b", t1.Add(-hour)), listed("a", t1)),
			"create done, list done, publish done, switch done, retire now, remove later, disable later"},
		"an old one is disabled when nothing needs it": {situation(start, published("a", "b"), []issuer.Version{version("a", 999*hour, false), version("b", 99*hour)}, listed("a", never), listed("b", t1)),
			"create done, list done, publish done, switch done, retire now, remove later, disable later"},
		"an old one is gone from the document when nothing needs it": {situation(start, published("b"), both, listed("a", never), listed("b", t1)),
			"create done, list done, publish done, switch done, retire now, remove later, disable later"},
	} {
		if got := outline(issuer.Plan(c.situation)); got != c.plan {
			t.Errorf("%s: the plan is\n%s, want\n%s", what, got, c.plan)
		}
	}
	coming := []issuer.Listed{listed("d", t2.Add(hour)), listed("b", never), listed("c", t2)}
	for missing, c := range map[string]struct {
		there []string
		by    time.Time
	}{"c": {[]string{"b", "d"}, t2.Add(-24 * hour)}, "d": {[]string{"b", "c"}, t2.Add(-23 * hour)}} {
		add := step(t, issuer.Plan(situation(start, published(c.there...), nil, coming...)), issuer.ActionAdd)
		if !strings.Contains(add.Text, named(missing)) || !strings.Contains(add.Text, c.by.Format(time.RFC3339)) {
			t.Errorf("%s is missing: %s", missing, add.Text)
		}
	}
	turn := step(t, issuer.Plan(situation(start, published("b", "c", "d"), nil, coming...)), issuer.ActionSwitch)
	if !turn.NotBefore.Equal(t2) || !strings.Contains(turn.Text, named("c")) {
		t.Errorf("the next one is %+v", turn)
	}
	newest := step(t, issuer.Plan(situation(start, published("b"), append(both[1:], version("d", hour), version("c", 2*hour)), listed("b", never))), issuer.ActionList)
	if !strings.Contains(newest.Text, named("d")) {
		t.Error(newest.Text)
	}
}

// The document came from a server: what it calls a key is shown as what it is, and gets into no command.
func TestHostileKeyIDs(t *testing.T) {
	for _, hostile := range []string{"$(reboot)", "a; reboot", "\x1b[2J", "--config=/tmp/x", strings.Repeat("x", 1<<16), "'", "\n", id("a") + "\n", "é"} {
		p := published("b", "a")
		p.KIDs = append(p.KIDs, hostile)
		steps := issuer.Plan(situation(start, p, nil, listed("b", time.Time{})))
		s := step(t, steps, issuer.ActionRemove)
		if diff := cmp.Diff([]string{"drone-entra issuer publish DIR --drop=" + id("a")}, s.Commands); diff != "" {
			t.Errorf("%.20q: %s", hostile, diff)
		}
		if len(s.Text) > 1000 || strings.ContainsFunc(s.Text, func(r rune) bool { return r < ' ' || r > '~' && r != '…' }) {
			t.Errorf("%.20q is shown as %q", hostile, s.Text)
		}
	}
	for _, name := range []string{"x; reboot", "$(reboot)", "", "a b"} {
		s := situation(start, published("a"), nil, listed("a", time.Time{}))
		s.Vault = name
		if c := step(t, issuer.Plan(s), issuer.ActionCreate).Commands; c != nil {
			t.Errorf("%q", c)
		}
	}
}

func TestAStepAsJSON(t *testing.T) {
	steps := issuer.Plan(situation(start, published("a"), nil, listed("a", time.Time{})))
	b, err := json.Marshal(steps[1])
	works(t, err)
	if got := string(b); !strings.HasPrefix(got, `{"action":"list","state":"later","text":"`) || strings.Contains(got, "not_before") || strings.Contains(got, "commands") {
		t.Error(got)
	}
}
