package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	plugin "github.com/drone/drone-go/plugin/secret"
)

// floor serves the handler that everything is compared with, and returns its address.
func floor(b testing.TB) string { return listen(b, http.HandlerFunc(serveFloor)) }

func serveFloor(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	sum := sha256.Sum256(body)
	if err != nil || r.Header.Get("Digest") != "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]) || !floorVerifies(r.Header) {
		http.Error(w, "unproven", http.StatusUnauthorized)
		return
	}
	var request plugin.Request
	if json.Unmarshal(body, &request) != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"name":"secret","data":"`+value+`"}`)
}

func floorVerifies(h http.Header) bool {
	mac := hmac.New(sha256.New, []byte(sharedKey))
	fmt.Fprintf(mac, "accept: %s\naccept-encoding: %s\ncontent-type: %s\ndate: %s\ndigest: %s",
		h.Get("Accept"), h.Get("Accept-Encoding"), h.Get("Content-Type"), h.Get("Date"), h.Get("Digest"))
	const prefix = `keyId="hmac-key",algorithm="hmac-sha256",signature="`
	signature := h.Get("Signature")
	if len(signature) < len(prefix)+44 || signature[:len(prefix)] != prefix {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(signature[len(prefix) : len(prefix)+44])
	return err == nil && hmac.Equal(mac.Sum(nil), want)
}
