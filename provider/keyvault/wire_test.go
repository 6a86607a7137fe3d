package keyvault_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/secret"
)

// However a vault, or what stands before it, puts an answer on the wire: the value comes as it is stored, or the answer counts
// as nonsense. A value is never made of another member of that name.
func TestAnAnswerInWhateverWayItComes(t *testing.T) {
	t.Parallel()
	const version = "0123456789abcdef0123456789abcdef"
	id := `"id":"https://` + host + `/secrets/deploy-db/` + version + `"`
	const inner = `"attributes":{"enabled":true,"value":"not-this","recoveryLevel":"value"},"tags":{"value":"nor-this","a":"\"value\":\"x\""}`
	whole := `{"value":"` + value + `",` + id + `,` + inner + `}`
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		good   bool
	}{
		"of a stated length": {write(whole), true},
		"the value last":     {write(`{` + inner + `,` + id + `,"value":"` + value + `"}`), true},
		"blanks around it":   {write("\r\n\t" + strings.ReplaceAll(whole, `,"`, " ,\n\"") + "\n\n"), true},
		"the name escaped":   {write(strings.Replace(whole, `"value"`, `"\u0076alue"`, 1)), true},
		"in pieces without a length": {func(w http.ResponseWriter, _ *http.Request) {
			for _, b := range []byte(whole) {
				_, _ = w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
			}
		}, true},
		"packed though nobody asked for it": {func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("asked for %q", got)
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, whole)
			_ = z.Close()
		}, false},
		"no content":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, false},
		"nothing":                {write(""), false},
		"another success":        {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated); write(whole)(w, r) }, false},
		"something behind it":    {write(whole + "x"), false},
		"twice":                  {write(whole + whole), false},
		"only inside others":     {write(`{` + id + `,` + inner + `}`), false},
		"in another case":        {write(strings.Replace(whole, `"value"`, `"Value"`, 1)), false},
		"a value twice":          {write(strings.TrimSuffix(whole, "}") + `,"value":"other"}`), false},
		"a value twice, escaped": {write(strings.TrimSuffix(whole, "}") + `,"v\u0061lue":"other"}`), false},
		"a list":                 {write(`[` + whole + `]`), false},
		"a mebibyte and more":    {write(`{"pad":"` + strings.Repeat("x", 1<<20) + `",` + whole[1:]), false},
		"nearly a mebibyte":      {write(`{"pad":"` + strings.Repeat("x", 1<<20-1000) + `",` + whole[1:]), true},
		"half a pair in it":      {write(strings.Replace(whole, value, `\ud800`, 1)), false},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %t", name, http2), func(t *testing.T) {
				s := httptest.NewUnstartedServer(c.answer)
				s.EnableHTTP2 = http2
				s.StartTLS()
				defer s.Close()
				transport := s.Client().Transport
				v := open(t, someone(token), fakeVault(func(r *http.Request) (*http.Response, error) {
					r = r.Clone(r.Context())
					r.URL.Host = s.Listener.Addr().String()
					resp, err := transport.RoundTrip(r)
					if err == nil && (resp.ProtoMajor == 2) != http2 {
						t.Errorf("by %s", resp.Proto)
					}
					return resp, err
				}))
				f, err := v.Get(t.Context(), secret.Request{}, secret.Ref{Vault: "pay", Name: "deploy-db"})
				if c.good {
					if err != nil || string(f.Value.Reveal()) != value {
						t.Errorf("got %q, %v", f.Value.Reveal(), err)
					}
					return
				}
				want(t, failed(t, err), secret.Garbled, secret.ReasonGarbled, "")
			})
		}
	}
}
