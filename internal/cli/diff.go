package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/secret"
)

// diffCommand compares what two configurations mean, not how they are written: moved or renamed rules that give the
// same make no difference.
type diffCommand struct {
	Old  string `arg:"" help:"A configuration: a file or a directory."`
	New  string `arg:"" help:"The other one."`
	JSON bool   `name:"json" help:"For programs."`
}

// Run prints what becomes readable and what no longer does. Exit code 0 when nothing differs, 1 when something does, 2 when
// one of them can't be read, as with diff(1).
func (c diffCommand) Run(out *printer) error {
	older, before, err := loadBoth(out, []string{c.Old})
	if err != nil {
		return usageError(c.Old + " can't be compared")
	}
	newer, after, err := loadBoth(out, []string{c.New})
	if err != nil {
		return usageError(c.New + " can't be compared")
	}
	changes, doors := secret.Diff(before, after), append(vaultChanges(older, newer), poolChanges(older, newer)...)
	switch {
	case c.JSON:
		err = diffJSON(out, changes, doors)
	case len(changes)+len(doors) == 0:
		out.printf("Nobody can read more or less than before.\n")
	default:
		out.diff(changes, doors)
	}
	if err == nil && len(changes)+len(doors) > 0 {
		return errNo
	}
	return err
}

// diff prints losses and gains as one table, changes of vaults and keys below, and a summary.
func (p *printer) diff(changes []secret.Change, doors []doorChange) {
	var blocks []block
	gained := 0
	for i := range changes {
		c := &changes[i]
		sign, colour := "−", bad
		if c.Gained {
			sign, colour, gained = "+", good, gained+1
		}
		repos := repoTexts(&c.Line)
		for j := range repos {
			repos[j] = sign + " " + repos[j]
		}
		blocks = append(blocks, block{
			columns: [][]string{repos, {called(&c.Line)}, conditions(&c.Line, ""), {c.Binding}, {c.At}},
			notes:   append(whyNot(c), exceptions(&c.Line)...), colour: colour,
		})
	}
	if len(blocks) > 0 {
		p.table(titles("  REPOSITORY", "SECRET", "WHEN"), blocks)
		p.printf("\n")
	}
	for _, d := range doors {
		p.printf("  %s\n", p.paint(warn, "~ "+d.String()))
	}
	if len(doors) > 0 {
		p.printf("\n")
	}
	p.printf("%d gained, %d lost, %s of vaults and keys\n", gained, len(changes)-gained, plural(len(doors), "change"))
}

// whyNot says how the other configuration has it.
func whyNot(c *secret.Change) (notes []string) {
	when, still := "now ", "still in part through "
	if c.Gained {
		when, still = "before ", "already in part through "
	}
	if c.Because != "" {
		notes = append(notes, when+c.Because)
	}
	if len(c.Partly) > 0 {
		notes = append(notes, still+strings.Join(c.Partly, ", "))
	}
	return notes
}

// doorChange is a change of what an alias leads to and demands, or of who can prove to be of a pool.
type doorChange struct {
	What string `json:"what"` // vault or pool
	Name string `json:"name"`
	Text string `json:"change"`
	At   string `json:"at"` // in the newer configuration; in the older one, if it is gone
}

// String words the change in one line.
func (d doorChange) String() string { return d.What + " " + d.Name + ": " + d.Text + "  " + d.At }

// vaultChanges compares aliases that both have: what a binding through them reads is another thing then. An alias that
// only one of them has shows in what its bindings give.
func vaultChanges(older, newer *config.Config) (list []doorChange) {
	for _, alias := range slices.Sorted(maps.Keys(newer.Vaults)) {
		b := newer.Vaults[alias]
		a, both := older.Vaults[alias]
		if !both {
			continue
		}
		// Both are always of one comparable type, so != compares values.
		add := func(what string, from, to any) {
			if from != to {
				list = append(list, doorChange{"vault", alias, fmt.Sprintf("%s was %v, is %v", what, from, to), b.At})
			}
		}
		add("host", a.Host, b.Host)
		add("identity", identity(older.Identities[a.Identity]), identity(newer.Identities[b.Identity]))
		add("max_age", duration(a.MaxAge, "any"), duration(b.MaxAge, "any"))
		add("must_expire", a.MustExpire, b.MustExpire)
		add("stale", duration(a.Stale, "never"), duration(b.Stale, "never"))
	}
	return list
}

// duration writes a time as the configuration has it; zero is the word for "not stated".
func duration(d time.Duration, zero string) string {
	switch {
	case d == 0:
		return zero
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

// identity is all that makes an identity another one. The identity "default" that no file lists has little but its name:
// the environment says who it is, which no configuration shows.
func identity(i config.Identity) string {
	parts := []string{i.Name}
	for _, part := range [...]string{i.TenantID, i.ClientID, i.AssertionFile} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if i.Managed {
		parts = append(parts, "managed")
	}
	if i.Cloud != "" && i.Cloud != config.CloudPublic {
		parts = append(parts, i.Cloud)
	}
	return strings.Join(parts, " ")
}

// poolChanges compares the keys that prove a runner to be of a pool, by what names them: no key is looked at. Pools
// that only one of them has count: each of their keys is new, or gone.
func poolChanges(older, newer *config.Config) (list []doorChange) {
	names := slices.Concat(slices.Collect(maps.Keys(older.Pools)), slices.Collect(maps.Keys(newer.Pools)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		a, b := keys(older.Pools[name]), keys(newer.Pools[name])
		for _, id := range slices.Sorted(maps.Keys(b)) {
			was, both := a[id]
			switch now := b[id]; {
			case !both:
				list = append(list, doorChange{"pool", name, "key " + id + " is new, from " + source(now), now.At})
			case source(was) != source(now):
				list = append(list, doorChange{"pool", name, "key " + id + " was from " + source(was) + ", is from " + source(now), now.At})
			}
		}
		for _, id := range slices.Sorted(maps.Keys(a)) {
			if _, both := b[id]; !both {
				list = append(list, doorChange{"pool", name, "key " + id + " is gone", a[id].At})
			}
		}
	}
	return list
}

// keys finds a pool's keys by id. A pool that is not there has none.
func keys(p config.Pool) map[string]config.Key {
	byID := map[string]config.Key{}
	for _, k := range p.Keys {
		byID[k.ID] = k
	}
	return byID
}

// source names where a key comes from: a path, or a variable with a dollar in front.
func source(k config.Key) string {
	if k.File != "" {
		return k.File
	}
	return "$" + k.Env
}

// diffJSON is the same for programs. Both lists are written even if they are empty, as [] and not null.
func diffJSON(out *printer, changes []secret.Change, doors []doorChange) error {
	type change struct {
		Change  string   `json:"change"` // gained or lost
		Because string   `json:"because,omitempty"`
		Partly  []string `json:"partly_through,omitempty"`
		jsonLine
	}
	list := []change{}
	for i := range changes {
		c := &changes[i]
		j := change{"lost", c.Because, c.Partly, toJSON(&c.Line)}
		if c.Gained {
			j.Change = "gained"
		}
		if c.Witness.Pool != "" {
			j.Explain = arguments(c.Witness)
		}
		list = append(list, j)
	}
	return out.encode(struct {
		Changes []change     `json:"changes"`
		Doors   []doorChange `json:"doors"`
	}{list, append([]doorChange{}, doors...)})
}
