package secret

import (
	"bytes"
	"encoding/pem"
	"testing"

	"pgregory.net/rapid"
)

// EncodePEM writes what encoding/pem writes, and its buffer never grows.
func TestEncodePEMEqualsTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks []pem.Block
		var want []byte
		for range rapid.IntRange(0, 3).Draw(t, "blocks") {
			b := pem.Block{Type: rapid.SampledFrom([]string{"PRIVATE KEY", "CERTIFICATE", ""}).Draw(t, "type"),
				Bytes: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")}
			blocks, want = append(blocks, b), append(want, pem.EncodeToMemory(&b)...)
		}
		if got := EncodePEM(blocks...); !bytes.Equal(got, want) || len(got) > roomForPEM(blocks) {
			t.Fatalf("got %q in a room of %d, want %q", got, roomForPEM(blocks), want)
		}
	})
}
