package establish

import (
	"fmt"
	"testing"
)

// big is a repo of 100,000 records in ten collections.
func big(b *testing.B) *host {
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("com.example.n%d/3l%09x", i%10, i*7919)
	}
	return newHost(b, keys...)
}

// BenchmarkAnswer is one answer of a repo with 100,000 records, the signature of
// its commit known ("again") or to be verified ("signature").
func BenchmarkAnswer(b *testing.B) {
	h := big(b)
	q := question{"com.example.n4", highRkey}
	car, err := h.GetRecord(b.Context(), q.collection, q.rkey)
	must(b, err)
	for name, known := range map[string]bool{"again": true, "signature": false} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			p := h.prober()
			for b.Loop() {
				if !known {
					p.signed = nil
				}
				if _, err := p.read(car); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "probes/s")
			b.ReportMetric(float64(len(car)), "bytes/probe")
		})
	}
}

// BenchmarkCollections is the whole walk of such a repo, its host's work not
// counted.
func BenchmarkCollections(b *testing.B) {
	h := big(b)
	answers := recorded{}
	h.answer = func(q question, car []byte) ([]byte, error) { answers[q] = car; return car, nil }
	_, err := h.prober().collections(b.Context())
	must(b, err)
	cfg := h.config()
	cfg.source = answers
	b.ReportAllocs()
	requests := 0
	for b.Loop() {
		p := newProber(cfg)
		r, err := p.collections(b.Context())
		if err != nil || len(r.collections) != 10 {
			b.Fatal(r, err)
		}
		requests = p.requests
	}
	b.ReportMetric(float64(requests), "requests/op")
}

// BenchmarkNameBetween is the search that only trees with odd keys ask for.
func BenchmarkNameBetween(b *testing.B) {
	for b.Loop() {
		if _, ok := nameBetween("", beyondAll); !ok {
			b.Fatal("none")
		}
	}
}
