package test

import (
	"net/http"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

// A vault is down when the program starts: it is live, and ready for what the other vaults have; and nobody has to do anything
// for the vault to be used once it is back.
func TestS5AVaultIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]emulator.Fault{
		"S5 its connections are reset": {Kind: emulator.Reset},
		"S5 nobody knows its name":     {Kind: emulator.UnknownHost},
		"S5 it answers 503":            {Status: http.StatusServiceUnavailable},
		"S5 it hangs":                  {Kind: emulator.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := on(t, emulator.Options{})
			o := &setup{}
			before(o)
			remove := o.emulator.Fault(o.emulator.Vault("kv-faulty.vault.azure.net", tenantID).Target(), fault)
			f := startFaulty(t, doors+hanging, before)
			f.fill("kv-faulty/db")
			if live, body := get(t, f.URL+"/healthz"); live != http.StatusOK {
				t.Errorf("/healthz answers %d %s", live, body)
			}
			eventually(t, "a program that is ready for the other vault", func() bool {
				ready, _ := get(t, f.URL+"/readyz")
				return ready == http.StatusOK || !f.pause()
			})
			f.good(t)
			if e := f.nothing(t, f.next(), "strict/db"); e.Outcome != "failed" {
				t.Errorf("on record is %s", e.Line)
			}
			f.good(t)
			if p := f.status(); !p.Ready || p.Vaults["strict"].Probe.Problem == "" {
				t.Errorf("/status doesn't tell which vault is down: %s", p.text)
			}
			remove()
			f.heals(t, "strict/db", "kv-faulty/db")
			f.good(t)
		})
	}
}
