package test

import (
	"net/http"
	"strings"
	"testing"
)

// The keys of these tests; each is a canary.
const (
	oldKey  = "canary-old-key-0123456789abcdef-0123456789abcdef"
	newKey  = "canary-new-key-0123456789abcdef-0123456789abcdef"
	prodKey = "canary-prod-key-0123456789abcdef-0123456789abcdef"
	short   = "canary-key-of-31-bytes-01234567"
)

const rotating = one + `
pools: {default: {keys: [{id: 2026-11, file: $ETC/new}, {id: 2026-05, file: $ETC/old}]}}
`

const rotated = one + `
pools: {default: {keys: [{id: 2026-11, file: $ETC/new}]}}
`

func TestP12AKeyRotates(t *testing.T) {
	t.Parallel()
	both := start(t, rotating, env("DRONE_SECRET", ""), file("new", newKey), file("old", oldKey), askingWith(newKey), canary(oldKey))
	both.fill("kv-shared/ci-token")
	m := genuine(theBody)
	for key, id := range map[string]string{newKey: "2026-11", oldKey: "2026-05"} {
		// Sealed under the key that signed: a runner that has only the old one can read its answer.
		r := both.send(attack{key: key}.message())
		r.released(t, key)
		if e := both.recorded(r.ID()); e.Outcome != "released" || e.Pool != "default" || e.Key != id {
			t.Errorf("on record is %s, want the key %s named", e.Line, id)
		}
		other := map[string]string{newKey: oldKey, oldKey: newKey}[key]
		if _, err := unseal(other, r.Body); err == nil {
			t.Error("an answer can be read with the other key")
		}
	}
	both.stop()

	after := start(t, rotated, after(both), env("DRONE_SECRET", ""), file("new", newKey), askingWith(newKey))
	after.unproven(t, after.send(m.sign(oldKey, five)), "key")
	after.gotOneOf(t, newKey, "2026-11")
}

// gotOneOf checks that the holder of a key gets the secret, and that the record names the key by that id.
func (s *server) gotOneOf(t *testing.T, key, id string) {
	t.Helper()
	r := s.send(attack{key: key}.message())
	r.released(t, key)
	if e := s.recorded(r.ID()); e.Outcome != "released" || e.Key != id {
		t.Errorf("on record is %s, want a release to the key %s", e.Line, id)
	}
}

// Whoever starts it with a key that proves nothing is told so, and by name which key it is.
func TestP13AKeyThatProvesNothing(t *testing.T) {
	t.Parallel()
	const fromFile = one + "pools: {default: {keys: [{id: k1, file: $ETC/key}]}}\n"
	const fromEnv = one + "pools: {build: {keys: [{id: k1, env: BUILD_KEY}]}}\n"
	for _, c := range []struct {
		name    string
		config  string
		options []option
		says    []string
	}{
		{"none at all", one, []option{env("DRONE_SECRET", "")}, []string{"there is no key", "DRONE_SECRET"}},
		{"31 bytes in DRONE_SECRET", one, []option{env("DRONE_SECRET", short)}, []string{`"default"`, "31 bytes", "32", "openssl rand"}},
		{"31 bytes in a file", fromFile, []option{file("key", short)}, []string{`"k1"`, `"default"`, "31 bytes"}},
		{"31 bytes and a newline", fromFile, []option{file("key", short+"\n")}, []string{`"k1"`, "31 bytes"}},
		{"31 bytes, and a good one beside", one + "pools: {default: {keys: [{id: good, file: $ETC/good}, {id: bad, file: $ETC/bad}]}}\n",
			[]option{file("good", newKey), file("bad", short)}, []string{`"bad"`, "31 bytes"}},
		{"an empty file", fromFile, []option{file("key", "")}, []string{`"k1"`, "0 bytes"}},
		{"a file with a newline alone", fromFile, []option{file("key", "\n")}, []string{`"k1"`, "0 bytes"}},
		{"no file", fromFile, nil, []string{`"k1"`, "no such file", "mount"}},
		{"a directory", one + "pools: {default: {keys: [{id: k1, file: $ETC}]}}\n", nil, []string{`"k1"`, "no regular file"}},
		{"a file of 1 MiB", fromFile, []option{file("key", strings.Repeat("k", 1<<20))}, []string{`"k1"`, "larger"}},
		{"a variable that is not set", fromEnv, nil, []string{`"k1"`, `"build"`, "BUILD_KEY"}},
		{"DRONE_SECRET_FILE with an empty file", one, []option{env("DRONE_SECRET", ""), env("DRONE_SECRET_FILE", "$ETC/key"), file("key", "")}, []string{"DRONE_SECRET_FILE", "0 bytes"}},
		{"DRONE_SECRET and DRONE_SECRET_FILE", one, []option{env("DRONE_SECRET_FILE", "$ETC/key"), file("key", newKey)}, []string{"DRONE_SECRET", "DRONE_SECRET_FILE", "both"}},
		{"one key in two pools", one + "pools: {default: {keys: [{id: a, file: $ETC/a}]}, prod: {keys: [{id: b, file: $ETC/b}]}}\n",
			[]option{file("a", newKey), file("b", newKey+"\n")}, []string{`"a"`, `"b"`, `"default"`, `"prod"`}},
		{"one key twice in a pool", one + "pools: {default: {keys: [{id: a, file: $ETC/a}, {id: b, file: $ETC/b}]}}\n",
			[]option{file("a", newKey), file("b", newKey)}, []string{`"a"`, `"b"`}},
	} {
		t.Run("P13 "+c.name, func(t *testing.T) {
			code, out := refuses(t, c.config, append(c.options, canary(short), canary(newKey))...)
			if code != 1 {
				t.Errorf("it ends with %d, want 1", code)
			}
			for _, words := range c.says {
				if !strings.Contains(out, words) {
					t.Errorf("it doesn't say %q: %s", words, out)
				}
			}
		})
	}
}

