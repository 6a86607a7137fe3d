package app

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/secret"
)

// fill puts a made-up value behind every secret that the configuration names literally, so that each can be asked for. A
// secret that is asked for by key is a JSON object with these keys.
//
// For `names: {db_password: pay-prod/deploy-db/password}` the vault behind pay-prod gets a secret deploy-db with the
// value {"password":"made-up-deploy-db-password"}. A secret that is there already is left alone, so that an edited
// configuration does not undo a rotation.
func (d *Dev) fill(c *config.Config) {
	keys := map[[2]string]map[string]bool{}
	want := func(ref string) {
		r, err := secret.ParseRef(ref)
		if err != nil {
			return // a pattern: nobody knows what it stands for
		}
		if r.Vault == secret.TokenDoor {
			return // made when it is asked for
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
	for _, b := range c.Rules.Bindings {
		for _, read := range b.Read {
			want(strings.TrimSuffix(read.String(), "@*"))
		}
		for _, ref := range b.Names {
			want(ref.String())
		}
	}
	for at, keys := range keys {
		vault := d.vault(c, at[0])
		if !slices.Contains(vault.Names(), at[1]) {
			vault.Set(at[1], madeUp(at[1], keys), emulator.Expires(time.Now().Add(madeUpLife))) // a vault may demand an expiry
		}
	}
}

// vault is the emulated vault behind an alias.
func (d *Dev) vault(c *config.Config, alias string) *emulator.Vault {
	v := c.Vaults[alias]
	return d.emulator.Vault(v.Host, tenantOf(c.Identities[v.Identity]))
}

// madeUpLife is how long a made-up secret is valid.
const madeUpLife = 30 * 24 * time.Hour

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
