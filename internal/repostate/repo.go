package repostate

import (
	"fmt"
	"time"

	"railyard/internal/atproto"
)

// State of a repo in the index (spec: sync; table repo_state).
type State int64

// The states of a repo.
const (
	Candidate      State = iota // heard of, never proven
	Desynchronized              // the rows may be wrong; it waits in the queue
	Resyncing                   // it is being fetched; its commits are buffered
	Synchronized                // its commits are applied
	NotFound                    // its host has said twice that it has no such repo
)

func (s State) String() string {
	return [...]string{"candidate", "desynchronized", "resyncing", "synchronized", "not_found"}[s]
}

// Proof is how a repo's set of collections was established.
type Proof int64

// The proofs, best first. Zero is none.
const (
	ProofTree   Proof = iota + 1 // the whole signed tree was walked
	ProofProbe                   // signed proofs of presence and absence
	ProofOldKey                  // signed by an earlier key of the DID
	ProofClaim                   // the host's word, which is proven later
)

func (p Proof) String() string {
	return [...]string{"", "tree", "probe", "old-key", "claim"}[p]
}

// Head is a repo's signed state.
type Head struct {
	Rev  atproto.TID
	Data atproto.Digest // root of the tree
	CID  atproto.Digest // the commit
}

// Commit is a proven commit, and what it did to the set of collections.
type Commit struct {
	Prev    atproto.Digest // the data that it starts from
	Head    Head
	Present []string // collections that it touched and that exist after it
	Died    []string // collections that it emptied
}

// Source is who said that an account is not active. (table status_source)
type Source int64

// The sources. Zero is none: the account is active.
const (
	FromHost      Source = iota + 1 // the PDS that the document names
	FromRelay                       // a relay; the PDS has not said so yet
	FromDirectory                   // the document is gone
)

func (s Source) String() string { return [...]string{"", "host", "relay", "directory"}[s] }

// Ability is whether a host can do something.
type Ability byte

// The abilities.
const (
	Unknown Ability = iota // not tried
	Able
	Unable
)

// Identity is what a DID document said when it was last resolved.
type Identity struct {
	Key           string // multicodec prefix and compressed point
	HostID        int64
	Host          string // canonical host name
	Insecure      bool   // http (development)
	FetchedAt     time.Time
	Stale         bool      // something may have changed: the document is to be looked up again
	StatusAskedAt time.Time // when the host was last asked for the account's status; zero = never
	// DescribeTrusted: the host's describeRepo was never caught with a wrong list.
	DescribeTrusted bool
	// AbsentProofs: whether the host's getRecord proves the absence of keys.
	AbsentProofs Ability
	// EarlierRev is the rev up to which what was seen of the repo may be signed by
	// an earlier key of the DID; 0 = nothing was.
	EarlierRev atproto.TID
}

// URL returns the base of requests to the host.
func (i *Identity) URL() string { return atproto.BaseURL(i.Host, i.Insecure) }

// Repo is what the index knows of a repo, but for its collections.
type Repo struct {
	ID          int64 // 0 = the DID was never seen
	DID         string
	State       State
	Active      bool      // the account's hosting status, as its PDS has it
	Status      string    // the word that explains an inactive account,
	StatusFrom  Source    // whose word it is,
	StatusAt    time.Time // and since when
	Proof       Proof     // 0 = never proven, or void
	ProvenAt    time.Time
	SeenRev     atproto.TID // newest rev that the account has signed and that was not applied; 0 = none
	Head        *Head       // nil = unknown
	Identity    *Identity   // nil = never resolved
	Waiting     *Waiting    // its row of the queue; nil = it is not in the queue
	FoundHostID int64       // the host whose listing alone has this DID, or minus the upstream whose events have; 0 = others have it
	HarmlessRev atproto.TID // a listed rev that the host itself does not have; 0 = none
	Error       string      // the last failure of an attempt
	ErrorAt     time.Time
	Seq         int64 // birth number of its own listing; 0 = not listed. The store keeps it
}

// Listed reports whether the repo and its rows are to be visible: its account is
// active and its set is proven. A proof stays good while the repo is out of service.
func (r *Repo) Listed() bool { return r.Active && r.Proof != 0 }

// InService reports whether commits are applied or buffered, and none may be missed.
func (r *Repo) InService() bool { return r.State == Synchronized || r.State == Resyncing }

// parked reports whether the repo waits for the directory's log.
func (r *Repo) parked() bool { return r.Waiting != nil && r.Waiting.Parked }

// Idle reports whether the repo is in service, listed, and not in the queue: of
// such a repo the index says without reserve that its rows are right.
func (r *Repo) Idle() bool {
	return r.State == Synchronized && r.Active && r.Seq > 0 && r.Waiting == nil
}

