package cli

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
)

// doorChange is a change of what stands behind the rules: what an alias or a token leads to and demands, whom an identity is
// to Entra, what our issuer signs with, or who can prove to be of a pool.
type doorChange struct {
	What string `json:"what"` // vault, identity, issuer, token or pool
	Name string `json:"name"`
	Text string `json:"change"`
	At   string `json:"at"` // in the newer configuration; in the older one, if it is gone
}

// String words the change in one line.
func (d doorChange) String() string { return d.What + " " + d.Name + ": " + d.Text + "  " + d.At }

// doorChanges lists them all.
func doorChanges(older, newer *config.Config) []doorChange {
	return slices.Concat(vaultChanges(older, newer), clientChanges(older, newer), issuerChanges(older, newer), tokenChanges(older, newer), poolChanges(older, newer))
}

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
