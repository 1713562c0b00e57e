package store

import (
	"database/sql"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
)

// State of a repo in the index (spec: sync; the table repo_state has the meanings).
type State int64

// The states of a repo.
const (
	Candidate State = iota
	Desynchronized
	Resyncing
	Synchronized
	NotFound
)

func (s State) String() string {
	return [...]string{"candidate", "desynchronized", "resyncing", "synchronized", "not_found"}[s]
}

// Proof is how a repo's set of collections was established.
type Proof int64

// The proofs, best first. Zero is none.
const (
	ProofTree Proof = iota + 1
	ProofProbe
	ProofOldKey
	ProofClaim
)

// String returns the word of the table proof, "" for none.
func (p Proof) String() string {
	return [...]string{"", "tree", "probe", "old-key", "claim"}[p]
}

// Head is a repo's signed state.
type Head struct {
	Rev  atproto.TID
	Data atproto.Digest // root of the tree
	CID  atproto.Digest // the commit
}

// Identity is what a DID document said when it was last resolved.
type Identity struct {
	Key       string // multicodec prefix and compressed point
	HostID    int64
	Host      string // canonical host name
	Insecure  bool   // http (development)
	FetchedAt time.Time
	Stale     bool
	CheckedAt time.Time // when the host was last asked for the account's status; zero = never
	// DescribeTrusted: the host's describeRepo was never caught with a wrong list.
	DescribeTrusted bool
	// AbsentProofs: whether the host's getRecord proves the absence of keys.
	AbsentProofs Ability
	// EarlierRev is the rev up to which what was seen of the repo may be signed by
	// an earlier key of the DID; 0 = nothing was.
	EarlierRev atproto.TID
}

// URL is the base of requests to the host.
func (i *Identity) URL() string { return atproto.BaseURL(i.Host, i.Insecure) }

// Repo is what the file knows of a repo. Methods of Tx that change a repo change
// the value too.
type Repo struct {
	ID       int64
	DID      string
	State    State
	Active   bool
	Status   string
	Proof    Proof       // 0 = never proven
	SeenRev  atproto.TID // 0 = none
	Head     *Head       // nil = unknown
	Identity *Identity   // nil = never resolved
	provenAt time.Time   // when it was last proven, also where that proof is void; zero = never
	seq      int64       // of the listing, 0 = not visible
}

// Visible tells whether the repo is listed.
func (r *Repo) Visible() bool { return r.seq > 0 }

// ProvenAt tells when the proof of the set was made, the zero time if it has none.
func (r *Repo) ProvenAt() time.Time {
	if r.Proof == 0 {
		return time.Time{}
	}
	return r.provenAt
}

