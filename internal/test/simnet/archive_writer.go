package simnet

import (
	"context"
	"net/http"

	"railyard/internal/atproto"
)

// archiveWriter answers one getRepo. It sends the head of the archive apart from the
// rest, because there are clients that want to know no more than whether a host serves a
// repo, and leave after the head: what they have not read was not fetched.
type archiveWriter struct {
	http.ResponseWriter
	begun bool
	of    *History    // of the account whose repo is sent, nil where none is,
	rev   atproto.TID // and the repo's rev
}

// archiveHead is where the rest begins: behind the header, within the first block.
const archiveHead = 64

func (a *archiveWriter) Write(b []byte) (n int, err error) {
	if !a.begun && len(b) > archiveHead {
		if n, err = a.ResponseWriter.Write(b[:archiveHead]); err == nil {
			err = a.flush()
		}
		if err != nil {
			return n, err
		}
	}
	a.begun = true
	rest, err := a.ResponseWriter.Write(b[n:])
	return n + rest, err
}

// flush returns an error once the client has left.
func (a *archiveWriter) flush() error { return http.NewResponseController(a.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (a *archiveWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

type archiveKey struct{}

// archiveOf returns the writer of the archive that a request asks for, nil where it asks
// for something else.
func archiveOf(r *http.Request) *archiveWriter {
	a, _ := r.Context().Value(archiveKey{}).(*archiveWriter)
	return a
}

// respondArchive is respond for getRepo, and records what became of the answer.
func (h *host) respondArchive(w http.ResponseWriter, r *http.Request) {
	a := &archiveWriter{ResponseWriter: w}
	h.respond(a, r.WithContext(context.WithValue(r.Context(), archiveKey{}, a)))
	if a.of == nil {
		return
	}
	err := a.flush()
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if err != nil {
		a.of.Left++
		return
	}
	a.of.served(a.rev)
}
