package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hostileTexts are what a stranger can make of a branch's name, a message or a login.
var hostileTexts = map[string]string{
	"a newline":             "main\n{\"v\":1,\"kind\":\"secret\",\"outcome\":\"released\"}",
	"a carriage return":     "main\r\nlevel=info",
	"an escape sequence":    "main\x1b[2J\x1b[31mreleased\x1b[0m",
	"an 8-bit escape":       "main\u009b31m",
	"a bell and backspaces": "main\a\b\b\b\bprod",
	"quotes":                `main","outcome":"released","x":"`,
	"a backslash":           `main\`,
	"text that runs back":   "main\u202egpj.exe",
	"a zero-width space":    "ma\u200bin",
	"a line separator":      "main\u2028released\u2029",
	"a NUL":                 "main\x00",
	"an HTML tag":           "<script>alert(1)</script>",
	"a title":               "main\x1b]0;owned\x07",
	"a tag character":       "main\U000e0041",
	"delete":                "main\x7f",
	"64 KiB":                strings.Repeat("m", 1<<16),
}

// unprintable is what no terminal, pager or parser of lines should meet: control characters but the newline at a line's
// end, what turns the direction of text, and what nobody can see.
var unprintable = regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f\x{80}-\x{9f}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2069}\x{feff}\x{e0000}-\x{e007f}]`)

// Whatever a build says of itself is one valid line of JSON in the record, and harmless in the log in both its forms.
func TestA3HostileTextIsOneHarmlessLine(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run("A3 log as "+format, func(t *testing.T) {
			t.Parallel()
			s := startLogging(t, format)
			s.fill("kv-shared/ci-token")
			for name, text := range hostileTexts {
				t.Run(name, func(t *testing.T) {
					b := push("acme/app").ref("refs/heads/" + text).sender(text)
					b.build.Message, b.build.Link, b.build.Author, b.build.AuthorName = text, "https://forge.example/"+text, text, text
					b.build.Source, b.build.Target, b.build.After = text, text, text
					before := len(s.events())
					_, err := s.find(b, "shared/ci-token")
					if err == nil {
						t.Fatal("it was released")
					}
					e := s.latest(t, before)
					if e.Reason != "ref" {
						t.Errorf("on record is %s", e.Line)
					}
					if len(text) < 1024 && (e.Build.Ref != "refs/heads/"+text || e.Actor != text) {
						t.Errorf("the record says %q by %q", e.Build.Ref, e.Actor)
					}
					if found := unprintable.FindString(e.Line); found != "" {
						t.Errorf("the record's line holds %q", found)
					}
					if len(e.Line) > 32<<10 {
						t.Errorf("one line of the record takes %d bytes", len(e.Line))
					}
					s.servesOne(t)
				})
			}
			asked := push("acme/app")
			s.nothing(t, asked, "shared/\x1b[31mci-token\n")
			if found := unprintable.FindString(s.out.String()); found != "" {
				at := strings.Index(s.out.String(), found)
				t.Errorf("the log holds %q: %q", found, s.out.String()[max(0, at-60):at+40])
			}
			for line := range strings.Lines(s.out.String()) {
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("a line of the log is no JSON: %q", line)
				}
				if len(line) > 16<<10 {
					t.Errorf("a line of the log takes %d bytes", len(line))
				}
			}
		})
	}
}

// startLogging starts a server that logs in that form, which the harness may not be able to read.
func startLogging(t *testing.T, format string) *server {
	t.Helper()
	config := one + "log: {level: debug, format: " + format + "}\n"
	if format == "json" {
		return start(t, config)
	}
	s := launch(t, config)
	var found []string
	eventually(t, "the line that says where it listens", func() bool {
		found = regexp.MustCompile(`listening address=(\S+) `).FindStringSubmatch(s.out.String())
		return found != nil || s.ended()
	})
	if found == nil {
		t.Fatalf("it does not listen:\n%s", s.out)
	}
	s.Address = found[1]
	s.URL += s.Address
	return s
}

