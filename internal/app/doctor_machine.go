package app

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

// planMachine plans what this machine alone decides.
func (d *Doctor) planMachine() {
	d.add("configuration", "address", nil, func(_ context.Context, f *Finding) {
		address := Address(d.config.Listen, d.env.Getenv)
		f.Detail = address + ", not bound here"
		if err := d.config.CheckListen(address, truth(d.env.Getenv("DRONE_ENTRA_PLAIN_HTTP"))); err != nil {
			f.plain(err)
		}
	})
	d.add("environment", "variables", nil, d.examineEnvironment)
	d.add("runners", "keys", nil, d.examineKeys)
	d.add("record", "place", nil, func(_ context.Context, f *Finding) {
		standing, err := audit.Inspect(d.config.Record.File)
		f.Detail = d.config.Record.File
		switch {
		case err != nil:
			f.plain(err)
		case standing.Held:
			f.Detail += ", held by a running instance: " + standing.Holder
		case !standing.Exists:
			f.Detail += ", not there yet, can be made"
		default:
			f.Detail += ", can be written"
		}
	})
}

// imds is the machine's metadata endpoint, where managed identities are asked for.
const imds = "169.254.169.254"

func (d *Doctor) examineEnvironment(_ context.Context, f *Finding) {
	f.Detail = "no stray credential"
	if err := entra.CheckEnvironment(d.env.Getenv); err != nil {
		f.Detail = ""
		for line := range strings.Lines(err.Error()) {
			cause, remedy, _ := strings.Cut(strings.TrimSpace(line), ": ")
			f.fail(cause, remedy)
		}
	}
	for _, w := range overridden(d.config, d.env.Getenv) {
		f.warn(w, "unset the variable, or take the word out of the configuration")
	}
	for _, w := range entra.Stray(d.env.Getenv) {
		f.warn(w, "unset the variable, and delete the credential in Entra if nobody else needs it")
	}
	d.examineProxy(f)
}

// examineProxy warns where the way to the metadata endpoint, which is plain HTTP, leads through a proxy; and of an address that
// can't be read, which the standard library ignores without a word. It may have a login in it, and is not shown.
func (d *Doctor) examineProxy(f *Finding) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		value := d.env.Getenv(name)
		if _, err := url.Parse(value); err == nil {
			continue
		}
		if _, err := url.Parse("http://" + value); err != nil { // as it may be written, too
			f.warn(name+" is set and is no URL: it is ignored, and Entra and the vaults are asked without a proxy", "write it as http://HOST:PORT")
		}
	}
	managed := false
	for _, i := range d.config.Identities {
		managed = managed || i.Managed || i.AssertionManaged != ""
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} {
		if managed && d.env.Getenv(name) != "" && !excepted(d.env.Getenv("NO_PROXY")) && !excepted(d.env.Getenv("no_proxy")) {
			f.warn(name+" is set, and managed identities are asked for over plain HTTP: the proxy would get the question, and could read the answer",
				"add "+imds+" to NO_PROXY")
			return
		}
	}
}

// excepted tells whether NO_PROXY leaves out the metadata endpoint: by its address, by a network, or with everything.
func excepted(list string) bool {
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		network, err := netip.ParsePrefix(entry)
		if entry == "*" || entry == imds || err == nil && network.Contains(netip.MustParseAddr(imds)) {
			return true
		}
	}
	return false
}

// examineKeys reads the runners' keys and tries whether the guard would take them.
func (d *Doctor) examineKeys(_ context.Context, f *Finding) {
	keys, warnings, err := loadKeys(d.config.Pools, d.env.Getenv)
	if err == nil {
		_, err = drone.NewGuard(drone.Options{
			Keys: keys, Skew: d.config.Limits.Skew, MaxBody: d.config.Limits.Body, Repeats: d.config.Limits.Repeats, Now: d.now,
		})
	}
	if err != nil {
		f.plain(err)
		return
	}
	for _, w := range warnings {
		remedy := "unset the variable, or take the keys out of the configuration"
		if strings.Contains(w, "newline") {
			remedy = "write the key without it, here and for the runners"
		}
		f.warn(w, remedy)
	}
	pools := map[string]bool{}
	for _, k := range keys {
		pools[k.Pool] = true
	}
	f.Detail = counted(len(keys), "key") + " of " + counted(len(pools), "pool")
}

