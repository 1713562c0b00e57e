package outbound

import (
	"io"
	"net/http"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

const (
	// grace is how long a body may be silent at first.
	grace = 10 * time.Second

	// maxCredit is how long a body may be silent after it ran ahead: a repo that
	// came fast and then stops must not hold its reader until the timeout.
	maxCredit = 30 * time.Second
)

// body bounds the bytes and the pace of an answer.
//
// Pace is a credit of waiting time: it begins with the grace, each byte adds
// 1/rate seconds, waiting in Read takes away. The time that the reader spends
// elsewhere is not the host's fault and does not count.
type body struct {
	ex       *exchange
	src      io.ReadCloser
	left     int64 // bytes that may still come
	declared int64 // Content-Length, or -1
	max      int64

	rate   int64 // bytes per second; 0: no bound
	credit time.Duration
	timer  *time.Timer

	err error // given again by every later Read
}

func newBody(ex *exchange, resp *http.Response, r Request) *body {
	b := &body{ex: ex, src: resp.Body, declared: resp.ContentLength, max: r.MaxBytes, rate: r.MinRate, credit: grace}
	if b.max <= 0 {
		b.max = defaultMaxBytes
	}
	b.left = b.max
	// The transport undoes the gzip that it asked for and removes the header.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		b.err = &Error{ex.host, refusal.New(refusal.AnswerInvalid, "encoded as %s", atproto.Clip(enc))}
	}
	return b
}

// Read returns at most MaxBytes in all. A body of exactly MaxBytes is complete.
func (b *body) Read(p []byte) (int, error) {
	if b.err == nil && b.declared > b.max {
		b.err = b.tooBig()
	}
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.paced(p)
	if int64(n) > b.left {
		n, err = int(b.left), b.tooBig()
	} else if err != nil && err != io.EOF {
		err = b.ex.failure(err)
	}
	b.left -= int64(n)
	b.err = err
	return n, err
}

func (b *body) tooBig() error {
	return &Error{b.ex.host, refusal.New(refusal.AnswerTooBig, "over %d bytes", b.max)}
}

func (b *body) paced(p []byte) (int, error) {
	if b.rate <= 0 {
		return b.src.Read(p)
	}
	start := time.Now()
	b.arm()
	n, err := b.src.Read(p)
	b.timer.Stop()
	gained := time.Duration(float64(n) / float64(b.rate) * float64(time.Second))
	b.credit = min(b.credit-time.Since(start)+gained, maxCredit)
	return n, err
}

// arm ends the exchange when the credit is used up.
func (b *body) arm() {
	if b.timer != nil {
		b.timer.Reset(b.credit)
		return
	}
	b.timer = time.AfterFunc(b.credit, func() {
		b.ex.cancel(refusal.New(refusal.AnswerTooSlow, "%s: below %d bytes per second", b.ex.host, b.rate))
	})
}

// Close ends the exchange. The connection is kept only if the body was read to
// its end.
func (b *body) Close() error {
	err := b.src.Close()
	b.ex.end()
	return err
}
