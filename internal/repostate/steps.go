package repostate

import (
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// machine is a decision in the making. Its methods are the steps of which all
// transitions are made.
type machine struct {
	Env
	r *Repo // as it becomes
	d *Decision
}

// enqueue queues the repo, for an attempt not before a time. A row that waits already
// becomes due by then, and takes the more urgent reason.
func (m *machine) enqueue(why Reason, at time.Time) { m.enqueueAs(why, why.Priority(), at, 0) }

// enqueueMissed asks for a fetch unless the head has reached a rev by then.
func (m *machine) enqueueMissed(at time.Time, rev atproto.TID) {
	m.enqueueAs(MissedRev, PriorityBackground, at, rev)
}

func (m *machine) enqueueAs(why Reason, priority int64, at time.Time, want atproto.TID) {
	parked := why == Backfill && m.ParkBackfill && m.r.Identity == nil && strings.HasPrefix(m.r.DID, "did:plc:")
	w := m.r.Waiting
	if w == nil {
		w = &Waiting{Reason: why, Priority: priority, NotBefore: at, Parked: parked, QueuedAt: m.Now}
		m.r.Waiting = w
	}
	if priority < w.Priority {
		w.Reason, w.Priority = why, priority
	}
	if at.Before(w.NotBefore) || w.Parked && !parked {
		w.NotBefore = at
	}
	w.Parked = w.Parked && parked
	w.WantRev = max(w.WantRev, want)
	w.AskStatus = w.AskStatus || why == StatusCheck
	if why == IdentityCheck {
		w.IdentityChecks = max(w.IdentityChecks, identityChecks)
	}
	if why.voids() {
		w.Generation++
	}
}

// desynchronize takes the repo out of service until a fetch has proven it: its
// commits are dropped meanwhile, its rows stay. What a fetch under way brings is void.
func (m *machine) desynchronize(why Reason) {
	if m.r.InService() {
		m.moveTo(Desynchronized)
	}
	m.enqueue(why, m.Now)
}

// moveTo changes the state and empties the buffer.
func (m *machine) moveTo(s State) {
	m.r.State, m.d.Unbuffer = s, true
}

// saw remembers the rev of a commit that the account has signed and that was not
// applied: a later answer of the host that is older is stale.
func (m *machine) saw(rev atproto.TID) { m.r.SeenRev = max(m.r.SeenRev, rev) }

// expect: perhaps a commit was missed. The host is asked after a while, unless the
// head is there by then; the repo stays in service.
func (m *machine) expect(rev atproto.TID) {
	if m.r.InService() && m.r.Active {
		m.enqueueMissed(m.Now.Add(MissedGrace), rev)
	} // else the fetch that is due will see it
}

func (m *machine) refuse(reason refusal.Reason, format string, args ...any) {
	m.d.Refusals = append(m.d.Refusals, refusal.New(reason, format, args...))
}

// hide makes the account inactive. Its chain is broken from here on: after a
// reactivation the repo is fetched anew.
func (m *machine) hide(status string, from Source) {
	if m.r.State != Candidate && m.r.State != NotFound {
		m.r.State = Desynchronized
	}
	if m.r.Active || m.r.Status != status || m.r.StatusFrom != from {
		m.r.StatusFrom, m.r.StatusAt = from, m.Now
	}
	m.r.Active, m.r.Status, m.d.Unbuffer = false, status, true
}

// leave is hide on the word of the account's own host, or of the directory. What is
// deleted leaves no head and no set.
func (m *machine) leave(status string, from Source) {
	m.hide(status, from)
	if status != "deleted" {
		return
	}
	m.d.Set = &Set{}
	m.r.Head, m.r.SeenRev, m.r.Proof = nil, 0, 0
	if m.r.State == Desynchronized {
		m.r.State = Candidate
	}
}

// show makes the account active again. The proof is void, because commits of inactive
// accounts are ignored: the rows stay invisible until the next fetch.
func (m *machine) show() {
	m.unhide()
	m.r.Proof = 0
}

// unhide takes back that the account is inactive, as though it had never been said.
func (m *machine) unhide() {
	m.r.Active, m.r.Status, m.r.StatusFrom, m.r.StatusAt = true, "", 0, time.Time{}
}

// stale asks for a new look-up of the DID document.
func (m *machine) stale() {
	if m.r.Identity != nil {
		m.r.Identity.Stale = true
	}
}

// asked reports whether an attempt at the repo is due already, or backs off. A later
// check that waits is not meant, unless it is of a DID that does not exist: its
// account may go on speaking for long.
func (m *machine) asked() bool {
	w := m.r.Waiting
	return w != nil && (!w.Later() || w.Said == NoSuchDID && w.NotBefore.After(m.Now))
}

// leased reports whether a worker is at the repo: what that brings may have been
// answered a while ago.
func (m *machine) leased() bool { return m.r.Waiting != nil && m.r.Waiting.Leased }

// doubtIdentity asks for a look-up of the document, when the one that we have is as
// old as minAge, so that no account can cause more than one per minAge; the accounts
// of one host and the events of one upstream share a budget: they wait for each other,
// and beyond it behind all other work. One that is due already, or backs off after a failure, is
// asked for again only by an #identity.
func (m *machine) doubtIdentity(minAge time.Duration) {
	i := m.r.Identity
	if i.Stale && m.asked() && minAge != announcedMinAge {
		return
	}
	priority := PriorityBackground
	wait, ok := m.Budget.Check()
	if ok {
		priority = IdentityCheck.Priority()
	}
	m.stale()
	m.enqueueAs(IdentityCheck, priority, latest(m.Now.Add(wait), i.FetchedAt.Add(minAge)), 0)
}

// recheck asks for a look-up of a document that is older than minAge, in the background.
func (m *machine) recheck(minAge time.Duration) {
	i := m.r.Identity
	if !i.Stale && m.Now.Sub(i.FetchedAt) >= minAge && m.Budget.Move() {
		m.refresh(m.Now)
	}
}

func (m *machine) refresh(at time.Time) {
	m.stale()
	m.enqueue(Refresh, at)
}

// adopt stores what a document said at a time; it does not touch what asks for another
// look-up. It reports whether key or host differ from what was known, false for a
// first document.
func (m *machine) adopt(id Identity, at time.Time) (changed bool) {
	id.FetchedAt = at
	if old := m.r.Identity; old != nil {
		changed = old.Key != id.Key || old.HostID != id.HostID
		id.Stale, id.StatusAskedAt, id.EarlierRev = old.Stale, old.StatusAskedAt, old.EarlierRev
		if old.Key != id.Key { // what was seen until now was signed by the one before
			id.EarlierRev = m.r.Floor()
		}
		m.d.KeyChanged = m.d.KeyChanged || changed
	}
	m.r.Identity, m.r.FoundHostID = &id, 0
	return changed
}

// moved: signing key or host are others now. The repo is out of service until it was
// fetched from there, and what failed before does not count.
func (m *machine) moved() {
	if w := m.r.Waiting; w != nil {
		w.Attempts = 0
		w.unsay()
	}
	if m.r.Active {
		m.desynchronize(Rotated)
		return
	}
	m.enqueue(StatusCheck, m.Now)
}

func (w *Waiting) unsay() {
	w.Said, w.SaidRev, w.SaidTimes, w.SaidSince = NoStatement, 0, 0, time.Time{}
}

// says counts a statement, of the same rev, and returns how often it was made and
// since when.
func (w *Waiting) says(s Statement, rev atproto.TID, now time.Time) (times int, since time.Time) {
	if w.Said != s || w.SaidRev != rev {
		w.Said, w.SaidRev, w.SaidTimes, w.SaidSince = s, rev, 0, now
	}
	w.SaidTimes++
	return w.SaidTimes, w.SaidSince
}

// retry returns a leased row to the queue for a reason. failed counts an attempt; backfill that
// failed waits behind fresh work. later: the repo's rows are right as far as anyone
// knows, and are checked again.
func (m *machine) retry(why Reason, at time.Time, failed, later bool) {
	w := m.r.Waiting
	w.Reason, w.Priority = why, why.Priority()
	if failed {
		w.Attempts++
	}
	switch {
	case later:
		w.Priority = PriorityBackground
	case failed && w.Priority == PriorityBackfill:
		w.Priority = PriorityRetry
	}
	m.release(at)
}

// release returns a leased row to the queue as it is: the attempt had no result.
func (m *machine) release(at time.Time) {
	m.r.Waiting.Leased, m.r.Waiting.NotBefore = false, at
	switch {
	case m.r.State != Resyncing:
	case m.r.Head == nil:
		m.moveTo(Candidate)
	default:
		m.moveTo(Desynchronized)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
