package establish

import (
	"context"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/refusal"
)

// keyOf returns the public part of a new key, and the key.
func keyOf(t testing.TB) (identity.EarlierKey, atcrypto.PrivateKey) {
	private, err := atcrypto.GeneratePrivateKeyK256()
	must(t, err)
	return identity.EarlierKey{Key: publicOf(t, private)}, private
}

// An earlier key has signed the head: when that counts.
func TestWhichSignaturesCount(t *testing.T) {
	earlier, private := keyOf(t)
	stranger, _ := keyOf(t)
	away := errors.New("no directory")
	for _, tc := range []struct {
		name  string
		known bool
		keys  []identity.EarlierKey // nil: none counts
		err   error
		good  bool
	}{
		{"the known head", true, nil, nil, true},
		{"by an earlier key", false, []identity.EarlierKey{stranger, {Key: "broken"}, earlier}, nil, true},
		{"by none", false, []identity.EarlierKey{stranger}, nil, false},
		{"where none counts", false, nil, nil, false},
		{"by one that is not known", false, []identity.EarlierKey{}, away, false},
	} {
		for _, m := range Methods() {
			s := holding(t, large)
			s.signer = private
			s.sign()
			q, asked := s.request(), 0
			if tc.known {
				q.KnownHead = atproto.DigestOf(s.commit)
			}
			if tc.keys != nil {
				q.EarlierKeys = func(_ context.Context, head Head) ([]identity.EarlierKey, error) {
					if asked++; head.Rev != s.rev || head.CID != atproto.DigestOf(s.commit) {
						t.Errorf("asked about %+v", head)
					}
					return tc.keys, tc.err
				}
			}
			found, _, err := s.establisher(Method(m)).Repo(t.Context(), q)
			switch {
			case tc.good && (err != nil || !found.OldKey):
				t.Errorf("%s, %s: %+v, %v", tc.name, m, found, err)
			case tc.err != nil && !errors.Is(err, tc.err):
				t.Errorf("%s, %s: %v", tc.name, m, err)
			case !tc.good && tc.err == nil:
				wantReason(t, err, refusal.BadSignature)
			}
			if most := min(1, len(tc.keys)); tc.err == nil && asked != most {
				t.Errorf("%s, %s: asked %d times for earlier keys", tc.name, m, asked)
			}
		}
	}
}

// The present key has signed: nobody asks for earlier ones.
func TestThePresentKeyNeedsNoOther(t *testing.T) {
	s := holding(t, large)
	q := s.request()
	q.KnownHead = atproto.DigestOf(s.commit)
	q.EarlierKeys = func(context.Context, Head) ([]identity.EarlierKey, error) {
		t.Error("asked for earlier keys")
		return nil, nil
	}
	if found, _, err := s.establisher(Auto).Repo(t.Context(), q); err != nil || found.OldKey {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestAnEndWhileTheDirectoryIsAsked(t *testing.T) {
	_, private := keyOf(t)
	s := holding(t, large)
	s.signer = private
	s.sign()
	ctx, cancel := context.WithCancel(t.Context())
	q := s.request()
	q.EarlierKeys = func(context.Context, Head) ([]identity.EarlierKey, error) {
		cancel()
		return nil, nil
	}
	if _, _, err := s.establisher(Auto).Repo(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAKeyThatIsNoneIsNoRefusal(t *testing.T) {
	s := holding(t, tiny)
	q := s.request()
	q.Key = "none"
	_, _, err := s.establisher(Auto).Repo(t.Context(), q)
	if _, refused := refusal.ReasonOf(err); err == nil || refused || len(s.methods) > 0 {
		t.Errorf("%v", err)
	}
}
