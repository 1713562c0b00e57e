package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/cli/archive"
	"railyard/internal/identity"
	"railyard/internal/refusal"
)

// source is where a repo is to be had, or a part of it.
type source struct {
	text string // as given
	// did is empty for a file and for standard input.
	did, collection, rkey string
}

// parseSource reads X of the command line.
func parseSource(command, text string) (source, error) {
	s := source{text: text, did: text}
	if rest, ok := strings.CutPrefix(text, "at://"); ok {
		s.did, rest, _ = strings.Cut(strings.TrimSuffix(rest, "/"), "/")
		s.collection, s.rkey, _ = strings.Cut(rest, "/")
		if !strings.HasPrefix(s.did, "did:") {
			return s, usagef("%s: %q: handles are not resolved, name the DID", command, text)
		}
	} else if !strings.HasPrefix(text, "did:") {
		if text == "" {
			return s, usagef("%s: an empty file name", command)
		}
		return source{text: text}, nil
	}
	if _, err := atproto.ParseDID(s.did); err != nil {
		return s, usagef("%s: %v", command, err)
	}
	if s.rkey != "" {
		if _, _, err := atproto.ParsePath(s.collection + "/" + s.rkey); err != nil {
			return s, usagef("%s: %v", command, err)
		}
	}
	return s, validCollection(command, s.collection)
}

func validCollection(command, nsid string) error {
	if nsid == "" {
		return nil
	}
	if _, err := atproto.ParseNSID(nsid); err != nil {
		return usagef("%s: %v", command, err)
	}
	return nil
}

// whole returns the source of a whole repo, with the collection to look at, which
// the at-uri or the flag names.
func (c *repoConfig) whole(command, text string) (s source, collection string, err error) {
	s, err = parseSource(command, text)
	switch {
	case err != nil:
		return s, "", err
	case s.rkey != "":
		return s, "", usagef("%s: %q: a single record; only inspect takes one", command, text)
	case s.collection != "" && c.collection != "" && s.collection != c.collection:
		return s, "", usagef("%s: two collections, %s and %s", command, s.collection, c.collection)
	case s.collection != "":
		return s, s.collection, nil
	}
	return s, c.collection, nil
}

// state is a repo that was read.
type state struct {
	source  source
	archive *archive.Archive
	// report is what the checks of a fetched repo say; nil for a file, which
	// nobody vouches for.
	report *archive.Report
}

// load reads a file, or fetches the repo and checks it.
func (c *repoConfig) load(ctx context.Context, s source) (*state, error) {
	if s.did == "" {
		b, err := c.readFile(s.text)
		if err != nil {
			return nil, err
		}
		return &state{source: s, archive: archive.Read(b)}, nil
	}
	out, resolver, hosts, err := c.clients()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	id, err := resolver.Resolve(ctx, s.did)
	if err != nil {
		return nil, err
	}
	var b []byte
	if s.rkey != "" {
		b, err = hosts.GetRecord(ctx, id.URL(), s.did, s.collection, s.rkey)
	} else {
		hosts.RepoMaxBytes = c.maxBytes
		b, err = fetchAll(hosts.GetRepo(ctx, id.URL(), s.did))
	}
	if err != nil {
		return nil, err
	}
	st := &state{source: s, archive: archive.Read(b)}
	st.report = archive.Verify(st.archive, s.did, archive.Resolved(id, nil), c.now())
	return st, nil
}

func fetchAll(body io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadAll(body)
}

// readFile reads a file, or standard input for a dash, up to the limit.
func (c *repoConfig) readFile(name string) ([]byte, error) {
	if name == "-" {
		return c.readAll("standard input", c.stdin, 0)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var size int64
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return c.readAll(name, f, size)
}

func (c *repoConfig) readAll(name string, r io.Reader, size int64) ([]byte, error) {
	if size > c.maxBytes {
		return nil, fmt.Errorf("%s: %d bytes, more than --max-bytes %d", name, size, c.maxBytes)
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(r, c.maxBytes+1))
	if err != nil {
		return nil, err
	}
	if n > c.maxBytes {
		return nil, fmt.Errorf("%s: more than --max-bytes %d", name, c.maxBytes)
	}
	return b.Bytes(), nil
}

// authority finds out whose key counts for a repo that was read from a file: that of did,
// or of the account that the commit names where did is empty.
func (c *repoConfig) authority(ctx context.Context, a *archive.Archive, did string) (archive.Authority, error) {
	if did == "" && a.Commit != nil {
		did = a.Commit.DID
	}
	switch {
	case c.key != "":
		return givenKey(c.key)
	case a.Commit == nil:
		return archive.Authority{}, nil
	case c.didDoc != "":
		b, err := readDocument(c.didDoc)
		return archive.Document(did, b), err
	}
	out, resolver, _, err := c.clients()
	if err != nil {
		return archive.Authority{}, err
	}
	defer out.Close()
	id, err := resolver.Resolve(ctx, did)
	if ctx.Err() != nil {
		return archive.Authority{}, err
	}
	return archive.Resolved(id, err), nil
}

// readDocument reads one byte more than a document may have, which is enough to
// refuse it.
func readDocument(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, identity.MaxDocument+1))
}

// shown fails for a repo that cannot be shown or compared. What was fetched must
// also be signed.
func (st *state) shown() error {
	if err := st.archive.Err(); err != nil {
		return fmt.Errorf("%s: %w", st.source.text, err)
	}
	if st.report == nil {
		return nil
	}
	if check, refused := st.report.Signed(); refused {
		return fmt.Errorf("%s: %w", st.source.text, &refusedError{check})
	}
	return nil
}

// reasonOf splits an error as JSON shows it.
func reasonOf(err error) *refusedJSON {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		return &refusedJSON{string(e.Reason), e.Detail}
	}
	return &refusedJSON{Detail: err.Error()}
}

// refusedJSON is a refusal in the output.
type refusedJSON struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}
