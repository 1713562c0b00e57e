package repostate

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// Fact is whatever reaches a repo: an event, an entry of a listing, an operation of
// the directory's log, the result of an attempt.
type Fact interface{ decide(*machine) Outcome }

// Signed is a #commit, or a #sync, which has no ops.
type Signed struct {
	Sync       bool
	Rev        atproto.TID // as the message states it
	Key        string      // with which it was checked; empty = none was known
	Commit     Commit      // what was proven; its head alone after a refusal that came after the signature
	Refusal    *refusal.Error
	ForeignPDS string   // the PDS that sent it, if it can only speak for its own accounts; empty = a relay
	Buffer     Buffered // of a repo that is being fetched
}

// Buffered is how the buffer of a repo stands to a commit.
type Buffered struct {
	Len  int
	Rev  bool // it holds a commit of this rev,
	Same bool // which is this very one
}

// Announced is an #identity: something about the DID may have changed.
type Announced struct{}

// Account is an #account.
type Account struct {
	Active bool
	Status string
	PDS    string // that sent it; empty = a relay
}

// Unread is a message about the repo that breaks the lexicon or its limits.
type Unread struct {
	Refusal *refusal.Error
	PDS     string // that sent it; empty = a relay
}

// Contradicted says that an applied commit shows a tree that the rows are not of.
type Contradicted struct{}

// Outgrown says that an applied commit has made the set larger than refusal.MaxCollections.
type Outgrown struct{}

// Entry is what a listing says of a repo: a hint.
type Entry struct {
	Rev       atproto.TID // 0 = not said
	Active    bool
	Host      int64 // the PDS that lists its own repos; 0 = a relay, which lists those of all
	Candidate bool  // a host that nobody chose: what it alone lists is a candidate
}

// Unlisted says that a whole listing has left the repo out. It is asked about at At.
type Unlisted struct{ At time.Time }

// Aged says that the document was looked up long ago; it is to be looked up at At.
type Aged struct{ At time.Time }

// Operation is the last one of a DID in a piece of the PLC directory's log: as good as
// a look-up at its time.
type Operation struct {
	Identity *Identity // nil = it leaves no usable identity
	At       time.Time // when the directory took it
	// AsOf is when the log was asked and had no later operations. Zero = it may have.
	AsOf time.Time
}

// Lease says that a worker takes the row of the queue.
type Lease struct{}

// Lost says that a worker died with its attempt.
type Lost struct{}

// Step is what an attempt does.
type Step byte

// The steps.
const (
	Nothing   Step = iota
	Resolve        // look up the DID document
	AskStatus      // ask the host for the account's status
	Fetch          // establish the set of collections
)

// Attempt is what was known of a repo when its row was leased.
type Attempt struct {
	Repo *Repo // as it was, with its row
	Step Step
	At   time.Time
}

// WasSynchronized reports whether commits went on being applied meanwhile.
func (a *Attempt) WasSynchronized() bool { return a.Repo.State == Synchronized }

// Found is a repo as its host has served it, signed by the account.
type Found struct {
	Head        Head
	Collections []string
	Proof       Proof
	OldKey      bool // an earlier key of the DID has signed the head
}

// Result is what came of an attempt: one of Identity, Status, Found and Failure, or none
// if there was nothing to do.
type Result struct {
	Attempt  *Attempt
	Identity *Identity
	Status   *Account
	Found    *Found
	Failure  *Failure
	Buffered []Commit // commits that came during a fetch, in the order of their revs
}

// Failure is why an attempt came to nothing.
type Failure struct {
	Kind    FailureKind
	Cause   error
	Status  string         // of FailedGone
	Pause   time.Duration  // of FailedDeferred; of FailedDirectory and FailedHost what they ask for
	Refusal *refusal.Error // to be counted; nil = none
}

// FailureKind sorts failures by what follows from them.
type FailureKind byte

// The kinds.
const (
	FailedCancelled FailureKind = iota // the process stops
	FailedDeferred                     // nobody is to blame: again after a pause
	FailedGone                         // the host calls the account inactive
	FailedNoRepo                       // the host has no such repo
	FailedRate                         // the host refuses by rate
	FailedYoung                        // the host does not serve the new repo yet
	FailedHost                         // network, timeout, 5xx, an error without meaning
	FailedKey                          // a signature under another key
	FailedAnswer                       // an answer that no retry will mend soon
	FailedInternal                     // a fault of ours
	FailedDirectory                    // the directory did not answer
	FailedNoDID                        // the directory has no such document
	FailedDocument                     // a document without usable key or host
	FailedLookup                       // any other failure of a look-up
)

