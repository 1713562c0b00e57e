package simnet

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoAccount is returned by every verb for a DID that the network does not
// have, or no longer has.
var ErrNoAccount = errors.New("no such account")

// ErrInactive is returned by verbs that write to the repo of an account that is
// not active.
var ErrInactive = errors.New("the account is not active")

// account is one account and its repo, as its PDS and the directory know it.
type account struct {
	did         string
	handle      string
	number      int // in order of creation, over the whole network
	pds         *host
	key         *signingKey
	keys        []*signingKey // every key it ever had, oldest first
	announced   *signingKey   // in the directory already, and not used yet
	plcOp       *plcOp        // the last one in the directory
	arrival     *arrival      // until the first write after a migration
	cached      *plcOp        // of a migrated account, in the cache of its PDS
	cachedUntil time.Time
	relayWord   string // what the relay calls it, where it does not believe the PDS
	created     time.Time
	repo        *repo
	past        []*repo // earlier states, oldest first, for a stale replica
	written     int64   // records made so far, so that no two are alike
	position    int     // in the roster of accounts that are not deleted

	deactivated, takendown, suspended, deleted, tombstoned bool
}

// newDID derives the DID of an account from the seed and its number.
func newDID(seed uint64, number int) string {
	text := base32.StdEncoding.EncodeToString(seeded(seed, "did", number, 0)[:15])
	return "did:plc:" + strings.ToLower(text)
}

// status is the word that the PDS uses for the account, empty for an active
// one. The stronger word wins.
func (a *account) status() string {
	switch {
	case a.deleted:
		return "deleted"
	case a.takendown:
		return "takendown"
	case a.suspended:
		return "suspended"
	case a.deactivated:
		return "deactivated"
	}
	return ""
}

func (a *account) active() bool { return a.status() == "" }

func (a *account) author() author { return author{a.did, a.key, a.pds.abilities.PrevLinks} }

// CreateAccount makes an account with an empty repo on a PDS, counted from 0,
// and returns its DID. Events: #identity, #account, #commit, #sync.
func (n *Network) CreateAccount(pds int) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if pds < 0 || pds >= len(n.pdses) {
		return "", fmt.Errorf("there is no PDS %d", pds)
	}
	a, err := n.createAccount(n.pdses[pds])
	if err != nil {
		return "", err
	}
	return a.did, nil
}

func (n *Network) createAccount(pds *host) (*account, error) {
	number := len(n.accounts)
	key, err := newKey(n.cfg.Seed, number, 0)
	if err != nil {
		return nil, err
	}
	a := &account{
		did: newDID(n.cfg.Seed, number), handle: fmt.Sprintf("account-%d.sim.test", number), number: number,
		pds: pds, key: key, keys: []*signingKey{key},
	}
	n.accounts = append(n.accounts, a)
	n.byDID[a.did] = a
	n.histories[a.did] = newHistory()
	if err := n.open(a); err != nil {
		return nil, err
	}
	n.report(a, Made)
	return a, nil
}

// open gives an account an empty repo and emits it.
func (n *Network) open(a *account) (err error) {
	rev := n.tick()
	a.created = rev.Time()
	clear(n.histories[a.did].Births)
	t, made := buildTree(nil, nil, nil, rev)
	if a.repo, err = a.author().commitTo(nil, t, rev); err != nil {
		return err
	}
	n.publish(a, a.key, 0)
	n.living.add(a)
	a.pds.list(a)
	n.admit(a)
	n.ledger.Commits++
	n.emit(a, identityMessage(a.did, a.handle, rev.Time()))
	n.emit(a, accountMessage(a.did, "", rev.Time()))
	n.emitCommit(a, &change{after: a.repo, made: made}, rev.Time())
	n.emit(a, syncMessage(a.did, a.repo, rev, rev.Time()))
	return nil
}

// with runs a verb on an account that is not deleted.
func (n *Network) with(did string, verb func(*account) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	if a == nil || a.deleted {
		return fmt.Errorf("%s: %w", did, ErrNoAccount)
	}
	return verb(a)
}

// Apply makes one commit of any number of writes; without writes, an empty
// commit. Event: #commit.
func (n *Network) Apply(did string, writes ...Write) error {
	return n.with(did, func(a *account) error { return n.apply(a, writes) })
}

// Create makes a record. Event: #commit.
func (n *Network) Create(did, path string) error {
	return n.Apply(did, Write{Action: Create, Path: path})
}

// Update changes a record. Event: #commit.
func (n *Network) Update(did, path string) error {
	return n.Apply(did, Write{Action: Update, Path: path})
}

// Delete removes a record. Event: #commit.
func (n *Network) Delete(did, path string) error {
	return n.Apply(did, Write{Action: Delete, Path: path})
}