func TestP13ANewlineBehindAKeyIsLeftOff(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"a newline": "\n", "as Windows writes it": "\r\n", "several": "\n\n"} {
		for _, c := range []struct {
			where   string
			config  string
			options []option
		}{
			{"in a file", one + "pools: {default: {keys: [{id: k1, file: $ETC/key}]}}\n", []option{env("DRONE_SECRET", ""), file("key", newKey+end)}},
			{"in DRONE_SECRET_FILE", one, []option{env("DRONE_SECRET", ""), env("DRONE_SECRET_FILE", "$ETC/key"), file("key", newKey+end)}},
		} {
			if c.where == "in DRONE_SECRET_FILE" && name != "a newline" {
				continue
			}
			t.Run("P13 "+name+" "+c.where, func(t *testing.T) {
				t.Parallel()
				s := start(t, c.config, append(c.options, askingWith(newKey))...)
				s.fill("kv-shared/ci-token")
				s.servesOne(t)
				if !strings.Contains(s.out.String(), "newline") || !strings.Contains(s.out.String(), `"level":"warn"`) {
					t.Errorf("nobody is warned:\n%s", s.out)
				}
			})
		}
	}
}

// A key of exactly 32 bytes is one.
func TestP13TheShortestKey(t *testing.T) {
	t.Parallel()
	s := start(t, one, env("DRONE_SECRET", short+"8"), askingWith(short+"8"))
	s.fill("kv-shared/ci-token")
	s.servesOne(t)
	s.unproven(t, s.send(attack{key: short}.message()), "key")
}

// By default an answer is encrypted for the runner that asked; `encrypt: false` leaves that to TLS. Either way it has the
// request's id, which log and record have as well.
func TestTheFormOfAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config, encoding, media string
	}{
		{"encrypted by default", one, "aesgcm", "application/octet-stream"},
		{"encrypted when asked for", one + `listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", encrypt: true}` + "\n", "aesgcm", "application/octet-stream"},
		{"in clear", one + `listen: {address: "127.0.0.1:0", admin: "127.0.0.1:0", encrypt: false}` + "\n", "", "application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.config)
			s.fill("kv-shared/ci-token")
			r := s.send(attack{}.message())
			s.gotOne(t, r)
			if r.Header.Get("Content-Encoding") != c.encoding || r.Header.Get("Content-Type") != c.media {
				t.Errorf("answered with %v", r.Header)
			}
			if clear := strings.Contains(string(r.Body), s.valueAt(t, "kv-shared/ci-token")); clear != (c.encoding == "") {
				t.Errorf("the value stands in the answer: %t", clear)
			}
			if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("somebody may keep the answer, or guess what it is: %v", r.Header)
			}
			if !requestID.MatchString(r.ID()) {
				t.Errorf("the request's id is %q", r.ID())
			}
			if line := s.logged("id", r.ID()); line["outcome"] != "released" {
				t.Errorf("the log says %v", line)
			}
			refused := s.send(genuine(push("acme/app").body("shared", "other")).sign(runnerKey, five))
			id := refused.refused(t, http.StatusNotFound)
			if e, line := s.recorded(id), s.logged("id", id); e.Reason != "read" || line["reason"] != "read" {
				t.Errorf("record and log differ: %s, %v", e.Line, line)
			}
			s.servesOne(t) // and a runner reads either form
		})
	}
}

// Two answers to one request are sealed with two nonces.
func TestNoTwoAnswersAreEqual(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	seen := map[string]bool{}
	for range 20 {
		r := s.send(attack{}.message())
		s.gotOne(t, r)
		if nonce := string(r.Body[:12]); seen[nonce] {
			t.Fatal("a nonce came twice: that breaks AES-GCM")
		} else {
			seen[nonce] = true
		}
	}
}
