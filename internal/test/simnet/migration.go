package simnet

import (
	"fmt"
	"time"

	"railyard/internal/atproto"
)

// Migration says how an account moves to another PDS.
type Migration struct {
	To int // the PDS, counted from 0
	// OldStays leaves the account active on the old PDS, until LeaveOldHost.
	OldStays bool
	// DeleteOld deletes it there instead of deactivating it; the old PDS then forgets
	// its events.
	DeleteOld bool
	// Late is how long after the events the directory says so.
	Late time.Duration
}

// arrival is what the new PDS of an account says of it until the first write there,
// beside the head that the old PDS signed.
type arrival struct {
	rev   atproto.TID // of the import; getLatestCommit, getRepoStatus and #sync have it
	empty *repo       // made with the account; listRepos has it
}

// documentCache is how long a PDS describes a newcomer by the document that it saw
// when the account was made.
const documentCache = time.Hour

// described is the plcOp of the document that describeRepo shows.
func (a *account) described(now time.Time) *plcOp {
	if a.cached != nil && now.Before(a.cachedUntil) {
		return a.cached
	}
	return a.plcOp
}

// Migrate moves an active account to another PDS, which signs with a key of its own
// from its first write on. Events of the new PDS: #account, #identity, #sync with a
// rev that is not that of its commit; then, of the old PDS and not through the
// relay: #account.
func (n *Network) Migrate(did string, how Migration) error {
	return n.with(did, func(a *account) error {
		switch {
		case how.To < 0 || how.To >= len(n.pdses):
			return fmt.Errorf("there is no PDS %d", how.To)
		case n.pdses[how.To] == a.pds:
			return fmt.Errorf("%s is on PDS %d already", did, how.To)
		case !a.active():
			return fmt.Errorf("%s: %w: %s", did, ErrInactive, a.status())
		}
		return n.migrate(a, how)
	})
}

func (n *Network) migrate(a *account, how Migration) error {
	key, err := n.nextKey(a)
	if err != nil {
		return err
	}
	left := a.leave()
	made := n.tick()
	a.adopt(key)
	a.pds, a.created = n.pdses[how.To], made.Time()
	a.pds.forgetFormer(a.did)
	empty, _ := buildTree(nil, nil, nil, made)
	first, err := a.author().commitTo(nil, empty, made)
	if err != nil {
		return err
	}
	a.pds.list(a)
	a.arrival = &arrival{rev: n.tick(), empty: first}
	a.cached, a.cachedUntil = left.plcOp, time.Now().Add(documentCache)
	n.publish(a, key, how.Late)
	n.welcome(a)
	n.report(a, Moved)
	if !how.OldStays {
		n.endFormer(left, how.DeleteOld)
	}
	return nil
}

// leave puts a copy of the account in its place on its PDS, and returns the copy.
func (a *account) leave() *account {
	left := *a
	h := a.pds
	if at, found := h.place(a.created.UnixMilli(), a.did); found {
		h.accounts[at] = &left
	}
	h.former[a.did] = &left
	return &left
}

// forgetFormer takes away what a PDS has of an account that had left it.
func (h *host) forgetFormer(did string) {
	if left := h.former[did]; left != nil {
		h.unlist(left)
		delete(h.former, did)
	}
}

// endFormer deactivates, or deletes, the account on a PDS that it has left. Only that
// PDS sends an event about it.
func (n *Network) endFormer(left *account, deleted bool) {
	left.deactivated = true
	if deleted {
		left.deleted = true
		left.pds.forgetFormer(left.did)
		left.pds.stream.erase(left.did)
	}
	n.sendStatus(left)
	n.report(left, LeftOldHost)
}

// formerOf returns what a PDS still has, as active, of an account that left it; nil if
// there is none.
func (n *Network) formerOf(did string) *account {
	for _, h := range n.pdses {
		if left := h.former[did]; left != nil && left.active() {
			return left
		}
	}
	return nil
}

// LeaveOldHost ends the account on a PDS that it left with Migration.OldStays. Event,
// of that PDS only: #account.
func (n *Network) LeaveOldHost(did string, deleted bool) error {
	return n.withFormer(did, func(left *account) error {
		n.endFormer(left, deleted)
		return nil
	})
}

// WriteOnOldHost makes a commit on a PDS that the account left with
// Migration.OldStays: what is true does not change. Event, of that PDS only: #commit.
func (n *Network) WriteOnOldHost(did string, writes ...Write) error {
	return n.withFormer(did, func(left *account) error { return n.apply(left, writes) })
}

func (n *Network) withFormer(did string, verb func(*account) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := n.formerOf(did)
	if left == nil {
		return fmt.Errorf("%s: %w on a PDS that it left", did, ErrNoAccount)
	}
	return verb(left)
}

// current reports whether an account is where its DID's owner has it now.
func (n *Network) current(a *account) bool { return n.byDID[a.did] == a }

// headRev is the rev that the PDS names as the account's, which after a migration is
// not that of its commit.
func (a *account) headRev() atproto.TID {
	if a.arrival != nil {
		return a.arrival.rev
	}
	return a.repo.rev
}

// Return makes a deleted account anew on a PDS, with an empty repo and another key.
// Events: #identity, #account, #commit, #sync.
func (n *Network) Return(did string, pds int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	switch {
	case pds < 0 || pds >= len(n.pdses):
		return fmt.Errorf("there is no PDS %d", pds)
	case a == nil || !a.deleted || a.tombstoned:
		return fmt.Errorf("%s: %w that could return", did, ErrNoAccount)
	}
	return n.comeBack(a, n.pdses[pds])
}

func (n *Network) comeBack(a *account, pds *host) error {
	key, err := n.nextKey(a)
	if err != nil {
		return err
	}
	a.adopt(key)
	pds.forgetFormer(a.did)
	a.pds = pds
	a.deactivated, a.takendown, a.suspended, a.deleted = false, false, false, false
	if err := n.open(a); err != nil {
		return err
	}
	n.report(a, Returned)
	return nil
}