func (n *Network) apply(a *account, writes []Write) error {
	if !a.active() {
		return fmt.Errorf("%s: %w: %s", a.did, ErrInactive, a.status())
	}
	rev := n.tick()
	filled := make([]Write, len(writes))
	for i, w := range writes {
		if w.Action != Delete && w.Record == nil {
			a.written++
			w.Record = newRecord(w.Path, a.written, stamp(rev.Time()))
		}
		filled[i] = w
	}
	c, err := a.author().applyWrites(a.repo, rev, filled)
	if err != nil {
		return fmt.Errorf("%s: %w", a.did, err)
	}
	a.become(c.after)
	if n.current(a) {
		n.book(a, c)
	}
	if a.plcOp.key != a.key {
		n.histories[a.did].Strange++
	}
	n.emitCommit(a, c, rev.Time())
	if n.current(a) {
		n.report(a, Wrote, filled...)
	} else {
		n.report(a, WroteOnOldHost, filled...)
	}
	return nil
}

// Deactivate is what the account's owner does. Event: #account.
func (n *Network) Deactivate(did string) error {
	return n.with(did, func(a *account) error { return n.set(a, &a.deactivated, true, Deactivated) })
}

// Takedown is what the host's moderators do. Event: #account.
func (n *Network) Takedown(did string) error {
	return n.with(did, func(a *account) error { return n.set(a, &a.takendown, true, TakenDown) })
}

// Untakedown undoes Takedown; a deactivated account shows as that again.
// Event: #account.
func (n *Network) Untakedown(did string) error {
	return n.with(did, func(a *account) error { return n.set(a, &a.takendown, false, Restored) })
}

// Suspend is a takedown for a time. Event: #account.
func (n *Network) Suspend(did string) error {
	return n.with(did, func(a *account) error { return n.set(a, &a.suspended, true, Suspended) })
}

// Unsuspend undoes Suspend. Event: #account.
func (n *Network) Unsuspend(did string) error {
	return n.with(did, func(a *account) error { return n.set(a, &a.suspended, false, Unsuspended) })
}

// set changes one of the account's states and emits the status.
func (n *Network) set(a *account, state *bool, to bool, action ActionKind) error {
	*state = to
	n.sendStatus(a)
	n.report(a, action)
	return nil
}

// sendStatus emits the account's status.
func (n *Network) sendStatus(a *account) {
	n.emit(a, accountMessage(a.did, a.status(), n.tick().Time()))
}

// Activate undoes Deactivate. Events: #account, #identity, #sync with the commit
// that stood before.
func (n *Network) Activate(did string) error {
	return n.with(did, n.activate)
}

func (n *Network) activate(a *account) error {
	n.welcome(a)
	n.report(a, Activated)
	return nil
}

// welcome makes an account active and emits all that a reader needs of it.
func (n *Network) welcome(a *account) {
	a.deactivated = false
	at := n.tick().Time()
	n.emit(a, accountMessage(a.did, a.status(), at))
	n.emit(a, identityMessage(a.did, a.handle, at))
	n.emit(a, syncMessage(a.did, a.repo, a.headRev(), at))
}

// DeleteAccount removes the account and its repo; its PDS forgets the earlier
// events too, and the directory keeps the document. Event: #account.
func (n *Network) DeleteAccount(did string) error {
	return n.with(did, func(a *account) error {
		n.delete(a)
		return nil
	})
}

func (n *Network) delete(a *account) {
	a.deleted = true
	a.repo, a.past, a.arrival = nil, nil, nil
	a.pds.unlist(a)
	n.living.remove(a)
	a.pds.stream.erase(a.did)
	n.sendStatus(a)
	n.report(a, Deleted)
}

// ChangeHandle gives the account another handle, also in its DID document.
// Event: #identity.
func (n *Network) ChangeHandle(did, handle string) error {
	return n.with(did, func(a *account) error {
		n.rename(a, handle)
		return nil
	})
}

func (n *Network) rename(a *account, handle string) {
	a.handle = handle
	n.publish(a, a.inDocument(), 0)
	n.identityChanged(a)
	n.report(a, Renamed)
}

func (n *Network) identityChanged(a *account) {
	n.emit(a, identityMessage(a.did, a.handle, n.tick().Time()))
}

// Tombstone takes the DID out of the directory; the PDS knows nothing of it.
// No event.
func (n *Network) Tombstone(did string) error {
	return n.with(did, func(a *account) error {
		a.tombstoned = true
		n.publish(a, a.key, 0)
		n.report(a, Tombstoned)
		return nil
	})
}

// EmitSync sends a #sync of the repo as it stands.
func (n *Network) EmitSync(did string) error {
	return n.with(did, func(a *account) error {
		n.emit(a, syncMessage(a.did, a.repo, a.headRev(), n.tick().Time()))
		return nil
	})
}

// EmitAccount emits the account's status once more, also that of a deleted one.
// Event: #account.
func (n *Network) EmitAccount(did string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	if a == nil {
		return fmt.Errorf("%s: %w", did, ErrNoAccount)
	}
	n.sendStatus(a)
	return nil
}

// EmitIdentity sends an #identity although nothing changed.
func (n *Network) EmitIdentity(did string) error {
	return n.with(did, func(a *account) error {
		n.emit(a, identityMessage(a.did, a.handle, n.tick().Time()))
		return nil
	})
}
