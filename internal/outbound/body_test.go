package outbound

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/refusal"
)

func TestABodyIsReadToItsCapAndNotBeyond(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		if r.URL.Path == "/declared" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for ; size > 0; size -= 100 {
			io.WriteString(w, strings.Repeat("x", min(size, 100)))
			w.(http.Flusher).Flush()
		}
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{})
	for _, path := range []string{"chunked", "declared"} {
		for size, fits := range map[int]bool{0: true, 999: true, 1000: true, 1001: false, 5000: false} {
			_, body, err := get(t, c, Request{URL: fmt.Sprintf("https://pds.example.com/%s?size=%d", path, size), MaxBytes: 1000})
			if fits {
				if err != nil || len(body) != size {
					t.Errorf("%s, %d bytes: got %d, %v", path, size, len(body), err)
				}
				continue
			}
			wantReason(t, err, refusal.AnswerTooBig)
			if len(body) > 1000 {
				t.Errorf("%s, %d bytes: %d were read", path, size, len(body))
			}
		}
	}
}

func TestADeclaredLengthOverTheCapIsNotRead(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "70000")
		io.WriteString(w, strings.Repeat("x", 70000))
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	_, body, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	wantReason(t, err, refusal.AnswerTooBig)
	if body != "" {
		t.Errorf("%d bytes were read", len(body))
	}
}

func TestABodyThatNeverEndsIsCutAtItsCap(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	_, body, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/", MaxBytes: 1 << 20})
	wantReason(t, err, refusal.AnswerTooBig)
	if len(body) != 1<<20 {
		t.Errorf("%d bytes", len(body))
	}
}

func TestTheCapCountsDecompressedBytes(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Error("gzip was not asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		size, _ := strconv.Atoi(r.URL.Query().Get("kib"))
		for range size {
			z.Write(make([]byte, 1<<10))
		}
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{})
	_, body, err := get(t, c, Request{URL: "https://pds.example.com/?kib=64"})
	if err != nil || len(body) != 64<<10 {
		t.Errorf("64 KiB: got %d, %v", len(body), err)
	}
	_, body, err = get(t, c, Request{URL: "https://pds.example.com/?kib=65536"})
	wantReason(t, err, refusal.AnswerTooBig)
	if len(body) != 64<<10 {
		t.Errorf("a bomb gave %d bytes", len(body))
	}
}

func TestEncodingsThatWereNotAskedForAreRefused(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", r.URL.Query().Get("as"))
		io.WriteString(w, "text")
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{})
	for as, want := range map[string]refusal.Reason{
		"br": refusal.AnswerInvalid, "gzip,gzip": refusal.AnswerInvalid, "zstd": refusal.AnswerInvalid,
		"identity": "", "Identity": "",
	} {
		_, _, err := get(t, c, Request{URL: "https://pds.example.com/?as=" + as})
		wantReason(t, err, want)
	}
}

func TestABodyCutShortIsAFailure(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "only this")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	_, body, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	if !errors.Is(err, io.ErrUnexpectedEOF) || body != "only this" {
		t.Errorf("got %q %v", body, err)
	}
	wantReason(t, err, "")
}

func TestAFloodOfHeadersEndsTheExchange(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Flood", strings.Repeat("x", 2*maxHeaderBytes))
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	_, _, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	if err == nil || len(err.Error()) > 2*maxErrorText {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAreShortWhateverTheHostSends(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buf, _ := w.(http.Hijacker).Hijack()
		defer conn.Close()
		buf.WriteString(strings.Repeat("nonsense", 4000) + "\r\n\r\n")
		buf.Flush()
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	_, _, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	if err == nil || len(err.Error()) > maxErrorText+len("…") {
		t.Errorf("got %v", err)
	}
}

// pipes is a server on net.Pipe, for tests under a false clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// underFalseClock runs a test against a handler, in a bubble.
func underFalseClock(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: handler}
		var served sync.WaitGroup
		served.Go(func() { server.Serve(p) })
		c := New(Config{AllowPrivate: true, Dial: p.dial})
		test(t, c)
		c.Close()
		server.Close()
		served.Wait()
	})
}

