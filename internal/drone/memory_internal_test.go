package drone

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/drone-entra/drone-entra/secret"
)

type recorded []secret.Event

func (r *recorded) Record(_ context.Context, e secret.Event) error { *r = append(*r, e); return nil }

// A proven head whose body finds no room is told so at once, and what had room gives it back.
func TestBodiesHaveSoMuchRoom(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	memory := NewMemory(time.Now)
	guard, err := NewGuard(Options{Keys: []Key{{"default", "1", []byte(key)}}, Skew: time.Minute, MaxBody: 1 << 20, Repeats: 10, Now: time.Now, Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	var events recorded
	endpoint := NewEndpoint(EndpointOptions{Guard: guard, Recorder: &events, Budget: time.Second}, Secrets(
		func(context.Context, secret.Caller, secret.Request) (secret.Value, error) {
			return secret.NewValue([]byte("value")), nil
		}))
	ask := func() int {
		body := `{"path":"v","name":"x","repo":{},"build":{}}`
		sum := sha256.Sum256([]byte(body))
		digest, date := "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]), time.Now().UTC().Format(http.TimeFormat)
		mac := hmac.New(sha256.New, []byte(key))
		fmt.Fprintf(mac, "accept: %s\naccept-encoding: identity\ncontent-type: application/json\ndate: %s\ndigest: %s", SecretMedia, date, digest)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header = http.Header{"Accept": {SecretMedia}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"}, "Date": {date}, "Digest": {digest},
			"Signature": {fmt.Sprintf(`keyId="hmac-key",algorithm="hmac-sha256",signature="%s",headers="accept accept-encoding content-type date digest"`,
				base64.StdEncoding.EncodeToString(mac.Sum(nil)))}}
		w := httptest.NewRecorder()
		endpoint.ServeHTTP(w, r)
		return w.Code
	}
	for range 3 {
		if code := ask(); code != http.StatusOK {
			t.Fatalf("with room: %d", code)
		}
	}
	if !memory.bodies.TryAcquire(maxBodies) {
		t.Fatal("an answered request keeps its room")
	}
	if code := ask(); code != http.StatusTooManyRequests || len(events) != 1 || events[0].Reason != secret.ReasonBusy {
		t.Errorf("without room: %d, on record %+v", code, events)
	}
	memory.bodies.Release(maxBodies)
	if code := ask(); code != http.StatusOK {
		t.Errorf("with room again: %d", code)
	}
}