// Outcome is what a decision came to, in a word of a closed list.
type Outcome string

// The outcomes of events.
const (
	Applied   Outcome = "applied"        // the head moved
	Kept      Outcome = "buffered"       // kept until the fetch is done
	Stale     Outcome = "stale"          // our head is there already
	Waits     Outcome = "waits"          // the repo is queued; a fetch will see it
	Broken    Outcome = "desynchronized" // does not follow our head: queued
	Hidden    Outcome = "hidden"         // the account is inactive
	Checked   Outcome = "checked"        // a look-up or a question for the status is queued
	Noted     Outcome = "noted"          // nothing to do
	Unseen    Outcome = "unseen"         // an unknown DID over the limit: a crawl finds it
	Refused   Outcome = "refused"        // see the refusals
	Unchanged Outcome = ""               // of facts that nobody counts
)

// The outcomes of attempts.
const (
	Established    Outcome = "synchronized"    // the rows equal the fetched tree
	Resolved       Outcome = "resolved"        // identity known; the row goes on
	Confirmed      Outcome = "confirmed"       // nothing had changed
	Returned       Outcome = "reactivated"     // the account is active; a fetch follows
	Gone           Outcome = "gone"            // takendown, suspended, deactivated, deleted: hidden
	Missing        Outcome = "not-found"       // the host has no such repo
	TooYoung       Outcome = "too-young"       // the host does not serve the new repo yet
	RateLimited    Outcome = "rate-limited"    // the host pauses
	Transient      Outcome = "transient"       // network, timeout, 5xx
	Invalid        Outcome = "invalid"         // an answer that no retry will mend soon
	StaleAnswer    Outcome = "stale"           // older than a commit that was seen
	IdentityFailed Outcome = "identity-failed" // unresolvable, no PDS, no key
	Superseded     Outcome = "superseded"      // something happened meanwhile, or the host could not be asked: again
	Cancelled      Outcome = "cancelled"       // the process stops
	InternalFault  Outcome = "internal"        // a fault of ours
)

// What the log of the directory taught.
const (
	LoggedNothing  Outcome = "ignored"  // a look-up of the DID comes anyway
	LoggedOlder    Outcome = "older"    // than what is known
	LoggedSame     Outcome = "same"     // what is known is so still
	LoggedIdentity Outcome = "identity" // the first one, or one that nothing depends on yet
	LoggedMove     Outcome = "moved"    // key or host are others now
	LoggedDoubt    Outcome = "doubted"  // the directory is asked
)

// Decision is what follows from a fact: the repo as it is from now on, and what
// becomes of its collections and its buffer. The store applies it as a whole.
type Decision struct {
	Outcome Outcome
	Repo    *Repo

	Step     Step     // of a lease
	Commits  []Commit // applied to the set of collections, after Set
	Set      *Set     // the set becomes this one; nil = it stays
	Buffer   *Commit  // to be kept
	Unbuffer bool     // the buffer is emptied
	Forget   bool     // the DID was invented: no row stays

	Refusals   []*refusal.Error // to be counted under their source
	KeyChanged bool             // who caches the signing key must drop it
	// Disproved: the host's describeRepo was wrong. TestsClaim: Set is the first proof of
	// what it said, of the same head; if it changes rows, it was wrong.
	Disproved  bool
	TestsClaim bool
}

// Set is a whole set of collections, as a fetch has established it.
type Set struct {
	Collections []string
	First       bool // it is the repo's first one: backfill, and no change
}

// Changes are births and deaths of memberships that a decision has led to, by what
// brought them.
type Changes struct {
	CommitBirths, CommitDeaths int
	ResyncBirths, ResyncDeaths int
}

// Env is what a decision depends on beside the repo and the fact.
type Env struct {
	Now      time.Time
	Budget   Budget
	Upstream int64 // whose event it is; 0 = none
	// ParkBackfill: the PLC directory's log is being read for the first time, and
	// backfill of what was never looked up waits for it.
	ParkBackfill bool
	// NoProofs: claims wait for a proof for good. Only tests set it.
	NoProofs bool
	// Backoff spreads retries; see package backoff.
	Backoff func(first, longest time.Duration, failures int) time.Duration
}

// Budget limits what one source can cause. Each call takes one of what it grants.
type Budget interface {
	// Sight grants a look-up of a DID whose document was never seen, and says how long
	// it waits for its turn.
	Sight() (wait time.Duration, ok bool)
	// Check is an urgent look-up of a document that may be old, after a wait for others.
	Check() (wait time.Duration, ok bool)
	Desync() bool // a repo of the host taken out of service for what cannot be proven
	Move() bool   // a look-up because of a page of a listing
}
