//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"
)

// lab is a network, the services that follow it, and the accounts whose state
// the test itself keeps.
type lab struct {
	net      *network
	services []*service
	// model holds what the test made of an account: its collections, or gone. It
	// shows that a step did to the network what it meant to.
	model map[string][]string
	gone  map[string]bool
	began time.Time
}

// expect notes what the next truth must say of an account.
func (l *lab) expect(did string, collections ...string) {
	slices.Sort(collections)
	l.model[did] = collections
	delete(l.gone, did)
}

// expectGone notes that the account is not public.
func (l *lab) expectGone(dids ...string) {
	for _, did := range dids {
		l.gone[did] = true
	}
}

// settle ends a step: the network is quiet, its truth is what the test meant,
// every index reaches and holds it, and clients with kept cursors get the
// newcomers only. The DIDs in back are of accounts that were hidden and are
// active again: they count as newcomers.
func (l *lab) settle(t *testing.T, step string, back ...string) truth {
	t.Helper()
	for _, s := range l.services {
		if s.proc.hasEnded() {
			t.Fatalf("%s ended by itself: %v", s.name, s.proc.err)
		}
	}
	want := l.net.truth(t)
	l.requireModel(t, want)
	indexes := make([]index, 0, len(l.services))
	for _, s := range l.services {
		indexes = append(indexes, s.index)
	}
	requireEqual(t, want, indexes...)
	for _, s := range l.services {
		s.clients.settled(t, s.index, want, back)
	}
	t.Logf("%5.1fs %s: %d public repos, %d memberships", time.Since(l.began).Seconds(), step, len(want.members()), want.memberships())
	return want
}

func (l *lab) requireModel(t *testing.T, want truth) {
	t.Helper()
	for did, collections := range l.model {
		a := want.find(did)
		if a.Public == l.gone[did] {
			t.Fatalf("the network says that %s is public: %v (%s)", did, a.Public, a.Refusal)
		}
		if a.Public && !slices.Equal(a.Collections, collections) {
			t.Fatalf("the network says that %s holds %v, the test meant %v", did, a.Collections, collections)
		}
	}
}
