package test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// reloadable gives shared/ci-token to acme/app by the binding "first".
const reloadable = `
vaults:
  shared: {url: https://kv-reload.vault.azure.net}
bindings:
  - {id: first, repos: ["acme/app"], read: ["shared/ci-*"]}
`

func startReloadable(t *testing.T, options ...option) *server {
	t.Helper()
	s := start(t, reloadable, options...)
	s.fill("kv-reload/ci-token", "kv-reload/other")
	return s
}

// edit changes the configuration's text and, with hangup, asks for it to be read at once.
func (s *server) edit(t *testing.T, from, to string, hangup bool) {
	t.Helper()
	text, err := os.ReadFile(s.ConfigAt)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("the configuration has no %q", from)
	}
	s.write("drone-entra.yaml", strings.Replace(string(text), from, to, 1))
	if hangup {
		s.signal(syscall.SIGHUP)
	}
}

// configured waits for the nth entry of the record about a configuration and returns it. One that is accepted is on record
// first; it is in force, and /status says nothing else any more, once the log tells so.
func (s *server) configured(t *testing.T, n int) event {
	t.Helper()
	var found []event
	eventually(t, "another configuration on record", func() bool { found = s.configurations(); return len(found) >= n })
	if found[n-1].Outcome == "accepted" {
		s.inForce(t, count(found[1:n], "accepted")) // of the first one, the log tells otherwise
	}
	return found[n-1]
}

// accepted waits for a configuration to be in force that came behind the nth entry. What comes before it is whatever the
// program saw while files were put in each other's place.
func (s *server) accepted(t *testing.T, n int) {
	t.Helper()
	eventually(t, "a configuration that is accepted", func() bool { return count(s.configurations()[n:], "accepted") > 0 })
	s.inForce(t, count(s.configurations()[1:], "accepted"))
}

func (s *server) inForce(t *testing.T, reloads int) {
	t.Helper()
	eventually(t, "the configuration in force", func() bool {
		return strings.Count(s.out.String(), `"the configuration in force"`) >= reloads
	})
}

// configurations are the entries of the record about them.
func (s *server) configurations() (found []event) {
	s.t.Helper()
	for _, e := range s.events() {
		if e.Kind == "config" {
			found = append(found, e)
		}
	}
	return found
}

func TestAChangedBindingCountsWithinSeconds(t *testing.T) {
	t.Parallel()
	s := startReloadable(t)
	s.serves(t, push("acme/app"), "shared/ci-token", "kv-reload/ci-token")
	tokens := s.Emulator.TokenRequests(clientID)
	before := s.configured(t, 1)
	s.edit(t, "shared/ci-*", "shared/other", false) // the poll finds it
	after := s.configured(t, 2)
	if after.Outcome != "accepted" || after.Config == before.Config {
		t.Errorf("on record is %s", after.Line)
	}
	s.expect(t, push("acme/app").number(8), "shared/ci-token", denied("read"))
	if e := s.expect(t, push("acme/app").number(8), "shared/other", gets("kv-reload/other")); e.Config != after.Config {
		t.Errorf("decided by %s, want %s", e.Config, after.Config)
	}
	if now := s.Emulator.TokenRequests(clientID); now != tokens {
		t.Errorf("a change of bindings cost %d tokens", now-tokens)
	}
	if kept, err := os.ReadFile(filepath.Join(filepath.Dir(s.Record), "config-"+after.Config+".yaml")); err != nil || !strings.Contains(string(kept), "shared/other") {
		t.Errorf("the configuration is not kept beside the record: %v", err)
	}
}

// C1 and C7 at reload: whatever is wrong, the old configuration stays whole, and the refusal is on record and shown.
func TestC1C7ABadConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *server){
		"C1 a syntax error":             func(t *testing.T, s *server) { s.edit(t, "bindings:", "bindings: [", true) },
		"C1 an unknown key":             func(t *testing.T, s *server) { s.edit(t, "read:", "reads:", true) },
		"C1 a vault that is not listed": func(t *testing.T, s *server) { s.edit(t, `["shared/ci-*"]`, `["nowhere/ci-*"]`, true) },
		"C7 an identity that says nothing of itself": func(t *testing.T, s *server) {
			s.edit(t, "vaults:", "identities: {other: {}}\nvaults:\n  v2: {url: https://kv-reload2.vault.azure.net, identity: other}", true)
		},
		"C7 a key's file that is not there": func(t *testing.T, s *server) {
			s.edit(t, "vaults:", "pools: {default: {keys: [{id: k, file: $ETC/no-such-key}]}}\nvaults:", true)
		},
		"C7 the file is gone": func(t *testing.T, s *server) {
			if err := os.Remove(s.ConfigAt); err != nil {
				t.Fatal(err)
			}
			s.signal(syscall.SIGHUP)
		},
		"C7 the file is a directory": func(t *testing.T, s *server) {
			if err := os.Remove(s.ConfigAt); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(s.ConfigAt, 0o700); err != nil {
				t.Fatal(err)
			}
			s.signal(syscall.SIGHUP)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startReloadable(t)
			good, err := os.ReadFile(s.ConfigAt)
			if err != nil {
				t.Fatal(err)
			}
			first := s.configured(t, 1)
			spoil(t, s)
			if e := s.configured(t, 2); e.Outcome != "refused" || e.Config != first.Config || e.Detail == "" {
				t.Errorf("on record is %s", e.Line)
			}
			if !strings.Contains(s.status().text, `"refused"`) {
				t.Errorf("/status does not show the refusal: %s", s.status().text)
			}
			if e := s.expect(t, push("acme/app"), "shared/ci-token", gets("kv-reload/ci-token")); e.Config != first.Config {
				t.Errorf("decided by %s, want the old %s", e.Config, first.Config)
			}
			if info, err := os.Stat(s.ConfigAt); err == nil && info.IsDir() {
				_ = os.Remove(s.ConfigAt)
			}
			s.write("drone-entra.yaml", strings.Replace(string(good), "id: first", "id: mended", 1))
			s.signal(syscall.SIGHUP)
			s.accepted(t, 2)
			if strings.Contains(s.status().text, `"refused"`) {
				t.Errorf("/status still shows the refusal: %s", s.status().text)
			}
			s.expect(t, push("acme/app").number(9), "shared/ci-token", gets("kv-reload/ci-token"))
		})
	}
}

