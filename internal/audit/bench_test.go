package audit_test

import (
	"sync/atomic"
	"testing"

	"github.com/drone-entra/drone-entra/internal/audit"
)

// BenchmarkRecordRepeat is the common case of a large pipeline: one write(2), nothing allocated.
func BenchmarkRecordRepeat(b *testing.B) {
	r := open(b, audit.Options{File: place(b)})
	e := release(1)
	record(b, r, e)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Record(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecordSynced has every event wait for a sync, many for the same one.
func BenchmarkRecordSynced(b *testing.B) {
	r := open(b, audit.Options{File: place(b)})
	var build atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := r.Record(b.Context(), release(build.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkVerify reads 20,000 lines.
func BenchmarkVerify(b *testing.B) {
	file := place(b)
	r := open(b, audit.Options{File: file})
	e := release(1)
	for range 20000 {
		record(b, r, e)
	}
	shut(b, r)
	for b.Loop() {
		verified(b, file)
	}
}
