package simnet

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// push sends what was written so far.
func push(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func drip(_ *match, w http.ResponseWriter, r *http.Request, a *answered) {
	w.WriteHeader(a.status)
	for _, b := range a.body.Bytes() {
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		push(w)
		if !wait(r, time.Second) {
			return
		}
	}
}

func cutBody(_ *match, w http.ResponseWriter, _ *http.Request, a *answered) {
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()[:a.body.Len()/2])
	push(w)
	panic(http.ErrAbortHandler)
}

func halfBody(_ *match, w http.ResponseWriter, _ *http.Request, a *answered) {
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()[:a.body.Len()/2])
}

func wrongLength(_ *match, w http.ResponseWriter, _ *http.Request, a *answered) {
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()+100))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

// endlessBody writes until the client is gone.
func endlessBody(_ *match, w http.ResponseWriter, r *http.Request, a *answered) {
	w.WriteHeader(a.status)
	_, err := w.Write(a.body.Bytes())
	more := []byte(strings.Repeat(" ", 1<<14))
	if w.Header().Get("Content-Type") == "application/vnd.ipld.car" {
		record := dagcbor.AppendMap(nil, 0)
		for more = nil; len(more) < 1<<14; {
			more = appendCARBlock(more, block{atproto.DigestOf(record), record})
		}
	}
	for err == nil && r.Context().Err() == nil {
		_, err = w.Write(more)
	}
}

func lateAnswer(one *match, w http.ResponseWriter, r *http.Request, a *answered) {
	if wait(r, time.Duration(1+one.dice.IntN(20))*time.Second) {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes())
	}
}
