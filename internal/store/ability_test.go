package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/test/testrepo"
)

// A changed key dates what was seen until then, in the row and in the value alike; a
// changed host does not.
func TestAChangedKeyDatesWhatWasSeen(t *testing.T) {
	const other = "\x80\x24\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, tc := range []struct {
		name string
		head atproto.TID
		seen atproto.TID
		key  string
		want atproto.TID
	}{
		{"nothing seen", 0, 0, other, 0},
		{"a head", 5, 0, other, 5},
		{"a head and more", 5, 9, other, 9},
		{"no head", 0, 9, other, 9},
		{"the same key", 5, 9, testKey, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "index.db"))
			err := s.Update(t.Context(), "test", func(tx *Tx) error {
				r, err := testrepo.Add(tx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
				if err != nil {
					return err
				}
				if err := testrepo.Enqueue(tx, r, FirstSight, tx.now); err != nil {
					return err
				}
				if _, err := testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false); err != nil {
					return err
				}
				if tc.head != 0 {
					if _, _, err := testrepo.Establish(tx, r, Head{Rev: tc.head, Data: atproto.Digest{1}}, nil, ProofTree); err != nil {
						return err
					}
				}
				if err := testrepo.Saw(tx, r, tc.seen); err != nil {
					return err
				}
				if _, err := testrepo.SetIdentity(tx, r, tc.key, "new.example.com", false); err != nil {
					return err
				}
				again, err := tx.RepoByID(r.ID)
				if err != nil {
					return err
				}
				if r.Identity.EarlierRev != tc.want || again.Identity.EarlierRev != tc.want {
					t.Errorf("earlier keys count up to %d, in the row %d, want %d", r.Identity.EarlierRev, again.Identity.EarlierRev, tc.want)
				}
				if again.OldKeysCount() != (tc.key == other || tc.head+tc.seen == 0) {
					t.Errorf("they count now: %t", again.OldKeysCount())
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sound(t, s.Reader)
		})
	}
}

func TestAHostsAbilityIsKept(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	for _, can := range []Ability{Unknown, Able, Unable, Able, Unknown} {
		err := s.Update(t.Context(), "test", func(tx *Tx) error {
			r, err := tx.RepoByDID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
			if err == nil && r == nil {
				r, err = testrepo.Add(tx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
			}
			if err != nil {
				return err
			}
			if _, err := testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false); err != nil {
				return err
			}
			if err := tx.SetAbsentProofs(r.Identity.HostID, can); err != nil {
				return err
			}
			again, err := tx.RepoByID(r.ID)
			if err == nil && again.Identity.AbsentProofs != can {
				t.Errorf("ability %d, want %d", again.Identity.AbsentProofs, can)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What a host cannot do is tried again after a month, once; what it can stays. That it
// is said again meanwhile puts nothing off.
func TestInabilitiesAreTriedAgainAfterAMonth(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	update := func(fn func(tx *Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), "test", fn); err != nil {
			t.Fatal(err)
		}
	}
	var unable, liar, able int64
	update(func(tx *Tx) (err error) {
		for host, id := range map[string]*int64{"unable.example.com": &unable, "liar.example.com": &liar, "able.example.com": &able} {
			if *id, err = tx.HostRow(host, false); err != nil {
				return err
			}
		}
		return tx.SetAbsentProofs(able, Able)
	})
	expect := func(when string, proofs Ability, trusts bool) {
		t.Helper()
		if err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		update(func(tx *Tx) error {
			u, errU := tx.IdentityAtHost(testKey, "unable.example.com", false)
			l, errL := tx.IdentityAtHost(testKey, "liar.example.com", false)
			a, errA := tx.IdentityAtHost(testKey, "able.example.com", false)
			if err := errors.Join(errU, errL, errA); err != nil {
				return err
			}
			if u.AbsentProofs != proofs || l.DescribeTrusted != trusts || a.AbsentProofs != Able {
				t.Errorf("%s: absent proofs %d, %t trusted, able %d", when, u.AbsentProofs, l.DescribeTrusted, a.AbsentProofs)
			}
			return nil
		})
	}
	fail := func(tx *Tx) error { return errors.Join(tx.SetAbsentProofs(unable, Unable), tx.DistrustDescribe(liar)) }
	for range 2 {
		update(fail)
		expect("at once", Unable, false)
		now = now.Add(20 * day)
		update(func(tx *Tx) error { return tx.DistrustDescribe(liar) }) // an old claim is disproved
		expect("after 20 days", Unable, false)
		now = now.Add(11 * day)
		expect("after 31 days", Unknown, true)
	}
}