// Reached reports whether the head is where a rev that was heard of is, or beyond.
// A rev that was seen and not applied is not reached.
func (r *Repo) Reached(rev atproto.TID) bool {
	if r.Head == nil {
		return rev == 0
	}
	return rev <= r.Head.Rev
}

// Floor returns the rev below which an answer of the host is older than what was seen.
func (r *Repo) Floor() atproto.TID {
	if r.Head == nil {
		return r.SeenRev
	}
	return max(r.SeenRev, r.Head.Rev)
}

// OldKeysCount reports whether a head that an earlier key of the DID has signed may
// be the repo's: nothing was seen that the present key has signed.
func (r *Repo) OldKeysCount() bool { return r.Floor() <= r.Identity.EarlierRev }

// clone returns a copy that shares nothing that a decision changes.
func (r *Repo) clone() *Repo {
	c := *r
	if r.Identity != nil {
		i := *r.Identity
		c.Identity = &i
	}
	if r.Waiting != nil {
		w := *r.Waiting
		c.Waiting = &w
	}
	return &c
}

// Reason is why a repo is queued. It is for people and sets the
// priority; what must not be lost has fields of its own.
type Reason int64

// The reasons. (table resync_reason)
const (
	Discontinuity Reason = iota + 1 // a commit does not follow our head
	Unprovable                      // a real commit that was refused
	Rotated                         // signing key or host changed
	SyncEvent                       // a #sync with other data
	Reactivated                     // the account is active again
	IdentityCheck                   // look the DID document up
	StatusCheck                     // ask the PDS for the account's status
	FirstSight                      // first event of an unknown repo
	Backfill                        // found by a crawl
	NotFoundAgain                   // ask again for what does not exist
	MissedRev                       // a newer rev than ours was listed or seen
	Prove                           // the host's word waits for proof
	_                               // reserved: asked for by the operator
	Audit                           // a commit shows that a row is wrong
	Refresh                         // the DID document was looked up long ago
)

func (r Reason) String() string {
	names := [...]string{"none", "discontinuity", "unprovable", "rotated", "sync", "reactivated", "identity",
		"status", "first-sight", "backfill", "not-found", "missed-rev", "prove", "operator", "audit", "refresh"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", int64(r))
}

// The priorities of the queue, the most urgent first. (table resync_priority)
const (
	PriorityLive int64 = iota + 1
	PriorityCheck
	PriorityFirstSight
	PriorityBackfill
	PriorityRetry
	PriorityBackground // the repo's rows are in service meanwhile
)

// Priority returns the priority of a row that waits for this reason.
func (r Reason) Priority() int64 {
	switch r {
	case Discontinuity, Unprovable, Rotated, Audit:
		return PriorityLive
	case SyncEvent, Reactivated, IdentityCheck, StatusCheck:
		return PriorityCheck
	case FirstSight:
		return PriorityFirstSight
	case Backfill:
		return PriorityBackfill
	}
	return PriorityBackground
}

// voids reports whether a fetch under way is worthless once somebody has asked for
// this reason: it is no mere question about the identity or a rev.
func (r Reason) voids() bool {
	return r != IdentityCheck && r != MissedRev && r != Prove && r != Refresh
}

// Statement is what a source says and is believed only once it has said so again.
type Statement int64

// The statements. (table statement)
const (
	NoStatement Statement = iota
	NoSuchRepo            // the host: it has no such repo
	NoSuchDID             // the directory: it has no such document
	OlderRev              // the host: its head is older than a commit that was seen
)

func (s Statement) String() string {
	return [...]string{"", "no such repo", "no such DID", "older rev"}[s]
}

// Waiting is a repo's row in the queue.
type Waiting struct {
	Reason         Reason
	Priority       int64
	NotBefore      time.Time
	Parked         bool // parked until the PLC directory's log was read, whatever NotBefore says
	Attempts       int  // that failed in a row
	Generation     int64
	Leased         bool        // a worker is at it,
	Lease          int64       // for this generation
	WantRev        atproto.TID // the newest rev heard of and not reached; 0 = none
	AskStatus      bool        // the host is to be asked for the account's status
	IdentityChecks int         // how often the document is still to be looked up because of an #identity
	QueuedAt       time.Time

	Said      Statement // what was said and is not believed yet,
	SaidRev   atproto.TID
	SaidTimes int // so often
	SaidSince time.Time
}

// Later reports whether nothing is known to be wrong with the repo: it waits for a
// second attempt, a proof, a listed rev, or for the directory's log.
func (w *Waiting) Later() bool { return w.Priority == PriorityBackground || w.Parked }
