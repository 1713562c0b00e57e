package repo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/refusal"
)

// SnapshotLimits bounds a getRepo answer. A field that is zero means its
// default.
type SnapshotLimits struct {
	Bytes     int64 // of the whole answer; default 8 GiB
	NodeBytes int64 // kept in memory: tree nodes with what finds them; default 512 MiB
	Blocks    int64 // default 64 million
}

func (l SnapshotLimits) withDefaults() SnapshotLimits {
	if l.Bytes == 0 {
		l.Bytes = 8 << 30
	}
	if l.NodeBytes == 0 {
		l.NodeBytes = 512 << 20
	}
	if l.Blocks == 0 {
		l.Blocks = 64_000_000
	}
	return l
}

// Snapshot is what a whole repo proves. Its commit is not verified yet.
type Snapshot struct {
	Commit *Commit
	// Collections with at least one key, each once, sorted by their bytes.
	Collections []string
}

// buffers are those of the streams: most repos are smaller than theirs.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// ReadSnapshot reads a getRepo CAR in any order, checks every block's hash and
// walks the whole tree from the commit. The answer may lack records, because
// the tree alone proves the keys.
//
// Reasons: BadCAR, BadBlock, BadCommit, BadTree, AnswerPartial (a node is
// absent), AnswerTooBig, Internal. An error of r's own comes back wrapped.
func ReadSnapshot(r io.Reader, lim SnapshotLimits) (snap *Snapshot, err error) {
	defer func() {
		if p := recover(); p != nil {
			snap, err = nil, refusal.New(refusal.Internal, "panic in a snapshot: %v", p)
		}
	}()
	lim = lim.withDefaults()
	source := &cappedReader{r: r, left: lim.Bytes}
	in := buffers.Get().(*bufio.Reader)
	in.Reset(source)
	defer func() {
		in.Reset(nil)
		buffers.Put(in)
	}()
	store, err := readStream(in, lim)
	if source.err != nil {
		return nil, source.err
	}
	if err != nil {
		return nil, err
	}
	return store.walk()
}

// cappedReader counts down the bytes of an answer and remembers an error that
// is not the input's end, so that it can be told from a CAR that is cut off.
type cappedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (c *cappedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.left -= int64(n)
	switch {
	case c.left < 0:
		c.err = refusal.New(refusal.AnswerTooBig, "more bytes than the limit")
	case err != nil && !errors.Is(err, io.EOF):
		c.err = fmt.Errorf("read repo: %w", err)
	default:
		return n, err
	}
	return n, c.err
}

// walk proves the tree and gathers its collections.
func (s *nodeStore) walk() (*Snapshot, error) {
	if s.commit == nil {
		return nil, refusal.New(refusal.BadCommit, "the commit block %s is absent", s.root)
	}
	commit, err := ParseCommit(s.commit)
	if err != nil {
		return nil, err
	}
	var names mst.Collections
	err = mst.Walk(commit.Data, s, func(key, _ []byte) error {
		names.Add(key)
		return nil
	})
	switch {
	case errors.Is(err, mst.ErrMissing):
		return nil, refusal.New(refusal.AnswerPartial, "%w", err)
	case err != nil:
		return nil, refusal.New(refusal.BadTree, "%w", err)
	}
	return &Snapshot{Commit: commit, Collections: names.Sorted()}, nil
}

// nodeStore keeps the blocks of a stream that can be nodes, and the commit. Nodes
// stand one after the other in chunks, and are found by numbers instead of
// pointers: the garbage collector has nothing to follow.
type nodeStore struct {
	root   atproto.Digest
	commit []byte
	chunks [][]byte
	places map[atproto.Digest]place
	used   int64
}

// place is where a node stands.
type place struct{ chunk, offset, length uint32 }
