package entra_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/drone-entra/drone-entra/internal/emulator"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/secret"
)

func TestABrokenTokenFileIsNamedAndItsContentIsNot(t *testing.T) {
	write := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	shared := newWorld(t)
	for name, c := range map[string]struct {
		make   func(path string) error
		detail string
	}{
		"missing":        {func(string) error { return nil }, "does not exist"},
		"empty":          {write(""), "is empty"},
		"blank":          {write(" \n\n"), "is empty"},
		"directory":      {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"pipe":           {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"huge":           {write(strings.Repeat("eyJ", 1<<20/3)), "more than 64 KiB"},
		"no JWT":         {write("eyJhbGciOi hunter2"), "does not hold a JWT"},
		"a mark":         {write("\xef\xbb\xbfeyJhIjoxfQ.eyJhIjoxfQ.c2ln"), "byte order mark"},
		"UTF-16":         {write("\xff\xfee\x00y\x00J\x00"), "UTF-16"},
		"two tokens":     {write("eyJhIjoxfQ.eyJhIjoxfQ.c2ln\r\neyJhIjoxfQ.eyJhIjoxfQ.c2ln\r\n"), "does not hold one JWT, but 2 of them"},
		"a header":       {write("bearer eyJhIjoxfQ.eyJhIjoxfQ.c2ln"), "the word \"Bearer\""},
		"quoted":         {write(`"eyJhIjoxfQ.eyJhIjoxfQ.c2ln"`), "quotation mark"},
		"JSON":           {write(`{"token": "eyJhIjoxfQ.eyJhIjoxfQ.c2ln"}`), "but JSON"},
		"PEM":            {write("-----BEGIN PRIVATE KEY-----\nhunter2\n"), "but PEM"},
		"two parts":      {write("eyJhIjoxfQ.eyJhIjoxfQ"), "does not hold a JWT"},
		"unsigned":       {write("eyJhIjoxfQ.eyJhIjoxfQ."), "does not hold a JWT"},
		"not JSON":       {write("aGVsbG8.aGVsbG8.aGVsbG8"), "does not hold a JWT"},
		"dangling link":  {func(path string) error { return os.Symlink(path+".gone", path) }, "does not exist"},
		"link to itself": {func(path string) error { return os.Symlink(path, path) }, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			w := shared.with(t)
			w.file = filepath.Join(t.TempDir(), "token")
			if err := c.make(w.file); err != nil {
				t.Fatal(err)
			}
			i := w.identity()
			_, err := w.token(i)
			want(t, err, secret.Unavailable, secret.ReasonIdentity, w.file, c.detail)
			if strings.Contains(err.Detail, "hunter2") {
				t.Errorf("the content is in %q", err.Detail)
			}
			if !strings.Contains(w.log.String(), w.file) {
				t.Error("the log does not name the file")
			}
			if s := i.Status(); s.State != entra.Broken || !strings.Contains(s.Error, w.file) {
				t.Errorf("the status is %+v", s)
			}
			if err := os.RemoveAll(w.file); err != nil {
				t.Fatal(err)
			}
			if err := write(" " + w.Assertion(emulator.AssertionOptions{}) + "\r\n")(w.file); err != nil {
				t.Fatal(err)
			}
			_, err = w.token(i) // read at each exchange: put right, it works at once
			works(t, err)
		})
	}
}

func TestATokenFileThatIsRenewedIsReadAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	read := entra.TokenFile(w.file)
	first, err := read(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	w.project()
	second, err := read(t.Context(), "")
	if err != nil || first == second {
		t.Errorf("the same token again, %v", err)
	}
}

// tokenSeeds are contents of a token's file, and whether they hold one.
func tokenSeeds() map[string]bool {
	return map[string]bool{
		"": false, "a.b.c": false, "eyJhIjoxfQ.eyJhIjoxfQ.": false, "\xef\xbb\xbfeyJhIjoxfQ.eyJhIjoxfQ.c2ln": false,
		"eyJhIjoxfQ\r.eyJhIjoxfQ.c2ln": false, "eyJhIjoxfQ.eyJh\nIjoxfQ.c2ln": false,
		"eyJhIjoxfQ.eyJhIjoxfQ.c2ln": true, " eyJhIjoxfQ.eyJhIjoxfQ.c2ln\r\n": true,
	}
}

func TestTokenSeeds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for content, good := range tokenSeeds() {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := entra.TokenFile(path)(t.Context(), ""); (err == nil) != good {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// Whatever a file holds: what is taken for a token can be nothing but one, and what is not is not told.
func FuzzTokenFile(f *testing.F) {
	for content := range tokenSeeds() {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := entra.TokenFile(path)(t.Context(), "")
		if err != nil {
			if text := err.Error(); len(content) > 8 && strings.Contains(strings.ReplaceAll(text, path, ""), content) {
				t.Errorf("the content is in %q", text)
			}
			return
		}
		if !strings.Contains(content, token) || strings.ContainsAny(token, " \r\n\t&=") || strings.Count(token, ".") != 2 {
			t.Errorf("%q was made of %q", token, content)
		}
	})
}