// ended is a server that answered some requests and was stopped in order, and its record's lines.
func ended(t *testing.T, requests int64) (s *server, lines []string) {
	t.Helper()
	s = startOne(t)
	for n := range requests {
		s.expect(t, push("acme/app").number(n+1), "shared/ci-token", gets("kv-shared/ci-token"))
	}
	s.stop()
	content, err := os.ReadFile(s.Record)
	if err != nil {
		t.Fatal(err)
	}
	return s, strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n")
}

// A crash amid a write leaves half a line. It is set aside, and the chain goes on from the last good one.
func TestA4ATornTail(t *testing.T) {
	t.Parallel()
	for name, tail := range map[string]func(last string) string{
		"half a line":               func(last string) string { return last[:len(last)/2] },
		"a line without its end":    func(last string) string { return strings.TrimSuffix(last, "\n") },
		"one character":             func(string) string { return "{" },
		"zeros":                     func(string) string { return strings.Repeat("\x00", 4096) },
		"half a line and zeros":     func(last string) string { return last[:100] + strings.Repeat("\x00", 512) },
		"half a line and a newline": func(last string) string { return last[:100] + "\n" },
		"anything at all":           func(string) string { return "\xff\xfe\x1b[31m" },
	} {
		t.Run("A4 "+name, func(t *testing.T) {
			t.Parallel()
			s, lines := ended(t, 3)
			torn := tail(lines[len(lines)-1])
			f, err := os.OpenFile(s.Record, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteString(torn)
			if err = errorsOf(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if code, out := command(t, "audit", "verify", "--file", s.Record); code != 1 || !strings.Contains(out, fmt.Sprint("line ", len(lines)+1)) {
				t.Errorf("`audit verify` ends with %d before the restart: %s", code, out)
			}
			again := start(t, one, after(s))
			again.fill("kv-shared/ci-token")
			again.servesOne(t)
			if line := again.logged("level", "error"); !strings.Contains(fmt.Sprint(line["message"]), "torn") {
				t.Errorf("nobody is told: %v", line)
			}
			again.kept(t, torn)
			all := again.events()
			if at := slices.IndexFunc(all[len(lines):], func(e event) bool { return e.Kind == "start" }); at != 0 {
				t.Errorf("the restart is not the next line: %s", all[len(lines)].Line)
			}
			for i, line := range lines {
				if all[i].Line != strings.TrimSuffix(line, "\n") {
					t.Errorf("line %d was changed", i+1)
				}
			}
			again.verify()
		})
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// kept looks for what was set aside, in a file beside the record.
func (s *server) kept(t *testing.T, torn string) {
	t.Helper()
	entries, err := os.ReadDir(s.state)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, _ := os.ReadFile(filepath.Join(s.state, e.Name()))
		if string(content) == torn {
			return
		}
	}
	t.Errorf("what was torn off is nowhere: %v", entries)
}

// What is changed in a record afterwards is found, and the first bad line is named.
func TestA5ARecordThatWasChanged(t *testing.T) {
	t.Parallel()
	s, lines := ended(t, 8)
	file := filepath.Join(directory(t), "audit.jsonl")
	verify := func(t *testing.T, lines []string, want int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := command(t, "audit", "verify", "--file", file)
		if named := fmt.Sprintf("audit.jsonl line %d ", want); code != 1 || !strings.Contains(out, named) {
			t.Errorf("it ends with %d and doesn't say %q: %s", code, named, out)
		}
	}
	changed := func(i int, how func(string) string) []string {
		copied := slices.Clone(lines)
		copied[i] = how(copied[i])
		return copied
	}
	replaced := func(old, new string) func(string) string {
		return func(line string) string { return strings.Replace(line, old, new, 1) }
	}
	for _, c := range []struct {
		name  string
		lines []string
		want  int
	}{
		{"another repository", changed(4, replaced("acme/app", "acme/apb")), 5},
		{"a release made a denial", changed(4, replaced("released", "denied")), 5},
		{"a blank more", changed(4, replaced(`"kind":`, `"kind": `)), 5},
		{"a field more", changed(4, replaced(`"prev":`, `"x":1,"prev":`)), 5},
		{"the first line", changed(0, replaced("started", "stopped")), 1},
		{"the last line", changed(len(lines)-1, replaced("stopped", "started")), len(lines)},
		{"a line emptied", changed(4, func(string) string { return "\n" }), 5},
		{"a line of another chain", changed(4, func(string) string { return lines[3] }), 5},
		{"a line removed", slices.Delete(slices.Clone(lines), 4, 5), 5},
		{"three lines removed", slices.Delete(slices.Clone(lines), 4, 7), 5},
		{"the first line removed", slices.Delete(slices.Clone(lines), 0, 1), 1},
		{"two lines exchanged", slices.Concat(lines[:4], []string{lines[5], lines[4]}, lines[6:]), 5},
		{"a line moved to the end", slices.Concat(lines[:4], lines[5:], []string{"\n" + lines[4]}), 5},
		{"a line twice", slices.Insert(slices.Clone(lines), 4, lines[3]), 5},
		{"a line's end cut off", append(slices.Clone(lines[:len(lines)-1]), lines[len(lines)-1][:50]), len(lines)},
		{"a line put in", slices.Insert(slices.Clone(lines), 4, "{}\n"), 5},
	} {
		t.Run("A5 "+c.name, func(t *testing.T) { verify(t, c.lines, c.want) })
	}
	t.Run("A5 any byte of a line", func(t *testing.T) {
		for at := 0; at < len(lines[4])-1; at += 23 {
			verify(t, changed(4, func(line string) string { return line[:at] + string(line[at]^1) + line[at+1:] }), 5)
		}
	})
	t.Run("A5 lines cut off at the end", func(t *testing.T) {
		// A shorter chain is still one; the auditor is told where it ends, to compare with the log.
		if err := os.WriteFile(file, []byte(strings.Join(lines[:6], "")), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := command(t, "audit", "verify", "--file", file)
		if code != 0 || !strings.Contains(out, "6 lines") || !strings.Contains(out, "log") {
			t.Errorf("it ends with %d and says %s", code, out)
		}
	})
	if code, out := command(t, "audit", "verify", "--file", s.Record); code != 0 || !strings.Contains(out, "unbroken") {
		t.Errorf("the record itself: %d, %s", code, out)
	}
}

// The record is cut while it is written: that can't be mended, but it shows.
func TestA1TheRecordIsCut(t *testing.T) {
	t.Parallel()
	s := startOne(t)
	s.servesOne(t)
	if err := os.Truncate(s.Record, 100); err != nil {
		t.Fatal(err)
	}
	_, _ = s.find(push("acme/app").number(2), "shared/ci-token")
	s.kill()
	if code, out := command(t, "audit", "verify", "--file", s.Record); code != 1 || !strings.Contains(out, "line 1 ") {
		t.Errorf("`audit verify` ends with %d: %s", code, out)
	}
}

// The record is taken away while it is written: nothing is released that nobody could find again, and the gap shows.
func TestA1TheRecordIsTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(*server) error{
		"removed":               func(s *server) error { return os.Remove(s.Record) },
		"moved":                 func(s *server) error { return os.Rename(s.Record, s.Record+".old") },
		"its directory removed": func(s *server) error { return os.RemoveAll(s.state) },
	} {
		t.Run("A1 "+name, func(t *testing.T) {
			t.Parallel()
			s := startOne(t)
			s.servesOne(t)
			if err := take(s); err != nil {
				t.Fatal(err)
			}
			b := push("acme/app").number(2)
			value, err := s.find(b, "shared/ci-token")
			if err == nil {
				t.Errorf("%q was released", value)
			} else if !strings.Contains(err.Error(), "request") {
				t.Errorf("the error is %v", err)
			}
			if name == "its directory removed" {
				if code, body := get(t, s.URL+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "record") {
					t.Errorf("/readyz answers %d %s", code, body)
				}
				if err := os.Mkdir(s.state, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "a record again", func() bool {
				_, err := s.find(b, "shared/ci-token")
				return err == nil || !s.pause()
			})
			if e := s.expect(t, push("acme/app").number(3), "shared/ci-token", gets("kv-shared/ci-token")); e.Seq <= 3 {
				t.Errorf("the numbers began anew: %s", e.Line)
			}
			s.kill()
			if code, out := command(t, "audit", "verify", "--file", s.Record); code != 1 {
				t.Errorf("`audit verify` ends with %d: %s", code, out)
			}
		})
	}
}
