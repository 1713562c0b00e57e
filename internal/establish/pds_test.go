package establish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/pds"
)

// server is a host as a PDS of its one repo.
type server struct {
	*host
	mu      sync.Mutex
	methods []string         // that were called
	fails   map[string]error // by method
	fetch   func()           // called while a repo is fetched
}

func serverOf(h *host) *server { return &server{host: h, fails: map[string]error{}, fetch: func() {}} }

func (s *server) call(base, did, method string) error {
	if base != "https://pds.example" || did != testDID {
		s.t.Errorf("%s of %s at %s", method, did, base)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.methods = append(s.methods, method)
	return s.fails[method]
}

func (s *server) GetRecord(ctx context.Context, base, did, collection, rkey string) ([]byte, error) {
	if err := s.call(base, did, "getRecord"); err != nil {
		return nil, err
	}
	return s.host.GetRecord(ctx, collection, rkey)
}

func (s *server) DescribeRepo(ctx context.Context, base, did string) (pds.RepoDescription, error) {
	if err := s.call(base, did, "describeRepo"); err != nil {
		return pds.RepoDescription{}, err
	}
	list, err := s.host.DescribeRepo(ctx)
	return pds.RepoDescription{Collections: list}, err
}

func (s *server) GetRepo(_ context.Context, base, did string) (io.ReadCloser, error) {
	if err := s.call(base, did, "getRepo"); err != nil {
		return nil, err
	}
	s.fetch()
	car := carOf(atproto.DigestOf(s.commit), append([][]byte{s.commit}, s.root.all()...)...)
	return io.NopCloser(bytes.NewReader(car)), nil
}

// asked returns the methods that were called, in order, repetitions as one with a
// plus.
func (s *server) asked() string {
	var out []string
	for _, m := range s.methods {
		if last := len(out) - 1; last >= 0 && strings.TrimSuffix(out[last], "+") == m {
			out[last] = m + "+"
		} else {
			out = append(out, m)
		}
	}
	return strings.Join(out, " ")
}

// establisher asks the server, soon after the repo's last commit.
func (s *server) establisher(m Method) *Establisher {
	return New(Config{Hosts: s, Method: m, Now: func() time.Time { return s.rev.Time().Add(time.Minute) }})
}

func (s *server) request() Request {
	return Request{
		DID: testDID, Host: "https://pds.example", Key: publicOf(s.t, s.key),
		Pace: func(context.Context) error { return nil },
	}
}

func publicOf(t testing.TB, private atcrypto.PrivateKey) identity.Key {
	public, err := private.PublicKey()
	must(t, err)
	key, err := identity.KeyOf(public)
	must(t, err)
	return key
}

// holding is a server of a repo with so many records, spread over a few collections.
func holding(t testing.TB, records int) *server {
	keys := make([]string, records)
	for i := range keys {
		keys[i] = fmt.Sprintf("com.example.n%d/3l%09x", i%6, i*7919)
	}
	return serverOf(newHost(t, keys...))
}
