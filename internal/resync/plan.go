package resync

import (
	"time"

	"railyard/internal/store"
)

// plan decides the next step for a repo from what is known of it.
func plan(t *store.Task) store.Step {
	r := t.Repo
	switch {
	case r.Identity == nil || r.Identity.Stale:
		return store.Resolve
	case !r.Active || t.AskStatus:
		return store.AskStatus
	case r.State != store.Synchronized:
		return store.Fetch
	case !t.Missing.IsZero():
		return store.AskStatus // in service, but its host said that it has no such repo
	case !r.Reached(t.WantRev), r.Proof == store.ProofClaim:
		return store.Fetch
	default:
		return store.Nothing
	}
}

// plan is plan without the proof of a claim where nobody is to look for it.
func (rs *Resyncer) plan(t *store.Task) store.Step {
	step := plan(t)
	if rs.cfg.NoProofs && step == store.Fetch && t.InService && t.Repo.Reached(t.WantRev) {
		return store.Nothing
	}
	return step
}

const (
	// Retries of what may work again soon: networks, servers.
	retryFirst = 30 * time.Second
	retryMost  = 2 * time.Hour
	// Retries of what is wrong until somebody mends it: documents, trees.
	brokenFirst = 5 * time.Minute
	brokenMost  = 24 * time.Hour
	// A host that has no such repo, or a directory that has no such DID, is asked
	// once more before it is believed, and then now and then.
	notFoundSecond = 10 * time.Minute
	notFoundLater  = 24 * time.Hour
	// identityFresh is how old a document may be for its host to be believed when
	// it speaks of an ending: gone, not found, an older state. The account may
	// live elsewhere by now.
	identityFresh = 5 * time.Minute
	// Fetches that came to nothing because of events meanwhile: the first few are
	// repeated at once.
	supersededFree  = 3
	supersededFirst = 5 * time.Second
	supersededMost  = 10 * time.Minute
	// A stale answer is asked for again soon: replicas catch up. Three equal
	// ones over an hour are a restored backup.
	staleRetry  = 20 * time.Second
	staleMost   = 15 * time.Minute
	staleBelief = time.Hour
	staleTimes  = 3
	// identitySecond is when a document that an #identity announced and that
	// has not changed is looked at once more: replicas of the directory lag.
	identitySecond = 15 * time.Second
	// A repo whose signature fails under a document of this moment: perhaps its key
	// has just been rotated. 2, 8 and 32 seconds.
	rotationPause   = 2 * time.Second
	rotationRetries = 3
	// doubtPause is the least time between two looks at one document.
	doubtPause = 2 * time.Second
	// inFlightTries is how often a head of the host that is newer than ours is taken
	// for one whose commit is on its way, before the repo is taken out of service.
	inFlightTries = 3
	// claimRest is how long a claim rests before the next try to prove it.
	claimRest = 10 * time.Minute
	// bulkRest is the same, at most, for those of a backfill.
	bulkRest = time.Hour
	// A new repo that its host does not serve yet. Bridges take half a day.
	youngFirst = 30 * time.Minute
	youngMost  = 6 * time.Hour
	// An oversized repo waits so long when another one is being fetched.
	oversizedPause = time.Minute
	// memoryPause is how long a repo waits for which there is no memory now.
	memoryPause = 5 * time.Second
	// A host that failed so often in a row is left alone for a while.
	hostPatience  = 3
	cooldownFirst = 30 * time.Second
	cooldownMost  = time.Hour
	// A host that does not answer at all: two requests, then one at a time.
	unreachablePatience = 2
	unreachableFirst    = 2 * time.Minute
	unreachableMost     = 4 * time.Hour
	// The directory, where one request after the other fails.
	directoryFirst = time.Second
	directoryMost  = time.Minute
)
