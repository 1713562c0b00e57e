package pds

import (
	"context"
	"io"
	"net/url"

	"railyard/internal/outbound"
)

// GetRepo opens the CAR of a repo. The stream is bounded in bytes, time and pace,
// and the caller closes it; its Read fails as the other methods do. A stream
// that ends is not thereby complete: only the tree shows that.
func (c *Client) GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error) {
	q := call{
		method: "com.atproto.sync.getRepo",
		base:   base,
		params: url.Values{"did": {did}},
		accept: "application/vnd.ipld.car",
		bounds: outbound.Request{
			MaxBytes:      c.RepoMaxBytes,
			Timeout:       c.RepoTimeout,
			HeaderTimeout: repoHeaderTimeout,
		},
	}
	if q.bounds.MaxBytes <= 0 {
		q.bounds.MaxBytes = defaultRepoMaxBytes
	}
	if q.bounds.Timeout <= 0 {
		q.bounds.Timeout = defaultRepoTimeout
	}
	resp, err := c.open(ctx, q)
	if err != nil {
		return nil, err
	}
	return &stream{ctx: ctx, call: q, body: resp.Body}, nil
}

// stream adds their type to the errors of a body.
type stream struct {
	ctx  context.Context
	call call
	body io.ReadCloser
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && err != io.EOF {
		err = s.call.failed(s.ctx, err)
	}
	return n, err
}

func (s *stream) Close() error { return s.body.Close() }
