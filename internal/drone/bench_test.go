package drone_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/drone-entra/drone-entra/internal/drone"
)

// discard is a ResponseWriter that keeps the status alone.
type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(code int)        { d.code = code }

// BenchmarkEndpoint is a genuine request from its parsed head to its sealed answer: prove, parse, a fixed answer, write.
func BenchmarkEndpoint(b *testing.B) {
	w := &world{t: b, record: &record{}}
	handler := w.endpoint(func(o *options) { o.repeats = 1 << 62 })
	m := genuine(genuineBody).sign(runnerKey, five)
	header := http.Header{}
	for _, h := range m.headers {
		header.Set(h[0], h[1])
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(m.body))
		r.Header = header
		out := discard{header: http.Header{}}
		handler.ServeHTTP(&out, r)
		if out.code != http.StatusOK {
			b.Fatalf("answered %d", out.code)
		}
		w.record.events, w.asked = w.record.events[:0], w.asked[:0]
	}
}

// BenchmarkParse reads what a real runner sent.
func BenchmarkParse(b *testing.B) {
	_, body, _ := strings.Cut(string(recordings(b, "secret-push")[0].raw), "\r\n\r\n")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := drone.ParseRequest([]byte(body)); err != nil {
			b.Fatal(err)
		}
	}
}
