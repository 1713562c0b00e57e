package api

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// worthCompressing is how long a body is at least that is compressed. A shorter one
// fits into a packet as it is.
const worthCompressing = 1 << 10

// compressors bounds how many answers are compressed at once, and with that the
// memory and the processors that clients can take by asking for it. While all are in
// use, further answers go out as they are, which any client accepts.
type compressors chan *gzip.Writer

func newCompressors(n int) compressors {
	c := make(compressors, n)
	for range n {
		c <- nil // made when it is first used
	}
	return c
}

// compress returns the body as gzip, or false if no compressor is free.
func (c compressors) compress(body []byte) ([]byte, bool) {
	var w *gzip.Writer
	select {
	case w = <-c:
	default:
		return nil, false
	}
	defer func() { c <- w }()
	out := bytes.NewBuffer(make([]byte, 0, len(body)/2))
	if w == nil {
		w, _ = gzip.NewWriterLevel(out, gzip.BestSpeed) // only a wrong level fails
	}
	w.Reset(out)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return out.Bytes(), true
}

// send writes an answer whose body is complete, compressed if the client wants that
// and it is worth it. The other headers are set already. HEAD costs no compression:
// it gets no length where that of GET may be another one (RFC 9110, 8.6).
func (s *server) send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	zip := false
	if len(body) >= worthCompressing {
		h.Set("Vary", "Accept-Encoding")
		zip = wantsGzip(r.Header.Values("Accept-Encoding"))
	}
	if r.Method == http.MethodHead {
		if !zip {
			h.Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(status)
		return
	}
	if zip {
		if short, ok := s.compressors.compress(body); ok {
			h.Set("Content-Encoding", "gzip")
			body = short
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is its own affair
}

// wantsGzip reports whether a client prefers gzip to a body as it is: where both are
// as good to it, gzip; where it names neither, not (RFC 9110, 12.5.3).
func wantsGzip(accept []string) bool {
	const unnamed = -1
	zip, star, identity := float64(unnamed), float64(unnamed), float64(unnamed)
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		coding, params, _ := strings.Cut(item, ";")
		q := qualityOf(params)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			zip = q
		case "*":
			star = q
		case "identity":
			identity = q
		}
	}
	if zip == unnamed {
		zip = star
	}
	return zip > 0 && zip >= identity
}

// qualityOf reads the weight of a coding; without one it is 1, and one that cannot be
// read is 0.
func qualityOf(params string) float64 {
	name, value, ok := strings.Cut(params, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || q < 0 || q > 1 {
		return 0
	}
	return q
}