// RepoByDID gives a repo, or nil if the DID was never seen.
func (rx *Rx) RepoByDID(did string) (*Repo, error) {
	row, err := rx.q.RepoByDID(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return repoOf(db.RepoByIDRow(row)), nil
}

// RepoByID gives a repo that is known to exist.
func (rx *Rx) RepoByID(id int64) (*Repo, error) {
	row, err := rx.q.RepoByID(rx.ctx, id)
	if err != nil {
		return nil, err
	}
	return repoOf(row), nil
}

func repoOf(row db.RepoByIDRow) *Repo {
	r := &Repo{
		ID: row.ID, DID: row.DID, State: State(row.State), Active: row.Active == 1, seq: row.Seq,
		Status: deref(row.Status), Proof: Proof(deref(row.Proof)), SeenRev: atproto.TID(deref(row.SeenRev)),
		provenAt: instant(row.ProvenAt),
	}
	if row.Rev != nil {
		r.Head = &Head{Rev: atproto.TID(*row.Rev), Data: digest(row.Data), CID: digest(row.CID)}
	}
	if row.HostID != nil {
		r.Identity = &Identity{
			Key: string(row.SigningKey), HostID: *row.HostID, Host: deref(row.Hostname),
			Insecure: deref(row.Insecure) == 1, FetchedAt: time.UnixMicro(deref(row.FetchedAt)), Stale: deref(row.Stale) == 1,
			DescribeTrusted: trusted(row.DescribeTrust),
			AbsentProofs:    ability(row.AbsentProofs), EarlierRev: atproto.TID(deref(row.EarlierRev)),
		}
		if row.CheckedAt != nil {
			r.Identity.CheckedAt = time.UnixMicro(*row.CheckedAt)
		}
	}
	return r
}

// trusted: nobody was caught yet.
func trusted(describe *int64) bool { return describe == nil || *describe == 1 }

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func digest(b []byte) (d atproto.Digest) {
	copy(d[:], b)
	return d
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// SigningKey returns the key of an account: multicodec prefix and compressed point,
// empty if none is known. It reads on the pool.
func (rx *Rx) SigningKey(did string) (string, error) {
	key, err := rx.q.SigningKey(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return string(key), err
}

// AddRepo makes the row of a DID that was never seen: a candidate.
func (tx *Tx) AddRepo(did string) (*Repo, error) {
	id, err := tx.q.AddRepo(tx.ctx, did)
	return &Repo{ID: id, DID: did, Active: true}, err
}

// Advance is the chain check: the head moves to head if the repo is
// synchronized and active, its data is prev and its rev is older. It tells
// whether the head moved.
func (tx *Tx) Advance(r *Repo, prev atproto.Digest, head Head) (bool, error) {
	n, err := tx.q.AdvanceHead(tx.ctx, db.AdvanceHeadParams{
		RepoID: r.ID, Prev: prev[:], Rev: int64(head.Rev), Data: head.Data[:], CID: head.CID[:],
	})
	if err != nil || n == 0 {
		return false, err
	}
	r.Head = &head
	return true, nil
}

// Reached tells whether the head is where a rev that was heard of is, or beyond.
// A rev that was seen and not applied is not reached.
func (r *Repo) Reached(rev atproto.TID) bool {
	switch {
	case r.Head == nil:
		return rev == 0
	}
	return rev <= r.Head.Rev
}

// Floor is the rev below which an answer of the host is older than what was seen.
func (r *Repo) Floor() atproto.TID {
	if r.Head == nil {
		return r.SeenRev
	}
	return max(r.SeenRev, r.Head.Rev)
}

// OldKeysCount tells whether a head that an earlier key of the DID has signed may
// be the repo's: nothing was seen that the present key has signed.
func (r *Repo) OldKeysCount() bool { return r.Floor() <= r.Identity.EarlierRev }

// Saw remembers the rev of a commit whose signature verified and which was not
// applied: a later answer of the host that is older is stale.
func (tx *Tx) Saw(r *Repo, rev atproto.TID) error {
	if rev <= r.SeenRev {
		return nil
	}
	r.SeenRev = rev
	v := int64(rev)
	return tx.q.RaiseSeenRev(tx.ctx, db.RaiseSeenRevParams{ID: r.ID, Rev: &v})
}

// SetState changes the state. A repo that its host does not have loses its
// proof, and so its visibility.
func (tx *Tx) SetState(r *Repo, s State) error {
	if r.State == s {
		return nil
	}
	r.State = s
	if err := tx.q.SetRepoState(tx.ctx, db.SetRepoStateParams{ID: r.ID, State: int64(s)}); err != nil {
		return err
	}
	if s != NotFound {
		return nil
	}
	return tx.voidProof(r)
}

func (tx *Tx) voidProof(r *Repo) error {
	if r.Proof == 0 {
		return nil
	}
	r.Proof = 0
	if err := tx.q.VoidProof(tx.ctx, r.ID); err != nil {
		return err
	}
	return tx.settle(r)
}

// SetInactive hides the account under the word of its host, or of a relay until
// the host is asked. Its chain is broken from here on: after a reactivation it
// is fetched anew.
func (tx *Tx) SetInactive(r *Repo, status string) error {
	if r.State != Candidate && r.State != NotFound {
		r.State = Desynchronized
	}
	r.Active, r.Status = false, status
	if err := tx.setAccount(r); err != nil {
		return err
	}
	return tx.q.ClearBuffer(tx.ctx, r.ID)
}

// Leave is SetInactive on the word of the account's own host. What is deleted
// leaves no head and no set.
func (tx *Tx) Leave(r *Repo, status string) error {
	if err := tx.SetInactive(r, status); err != nil || status != "deleted" {
		return err
	}
	if err := tx.Forget(r); err != nil || r.State != Desynchronized {
		return err
	}
	return tx.SetState(r, Candidate)
}

// SetActive takes back SetInactive. The proof is void, because commits of
// inactive accounts are ignored: the rows stay invisible until the next fetch.
func (tx *Tx) SetActive(r *Repo) error {
	r.Active, r.Status = true, ""
	if err := tx.voidProof(r); err != nil {
		return err
	}
	return tx.setAccount(r)
}

func (tx *Tx) setAccount(r *Repo) error {
	err := tx.q.SetRepoAccount(tx.ctx, db.SetRepoAccountParams{
		ID: r.ID, Active: flag(r.Active), Status: text(r.Status), State: int64(r.State),
	})
	if err != nil {
		return err
	}
	return tx.settle(r)
}

// Forget removes the set, the head and the proof of a deleted repo.
func (tx *Tx) Forget(r *Repo) error {
	if _, err := tx.dieAllBut(r, "[]"); err != nil {
		return err
	}
	r.Head, r.SeenRev, r.Proof = nil, 0, 0
	if err := tx.q.ForgetRepo(tx.ctx, r.ID); err != nil {
		return err
	}
	return tx.q.DeleteHead(tx.ctx, r.ID)
}

// Establish makes the repo what a fetch has proven: this head, exactly these
// collections, active, synchronized. The stored set becomes the given one by
// set difference.
func (tx *Tx) Establish(r *Repo, head Head, nsids []string, p Proof) (births, deaths int, err error) {
	ids, err := tx.collectionIDs(nsids)
	if err != nil {
		return 0, 0, err
	}
	if deaths, err = tx.dieAllBut(r, ids); err != nil {
		return 0, 0, err
	}
	err = tx.q.PutHead(tx.ctx, db.PutHeadParams{
		RepoID: r.ID, Rev: int64(head.Rev), Data: head.Data[:], CID: head.CID[:],
	})
	if err != nil {
		return 0, 0, err
	}
	first := r.provenAt.IsZero()
	r.Head, r.State, r.Active, r.Status, r.SeenRev = &head, Synchronized, true, "", 0
	r.Proof, r.provenAt = p, tx.now
	v, now := int64(p), tx.micros()
	if err := tx.q.SetRepoProven(tx.ctx, db.SetRepoProvenParams{ID: r.ID, Proof: &v, Now: &now}); err != nil {
		return 0, 0, err
	}
	if err := tx.settle(r); err != nil {
		return 0, 0, err
	}
	births, err = tx.bearMissing(r, ids, len(nsids), first)
	return births, deaths, err
}

// SetError notes the last failure of a resync for people.
func (tx *Tx) SetError(r *Repo, message string) error {
	now := tx.micros()
	return tx.q.SetRepoError(tx.ctx, db.SetRepoErrorParams{ID: r.ID, Error: text(message), Now: &now})
}

// ClearError takes it back.
func (tx *Tx) ClearError(r *Repo) error { return tx.q.ClearRepoError(tx.ctx, r.ID) }

// PutIdentity stores what a DID document said; it does not touch the wish for
// another look. changed tells whether the key or
// the host differs from what was known; it is false for a first resolution.
func (tx *Tx) PutIdentity(r *Repo, key, host string, insecure bool) (changed bool, err error) {
	return tx.putIdentity(r, key, host, insecure, tx.now)
}

// putIdentity stores what was so at a time.
func (tx *Tx) putIdentity(r *Repo, key, host string, insecure bool, at time.Time) (changed bool, err error) {
	row, err := tx.q.AddHost(tx.ctx, db.AddHostParams{Hostname: host, Insecure: flag(insecure)})
	if err != nil {
		return false, err
	}
	fresh := Identity{
		Key: key, HostID: row.ID, Host: host, Insecure: insecure, FetchedAt: at,
		DescribeTrusted: trusted(row.DescribeTrust),
		AbsentProofs:    ability(row.AbsentProofs),
	}
	if old := r.Identity; old != nil {
		changed = old.Key != key || old.HostID != row.ID
		fresh.Stale, fresh.CheckedAt, fresh.EarlierRev = old.Stale, old.CheckedAt, old.EarlierRev
		if old.Key != key {
			fresh.EarlierRev = r.Floor() // as the trigger has it
		}
	} else if err := tx.ConfirmCandidate(r); err != nil {
		return false, err
	}
	r.Identity = &fresh
	tx.wakes = true // it may be another host's now
	return changed, tx.q.PutIdentity(tx.ctx, db.PutIdentityParams{
		RepoID: r.ID, SigningKey: []byte(key), HostID: row.ID, Now: at.UnixMicro(),
	})
}

// Moved takes the repo out of service, because its signing key or host are others
// now, until it was fetched from there. What failed before does not count.
func (tx *Tx) Moved(r *Repo) error {
	if err := tx.StartAnew(r); err != nil {
		return err
	}
	if r.Active {
		return tx.Desynchronize(r, Rotated)
	}
	return tx.Enqueue(r, StatusCheck, tx.now)
}

// MarkStale asks for a new look at the DID document.
func (tx *Tx) MarkStale(r *Repo) error {
	if r.Identity == nil || r.Identity.Stale {
		return nil
	}
	r.Identity.Stale = true
	tx.wakes = true
	return tx.q.SetIdentityStale(tx.ctx, db.SetIdentityStaleParams{RepoID: r.ID, Stale: 1})
}

// StatusChecked notes that the host was asked for the account's status.
func (tx *Tx) StatusChecked(r *Repo) error {
	now := tx.micros()
	return tx.q.SetStatusChecked(tx.ctx, db.SetStatusCheckedParams{RepoID: r.ID, Now: &now})
}
