package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestGzipIsSentToWhomPrefersIt(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   bool
	}{
		{"", false},
		{"gzip", true},
		{"GZIP", true},
		{"x-gzip", true},
		{"deflate, gzip;q=1.0, *;q=0.5", true},
		{"br, zstd", false},
		{"*", true},
		{"*;q=0", false},
		{"gzip;q=0", false},
		{"gzip;q=0.000, *", false},
		{"gzip ; q=0.001", true},
		{"gzip;Q=0.5", true},
		{"gzip;q=2", false},
		{"gzip;q=x", false},
		{"gzip;q=", false},
		{"gzip;q=NaN", false},
		{"gzip;level=1", true},
		{"identity", false},
		{"identity, gzip", true},
		{"gzip;q=0.5, identity;q=0.6", false},
		{"gzip;q=0.5, identity;q=0.5", true},
		{"identity;q=0", false}, // nothing that is acceptable is known: as it is
		{"gzip;q=0.5, identity;q=0", true},
		{",,;,gzip", true},
		{"xgzip, gzipx", false},
	} {
		if got := wantsGzip([]string{c.accept}); got != c.want {
			t.Errorf("%q: %t", c.accept, got)
		}
	}
	if !wantsGzip([]string{"br", "gzip"}) {
		t.Error("the second line of the header is not read")
	}
}

// Whatever the header holds, gzip comes only to whom names it.
func FuzzWantsGzip(f *testing.F) {
	for _, seed := range []string{"gzip", "*;q=1e-9", ";q=;", "identity;q=0, *;q=0.3", "gzip;q=Inf"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if wantsGzip([]string{accept}) && !strings.Contains(strings.ToLower(accept), "gzip") && !strings.Contains(accept, "*") {
			t.Errorf("%q", accept)
		}
	})
}

func unzipped(t *testing.T, body []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswersAreCompressedWhereThatIsWorthIt(t *testing.T) {
	x := newIndex(t)
	for n := range 100 {
		x.establish(didOf(n), posts)
	}
	for _, c := range []struct {
		target string
		long   bool
	}{
		{listingPath, true}, {listingPath + "?limit=2", false}, {listingPath + "?limit=0", false}, {"/_health", false},
		{"/xrpc/com.atproto.sync.listRepos", true}, {"/openapi.json", true}, {"/llms.txt", true}, {"/", true}, {"/nothing", false},
	} {
		plain := x.get(c.target)
		zipped := x.send("GET", c.target, "Accept-Encoding", "gzip, br")
		head := x.send("HEAD", c.target, "Accept-Encoding", "gzip, br")
		encoding, body := zipped.Header().Get("Content-Encoding"), zipped.Body.String()
		if (encoding == "gzip") != c.long {
			t.Errorf("%s: %d bytes, encoding %q", c.target, plain.Body.Len(), encoding)
		}
		if got := zipped.Header().Get("Content-Length"); got != strconv.Itoa(len(body)) {
			t.Errorf("%s: length %s, body of %d bytes", c.target, got, len(body))
		}
		if c.long {
			if len(body) > plain.Body.Len()*3/4 {
				t.Errorf("%s: %d bytes are %d compressed", c.target, plain.Body.Len(), len(body))
			}
			body = unzipped(t, zipped.Body.Bytes())
		}
		if c.target != "/" && body != plain.Body.String() {
			t.Errorf("%s: compressed it is another answer", c.target)
		}
		for _, w := range []string{plain.Header().Get("Vary"), zipped.Header().Get("Vary"), head.Header().Get("Vary")} {
			if (w == "Accept-Encoding") != c.long {
				t.Errorf("%s: Vary %q", c.target, w)
			}
		}
		if plain.Header().Get("Content-Encoding")+head.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: an encoding without being asked for, or of HEAD", c.target)
		}
		if (head.Header().Get("Content-Length") == "") != c.long || head.Body.Len() != 0 || head.Code != zipped.Code {
			t.Errorf("%s: HEAD has status %d, length %q and a body of %d bytes", c.target, head.Code, head.Header().Get("Content-Length"), head.Body.Len())
		}
	}
}

// Compressing is bounded: whoever comes when all compressors are in use gets the answer
// as it is.
func TestWhenAllCompressorsAreInUseAnswersGoOutAsTheyAre(t *testing.T) {
	c := newCompressors(2)
	body := []byte(strings.Repeat("railyard ", 1000))
	first, second := <-c, <-c
	if _, ok := c.compress(body); ok {
		t.Error("a third one was made")
	}
	c <- first
	if got, ok := c.compress(body); !ok || unzipped(t, got) != string(body) {
		t.Error("one is free, and nothing was compressed")
	}
	c <- second
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			body := []byte(strings.Repeat(strconv.Itoa(n), 5000))
			if got, ok := c.compress(body); ok && unzipped(t, got) != string(body) {
				t.Error("answers mix")
			}
		})
	}
	all.Wait()
	if len(c) != 2 {
		t.Errorf("%d compressors are left of 2", len(c))
	}
}

func BenchmarkCompress(b *testing.B) {
	var body []byte
	for n := range 2000 {
		body = append(body, `{"did":"`+didOf(n*0x9e3779b97f4a7c1)+`"},`...)
	}
	c := newCompressors(1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c.compress(body)
	}
}