// C6: a request that comes while the configuration is swapped sees one of the two, whole.
func TestC6EachRequestSeesOneConfiguration(t *testing.T) {
	t.Parallel()
	s := startReloadable(t)
	const requests, at = 1000, 50
	var asking sync.WaitGroup
	next := make(chan int64)
	for range at {
		asking.Go(func() {
			for n := range next {
				if _, err := s.find(push("acme/app").number(n), "shared/ci-token"); err != nil {
					t.Errorf("build %d: %v", n, err)
				}
			}
		})
	}
	id := [2]string{"first", "second"}
	for n := range int64(requests) {
		if n%100 == 50 {
			i := n / 100 % 2
			s.edit(t, "id: "+id[i], "id: "+id[1-i], true)
			s.configured(t, int(n/100)+2)
		}
		next <- n + 1
	}
	close(next)
	asking.Wait()
	binding, released := map[string]string{}, 0
	for _, e := range s.events() {
		if e.Kind != "secret" {
			continue
		}
		released++
		if have := binding[e.Config]; have != "" && have != e.Binding {
			t.Errorf("the configuration %s gave by %s and by %s", e.Config, have, e.Binding)
		}
		binding[e.Config] = e.Binding
	}
	if released != requests || len(binding) != 2 {
		t.Errorf("%d events under %d configurations", released, len(binding))
	}
}

// A runners' key in a file is rotated without a restart, and without a change of the configuration.
func TestP12AKeysFileIsReplaced(t *testing.T) {
	t.Parallel()
	const next = "canary-next-key-0123456789abcdef-0123456789abcdef"
	s := start(t, "pools: {default: {keys: [{id: one, file: $ETC/one}, {id: two, file: $ETC/two}]}}\n"+reloadable,
		file("one", runnerKey), file("two", "canary-other-key-0123456789abcdef-0123456789abc"), canary(next))
	s.fill("kv-reload/ci-token")
	s.serves(t, push("acme/app"), "shared/ci-token", "kv-reload/ci-token")
	s.write("one", next)
	s.configured(t, 2)
	if _, err := s.findAs(runnerKey, push("acme/app"), "shared", "ci-token"); err == nil {
		t.Error("the old key still proves something")
	}
	if _, err := s.findAs(next, push("acme/app"), "shared", "ci-token"); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

// Kubernetes projects a ConfigMap as files that lead through one link, and swaps that.
func TestADirectorySwappedAsKubernetesDoes(t *testing.T) {
	t.Parallel()
	mount := directory(t)
	project := func(version, main, team string) {
		t.Helper()
		data := filepath.Join(mount, "..2026_"+version)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"main.yaml": main, "team.yaml": team} {
			if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(mount, name)); err != nil {
				if err := os.Symlink(filepath.Join("..data", name), filepath.Join(mount, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		link := filepath.Join(mount, "..data")
		if err := os.Symlink(filepath.Base(data), link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	record := filepath.Join(directory(t), "audit.jsonl")
	main := "version: 1\nvaults: {shared: {url: https://kv-reload.vault.azure.net}}\nrecord: {file: " + record + "}\n" +
		"listen: {address: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {drain: 1s}\n"
	team := "version: 1\nbindings:\n  - {id: first, repos: [\"acme/app\"], read: [\"shared/ci-*\"]}\n"
	project("1", main, team)
	s := start(t, main, servingFrom(mount, record))
	s.fill("kv-reload/ci-token", "kv-reload/other")
	s.expect(t, push("acme/app"), "shared/ci-token", gets("kv-reload/ci-token"))
	project("2", main, strings.Replace(team, "shared/ci-*", "shared/other", 1))
	if e := s.configured(t, 2); e.Outcome != "accepted" {
		t.Errorf("on record is %s", e.Line)
	}
	s.expect(t, push("acme/app").number(8), "shared/ci-token", denied("read"))
	s.expect(t, push("acme/app").number(8), "shared/other", gets("kv-reload/other"))
}

// What a running program can't change it says, and takes over the rest.
func TestAChangeThatTakesARestart(t *testing.T) {
	t.Parallel()
	s := startReloadable(t)
	s.edit(t, `address: "127.0.0.1:0"`, `address: "127.0.0.1:1", encrypt: false`, false)
	s.edit(t, "shared/ci-*", "shared/other", true)
	s.configured(t, 2)
	s.await("listen changed in the configuration, which takes a restart; the rest is in force")
	s.expect(t, push("acme/app").number(8), "shared/other", gets("kv-reload/other"))
}
