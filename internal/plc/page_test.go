package plc

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// Whatever a server sends has a place in its form, or none, and moves the position forward.
func FuzzPage(f *testing.F) {
	entry := fmt.Sprintf(`"did":%q,"operation":%s,"cid":"bafya","createdAt":%q`, did(1), operationOf(key1, "pds.example.com"), day.Format(timeForm))
	for _, text := range []string{
		`{"type":"sequenced_op","seq":7,` + entry + "}\n" + `{"type":"sequenced_op","seq":8,` + entry + "}",
		"{" + entry + `,"nullified":true}` + "\r\n\n<html>\n{}",
		`{"seq":9007199254740991,"createdAt":"0000-01-01T00:00:00Z"}`,
		`{"seq":"7","createdAt":"9999-12-31T23:59:59.999999999Z"}`,
	} {
		f.Add([]byte(text))
	}
	follower := New(Config{URL: "https://plc.example.com", Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, of := range []*form{bySeq, byTime} {
			p := page{form: of}
			if err := follower.take(bytes.NewReader(text), &p); err != nil {
				t.Fatal(err)
			}
			if len(p.lines)+len(p.invalid) != p.read {
				t.Fatalf("%d lines of %d, %d invalid", len(p.lines), p.read, len(p.invalid))
			}
			for _, l := range p.lines {
				if l.key < 1 || l.id == "" || (l.did == "") != (l.err != nil) || of == byTime && follower.future(l) {
					t.Fatalf("%s: %+v", of.LogForm, l)
				}
			}
			nullify(p.lines)
			pos := position{}
			for _, l := range p.lines {
				next := pos.next(of, []line{l}, time.Now())
				if !next.has(l) || next.after < pos.after || len(next.seen) > maxSeen {
					t.Fatalf("%s: %+v leads from %+v to %+v", of.LogForm, l, pos, next)
				}
				pos = next
			}
		}
	})
}