// Differences between clocks.
const (
	clockWarn = time.Minute
	clockFail = 5 * time.Minute // what Entra's libraries forgive
)

// planClouds plans the way to each authority that an identity uses, and what time it is there. Managed identities go another
// way: where there is no other, the vaults tell the time.
func (d *Doctor) planClouds() {
	clocks := map[string]*clock{}
	for _, name := range sorted(d.config.Identities) {
		c := d.config.Identities[name]
		if c.Managed {
			continue
		}
		cloud := cloudName(c)
		if clocks[cloud] == nil {
			clocks[cloud] = new(clock)
		}
		d.ids[name] = &examined{clock: clocks[cloud]}
	}
	for _, cloud := range sorted(clocks) {
		at := clocks[cloud]
		d.add("entra "+cloud, "way", nil, func(ctx context.Context, f *Finding) {
			ahead, told, err := entra.Clock(ctx, d.env.Transport, cloud, d.now)
			if err != nil {
				f.error(err)
				return
			}
			at.set(ahead, told)
			f.Detail = "the authority answers, and its certificate is good"
		})
		d.add("entra "+cloud, "clock", []string{stepName("entra "+cloud, "way")}, func(_ context.Context, f *Finding) {
			if ahead, told := at.ahead(); told {
				examineClock(ahead, "Entra's", f)
			} else {
				f.warn("the authority's answer has no Date to compare the clock with", "look for a proxy in between that takes it away")
			}
		})
	}
	if len(clocks) == 0 {
		d.vaultClock = new(clock)
	}
}

// planVaultClock plans what time it is at the vaults, if no authority says so. One that answers is enough.
func (d *Doctor) planVaultClock() {
	if d.vaultClock == nil || len(d.config.Vaults) == 0 {
		return
	}
	var ways []string
	for _, alias := range sorted(d.config.Vaults) {
		ways = append(ways, stepName("vault "+alias, "way"))
	}
	d.add("vaults", "clock", nil, func(_ context.Context, f *Finding) {
		if ahead, told := d.vaultClock.ahead(); told {
			examineClock(ahead, "Key Vault's", f)
		} else {
			f.skip("no vault said what time it is")
		}
	}, ways...)
}

// clock is what is known of this machine's. A step that was given up may still set it while others look.
type clock struct {
	mu   sync.Mutex
	by   time.Duration
	told bool
}

func (c *clock) set(by time.Duration, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by, c.told = by, told
}

// compare takes the Date of an answer to a question that was put before and answered now. A Date has whole seconds, cut off.
func (c *clock) compare(before, now, date time.Time) {
	if !date.IsZero() {
		c.set(before.Add(now.Sub(before)/2).Sub(date.Add(time.Second/2)), true)
	}
}

// ahead is by how much it is ahead of the authority's; zero where nobody told.
func (c *clock) ahead() (by time.Duration, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by, c.told
}

func examineClock(ahead time.Duration, whose string, f *Finding) {
	off, side := ahead.Abs().Round(time.Second), "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	cause := fmt.Sprintf("this machine's clock is %s %s %s", off, side, whose)
	const remedy = "set the clock by NTP: assertions, tokens, runners' requests and the dates of secrets are judged by it"
	switch {
	case off > clockFail:
		f.fail(cause, remedy)
	case off > clockWarn:
		f.warn(cause, remedy)
	default:
		f.Detail = fmt.Sprintf("within %s of %s", max(off, 2*time.Second), whose)
	}
}

func cloudName(c config.Identity) string {
	if c.Cloud == "" {
		return config.CloudPublic
	}
	return c.Cloud
}

// buildKnown tells whether somebody's build was described.
func (d *Doctor) buildKnown() bool { return d.patient.Build.Repo != (secret.Repo{}) }
