package plc

import (
	"bufio"
	"cmp"
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
	// ahead is how far the directory's clock may be ahead of ours.
	ahead = 5 * time.Minute
	// timeForm is that of the directory's times.
	timeForm = "2006-01-02T15:04:05.000Z"
)

// line is one line of the export.
type line struct {
	id    string // CID, or what stands for it in a malformed line
	key   int64  // its place in the log, see form
	at    time.Time
	did   string // empty = malformed
	entry identity.LogEntry
	err   error // what is wrong with a malformed line
}

// page is one answer, or what came of it before it broke off.
type page struct {
	form    *form
	lines   []line  // those that have a place
	read    int     // all lines
	other   int     // good ones of another form
	invalid []error // of the malformed ones without a place
}

// full: there are later lines.
func (p page) full() bool { return p.read >= pageLines }

// errForm is an answer to a question of a form that the server does not know.
var errForm = errors.New("the server does not page its log so")

// statusError is an answer that is no page.
type statusError struct {
	status     int
	retryAfter time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// Is reports whether the answer means that the server did not understand the question.
func (e *statusError) Is(target error) bool {
	switch e.status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusNotImplemented:
		return target == errForm
	}
	return false
}

// get asks for the lines behind the position. With an error it returns the lines that
// came before it.
func (f *Follower) get(ctx context.Context) (page, error) {
	if f.pos.form == nil {
		return f.first(ctx)
	}
	return f.ask(ctx, f.pos.form, f.pos.after)
}

// first asks for the first lines of the log, and finds out its form: a server that knows
// no sequence numbers takes 0 for a time, or refuses it.
func (f *Follower) first(ctx context.Context) (page, error) {
	p, err := f.ask(ctx, bySeq, 0)
	if errors.Is(err, errForm) || err == nil && p.read == 0 {
		return f.ask(ctx, byTime, 0)
	}
	return p, err
}

// ask asks for the lines behind a key. A fault of ours becomes a refusal.
func (f *Follower) ask(ctx context.Context, of *form, after int64) (p page, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			f.cfg.Log.Error("panic in the reader of the log", "panic", fault, "stack", string(debug.Stack()))
			err = refusal.New(refusal.Internal, "panic: %v", fault)
		}
	}()
	if err := f.cfg.Pace(ctx); err != nil {
		return page{form: of}, err
	}
	query := url.Values{"count": {strconv.Itoa(pageLines)}}
	if text := of.after(after); text != "" {
		query.Set("after", text)
	}
	p.form = of
	resp, err := f.cfg.Client.Get(ctx, outbound.Request{
		URL: f.cfg.URL + "/export?" + query.Encode(), Accept: "application/jsonlines",
		MaxBytes: pageBytes, Timeout: pageTimeout, HeaderTimeout: headTimeout, MinRate: pageRate,
	})
	if err != nil {
		return p, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Status != http.StatusOK {
		return p, &statusError{resp.Status, resp.RetryAfter(time.Now())}
	}
	err = f.take(resp.Body, &p)
	// Of a DID the last line counts, whatever the order in which the server sent them.
	slices.SortFunc(p.lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id)) })
	p.lines = slices.CompactFunc(p.lines, func(a, b line) bool { return a.key == b.key && a.id == b.id })
	if p.other > 0 && len(p.lines) == 0 {
		err = errForm
	}
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

// add reads one line. In a log by time, one of the future is malformed: it must not
// move the position.
func (f *Follower) add(p *page, text []byte, broken error) {
	if errors.Is(broken, errLong) {
		p.invalid = append(p.invalid, errLong)
		return
	}
	e, err := identity.ParseLogEntry(text)
	l := line{id: e.CID, key: p.form.key(e), at: e.CreatedAt.Truncate(time.Millisecond), did: e.DID, entry: e, err: err}
	if l.key == 0 && err == nil {
		p.other++
		l.err = errForm
	}
	if p.form == byTime && f.future(l) {
		l.key, l.err = 0, fmt.Errorf("operation of the future, %s", l.at.Format(timeForm))
	}
	switch {
	case l.key == 0:
		p.invalid = append(p.invalid, l.err)
		return
	case err != nil:
		sum := sha256.Sum256(text)
		l.id = "sha256-" + hex.EncodeToString(sum[:16])
	}
	p.lines = append(p.lines, l)
}

// future reports whether a line states a time that has not come.
func (f *Follower) future(l line) bool { return l.at.After(f.cfg.Now().Add(ahead)) }
