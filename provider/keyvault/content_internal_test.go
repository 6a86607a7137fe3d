package keyvault

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// FuzzContent checks that no value, whatever it says it is, stops or delays the reader, and that what comes of it is the
// value as it is stored, or what stands in it.
func FuzzContent(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pfx")
	if err != nil || len(files) < 10 {
		f.Fatalf("%d files: a fuzz target without seeds tests nothing: %v", len(files), err)
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file, typePKCS12, true)
		f.Add(file, "text/plain;base64", true)
	}
	f.Add([]byte("hunter2"), "text/plain;base64", true)
	f.Add([]byte("hunter2"), typePEM, false)
	f.Fuzz(func(t *testing.T, file []byte, contentType string, encoded bool) {
		value := string(file)
		if encoded {
			value = base64.StdEncoding.EncodeToString(file)
		}
		made, form, flaw := content([]byte(value), contentType)
		decoded, _ := decode([]byte(value))
		switch {
		case form == secret.FormPKCS12:
			checkUnpacked(t, made, decoded, flaw)
		case string(made) == value:
		case flaw != "" || !bytes.Equal(made, decoded):
			t.Fatalf("%q of %q became %q, flaw %q", value, contentType, made, flaw)
		}
	})
}

// checkUnpacked expects the file itself in the last block, alone if there is a flaw, with something else if not.
func checkUnpacked(t *testing.T, made, file []byte, flaw string) {
	blocks, last := 0, (*pem.Block)(nil)
	for b, rest := pem.Decode(made); b != nil; b, rest = pem.Decode(rest) {
		blocks++
		last = b
	}
	if last == nil || last.Type != secret.BlockPKCS12 || !bytes.Equal(last.Bytes, file) || (blocks == 1) != (flaw != "") {
		t.Fatalf("%d blocks, flaw %q: %q of the file %x", blocks, flaw, made, file)
	}
}
