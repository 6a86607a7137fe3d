package emulator_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/drone-entra/drone-entra/internal/emulator"
)

func subjectOf(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	return claims.Subject
}

func TestATokenIsProjectedAsTheKubeletDoes(t *testing.T) {
	e, _ := world(t)
	dir := filepath.Join(t.TempDir(), "tokens")
	path := filepath.Join(dir, "azure-identity-token")
	for _, subject := range []string{"first", "second", "third"} {
		if err := e.ProjectToken(path, subject); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := subjectOf(t, string(content)); got != subject {
			t.Errorf("got the token of %q, want %q", got, subject)
		}
	}
	if target, err := os.Readlink(path); err != nil || target != filepath.Join("..data", "azure-identity-token") {
		t.Errorf("the path links to %q, %v", target, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d entries, want the token, ..data and one directory: %v", len(entries), err)
	}
}

func TestAReaderNeverMissesAProjectedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := emulator.Project(path, "0"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// A reader that has followed the link just before the swap may find its directory gone, as with the
			// kubelet; what it must never see is half a token.
			if content, err := os.ReadFile(path); err == nil && len(content) != 1 {
				t.Errorf("read %q", content)
			}
		}
	})
	for i := range 100 {
		if err := emulator.Project(path, string(rune('0'+i%10))); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

func TestAPathThatCannotBeWrittenIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := emulator.Project(filepath.Join(file, "token"), "x"); err == nil || !mentions(file)(err) {
		t.Errorf("got %v", err)
	}
}
