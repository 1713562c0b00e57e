package plc

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/refusal"
)

const (
	pageLines   = 1000 // the most that the directory returns
	pageBytes   = pageLines * identity.MaxEntry
	pageTimeout = 5 * time.Minute
	headTimeout = time.Minute
	pageRate    = 16 << 10 // bytes per second
	// ahead is how far the directory's clock may be ahead of ours. What states
	// a later time must not move the position.
	ahead = 5 * time.Minute
	// timeForm is that of the directory's times.
	timeForm = "2006-01-02T15:04:05.000Z"
)

// line is one line of the export.
type line struct {
	id    string // CID, or what stands for it in a malformed line
	at    time.Time
	did   string // empty = malformed
	entry identity.LogEntry
	err   error // what is wrong with a malformed line
}

// page is one answer, or what came of it before it broke off.
type page struct {
	lines   []line  // those with a time
	read    int     // all lines
	invalid []error // of the malformed ones without a time
}

// full: there are later lines.
func (p page) full() bool { return p.read >= pageLines }

// statusError is an answer that is no page.
type statusError struct {
	status     int
	retryAfter time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// get asks for the lines that were made after a time. With an error it returns the
// lines that came before it. A fault of ours becomes a refusal.
func (f *Follower) get(ctx context.Context, after time.Time) (p page, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			f.cfg.Log.Error("panic in the reader of the log", "panic", fault, "stack", string(debug.Stack()))
			err = refusal.New(refusal.Internal, "panic: %v", fault)
		}
	}()
	query := url.Values{"count": {strconv.Itoa(pageLines)}}
	if !after.IsZero() {
		query.Set("after", after.UTC().Format(timeForm))
	}
	resp, err := f.cfg.Client.Get(ctx, outbound.Request{
		URL: f.cfg.URL + "/export?" + query.Encode(), Accept: "application/jsonlines",
		MaxBytes: pageBytes, Timeout: pageTimeout, HeaderTimeout: headTimeout, MinRate: pageRate,
	})
	if err != nil {
		return page{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Status != http.StatusOK {
		return page{}, &statusError{resp.Status, resp.RetryAfter(time.Now())}
	}
	err = f.take(resp.Body, &p)
	// Of a DID the last line counts: that of the latest time, whatever the server's order.
	slices.SortStableFunc(p.lines, func(a, b line) int { return a.at.Compare(b.at) })
	return p, err
}

// take reads lines until the page is full or its end comes.
func (f *Follower) take(body io.Reader, p *page) error {
	in := bufio.NewReaderSize(body, identity.MaxEntry+2)
	for !p.full() {
		text, err := readLine(in)
		if err != nil && err != io.EOF && !errors.Is(err, errLong) {
			return err
		}
		if len(text) > 0 || errors.Is(err, errLong) {
			p.read++
			f.add(p, text, err)
		}
		if err == io.EOF {
			return nil
		}
	}
	return nil
}

var errLong = errors.New("a line that is too long")

// readLine returns a line without its end. The last one, with io.EOF, may have none;
// with any other error it is a part of a line. What is too long is read to its end
// and dropped.
func readLine(in *bufio.Reader) ([]byte, error) {
	text, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		for err == bufio.ErrBufferFull {
			_, err = in.ReadSlice('\n')
		}
		if err == nil || err == io.EOF {
			err = errLong
		}
		return nil, err
	}
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	return text, err
}

// add reads one line. One of the future is malformed: it must not move the
// position.
func (f *Follower) add(p *page, text []byte, broken error) {
	if errors.Is(broken, errLong) {
		p.invalid = append(p.invalid, errLong)
		return
	}
	e, err := identity.ParseLogEntry(text)
	at := e.CreatedAt.Truncate(instant)
	switch {
	case at.After(f.cfg.Now().Add(ahead)):
		p.invalid = append(p.invalid, fmt.Errorf("operation of the future, %s", at.Format(timeForm)))
	case err != nil && e.CreatedAt.IsZero():
		p.invalid = append(p.invalid, err)
	case err != nil:
		sum := sha256.Sum256(text)
		p.lines = append(p.lines, line{id: "sha256-" + hex.EncodeToString(sum[:16]), at: at, err: err})
	default:
		p.lines = append(p.lines, line{id: e.CID, at: at, did: e.DID, entry: e})
	}
}
