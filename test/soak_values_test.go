//go:build soak && linux

package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// What each vault has. The steady secrets get new versions; the fickle ones are disabled, out of date or gone now and then.
var (
	steady = []string{"s0", "s1", "s2", "s3", "doc"}
	fickle = []string{"f0", "f1"}
)

var aliases = []string{"strict-a", "lenient-a", "strict-b", "lenient-b", "strict-c", "lenient-c", "calm"}

// version is one version of a secret.
type version struct {
	secret string // vault/name
	id     string
	key    string // of a document, which part of it the text is
}

// period is when a version was the current one and good, as far as can be known from outside; without a version, the secret
// gave nothing.
type period struct {
	version *version
	span    // to is zero while it lasts
}

// ledger knows what each secret was at each time.
type ledger struct {
	mu      sync.Mutex
	texts   map[string]*version // by what a build gets
	periods map[string][]period // by vault/name
	serial  int
}

// vault is one of those of the soak, by the last part of its name.
func (k *soak) vault(name string) *emulator.Vault {
	return k.emulator.Vault("kv-soak-"+name+".vault.azure.net", tenantID)
}

// vaultOf is the vault that an alias leads to.
func vaultOf(alias string) string { return alias[strings.LastIndexByte(alias, '-')+1:] }

func (k *soak) fill() {
	k.ledger = ledger{texts: map[string]*version{}, periods: map[string][]period{}}
	for _, name := range []string{"a", "b", "c", "calm"} {
		for _, secret := range append(append([]string{"root"}, steady...), fickle...) {
			k.renew(name, secret, 10)
		}
	}
}

// renew gives a secret a new version.
func (k *soak) renew(vault, name string, padding int) {
	l := &k.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	at := vault + "/" + name
	text := fmt.Sprintf("%s%s-%d-%s", k.prefix, name, l.serial, strings.Repeat("x", padding))
	whole, from := text, time.Now()
	if name == "doc" {
		whole = fmt.Sprintf(`{"user":"%suser-%d","password":%q,"port":5432}`, k.prefix, l.serial, text)
	}
	v := &version{at, k.vault(vault).Set(name, whole), ""}
	l.texts[whole] = v
	if name == "doc" {
		l.texts[text] = &version{v.secret, v.id, "password"}
	}
	l.change(at, from, v)
}

// change begins another period of a secret: it may have begun at from, and the one before it may have lasted until now.
func (l *ledger) change(at string, from time.Time, v *version) {
	all := l.periods[at]
	if len(all) > 0 {
		all[len(all)-1].to = time.Now()
	}
	l.periods[at] = append(all, period{v, span{from, time.Time{}}})
}

// held tells whether that version was the current one, or (nil) whether there was none, at some moment of that time.
func (l *ledger) held(at, id string, from, to time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.periods[at] {
		have := ""
		if p.version != nil {
			have = p.version.id
		}
		if have == id && !p.from.After(to) && (p.to.IsZero() || !p.to.Before(from)) {
			return true
		}
	}
	return false
}

// of is the version that a text is, nil if it is none of ours.
func (l *ledger) of(text string) *version {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.texts[text]
}

// forget drops what nobody can be given any more, so that a long run does not fill memory.
func (l *ledger) forget(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := map[string]bool{}
	for at, all := range l.periods {
		for len(all) > 1 && !all[0].to.IsZero() && all[0].to.Before(before) {
			all = all[1:]
		}
		l.periods[at] = append([]period(nil), all...)
		for _, p := range all {
			if p.version != nil {
				live[p.version.id] = true
			}
		}
	}
	for text, v := range l.texts {
		if !live[v.id] {
			delete(l.texts, text)
		}
	}
}

// rotations gives secrets new versions until it is told to stop. This is nothing that anybody may feel.
func (k *soak) rotations(r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.Int64N(int64(500 * time.Millisecond)))):
		}
		k.renew(oneOf(r, []string{"a", "b", "c", "calm"}), oneOf(r, steady), r.IntN(4000))
	}
}

// attributes spoils a secret in the way that Key Vault's own users do.
func (k *soak) attributes(r *rand.Rand, vault string) breakage {
	name, what := oneOf(r, fickle), oneOf(r, []string{"disabled", "expired", "not yet", "deleted"})
	v, at := k.vault(vault), vault+"/"+name
	spoil := map[string]func(){
		"disabled": func() { v.Update(name, "", emulator.Disabled()) },
		"expired":  func() { v.Update(name, "", emulator.Expires(time.Now().Add(-time.Second))) },
		"not yet":  func() { v.Update(name, "", emulator.NotBefore(time.Now().Add(time.Hour))) },
		"deleted":  func() { v.Delete(name) },
	}[what]
	return breakage{"secret " + at, what, 0, func() func() {
		l := &k.ledger
		l.mu.Lock()
		from := time.Now()
		spoil()
		l.change(at, from, nil)
		l.mu.Unlock()
		return func() { k.renew(vault, name, 10) }
	}, nil}
}
