package app

import (
	"encoding/json"
	"strings"

	"github.com/drone-entra/drone-entra/secret"
)

// fill puts a made-up value behind every secret that the configuration names literally, so that each can be asked for. A
// secret that is asked for by key is a JSON object with these keys.
func (d *Dev) fill() {
	keys := map[[2]string]map[string]bool{}
	want := func(ref string) {
		r, err := secret.ParseRef(ref)
		if err != nil {
			return // a pattern: nobody knows what it stands for
		}
		at := [2]string{r.Vault, r.Name}
		if keys[at] == nil {
			keys[at] = map[string]bool{}
		}
		if r.Key != "" {
			keys[at][r.Key] = true
		}
	}
	if !d.Own {
		want("shared/ci-token")
	}
	for _, b := range d.config.Rules.Bindings {
		for _, read := range b.Read {
			want(strings.TrimSuffix(read.String(), "@*"))
		}
		for _, ref := range b.Names {
			want(ref.String())
		}
	}
	for at, keys := range keys {
		d.set(at[0], at[1], madeUp(at[1], keys))
	}
}

// set makes a new version of a secret in the emulated vault behind an alias, and returns it.
func (d *Dev) set(alias, name, value string) (version string) {
	v := d.config.Vaults[alias]
	return d.emulator.Vault(v.Host, tenantOf(d.config.Identities[v.Identity])).Set(name, value)
}

func madeUp(name string, keys map[string]bool) string {
	if len(keys) == 0 {
		return "made-up-" + name
	}
	object := map[string]string{}
	for key := range keys {
		object[key] = "made-up-" + name + "-" + key
	}
	document, _ := json.Marshal(object) // strings always marshal
	return string(document)
}
