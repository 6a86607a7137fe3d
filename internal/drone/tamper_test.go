package drone_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve hands a message to the endpoint without a connection, as net/http would. What net/http can't read is a 400.
func serve(handler http.Handler, raw []byte) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		answer.WriteHeader(http.StatusBadRequest)
		return answer
	}
	r.RemoteAddr = "192.0.2.1:4711"
	handler.ServeHTTP(answer, r)
	return answer
}

// Changing one bit of anything that was signed, or of the signature, makes a genuine request worthless.
func TestNoBitOfARequestCanBeChanged(t *testing.T) {
	w := &world{t: t, record: &record{}}
	handler := w.endpoint(func(o *options) { o.repeats = 1 << 30 })
	m := genuine(genuineBody).sign(runnerKey, five)
	raw := m.bytes()
	if answer := serve(handler, raw); answer.Code != 200 {
		t.Fatalf("the genuine request is answered %d", answer.Code)
	}
	parts := []string{m.body}
	for name := range strings.SplitSeq(five, " ") {
		parts = append(parts, ": "+m.get(name)+"\r\n")
	}
	signed, _ := strings.CutPrefix(m.get("Signature"), `keyId="hmac-key",`) // which key it was is found by trying
	for _, part := range append(parts, signed) {
		at := bytes.Index(raw, []byte(part))
		value := strings.TrimSpace(strings.TrimPrefix(part, ":"))
		if at < 0 || value == "" {
			t.Fatalf("%q is not in the message, or nothing", part)
		}
		at += strings.Index(part, value)
		for i := at; i < at+len(value); i++ {
			for bit := range 8 {
				changed := bytes.Clone(raw)
				changed[i] ^= 1 << bit
				if answer := serve(handler, changed); answer.Code == 200 {
					t.Errorf("with %q for %q in %q it is still answered 200", changed[i], raw[i], value)
				}
			}
		}
	}
}
