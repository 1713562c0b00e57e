package eventlog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/identity"
	"railyard/internal/refusal"
)

// counter resolves every DID to one key, or to err.
type counter struct {
	key   identity.Key
	err   error
	asked int
}

func (c *counter) Resolve(context.Context, string) (identity.Identity, error) {
	c.asked++
	return identity.Identity{Key: c.key}, c.err
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	private, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := private.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.KeyOf(public)
	if err != nil {
		t.Fatal(err)
	}
	return &counter{key: key}
}

func TestKeysAreKeptForATime(t *testing.T) {
	unavailable := errors.New("unavailable")
	for _, c := range []struct {
		name string
		err  error
		age  time.Duration // for which the answer is kept
		want []int         // look-ups: at once, at that age, and when it is over
	}{
		{"found", nil, keyAge, []int{1, 1, 2}},
		{"refused", refusal.New(refusal.IdentityUnresolved, "none"), refusedAge, []int{1, 1, 2}},
		{"unavailable", unavailable, 0, []int{1, 2, 3}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newCounter(t)
			r.err = c.err
			k := newKeys(r)
			for i, wait := range []time.Duration{0, c.age, time.Second} {
				time.Sleep(wait)
				e := k.get(t.Context(), "did:plc:a")
				if !errors.Is(e.err, c.err) || (e.key == nil) != (c.err != nil) {
					t.Errorf("%s: %+v", c.name, e)
				}
				if r.asked != c.want[i] {
					t.Errorf("%s, look %d: asked %d times, want %d", c.name, i, r.asked, c.want[i])
				}
			}
		})
	}
}

func TestTheNumberOfKeysIsBounded(t *testing.T) {
	r := newCounter(t)
	k := newKeys(r)
	for i := range maxKeys + 50 {
		if e := k.get(t.Context(), fmt.Sprint(i)); e.err != nil {
			t.Fatal(e.err)
		}
	}
	if k.known.Len() != maxKeys || r.asked != maxKeys+50 {
		t.Errorf("%d keys after %d look-ups", k.known.Len(), r.asked)
	}
}