// drip sends a byte each pause until the client goes.
func drip(pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write([]byte{'x'}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

func TestASlowDripEndsAfterTheGrace(t *testing.T) {
	underFalseClock(t, drip(time.Second), func(t *testing.T, c *Client) {
		start := time.Now()
		_, _, err := get(t, c, Request{URL: "http://pds.test/", MinRate: 1 << 10, Timeout: time.Hour})
		wantReason(t, err, refusal.AnswerTooSlow)
		if took := time.Since(start).Round(time.Second); took != grace {
			t.Errorf("took %s", took)
		}
	})
}

func TestABodyAtTheMinimumRateIsReadToItsEnd(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			w.Write(make([]byte, 1100))
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
		}
	}
	underFalseClock(t, handler, func(t *testing.T, c *Client) {
		_, body, err := get(t, c, Request{URL: "http://pds.test/", MinRate: 1000, MaxBytes: 1 << 20, Timeout: time.Hour})
		if err != nil || len(body) != 110000 {
			t.Errorf("got %d bytes, %v", len(body), err)
		}
	})
}

func TestAHostThatRanAheadMayNotThenBeSilentForLong(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<20))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	underFalseClock(t, handler, func(t *testing.T, c *Client) {
		start := time.Now()
		_, body, err := get(t, c, Request{URL: "http://pds.test/", MinRate: 1 << 10, MaxBytes: 2 << 20, Timeout: time.Hour})
		wantReason(t, err, refusal.AnswerTooSlow)
		if took := time.Since(start).Round(time.Second); took != maxCredit || len(body) != 1<<20 {
			t.Errorf("%d bytes, took %s", len(body), took)
		}
	})
}

func TestTheReadersOwnPausesDoNotCountAgainstTheHost(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 20000)) }
	underFalseClock(t, handler, func(t *testing.T, c *Client) {
		resp, err := c.Get(t.Context(), Request{URL: "http://pds.test/", MinRate: 1 << 10, Timeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if body, err := resp.ReadAll(); err != nil || len(body) != 19996 {
			t.Errorf("got %d bytes, %v", len(body), err)
		}
	})
}

func TestTheTimeoutEndsTheWholeExchange(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cases := []struct {
		name    string
		handler http.HandlerFunc
		request Request
		want    time.Duration
	}{
		{"no headers", silent, Request{Timeout: 20 * time.Second}, 20 * time.Second},
		{"no headers in their time", silent, Request{Timeout: time.Minute, HeaderTimeout: 5 * time.Second}, 5 * time.Second},
		{"a body without end", drip(time.Second), Request{Timeout: 20 * time.Second, HeaderTimeout: 5 * time.Second}, 20 * time.Second},
		{"no timeout was given", silent, Request{}, defaultTimeout},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			underFalseClock(t, tc.handler, func(t *testing.T, c *Client) {
				start := time.Now()
				tc.request.URL = "http://pds.test/"
				_, _, err := get(t, c, tc.request)
				wantReason(t, err, refusal.AnswerTooSlow)
				if took := time.Since(start); took != tc.want {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestTheCallerEndsAnExchange(t *testing.T) {
	underFalseClock(t, drip(time.Second), func(t *testing.T, c *Client) {
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		resp, err := c.Get(ctx, Request{URL: "http://pds.test/"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*time.Second, func() { cancel(cause) })
		_, err = resp.ReadAll()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		wantReason(t, err, "")
		if _, err := c.Get(ctx, Request{URL: "http://pds.test/"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestADialThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := New(Config{AllowPrivate: true, Dial: hang})
		defer c.Close()
		start := time.Now()
		_, err := c.Get(t.Context(), Request{URL: "http://pds.test/"})
		if took := time.Since(start); err == nil || took != dialTimeout {
			t.Errorf("took %s, %v", took, err)
		}
	})
}
